"""One controller at a time on one state directory: an flock that the kernel gives back when the process
dies."""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from probemesh_shared.errors import StateError


class StateLock:
    """Holds ``folder``/lock from construction to ``close``; raises StateError where another process holds
    it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock"
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"{self.path} cannot be opened: {error.strerror}", "check the folder") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 20, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            raise StateError(
                f"another controller{f' (process {holder})' if holder.isdigit() else ''} runs on {folder}",
                "stop it first, or give this one its own --state",
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """The file stays: deleting it would let two processes hold locks on two files of one name."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> "StateLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
