"""Where frames wait for their acknowledgement: the port, and the adapter that keeps them in memory."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from probemesh_shared.session.frames import JobEnd, ResultBatch

#: What waits in a spool, with its size on the wire in bytes (an upper bound).
Entry = tuple[ResultBatch | JobEnd, int]


class Spool(Protocol):
    """Frames by job, in the order of their numbers, which have no gaps."""

    @property
    def size(self) -> int:
        """Bytes held."""

    def append(self, frame: ResultBatch | JobEnd, size: int) -> None: ...

    def drop_through(self, job_id: str, seq: int) -> None:
        """Forget the job's frames up to and including ``seq``; nothing where there are none."""

    def pending(self, job_id: str, first: int) -> Iterator[Entry]:
        """The job's frames from number ``first`` on."""


class MemorySpool:
    """For jobs on demand: lost with the process, as the jobs are."""

    def __init__(self) -> None:
        self._jobs: dict[str, deque[Entry]] = {}
        self._size = 0

    @property
    def size(self) -> int:
        return self._size

    def append(self, frame: ResultBatch | JobEnd, size: int) -> None:
        self._jobs.setdefault(frame.job_id, deque()).append((frame, size))
        self._size += size

    def drop_through(self, job_id: str, seq: int) -> None:
        entries = self._jobs.get(job_id)
        if entries is None:
            return
        while entries and entries[0][0].seq <= seq:
            self._size -= entries.popleft()[1]
        if not entries:
            del self._jobs[job_id]

    def pending(self, job_id: str, first: int) -> Iterator[Entry]:
        entries = self._jobs.get(job_id)
        if not entries:
            return iter(())
        return islice(entries, max(0, first - entries[0][0].seq), None)
