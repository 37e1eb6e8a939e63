"""A store's file as a whole: copied while it is written, put back, made smaller.

What is there is never overwritten: a copy is made beside it, looked through, brought to disk, and only then
moved into its place; what stood there before keeps a name of its own. A crash leaves one or the other.
"""

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.identity.files import hand_down
from probemesh_shared.moments import time_text

from probemesh_controller.store import schema, takenback
from probemesh_controller.store.lock import StateLock
from probemesh_controller.store.sqlitefile import in_words

NAME = "store.sqlite"
#: Told how much is done, from 0 to 1.
Progress = Callable[[float], None]
_PAGES = 2000
_PIECE = 4 << 20
_POLL_S = 0.2
_BESIDE = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Copied:
    """``kept`` is where what stood in its place is now, None where nothing did. ``taken_back``: what
    was taken back since the backup and stays so; None where there was nothing to read that from."""

    bytes: int
    schema: int
    kept: Path | None = None
    taken_back: int | None = None


@dataclass(frozen=True, slots=True)
class Compacted:
    before: int
    after: int


def back_up(folder: Path, file: Path, progress: Progress) -> Copied:
    """The store in ``folder``, as it stands at this moment, into ``file`` (new, mode 0600), by SQLite's
    online backup; whether a controller runs does not matter. The copy is looked through before it gets its
    name.

    Raises InvalidRequest (the file exists), StateError (no store, damaged, foreign, newer, no room)."""
    if file.exists():
        raise InvalidRequest(f"{file} exists", "name a new file")
    with staged_file(file, ".tmp") as staged:
        with in_words(folder / NAME), _existing(folder / NAME) as source:
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # one moment from here on
            with in_words(file), connected(staged) as target:
                source.backup(
                    target,
                    pages=_PAGES,
                    progress=lambda _status, left, total: progress(1 - left / max(total, 1)),
                )
        version = _looked_through(staged, folder / NAME)
        size = settled(staged, file)
    return Copied(size, version)


def restore(folder: Path, file: Path, now_ns: int, progress: Progress) -> Copied:
    """Puts ``file`` in the store's place. What was taken back since it was made stays so
    (:mod:`~probemesh_controller.store.takenback`).

    Raises InvalidRequest (no such file, or none of ours), StateError (a controller runs, no room)."""
    with StateLock(folder), staged_file(folder / NAME, ".restoring") as staged:
        try:
            _copy(file, staged, progress)
        except OSError as error:
            raise InvalidRequest(f"{file} cannot be copied: {error.strerror}") from error
        try:
            version = _looked_through(staged, file)
        except StateError as error:
            hint = None if isinstance(error.__cause__, sqlite3.Error) else error.hint
            raise InvalidRequest(f"{file} is not put in place: {error}", hint) from error
        taken_back = None
        if (folder / NAME).exists():
            taken_back = _old_state(folder / NAME, staged)
        kept = set_aside(folder / NAME, "before-restore", now_ns)
        size = settled(staged, folder / NAME)
    return Copied(size, version, kept, taken_back)


def compact(folder: Path, progress: Progress) -> Compacted:
    """The store without the room that what was forgotten has left. Raises StateError (a controller runs, no
    store, damaged, no room for a second one beside it)."""
    path = folder / NAME
    with StateLock(folder), staged_file(path, ".compacting") as staged:
        with in_words(path), _existing(path) as source:
            source.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            pages, free, size = (
                source.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
            before, expected = pages * size, (pages - free) * size
            if shutil.disk_usage(folder).free < expected:
                raise StateError(
                    f"there is no room for a second {NAME} in {folder}: it takes up to {expected:,} bytes",
                    "free some space; nothing was changed",
                )
            with _watched(staged, expected, progress):
                source.execute("VACUUM INTO ?", (str(staged),))
        _looked_through(staged, path)
        if any(path.with_name(path.name + end).exists() for end in _BESIDE):
            raise StateError(f"{path} is open in another program", "stop it first; nothing was changed")
        return Compacted(before, settled(staged, path))


# --- files ----------------------------------------------------------------------------------------------


def set_aside(path: Path, why: str, now_ns: int) -> Path | None:
    """Gives what is at ``path``, and its log, a second name beside it; None where nothing is there. The log
    leaves its old one: beside another database it would be played into that. Raises StateError."""
    moment = time_text(now_ns)[:19].replace(":", "").replace("-", "")
    kept = path.with_name(f"{path.name}.{why}-{moment}Z")
    try:
        if kept.exists():
            raise StateError(f"{kept} exists", "move it away first")
        for end in _BESIDE:
            beside = path.with_name(path.name + end)
            if end == "-shm" or (beside.exists() and not beside.stat().st_size):
                beside.unlink(missing_ok=True)  # an index of the log, made anew whenever it is not there
            elif beside.exists():
                beside.rename(kept.with_name(kept.name + end))
        if not path.exists():
            return None
        try:
            os.link(path, kept)
        except OSError:  # no links on this file system
            shutil.copyfile(path, kept)
            kept.chmod(0o600)
    except OSError as error:
        raise StateError(f"{path} cannot be kept as {kept}: {error.strerror}") from error
    return kept


@contextmanager
def staged_file(place: Path, end: str) -> Iterator[Path]:
    """A new, empty file beside ``place``, mode 0600; it is gone afterwards, unless it was moved."""
    staged = place.with_name(place.name + end)
    try:
        for name in (staged, *(staged.with_name(staged.name + beside) for beside in _BESIDE)):
            name.unlink(missing_ok=True)
        os.close(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StateError(f"{staged} cannot be written: {error.strerror}", "check the folder") from error
    try:
        yield staged
    finally:
        for name in (staged, *(staged.with_name(staged.name + beside) for beside in _BESIDE)):
            name.unlink(missing_ok=True)


def settled(staged: Path, place: Path) -> int:
    """On disk, and at its place; its size."""
    try:
        descriptor = os.open(staged, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        size = staged.stat().st_size
        hand_down(staged, place.parent)
        staged.rename(place)
        descriptor = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StateError(f"{place} cannot be written: {error.strerror}") from error
    return size


def _copy(file: Path, staged: Path, progress: Progress) -> None:
    """With its log, where it is a plain copy of a database in use. ``file`` is only read."""
    size, done = max(file.stat().st_size, 1), 0
    with file.open("rb") as source, staged.open("wb") as target:
        while piece := source.read(_PIECE):
            target.write(piece)
            done += len(piece)
            progress(done / size)
    log = file.with_name(file.name + "-wal")
    if log.exists():
        shutil.copyfile(log, staged.with_name(staged.name + "-wal"))


# --- databases ------------------------------------------------------------------------------------------


@contextmanager
def connected(path: Path, mode: str = "rw") -> Iterator[sqlite3.Connection]:
    """``ro``: nothing is written, the log is not played in."""
    db = sqlite3.connect(f"file:{quote(str(path))}?mode={mode}", uri=True, isolation_level=None)
    try:
        db.execute("PRAGMA busy_timeout = 5000")
        yield db
    finally:
        db.close()


def _old_state(path: Path, staged: Path) -> int | None:
    """What was taken back by what stands at ``path``, into ``staged``; the log of the former is played in."""
    try:
        with connected(path) as old:
            old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            with connected(staged) as new:
                schema.migrate(new)
                return takenback.carry_over(old, new)
    except (sqlite3.Error, StateError):  # damaged, or newer: that may be why it is replaced
        return None


@contextmanager
def _existing(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.exists():
        raise StateError(f"there is no store at {path}", "name the controller's --state")
    with connected(path) as db:
        schema.version_of(db, schema.migrations()[-1][0])
        yield db


def _looked_through(staged: Path, named: Path) -> int:
    """The schema of a copy that is whole and ours, one file without a log. Raises StateError in the name of
    ``named``."""
    with in_words(named), connected(staged) as db:
        version = schema.version_of(db, schema.migrations()[-1][0])
        if version == 0:
            raise StateError(f"{named} is empty")
        damage = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if damage != "ok":
            raise sqlite3.DatabaseError(damage)
        db.execute("PRAGMA journal_mode = DELETE").fetchone()
    return version


@contextmanager
def _watched(path: Path, expected: int, progress: Progress) -> Iterator[None]:
    """Tells how far a file has grown, from a thread of its own."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_POLL_S):
            with suppress(OSError):
                progress(min(1.0, path.stat().st_size / max(expected, 1)))

    thread = threading.Thread(target=watch, name="probemesh-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
