"""The numbered events of one run, for any number of readers, in bounded memory.

Batches are committed before they come here, so that only the newest stay in memory; a reader that fell
behind, or came back after its link was lost, gets the older ones from the store. A slow reader costs disk,
never memory, and holds up nobody.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from probemesh_shared.errors import StateError

from probemesh_controller.api import RunEnded, RunEvent, RunMeasured
from probemesh_controller.store.worker import AsyncStore

#: Measurements of one run that are kept in memory.
KEPT = 4096


@dataclass(slots=True)
class _Stored:
    """A batch that can be read again."""

    agent: str
    spec_index: int
    job_id: str
    seq: int
    event: RunMeasured | None


class RunLog:
    """Append-only; event numbers count from 1."""

    def __init__(self, store: AsyncStore, kept: int = KEPT) -> None:
        self._store = store
        self._kept = kept
        self._entries: list[RunEvent | _Stored] = []
        self._cached: deque[_Stored] = deque()
        self._weight = 0
        self._changed = asyncio.Event()
        self.ended = False

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def in_memory(self) -> int:
        """Measurements held in memory now."""
        return self._weight

    def append(self, event: RunEvent) -> None:
        """An event that stays in memory: the plan, ends, rows made here."""
        self._entries.append(event)
        self.ended = self.ended or isinstance(event, RunEnded)
        self._wake()

    def append_stored(self, event: RunMeasured, job_id: str, seq: int) -> None:
        """A batch that the store holds as (job_id, seq)."""
        entry = _Stored(event.agent, event.spec_index, job_id, seq, event)
        self._entries.append(entry)
        self._cached.append(entry)
        self._weight += len(event.measurements)
        while self._weight > self._kept and len(self._cached) > 1:
            self._evict(self._cached.popleft())
        self._wake()

    def _evict(self, entry: _Stored) -> None:
        if entry.event is not None:
            self._weight -= len(entry.event.measurements)
            entry.event = None

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def read(self, after: int = 0) -> AsyncGenerator[tuple[int, RunEvent], None]:
        """(number, event) of everything after number ``after``, to the run's end, waiting for what is to
        come."""
        number = max(0, after)
        while True:
            changed = self._changed
            while number < len(self._entries):
                number += 1
                yield number, await self._event(self._entries[number - 1])
            if self.ended:
                return
            await changed.wait()

    async def _event(self, entry: RunEvent | _Stored) -> RunEvent:
        if not isinstance(entry, _Stored):
            return entry
        if entry.event is not None:
            return entry.event
        rows = await self._store.call(lambda store: store.batch(entry.job_id, entry.seq))
        if rows is None:
            raise StateError(f"batch {entry.seq} of job {entry.job_id} has gone from the store")
        return RunMeasured(entry.agent, entry.spec_index, rows)
