"""stdin, stdout and stderr of this process: always there, and honest about what could not be written.

One that whoever started us had closed is opened on nothing: else the next socket or file would take its
number.
"""

import errno
import io
import os
import sys
from typing import Any, TextIO

HINT = "give it another place, or >/dev/null where the exit code alone is wanted"


class CannotWrite(Exception):
    """What was to be printed could not be. No ``OSError``: nobody who expects one of a file or a socket is to
    take it for theirs. ``reader_gone``: who read us has what was wanted, and left."""

    def __init__(self, error: OSError) -> None:
        self.reader_gone = error.errno == errno.EPIPE
        closed = error.errno == errno.EBADF
        super().__init__(f"stdout cannot be written: {'it is closed' if closed else error.strerror or error}")


class _Printed(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise CannotWrite(error) from None


class _Said(io.FileIO):
    """Notes and errors that nobody can read change nothing."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def guard() -> None:
    """Once, before anything is printed or opened."""
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    sys.stdout = _guarded(_Printed, sys.stdout, os.O_RDONLY)  # to be read only: writing fails
    sys.stderr = _guarded(_Said, sys.stderr, os.O_WRONLY)


def _guarded(kind: type[io.FileIO], before: TextIO | None, nothing: int) -> TextIO:
    if before is None:
        return io.TextIOWrapper(io.BufferedWriter(kind(os.open(os.devnull, nothing), "w")), "utf-8")
    return io.TextIOWrapper(
        io.BufferedWriter(kind(before.fileno(), "w", closefd=False)),
        before.encoding,
        before.errors,
        line_buffering=getattr(before, "line_buffering", False),
        write_through=getattr(before, "write_through", False),
    )


def give_up() -> None:
    """What is still waiting to be printed goes nowhere: the interpreter would complain of it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
