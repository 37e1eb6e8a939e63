"""What only tables do: steps that stay small, damage in one hour, series made in a call that is undone."""

import sqlite3
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from probemesh_controller.store.matrix import folding
from probemesh_controller.store.matrix.port import HOUR_NS, Retention, Series, SlotRow
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.words import SlotState

KeepUp = Callable[..., int]
T0 = 500_000 * HOUR_NS
EVERY_NS = 10_000_000_000


def series(number: int) -> Series:
    return Series("s", f"id-{number}", "b:1", "tcp/1")


def rows(first: int, end: int) -> list[SlotRow]:
    return [SlotRow(n, T0 + n * EVERY_NS, SlotState.OK, 1.0 + n % 7, 3, 0) for n in range(first, end)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "store.sqlite")
    yield made
    made.close()


def count(store: SqliteStore, table: str) -> int:
    return int(store._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_a_step_handles_few_rows(store: SqliteStore) -> None:
    for number in range(100):
        store.add_slots([(series(number), row) for row in rows(0, 90)])
    before, shard = count(store, "tail"), 8 * 30
    while store.upkeep(T0 + HOUR_NS, Retention()):
        left = count(store, "tail")
        assert 0 < before - left <= folding.ROWS + shard
        before = left
    assert before == 0 and count(store, "started") == 100
    while store.upkeep(T0 + 2 * HOUR_NS, Retention()):
        left = count(store, "started")
        assert count(store, "raw") <= 100
        assert 100 - left - (100 - before) <= folding.FORGOTTEN
    assert (count(store, "started"), count(store, "raw"), count(store, "minutes")) == (0, 100, 100)


def test_a_step_forgets_few_hours(store: SqliteStore, keep_up: KeepUp) -> None:
    for number in range(250):
        store.add_slots([(series(number), row) for row in (*rows(0, 1), *rows(20 * 360, 20 * 360 + 1))])
    keep_up(store, T0 + 22 * HOUR_NS)
    assert count(store, "raw") == 500
    keep = Retention(HOUR_NS, 2 * HOUR_NS)
    sizes = [count(store, "raw") + count(store, "minutes")]
    while store.upkeep(T0 + 22 * HOUR_NS, keep):
        sizes.append(count(store, "raw") + count(store, "minutes"))
    assert [one - other for one, other in pairwise(sizes)] == [100, 100, 50, 100, 100, 50]


def test_a_late_row_has_its_hour_packed_and_rolled_up_again(store: SqliteStore, keep_up: KeepUp) -> None:
    late = rows(100, 101)
    store.add_slots([(series(1), row) for row in (*rows(0, 100), *rows(101, 360))])
    keep_up(store, T0 + 2 * HOUR_NS)
    store.add_slots([(series(1), late[0])])
    assert store.slots(series(1), 0, T0 * 2) == tuple(rows(0, 360))
    keep_up(store, T0 + 2 * HOUR_NS)
    assert (count(store, "tail"), count(store, "started"), count(store, "raw")) == (0, 0, 1)
    (point,) = store.history(series(1), T0, T0 + HOUR_NS, HOUR_NS)
    assert point.states == {SlotState.OK: 360}


def test_an_hour_that_cannot_be_read_stops_nothing_else_and_is_never_replaced(
    store: SqliteStore, keep_up: KeepUp, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        store.add_slots([(series(number), row) for row in rows(0, 90)])
    keep_up(store, T0 + HOUR_NS // 2)
    store._db.execute("UPDATE started SET body = x'01020304' WHERE id & 0xffffffff = 1")
    keep_up(store, T0 + 2 * HOUR_NS)
    assert "stays as it is" in caplog.text
    assert len(store.slots(series(2), 0, T0 * 2)) == 90
    with pytest.raises(StateError, match="cannot be read"):
        store.slots(series(1), 0, T0 * 2)
    for more in (rows(20, 21), rows(100, 101)):  # late and later ones are taken all the same
        store.add_slots([(series(1), row) for row in more])
        keep_up(store, T0 + 2 * HOUR_NS)
    ((body,),) = store._db.execute("SELECT body FROM started WHERE id & 0xffffffff = 1").fetchall()
    assert body.startswith(b"\1\2\3\4") and len(body) > 40
    assert store.upkeep(T0 + 2 * HOUR_NS, Retention()) is False


def test_series_of_a_call_that_is_undone_are_unknown_again(store: SqliteStore) -> None:
    (row,) = rows(0, 1)
    with store.group():
        store.add_slots([(series(1), row)])
        with pytest.raises(InvalidRequest):
            store.add_slots([(series(2), row), (series(3), row._replace(rtt_ms=-1.0))])
        store.add_slots([(series(4), row)])
    assert store.series() == (series(1), series(4))
    with pytest.raises(ZeroDivisionError), store.group():
        store.add_slots([(series(5), row)])
        raise ZeroDivisionError
    assert store.series() == (series(1), series(4))
    store.add_slots([(series(number), row) for number in range(6)])
    assert len(store.latest()) == 6


def test_everything_is_there_after_reopening(store: SqliteStore, keep_up: KeepUp) -> None:
    store.add_slots([(series(1), row) for row in rows(0, 3 * 360)])
    keep_up(store, T0 + 2 * HOUR_NS + HOUR_NS // 2)
    assert all(count(store, table) for table in ("tail", "started", "raw"))
    again = SqliteStore(store.path)
    assert again.slots(series(1), 0, T0 * 2) == tuple(rows(0, 3 * 360))
    assert again.latest() == store.latest()
    again.close()


def test_a_database_of_before_the_matrix_gets_its_tables(tmp_path: Path) -> None:
    from probemesh_controller.store import schema

    db = sqlite3.connect(tmp_path / "old.sqlite", isolation_level=None)
    schema.migrate(db, schema.migrations()[:3])
    db.close()
    store = SqliteStore(tmp_path / "old.sqlite")
    assert store.add_slots([(series(1), row) for row in rows(0, 2)]) == 0
    assert len(store.slots(series(1), 0, T0 * 2)) == 2
    store.close()
