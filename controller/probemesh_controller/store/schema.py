"""The numbered migrations of the SQLite store, and the rule by which they are applied.

``PRAGMA user_version`` holds the number of the newest migration applied. Each runs with its number in one
transaction, so a process that dies in it leaves the database as it was. A database written by a newer program
is refused; so is one that is not ours (``application_id``).
"""

import sqlite3
from importlib import resources

from probemesh_shared.errors import StateError

#: "PrMs", so that ``file`` and we can tell our database from another program's.
APPLICATION_ID = 0x50724D73


def migrations() -> tuple[tuple[int, str], ...]:
    """(number, SQL) of every migration, from 1, without gaps."""
    folder = resources.files("probemesh_controller.store") / "migrations"
    found = sorted((entry.name, entry) for entry in folder.iterdir() if entry.name.endswith(".sql"))
    numbered = tuple((int(name[:4]), entry.read_text(encoding="utf-8")) for name, entry in found)
    if [number for number, _ in numbered] != list(range(1, len(numbered) + 1)):
        raise StateError("the program's own migrations are not numbered 1, 2, 3 …")
    return numbered


def _pragma(db: sqlite3.Connection, name: str) -> int:
    (value,) = db.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _is_empty(db: sqlite3.Connection) -> bool:
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return int(tables) == 0


def migrate(db: sqlite3.Connection, steps: tuple[tuple[int, str], ...] | None = None) -> int:
    """Bring ``db`` (in autocommit mode) to the newest schema; returns its number.

    Raises StateError for a newer schema or a foreign database, sqlite3.Error for what SQLite says.
    """
    steps = migrations() if steps is None else steps
    for number, sql in steps[version_of(db, steps[-1][0]) :]:
        _apply(db, number, sql)
    return steps[-1][0]


def version_of(db: sqlite3.Connection, newest: int) -> int:
    """Of the schema; 0 for an empty database. Raises as :func:`migrate` does."""
    version = _pragma(db, "user_version")
    if _pragma(db, "application_id") != APPLICATION_ID and not _is_empty(db):
        raise StateError("this database was not made by probemesh", "move it away, or name another --state")
    if version > newest:
        raise StateError(
            f"the database has schema {version}, this program knows up to {newest}",
            "run the newer program that wrote it, or restore a backup made before the upgrade",
        )
    return version


def _apply(db: sqlite3.Connection, number: int, sql: str) -> None:
    try:
        db.executescript(
            f"BEGIN IMMEDIATE;\n{sql}\n"
            f"PRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {number};\nCOMMIT;"
        )
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
