"""What only a file can do: be damaged, newer, foreign, full, half migrated, or somebody else's."""

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from probemesh_controller.store import schema
from probemesh_controller.store.lock import StateLock
from probemesh_controller.store.port import AgentRecord
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_shared.errors import StateError
from probemesh_shared.model import Measurement
from probemesh_shared.words import Kind, Outcome


def test_what_was_stored_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path)
    store.put_agent(AgentRecord("id-1", "berlin-1"))
    store.close()
    again = SqliteStore(path)
    assert [record.name for record in again.agents()] == ["berlin-1"]
    again.close()


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = SqliteStore(tmp_path / "store.sqlite")
        store.put_agent(AgentRecord("id-1", "berlin-1"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(old)
    assert set(modes.values()) == {0o600}, modes


def test_it_runs_in_wal_with_synchronous_normal(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    db = store._db
    assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert db.execute("PRAGMA synchronous").fetchone()[0] == 1
    store.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    SqliteStore(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(StateError, match="schema 999"):
        SqliteStore(path)
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone()[0] == 999
    db.close()


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(StateError, match="not made by probemesh"):
        SqliteStore(path)


@pytest.mark.parametrize("where", [0, 4096 + 100])
def test_a_damaged_database_is_refused_and_never_replaced(tmp_path: Path, where: int) -> None:
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path)
    for number in range(200):
        store.put_agent(AgentRecord(f"id-{number}", f"a{number}", labels={"x": "y" * 200}))
    store.close()
    with path.open("r+b") as file:
        file.seek(where)
        file.write(b"\xa5" * 3000)
    damaged = path.read_bytes()
    with pytest.raises(StateError, match=r"damaged|no database"):
        SqliteStore(path)
    assert path.read_bytes() == damaged


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be opened"):
        SqliteStore(tmp_path / "missing" / "store.sqlite")


def test_a_migration_that_fails_leaves_the_database_as_it_was() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    good = (1, "CREATE TABLE one (x);")
    assert schema.migrate(db, (good,)) == 1
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(db, (good, (2, "CREATE TABLE two (x); CREATE TABLE one (x);")))
    names = {row[0] for row in db.execute("SELECT name FROM sqlite_schema")}
    assert names == {"one"}
    assert db.execute("PRAGMA user_version").fetchone()[0] == 1
    assert schema.migrate(db, (good, (2, "CREATE TABLE two (x);"))) == 2
    db.close()


def test_operators_of_an_earlier_version_are_taken_over() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    first, *later = schema.migrations()
    schema.migrate(db, (first,))
    rows = [("01", "operator", "bob", 5), ("02", "admin", "bob", 9), ("03", "agent", "4f", 9)]
    for serial, role, subject, end in rows:
        db.execute("INSERT INTO certificate VALUES (?, ?, ?, ?, ?, 0)", (serial, role, subject, subject, end))
    schema.migrate(db, (first, *later))
    assert db.execute("SELECT name, role, revoked FROM operator").fetchall() == [("bob", "admin", 0)]
    assert db.execute("SELECT DISTINCT issuer FROM certificate").fetchall() == [(None,)]
    db.close()


def test_a_full_disk_fails_the_call_and_keeps_what_was_there(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    store.put_agent(AgentRecord("id-1", "berlin-1"))
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    row = Measurement(Kind.TCP, 0, "db:5432", None, 5432, Outcome.OK, 1, log=("x" * 400,) * 20)
    with pytest.raises(StateError, match="full"):
        store.add_measurements("r", "id-1", "j", 0, 0, [row] * 20)
    assert [record.name for record in store.agents()] == ["berlin-1"]
    store._db.execute("PRAGMA max_page_count = 100000")
    assert store.add_measurements("r", "id-1", "j", 0, 0, [row] * 20)
    store.close()


def test_a_second_controller_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with StateLock(tmp_path):
        program = (
            "import sys; from pathlib import Path\n"
            "from probemesh_controller.store.lock import StateLock\n"
            "from probemesh_shared.errors import StateError\n"
            "try: StateLock(Path(sys.argv[1]))\n"
            "except StateError as e: print(e)"
        )
        said = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
        )
        assert f"another controller (process {os.getpid()}) runs on" in said.stdout
    StateLock(tmp_path).close()
