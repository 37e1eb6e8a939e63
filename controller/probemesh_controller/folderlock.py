"""One process at a time writes an identity's folder: meshctl anywhere, and a controller on its own host."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from probemesh_shared.errors import StateError
from probemesh_shared.identity.files import hand_down

FILE = ".renewing"


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """A descriptor for :func:`taken`; closing it lets the lock go. Raises :class:`StateError`."""
    path = folder / FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        hand_down(path, folder)
    except OSError as error:
        raise StateError(
            f"the certificate in {folder} cannot be renewed: {error.strerror}", f"who owns {folder}?"
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def taken(descriptor: int) -> bool:
    """Whether the lock is ours now."""
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
