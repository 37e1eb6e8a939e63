"""What can still be read of a damaged store, in a new one; and what cannot, in words.

Every table is read from its first row on until the damage, from its last row back until the damage, and what
lies between by halves. The damaged file keeps a name beside the new one and is never written.
"""

import sqlite3
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from probemesh_shared.errors import StateError

from probemesh_controller.store import schema
from probemesh_controller.store.copies import NAME, connected, set_aside, settled, staged_file
from probemesh_controller.store.lock import StateLock
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_controller.store.sqlitefile import in_words

#: Ranges of a table's middle that are tried.
_TRIES = 1000
_SERIES = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Salvaged:
    """One table. ``whole``: nothing of it was lost."""

    table: str
    rows: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Recovery:
    """``damage`` in SQLite's words; ``kept`` is where the damaged file is now."""

    damage: str
    tables: tuple[Salvaged, ...]
    kept: Path


def recover(folder: Path, now_ns: int) -> Recovery | None:
    """Puts a new store in the place of a damaged one; None where nothing is wrong with it.

    Raises StateError: a controller runs, there is no store, it is foreign or newer, or so damaged that
    nothing can be read."""
    path = folder / NAME
    with StateLock(folder):
        if not path.exists():
            raise StateError(f"there is no store at {path}", "meshctl controller restore FILE")
        damage = _damage(path)
        if damage is None:
            return None
        with staged_file(path, ".recovering") as staged:
            tables = _salvage(path, staged)
            kept = set_aside(path, "damaged", now_ns)
            assert kept is not None
            settled(staged, path)
        return Recovery(damage, tables, kept)


def _damage(path: Path) -> str | None:
    """Raises StateError for what is wrong otherwise."""
    try:
        with in_words(path), connected(path, "ro") as db:
            schema.version_of(db, schema.migrations()[-1][0])
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                return str(found)
        SqliteStore(path).close()
    except StateError as error:
        if isinstance(error.__cause__, sqlite3.DatabaseError) and "damaged" in str(error):
            return str(error.__cause__)
        raise
    return None


def _salvage(path: Path, staged: Path) -> tuple[Salvaged, ...]:
    with in_words(staged), connected(staged) as new:
        try:
            with connected(path, "ro") as old:
                steps = schema.migrations()
                version = schema.version_of(old, steps[-1][0])
                tables = _tables(old)
                schema.migrate(new, steps[:version])
                saved = tuple(_Table(old, new, name).save() for name in _tables(new) if name in tables)
                _spare_numbers(new)
                return saved
        except sqlite3.Error as error:
            raise StateError(
                f"nothing can be read of {path} ({error}); it was left as it is",
                "meshctl controller restore FILE puts a backup in its place",
            ) from error


def _tables(db: sqlite3.Connection) -> list[str]:
    rows = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return [name for (name,) in rows.fetchall()]


def _spare_numbers(new: sqlite3.Connection) -> None:
    """Numbers of series that were lost are not given to others: their history would be taken for theirs."""
    if "series" not in _tables(new):
        return
    sources = [f"SELECT max(id & {_SERIES}) FROM {name}" for name in ("started", "raw", "minutes", "hours")]  # noqa: S608
    sources += [f"SELECT max({key}) FROM {name}" for name, key in (("latest", "series"), ("tail", "series"))]  # noqa: S608
    numbers = [number for (number,) in new.execute(" UNION ALL ".join(sources)) if number is not None]
    new.execute("DELETE FROM sqlite_sequence WHERE name = 'series' AND seq < ?", (max(numbers, default=0),))
    new.execute(
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'series', ? "
        "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'series')",
        (max(numbers, default=0),),
    )


class _Table:
    """Of one table as much as can be read."""

    def __init__(self, old: sqlite3.Connection, new: sqlite3.Connection, name: str) -> None:
        self._old = old
        self._new = new
        self._name = name
        info = new.execute(f"PRAGMA table_info({name})").fetchall()
        self._columns = [row[1] for row in info]
        keys = [row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]]
        self._by_number = not _without_rowid(new, name)
        self._order = ["rowid"] if self._by_number else keys

    def save(self) -> Salvaged:
        self._new.execute("BEGIN")
        self._new.execute(f"DELETE FROM {self._name}")  # noqa: S608 (what the migrations put there)
        first, whole = self._read("", "ASC")
        if not whole:
            last, _ = self._read("", "DESC")
            if self._by_number and first is not None and last is not None:
                self._between(first, last)
        self._new.execute("COMMIT")
        ((rows,),) = self._new.execute(f"SELECT count(*) FROM {self._name}").fetchall()  # noqa: S608
        return Salvaged(self._name, rows, whole)

    def _between(self, low: int, high: int) -> None:
        """Rows with numbers between the two, which could be read. Large ranges first: those within the damage
        all fail, down to the last."""
        todo = deque([(low, high)])
        for _ in range(_TRIES):
            if not todo:
                return
            low, high = todo.popleft()
            last, whole = self._read(f"WHERE rowid > {low} AND rowid < {high}", "ASC")
            start = low if last is None else last
            if not whole and high - start > 2:  # else what cannot be read is one row
                middle = (start + high) // 2
                todo += [(start, middle + 1), (middle, high)]

    def _read(self, where: str, direction: str) -> tuple[int | None, bool]:
        """The number of the last row that was read, and whether the damage was not met."""
        order = ", ".join(f"{key} {direction}" for key in self._order)
        number = "rowid" if self._by_number else "0"
        names = ", ".join(self._columns)
        sql = f"SELECT {number}, {names} FROM {self._name} {where} ORDER BY {order}"  # noqa: S608
        last, rows = None, self._rows(sql)
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return last, True
            except sqlite3.Error:
                return last, False
            last = row[0]
            self._keep(row)

    def _rows(self, sql: str) -> Iterator[tuple[int, ...]]:
        yield from self._old.execute(sql)

    def _keep(self, row: tuple[int, ...]) -> None:
        values = row if self._by_number else row[1:]
        names = ", ".join([*(["rowid"] if self._by_number else []), *self._columns])
        marks = ", ".join("?" * len(values))
        self._new.execute(
            f"INSERT OR IGNORE INTO {self._name} ({names}) VALUES ({marks})",  # noqa: S608
            values,
        )


def _without_rowid(db: sqlite3.Connection, name: str) -> bool:
    try:
        db.execute(f"SELECT rowid FROM {name} LIMIT 1").fetchone()  # noqa: S608
    except sqlite3.OperationalError:
        return True
    return False
