"""Finding records again: the newest that match, oldest first, out of files that are being written to.

Every line is judged anew: a file may have been torn by a crash, or edited. What is no record is passed over
and counted.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

from probemesh_shared.audit.file import older
from probemesh_shared.audit.record import AuditRecord, record_from_json
from probemesh_shared.errors import StateError
from probemesh_shared.words import AuditOutcome

MAX_RECORDS = 10_000
#: Files that are looked for, and the bytes of one that are read.
_MAX_FILES, _MAX_SIZE = 64, 64 << 20


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """What is set must match. ``who`` (``operator/alice``, ``alice``, an id), ``agent`` and ``event`` may be
    globs; ``agent`` is whoever acted, was acted upon or took part; ``limit``: the newest so many."""

    since_ns: int | None = None
    until_ns: int | None = None
    who: str | None = None
    agent: str | None = None
    event: str | None = None
    outcome: AuditOutcome | None = None
    run: str | None = None
    limit: int = 1000

    def matches(self, record: AuditRecord) -> bool:
        return (
            (self.since_ns is None or record.at_ns >= self.since_ns)
            and (self.until_ns is None or record.at_ns < self.until_ns)
            and self.outcome in (None, record.outcome)
            and (self.who is None or _any(self.who, (*_names(record.who), record.who_id)))
            and (self.agent is None or _any(self.agent, (record.agent, *record.agents, *_agent(record))))
            and (self.event is None or fnmatchcase(record.event, self.event))
            and (self.run is None or record.run == self.run)
        )


def _names(who: str) -> tuple[str, ...]:
    return who, who.partition("/")[2]


def _agent(record: AuditRecord) -> tuple[str, ...]:
    role, _, name = record.who.partition("/")
    return (name, record.who_id) if role == "agent" else ()


def _any(glob: str, names: tuple[str, ...]) -> bool:
    return any(name and fnmatchcase(name, glob) for name in names)


@dataclass(frozen=True, slots=True)
class AuditFound:
    """``records`` oldest first; ``more``: there are older ones that match; ``unreadable`` lines were met;
    ``lost`` could not be written."""

    records: tuple[AuditRecord, ...]
    more: bool = False
    unreadable: int = 0
    lost: int = 0


def search(path: Path, query: AuditQuery) -> AuditFound:
    """In ``path`` and the older files beside it; none at all is no error. Blocking. Raises
    :class:`StateError`."""
    limit = max(1, min(query.limit, MAX_RECORDS))
    found: list[AuditRecord] = []
    unreadable, more = 0, False
    with contextlib.ExitStack() as held:
        for line in _lines_backwards(_opened(path, held)):
            record = _read(line)
            if record is None:
                unreadable += 1
            elif query.matches(record):
                if len(found) == limit:
                    more = True
                    break
                found.append(record)
    return AuditFound(tuple(reversed(found)), more, unreadable)


def _opened(path: Path, held: contextlib.ExitStack) -> list[BinaryIO]:
    """All of them, the newest first, before any is read: they may be renamed meanwhile."""
    files: list[BinaryIO] = []
    for name in (path, *(older(path, number) for number in range(1, _MAX_FILES))):
        try:
            files.append(held.enter_context(name.open("rb")))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StateError(f"{name} cannot be read: {error.strerror}") from error
    return files


def _lines_backwards(files: list[BinaryIO]) -> Iterator[bytes]:
    for file in files:
        yield from reversed(file.read(_MAX_SIZE).splitlines())


def _read(line: bytes) -> AuditRecord | None:
    try:
        return record_from_json(json.loads(line))
    except (ValueError, RecursionError):
        return None
