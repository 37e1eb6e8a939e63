"""``audit.jsonl`` and what it was before: appended to, 0600, and never larger than it may become.

Blocking, for one thread at a time. Lines are whole or not there: what a crash or a full disk left of one is
ended before the next begins.
"""

import contextlib
import os
import stat
from itertools import pairwise
from pathlib import Path

from probemesh_shared.identity.files import hand_down, private_folder

NAME = "audit.jsonl"
#: Of the controller: bytes of one file, and how many there are.
SIZE, FILES = 8 << 20, 8
#: Of an agent.
AGENT_SIZE, AGENT_FILES = 1 << 20, 4


class AuditFile:
    """``path``, then ``path.1``, the newest of the older ones, to ``path.FILES-1``."""

    def __init__(self, path: Path, size: int = SIZE, files: int = FILES) -> None:
        self.path = path
        self._limit = size
        self._files = files
        self._descriptor: int | None = None
        self._written = 0
        self._torn = False

    def append(self, line: bytes) -> None:
        """One line with its end. Raises ``OSError`` where it is not there, or not whole."""
        descriptor = self._opened()
        if self._written and self._written + len(line) > self._limit:
            self._rotate()
            descriptor = self._opened()
        left = memoryview(b"\n" + line if self._torn else line)
        while left:
            written = os.write(descriptor, left)
            self._written += written
            left = left[written:]
            self._torn = bool(left)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _opened(self) -> int:
        """The file that is called so now: somebody may have moved or removed ours."""
        if self._descriptor is not None and _same(self._descriptor, self.path):
            return self._descriptor
        self.close()
        private_folder(self.path.parent)
        fresh = not self.path.exists()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o600)
        try:
            self._written, self._torn = _examined(descriptor)
            if fresh:
                hand_down(self.path, self.path.parent)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return descriptor

    def _rotate(self) -> None:
        self.close()
        names = [self.path, *(older(self.path, number) for number in range(1, self._files))]
        for newer, older_one in reversed(list(pairwise(names))):
            with contextlib.suppress(FileNotFoundError):
                newer.rename(older_one)
        if self._files == 1:
            self.path.unlink()


def older(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def _examined(descriptor: int) -> tuple[int, bool]:
    """Its size, and whether its last line was left unfinished; it is ours alone from now on."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{NAME} is no file")
    if stat.S_IMODE(found.st_mode) & 0o077:
        os.fchmod(descriptor, 0o600)
    return found.st_size, bool(found.st_size) and os.pread(descriptor, 1, found.st_size - 1) != b"\n"
