"""One SQLite file as our adapter holds it: how it is opened, its transactions, and its errors in words."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from probemesh_shared.errors import StateError

from probemesh_controller.store import schema

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 2000",
    "PRAGMA cache_size = -16000",
    "PRAGMA journal_size_limit = 67108864",
)


#: Bytes up to which a database is looked through whole when it is opened. Of a larger one the packed history
#: is left out: damage there is said when it is read, or by a backup.
WHOLE_CHECK = 1 << 30
PACKED = frozenset({"raw", "minutes", "hours"})


def state_error(error: sqlite3.Error, path: Path) -> StateError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StateError(f"the disk under {path} is full; nothing new is stored", "free some space")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StateError(
            f"{path} is damaged or no database ({error}); it was left as it is",
            "meshctl controller restore FILE puts a backup in its place, controller run --recover saves what"
            " can still be read",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StateError(f"{path} is locked by another program", "stop the other program that has it open")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY):
        return StateError(f"{path} cannot be opened for writing ({error})", "check the folder and its owner")
    return StateError(f"{path}: {error}")


@contextmanager
def in_words(path: Path) -> Iterator[None]:
    """What SQLite or the folder refuses, as :class:`StateError`."""
    try:
        yield
    except sqlite3.Error as error:
        if type(error) is sqlite3.DatabaseError and not getattr(error, "sqlite_errorcode", 0):
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise state_error(error, path) from error
    except OSError as error:
        raise StateError(f"{path} cannot be opened: {error.strerror}", "check the folder") from error


def _open(path: Path) -> sqlite3.Connection:
    # made by us, with the right mode from its first moment: SQLite copies it to the -wal and -shm files
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        db.row_factory = sqlite3.Row
        for pragma in _PRAGMAS:
            db.execute(pragma)
        _look_for_damage(db, path)
        schema.migrate(db)
    except BaseException:
        db.close()
        raise
    return db


def _look_for_damage(db: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size <= WHOLE_CHECK:
        checks = ["PRAGMA quick_check(1)"]
    else:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        checks = [f"PRAGMA quick_check('{name}')" for name in names if name not in PACKED]
    for check in checks:
        damage = db.execute(check).fetchone()[0]
        if damage != "ok":
            raise sqlite3.DatabaseError(damage)


def _open_to_ask(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA busy_timeout = 2000")
    db.execute("PRAGMA query_only = ON")
    return db


class SqliteFile:
    """WAL, synchronous NORMAL, one connection, used by one thread at a time. Raises StateError where ``path``
    cannot be used.

    ``asking``: beside one that is open already; sees what that has committed, holds it up in nothing, and
    refuses to write. To be closed before it."""

    def __init__(self, path: Path, *, asking: bool = False) -> None:
        self.path = path
        self._begin = "BEGIN" if asking else "BEGIN IMMEDIATE"
        with in_words(path):
            self._db = _open_to_ask(path) if asking else _open(path)

    @contextmanager
    def group(self) -> Iterator[None]:
        with self._guard():
            self._db.execute(self._begin)
            self._begun()
            try:
                yield
            except BaseException:
                self._rollback("ROLLBACK")
                raise
            try:
                self._db.execute("COMMIT")
            except sqlite3.Error:
                self._rollback("ROLLBACK")
                raise

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise state_error(error, self.path) from error

    def _rollback(self, *statements: str) -> None:
        # SQLite rolls back by itself on some errors (disk full among them): then nothing is left to undo
        with suppress(sqlite3.Error):
            for statement in statements:
                self._db.execute(statement)
        self._forget()

    def _begun(self) -> None:
        """A transaction has begun."""

    def _forget(self) -> None:
        """What is remembered of the file's content may have been undone."""

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One call's writes: a transaction of their own, or a savepoint inside a group."""
        if not self._db.in_transaction:
            with self.group():
                yield self._db
            return
        with self._guard():
            self._db.execute("SAVEPOINT call")
            try:
                yield self._db
            except BaseException:
                self._rollback("ROLLBACK TO call", "RELEASE call")
                raise
            self._db.execute("RELEASE call")

    def _rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._guard():
            return self._db.execute(sql, values).fetchall()

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._db.close()
