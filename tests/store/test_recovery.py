"""A damaged store is refused at the start; what can be read is saved on request, the rest is said."""

import sqlite3
from pathlib import Path

import pytest
from probemesh_controller.cli.storing import recovery_lines
from probemesh_controller.store.copies import NAME
from probemesh_controller.store.matrix.port import HOUR_NS, Retention, Series, SlotRow
from probemesh_controller.store.port import AgentRecord
from probemesh_controller.store.recovery import recover
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_shared.errors import StateError
from probemesh_shared.words import SlotState

NOW_NS = 1_795_000_000_000_000_000
T0 = 500_000 * HOUR_NS
A = Series("s", "id-0", "b:1", "tcp/1")
PAGE, HOURS, SERIES = 4096, 20, 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = SqliteStore(tmp_path / NAME)
    for number in range(300):
        store.put_agent(AgentRecord(f"id-{number:04d}", f"a{number:04d}", labels={"x": "y" * 200}))
    rows = [SlotRow(n, T0 + n * 10**10, SlotState.OK, 1.0 + n * 7 % 1000, 3, 0) for n in range(HOURS * 360)]
    for number in range(SERIES):
        store.add_slots([(A._replace(source=f"id-{number}"), row) for row in rows])
    while store.upkeep(T0 + 30 * HOUR_NS, Retention()):
        pass
    store.close()
    return tmp_path


def leaves_of(path: Path, table: str) -> list[int]:
    """Its pages, in the order of its rows."""
    db = sqlite3.connect(path)
    (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    db.close()
    return below(path.read_bytes(), root)


def below(content: bytes, page: int) -> list[int]:
    start = (page - 1) * PAGE

    def number(at: int, width: int) -> int:
        return int.from_bytes(content[start + at : start + at + width], "big")

    if content[start] in (10, 13):
        return [page]
    children = [number(number(12 + 2 * cell, 2), 4) for cell in range(number(3, 2))]
    return [leaf for child in (*children, number(8, 4)) for leaf in below(content, child)]


def spoil(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xa5" * PAGE)


def test_a_store_that_is_well_is_left_alone(folder: Path) -> None:
    before = (folder / NAME).read_bytes()
    assert recover(folder, NOW_NS) is None
    assert (folder / NAME).read_bytes() == before


@pytest.mark.parametrize("table", ["raw", "agent"])
def test_what_stands_before_and_after_the_damage_is_saved(folder: Path, table: str) -> None:
    path = folder / NAME
    leaves = leaves_of(path, table)
    assert len(leaves) > 3
    spoil(path, leaves[len(leaves) // 2])
    damaged = path.read_bytes()
    with pytest.raises(StateError, match="damaged"):
        SqliteStore(path)
    assert path.read_bytes() == damaged
    found = recover(folder, NOW_NS)
    assert found is not None
    assert found.kept.read_bytes() == damaged
    lost = {one.table: one for one in found.tables if not one.whole}
    assert set(lost) == {table}
    store = SqliteStore(path)
    agents = len(store.agents())
    hours = sum(len(store.slots(series, 0, T0 * 2)) for series in store.series()) / 360
    first = store.slots(A, 0, T0 + HOUR_NS)
    store.close()
    total = HOURS * SERIES
    if table == "raw":
        assert agents == 300 and len(first) == 360
        assert total - 2 * (total // len(leaves) + 1) <= lost["raw"].rows == hours < total
    else:
        assert hours == total and agents == lost["agent"].rows
        assert 300 - 2 * (300 // len(leaves) + 1) <= agents < 300
    text = "\n".join(recovery_lines(found))
    assert "LOST" in text and str(found.kept) in text
    assert ("revocations" in text) == (table == "agent")
    assert recover(folder, NOW_NS) is None


def test_two_damages_of_one_table_lose_only_themselves(folder: Path) -> None:
    path = folder / NAME
    leaves = leaves_of(path, "raw")
    assert len(leaves) > 6
    for leaf in (leaves[2], leaves[-3]):
        spoil(path, leaf)
    found = recover(folder, NOW_NS)
    assert found is not None
    (raw,) = [one for one in found.tables if one.table == "raw"]
    assert not raw.whole
    total = HOURS * SERIES
    assert total - 4 * (total // len(leaves) + 1) <= raw.rows < total


def test_a_new_series_does_not_get_the_history_of_one_that_was_lost(folder: Path) -> None:
    path = folder / NAME
    (leaf,) = leaves_of(path, "series")
    spoil(path, leaf)
    found = recover(folder, NOW_NS)
    assert found is not None and [one.table for one in found.tables if not one.whole] == ["series"]
    store = SqliteStore(path)
    assert store.series() == () and store.latest() == ()
    row = SlotRow(0, T0 + 21 * HOUR_NS, SlotState.OK, 1.0, 3, 0)
    store.add_slots([(A, row)])
    assert store.slots(A, 0, T0 * 2) == (row,)
    assert [point.sent for point in store.history(A, T0, T0 + 30 * HOUR_NS, HOUR_NS)] == [3]
    store.close()


def test_history_is_read_from_minutes_where_hours_were_lost(folder: Path) -> None:
    store = SqliteStore(folder / NAME)
    before = store.history(A, T0, T0 + 30 * HOUR_NS, HOUR_NS)
    assert len(before) == HOURS
    store._db.execute("DELETE FROM hours")
    assert store.history(A, T0, T0 + 30 * HOUR_NS, HOUR_NS) == before
    store.close()


def test_where_nothing_can_be_read_nothing_is_changed(folder: Path) -> None:
    spoil(folder / NAME, 1)
    damaged = (folder / NAME).read_bytes()
    with pytest.raises(StateError, match="nothing can be read"):
        recover(folder, NOW_NS)
    assert (folder / NAME).read_bytes() == damaged
    assert sorted(path.name for path in folder.iterdir()) == ["lock", NAME]


def test_a_newer_store_is_not_recovered_but_refused(folder: Path) -> None:
    db = sqlite3.connect(folder / NAME)
    db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(StateError, match="schema 999"):
        recover(folder, NOW_NS)


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no store"):
        recover(tmp_path, NOW_NS)
