"""What every store promises of schedules; each test runs over both adapters."""

import math
import statistics
from collections.abc import Callable

import pytest
from probemesh_controller.store.matrix.port import (
    DAY_NS,
    HOUR_NS,
    MINUTE_NS,
    Retention,
    Series,
    SlotRow,
    Standing,
)
from probemesh_controller.store.port import Store
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.words import FailureKind, SlotState

KeepUp = Callable[..., int]
T0 = 500_000 * HOUR_NS  # a whole hour, in 2027
A = Series("s1", "id-a", "berlin-1", "icmp")
B = Series("s1", "id-b", "db.internal:5432", "tcp/5432")
OTHER = Series("s2", "id-a", "berlin-1", "icmp")


def slot(number: int, rtt_ms: float | None = 1.0, every_ns: int = 10_000_000_000, **more: object) -> SlotRow:
    row = SlotRow(number, T0 + number * every_ns + 77, SlotState.OK, rtt_ms, 3, 0)
    return row._replace(**more)  # type: ignore[arg-type]


def filled(number: int) -> SlotRow:
    return slot(number, None, state=SlotState.AGENT_LOST, sent=0, failure=FailureKind.AGENT_LOST, filled=True)


def put(store: Store, series: Series, *rows: SlotRow) -> None:
    assert store.add_slots([(series, row) for row in rows]) == 0


def test_a_slot_comes_back_as_it_was_put(store: Store, keep_up: KeepUp) -> None:
    rows = (
        slot(0, 1.234),
        slot(1, None, state=SlotState.TIMED_OUT, lost=3, failure=FailureKind.TIMEOUT, retried=True),
        slot(2, None, state=SlotState.FAILED, failure=FailureKind.REFUSED),
        filled(3),
        slot(4, 0.0),
    )
    put(store, A, *rows)
    assert store.slots(A, 0, T0 * 2) == rows
    keep_up(store, T0 + HOUR_NS)  # folded, the hour still open
    assert store.slots(A, 0, T0 * 2) == rows
    keep_up(store, T0 + 2 * HOUR_NS)
    assert store.slots(A, 0, T0 * 2) == rows
    assert store.slots(A, rows[1].at_ns, rows[3].at_ns) == rows[1:3]
    assert store.slots(B, 0, T0 * 2) == ()


@pytest.mark.parametrize("folded", [0, HOUR_NS, 3 * HOUR_NS], ids=["fresh", "folded", "closed"])
def test_a_duplicate_is_not_stored_twice(store: Store, keep_up: KeepUp, folded: int) -> None:
    put(store, A, slot(1), slot(2))
    keep_up(store, T0 + folded)
    put(store, A, slot(1, 9.0), slot(2, 9.0), slot(2, 8.0))
    for now_ns in (T0, T0 + HOUR_NS, T0 + 3 * HOUR_NS):
        keep_up(store, now_ns)
        assert store.slots(A, 0, T0 * 2) == (slot(1), slot(2))
        assert store.counts("s1", 0, T0 * 2) == {A: {SlotState.OK: 2}}
        (point,) = store.history(A, T0, T0 + HOUR_NS, HOUR_NS)
        assert (point.states, point.sent, point.rtt_max_ms) == ({SlotState.OK: 2}, 6, 1.0)


@pytest.mark.parametrize("folded", [0, HOUR_NS, 3 * HOUR_NS], ids=["fresh", "folded", "closed"])
def test_the_agents_row_replaces_what_was_filled_in_and_never_the_other_way(
    store: Store, keep_up: KeepUp, folded: int
) -> None:
    put(store, A, slot(1), filled(2), filled(3))
    keep_up(store, T0 + folded)
    own = slot(2, None, state=SlotState.MISSED, sent=0)
    put(store, A, own, slot(3, 5.0))
    put(store, A, filled(1), filled(2), filled(3))
    for now_ns in (T0, T0 + HOUR_NS, T0 + 3 * HOUR_NS):
        keep_up(store, now_ns)
        assert store.slots(A, 0, T0 * 2) == (slot(1), own, slot(3, 5.0))
        assert store.counts(None, 0, T0 * 2) == {A: {SlotState.OK: 2, SlotState.MISSED: 1}}
        (point,) = store.history(A, T0, T0 + HOUR_NS, HOUR_NS)
        assert (point.states, point.rtt_max_ms) == ({SlotState.OK: 2, SlotState.MISSED: 1}, 5.0)
        assert store.latest() == (Standing(A, slot(3, 5.0)),)


def test_the_latest_is_the_newest_slot_of_each_series(store: Store) -> None:
    put(store, A, slot(5), slot(3))
    put(store, A, slot(4))
    put(store, B, slot(2))
    put(store, OTHER, slot(9))
    assert store.latest("s1") == (Standing(A, slot(5)), Standing(B, slot(2)))
    assert store.latest() == (Standing(A, slot(5)), Standing(B, slot(2)), Standing(OTHER, slot(9)))
    assert store.latest("s3") == ()
    assert store.series() == (A, B, OTHER) and store.series("s2") == (OTHER,)


@pytest.mark.parametrize("folded", [0, 30 * MINUTE_NS, 9 * HOUR_NS], ids=["fresh", "partly", "closed"])
def test_cells_stand_as_they_stood(store: Store, keep_up: KeepUp, folded: int) -> None:
    rows = [slot(number, float(number)) for number in range(720)]
    put(store, A, *rows)
    put(store, B, slot(0))
    keep_up(store, T0 + folded)
    for number in (0, 1, 30, 359, 360, 719):
        found = store.standing("s1", rows[number].at_ns)
        assert found == (Standing(A, rows[number]), Standing(B, slot(0)))
        assert store.standing("s1", rows[number].at_ns + 1) == found
    assert store.standing("s1", T0) == ()
    assert store.standing("s2", T0 + HOUR_NS) == ()
    assert [stood.series for stood in store.standing("s1", T0 + 25 * HOUR_NS)] == [A]  # B's is a day old


def test_where_raw_data_is_gone_minutes_and_then_hours_tell(store: Store, keep_up: KeepUp) -> None:
    keep = Retention(HOUR_NS, 4 * HOUR_NS, DAY_NS)
    rows = [slot(number, float(number)) for number in range(360)]
    late = slot(3600 // 10 * 3)  # three hours later
    put(store, A, *rows, late)
    keep_up(store, T0 + 6 * HOUR_NS, keep)
    assert store.slots(A, 0, T0 * 2) == (late,)
    (stood,) = store.standing("s1", rows[100].at_ns)
    assert stood.resolution_ns == MINUTE_NS and stood.row.at_ns == T0 + 16 * MINUTE_NS
    assert stood.row.rtt_ms == pytest.approx(98, rel=0.02) and stood.row.sent == 18
    assert store.counts("s1", T0 + MINUTE_NS, T0 + 3 * MINUTE_NS) == {A: {SlotState.OK: 12}}
    put(store, A, slot(360 * 6))
    keep_up(store, T0 + 9 * HOUR_NS, keep)
    (stood,) = store.standing("s1", rows[100].at_ns)
    assert stood.resolution_ns == HOUR_NS and stood.row.at_ns == T0
    assert store.counts("s1", T0, T0 + 1) == {A: {SlotState.OK: 360}}
    (point,) = store.history(A, T0, T0 + MINUTE_NS, MINUTE_NS)
    assert (point.since_ns, point.until_ns, point.states) == (T0, T0 + HOUR_NS, {SlotState.OK: 360})


def test_what_is_too_old_to_be_told_apart_is_refused(store: Store, keep_up: KeepUp) -> None:
    put(store, A, slot(1), slot(360 * 30))
    keep_up(store, T0 + 40 * HOUR_NS)
    assert store.slots(A, 0, T0 * 2) == (slot(360 * 30),)
    assert store.add_slots([(A, slot(1)), (A, slot(2)), (A, slot(360 * 20))]) == 2
    keep_up(store, T0 + 40 * HOUR_NS)
    assert store.counts("s1", 0, T0 * 2) == {A: {SlotState.OK: 3}}  # 1 as a minute, 20 h and 30 h


def test_a_clock_that_ran_ahead_forgets_nothing(store: Store, keep_up: KeepUp) -> None:
    put(store, A, slot(1), slot(2))
    keep_up(store, T0 + 1000 * DAY_NS)
    assert store.slots(A, 0, T0 * 2) == (slot(1), slot(2))
    put(store, A, slot(3))
    keep_up(store, T0 + HOUR_NS)
    assert store.slots(A, 0, T0 * 2) == (slot(1), slot(2), slot(3))


def test_a_series_is_forgotten_with_its_last_hour(store: Store, keep_up: KeepUp) -> None:
    put(store, A, slot(1))
    put(store, B, slot(1), slot(2, at_ns=T0 + 403 * DAY_NS))
    keep_up(store, T0 + 403 * DAY_NS)
    assert store.series() == (B,)
    assert store.latest() == (Standing(B, slot(2, at_ns=T0 + 403 * DAY_NS)),)
    put(store, A, slot(1, at_ns=T0 + 403 * DAY_NS))
    assert len(store.latest()) == 2


def test_history_is_the_same_whatever_it_is_read_from(store: Store, keep_up: KeepUp) -> None:
    values = [5 + 3 * math.sin(number / 20) for number in range(720)]
    rows = [slot(number, values[number], lost=number % 4 == 0) for number in range(720)]
    rows[100] = slot(100, None, state=SlotState.TIMED_OUT, lost=3, failure=FailureKind.TIMEOUT)
    put(store, A, *rows)
    steps = (30_000_000_000, MINUTE_NS, 10 * MINUTE_NS, HOUR_NS, 2 * HOUR_NS, DAY_NS)
    fresh = [store.history(A, T0, T0 + 2 * HOUR_NS, step) for step in steps]
    keep_up(store, T0 + 90 * MINUTE_NS)
    assert [store.history(A, T0, T0 + 2 * HOUR_NS, step) for step in steps] == fresh
    keep_up(store, T0 + 3 * HOUR_NS)
    assert [store.history(A, T0, T0 + 2 * HOUR_NS, step) for step in steps] == fresh
    assert [len(points) for points in fresh] == [240, 120, 12, 2, 1, 1]
    minute = fresh[1][16]
    assert minute.states == {SlotState.OK: 5, SlotState.TIMED_OUT: 1}
    assert (minute.since_ns, minute.until_ns) == (T0 + 16 * MINUTE_NS, T0 + 17 * MINUTE_NS)
    assert (minute.sent, minute.lost, minute.loss_ratio) == (18, 4, 4 / 18)
    both = fresh[4][0]
    measured = [value for number, value in enumerate(values) if number != 100]
    assert both.rtt_median_ms == pytest.approx(statistics.median_low(measured), rel=0.021)
    assert both.rtt_p95_ms == pytest.approx(sorted(measured)[int(0.95 * 718)], rel=0.021)
    assert (both.rtt_min_ms, both.rtt_max_ms) == (round(min(measured), 3), round(max(measured), 3))


def test_history_says_nothing_where_nothing_was(store: Store) -> None:
    put(store, A, slot(0, None, state=SlotState.MISSED, sent=0), slot(20))
    first, second = store.history(A, T0 - HOUR_NS, T0 + HOUR_NS, MINUTE_NS)
    assert (first.states, first.rtt_median_ms, first.loss_ratio) == ({SlotState.MISSED: 1}, None, None)
    assert second.since_ns == T0 + 3 * MINUTE_NS
    assert store.history(B, T0 - HOUR_NS, T0 + HOUR_NS, MINUTE_NS) == ()
    assert store.history(A, T0 + DAY_NS, T0, MINUTE_NS) == ()


def test_a_history_has_bounds(store: Store) -> None:
    with pytest.raises(InvalidRequest, match="points"):
        store.history(A, 0, DAY_NS, 1_000_000_000)
    with pytest.raises(InvalidRequest, match="1 s"):
        store.history(A, 0, 1_000, 10)


def test_a_row_that_is_out_of_range_undoes_its_whole_batch(store: Store) -> None:
    with pytest.raises(InvalidRequest):
        store.add_slots([(A, slot(1)), (B, slot(2)._replace(rtt_ms=-1.0))])
    assert store.series() == () and store.latest() == ()
    put(store, A, slot(1))
    assert store.latest() == (Standing(A, slot(1)),)


def test_retention_grows(store: Store) -> None:
    for bad in ((1, DAY_NS, DAY_NS), (DAY_NS, HOUR_NS, DAY_NS), (DAY_NS, DAY_NS, HOUR_NS)):
        with pytest.raises(InvalidRequest):
            Retention(*bad)
