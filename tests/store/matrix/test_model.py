"""Any order of batches, duplicates, fillings-in, late arrivals and upkeep, beside a model of ten lines."""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from probemesh_controller.store.matrix.port import HOUR_NS, Retention, Series, SlotRow, Standing
from probemesh_controller.store.memory import MemoryStore
from probemesh_controller.store.port import Store
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.words import FailureKind, SlotState

EVERY_NS = 97 * 1_000_000_000
T0 = 500_000 * HOUR_NS
SERIES = [Series("s", f"id-{number}", "b:1", "tcp/1") for number in range(20)]
LAST = 120  # some three hours


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[Series, SlotRow]]:
    found = []
    for _ in range(draw(st.integers(1, 12))):
        number = draw(st.integers(0, LAST))
        filled = draw(st.booleans())
        rtt = None if filled else draw(st.one_of(st.none(), st.integers(0, 50).map(float)))
        state = draw(st.sampled_from([SlotState.MISSED, SlotState.AGENT_LOST] if filled else list(SlotState)))
        failure = draw(st.sampled_from([None, FailureKind.TIMEOUT]))
        row = SlotRow(number, T0 + number * EVERY_NS, state, rtt, 3, number % 3, failure, filled=filled)
        found.append((draw(st.sampled_from(SERIES)), row))
    return found


#: A batch, the time of one step of upkeep, None: all of it, or False: a batch that is undone.
steps = st.lists(
    st.one_of(batches(), batches(), st.integers(0, 5 * HOUR_NS), st.none(), st.just(False)), max_size=25
)


@contextmanager
def stores() -> Iterator[tuple[Store, ...]]:
    with tempfile.TemporaryDirectory() as folder:
        made = MemoryStore(), SqliteStore(Path(folder) / "store.sqlite")
        yield made
        for store in made:
            store.close()


@settings(max_examples=60)
@given(steps)
def test_a_store_holds_what_the_model_holds(
    todo: "list[list[tuple[Series, SlotRow]] | int | bool | None]",
) -> None:
    model: dict[tuple[Series, int], SlotRow] = {}
    with stores() as made:
        for step in todo:
            if isinstance(step, list):
                for series, row in step:
                    there = model.get((series, row.number))
                    if there is None or (there.filled and not row.filled):
                        model[series, row.number] = row
            for store in made:
                _do(store, step)
        for store in made:
            _compare(store, model)
            _do(store, None)
            _compare(store, model)


def _do(store: Store, step: "list[tuple[Series, SlotRow]] | int | bool | None") -> None:
    if isinstance(step, list):
        assert store.add_slots(step) == 0
    elif step is False:
        try:
            store.add_slots(
                [(SERIES[0], SlotRow(1, T0, SlotState.OK)), (SERIES[1], SlotRow(-1, T0, SlotState.OK))]
            )
        except InvalidRequest:
            return
        raise AssertionError("taken")
    elif step is None:
        while store.upkeep(T0 + 5 * HOUR_NS, Retention()):
            pass
    else:
        store.upkeep(T0 + step, Retention())


def _compare(store: Store, model: dict[tuple[Series, int], SlotRow]) -> None:
    rows: defaultdict[Series, list[SlotRow]] = defaultdict(list)
    for (series, _), row in sorted(model.items(), key=lambda item: item[0]):
        rows[series].append(row)
    until_ns = T0 + 6 * HOUR_NS
    assert store.series() == tuple(sorted(rows))
    assert {series: list(store.slots(series, 0, until_ns)) for series in rows} == rows
    assert store.latest() == tuple(Standing(series, rows[series][-1]) for series in sorted(rows))
    assert store.counts(None, 0, until_ns) == {
        series: Counter(row.state for row in some) for series, some in rows.items()
    }
    time_ns = T0 + LAST // 2 * EVERY_NS
    assert store.standing("s", time_ns) == tuple(
        Standing(series, before[-1])
        for series in sorted(rows)
        if (before := [row for row in rows[series] if row.at_ns <= time_ns])
    )
    for series, some in rows.items():
        for step_ns in (EVERY_NS, 60 * 10**9, HOUR_NS):
            points = store.history(series, T0, until_ns, step_ns)
            assert sum(point.sent for point in points) == sum(row.sent for row in some)
            assert sum(sum(point.states.values()) for point in points) == len(some)
            for point in points:
                within = [row for row in some if point.since_ns <= row.at_ns < point.until_ns]
                times = [row.rtt_ms for row in within if row.rtt_ms is not None]
                assert point.states == Counter(row.state for row in within)
                assert point.lost == sum(row.lost for row in within)
                assert point.rtt_min_ms == min(times, default=None)
                assert point.rtt_max_ms == max(times, default=None)
