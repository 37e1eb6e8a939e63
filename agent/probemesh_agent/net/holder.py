"""Which policy holds right now: a fixed one, or a file's, read again when it changes."""

import os
from pathlib import Path
from typing import Protocol

from probemesh_shared.errors import StateError

from probemesh_agent.net.policy import Policy


class PolicySource(Protocol):
    @property
    def current(self) -> Policy: ...


class FixedPolicy:
    def __init__(self, policy: Policy) -> None:
        self.current = policy


class ReloadingPolicy:
    """The policy of a file. The first reading must succeed (:class:`StateError` otherwise: the agent does
    not probe); after that a file that went missing, unreadable or malformed leaves the last good policy in
    force, and ``problem`` says so."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _stamp(path)
        self._policy = Policy.load(path)
        self.problem: str | None = None

    @property
    def current(self) -> Policy:
        """Costs one stat(2); the file is read when its inode, size or time of change differ from the last
        look."""
        stamp = _stamp(self._path)
        if stamp != self._seen:
            self._seen = stamp
            self.reload()
        return self._policy

    def reload(self) -> bool:
        """True where the file is good, and now in force."""
        try:
            self._policy = Policy.load(self._path)
        except StateError as error:
            self.problem = f"{error}; the last good one stays in force"
            return False
        self.problem = None
        return True


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        seen = os.stat(path)  # noqa: PTH116 - on the hot path
    except OSError:
        return None
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns
