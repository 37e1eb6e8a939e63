"""Finding records again: the newest that match, oldest first, out of files that are being written to.

Every line is judged anew: a file may have been torn by a crash, or edited. What is no record is passed over
and counted.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from probemesh_shared.audit.file import older
from probemesh_shared.audit.query import MAX_RECORDS, AuditFound, AuditQuery
from probemesh_shared.audit.record import AuditRecord, record_from_json
from probemesh_shared.errors import StateError

#: Files that are looked for, and the bytes of one that are read.
_MAX_FILES, _MAX_SIZE = 64, 64 << 20


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
