"""Which policy holds right now: a fixed one, or a file's, read again when it changes or when told to."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from probemesh_shared.errors import StateError

from probemesh_agent.net.policy import Policy

logger = logging.getLogger(__name__)

#: Told after every reading of a running agent: whether another policy holds now, and what was wrong with the
#: file, None where it was good.
Told = Callable[[bool, str | None], None]


class PolicySource(Protocol):
    @property
    def current(self) -> Policy: ...

    def reload(self) -> bool:
        """Reads it again where there is something to read; True where what was read holds now."""


class FixedPolicy:
    def __init__(self, policy: Policy) -> None:
        self.current = policy

    def reload(self) -> bool:
        logger.info("no policy file was given: what holds is %s", self.current.source)
        return True


class ReloadingPolicy:
    """The policy of a file. The first reading must succeed (:class:`StateError` otherwise: the agent does
    not probe); after that a file that went missing, unreadable or malformed leaves the last good policy in
    force, and ``problem`` says so."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _stamp(path)
        self._policy = Policy.load(path)
        self.problem: str | None = None
        self.told: Told = lambda changed, problem: None

    @property
    def current(self) -> Policy:
        """Costs one stat(2); the file is read when its inode, size or time of change differ from the last
        look."""
        if _stamp(self._path) != self._seen:
            self.reload()
        return self._policy

    def reload(self) -> bool:
        before, self._seen = self._policy, _stamp(self._path)
        try:
            self._policy = Policy.load(self._path)
            self.problem = None
            logger.info("%s was read again", self._policy.source)
        except StateError as error:
            self.problem = f"{error}; the last good one stays in force"
            logger.warning("%s", self.problem)
        self.told(self._policy != before, self.problem)
        return self.problem is None


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        seen = os.stat(path)  # noqa: PTH116 - on the hot path
    except OSError:
        return None
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns
