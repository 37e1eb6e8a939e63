"""The ways back to the owners of jobs: one outbox each, which outlives its links for a while.

An owner is an identity and one process of it (``instance`` in its hello): two laptops of one operator, or a
controller before and after its restart, are different owners.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from probemesh_shared.errors import Busy
from probemesh_shared.model import Measurement
from probemesh_shared.session.driver import Wake
from probemesh_shared.session.frames import JobStatus, OpenJob
from probemesh_shared.session.outbox import WINDOW, Outbox
from probemesh_shared.words import Kind

from probemesh_agent.env import Clock
from probemesh_agent.runner import Runner

logger = logging.getLogger(__name__)

KEPT_S = 30.0
#: A watch holds sockets open for somebody: where nobody can look, it ends sooner.
WATCHED_S = 10.0
#: And so many processes of one identity: no single one takes all the places there are.
MAX_OWNERS, MAX_OF_ONE = 64, 16
#: Bytes that may wait for acknowledgements before their owner gets nothing more measured: of all owners
#: together, each its share.
MOST_WAITING = 8 << 20


class _Outbox(Outbox):
    """Says when there is room again. ``share`` tells how many bytes may wait at present."""

    def __init__(self, share: Callable[[], int]) -> None:
        super().__init__()
        self._share = share
        self.freed = asyncio.Event()

    @property
    def room(self) -> bool:
        return self.waiting < self._share()

    def acknowledge(self, job_id: str, seq: int) -> None:
        super().acknowledge(job_id, seq)
        self.freed.set()

    def resume(self, open_jobs: Iterable[OpenJob]) -> tuple[tuple[str, ...], tuple[OpenJob, ...]]:
        resumed = super().resume(open_jobs)
        self.freed.set()
        return resumed


class OutboxLane:
    """A lane over an outbox; ``wake`` is that of the live link, if there is one."""

    def __init__(self, identity: str, instance: str, share: Callable[[], int]) -> None:
        self.identity = identity
        self.owner = f"{identity}/{instance}"
        self.outbox = _Outbox(share)
        self.wake: Wake | None = None
        self.idle = asyncio.Event()
        self.idle.set()
        self.expiry: asyncio.Task[None] | None = None

    @property
    def is_done(self) -> bool:
        """It has gone, and left nothing behind."""
        return self.wake is None and self.outbox.empty and not self.outbox.running

    async def room(self) -> None:
        while not self.outbox.room:
            self.outbox.freed.clear()
            await self.outbox.freed.wait()

    def add(self, job_id: str, measurements: tuple[Measurement, ...]) -> None:
        self.outbox.add(job_id, measurements)
        self._poke()

    def end(self, job_id: str, status: JobStatus, detail: str) -> None:
        self.outbox.end(job_id, status, detail)
        self._poke()

    def _poke(self) -> None:
        if self.wake is not None:
            self.wake.poke()


class Lanes:
    """All owners of this process."""

    def __init__(self, runner: Runner, clock: Clock, kept_s: float = KEPT_S) -> None:
        self._runner = runner
        self._clock = clock
        self._kept_s = kept_s
        self._lanes: dict[str, OutboxLane] = {}

    def __len__(self) -> int:
        return len(self._lanes)

    def _share(self) -> int:
        return max(WINDOW, MOST_WAITING // max(1, len(self._lanes)))

    @asynccontextmanager
    async def attached(
        self, identity: str, instance: str, wake: Wake, alone: bool = False
    ) -> AsyncIterator[OutboxLane]:
        """The owner's lane, for as long as a link lives. An older link of the same owner is closed first.
        There is always a place for who is ``alone``: the agent's own controller.

        Raises :class:`Busy` where there are too many owners."""
        owner = f"{identity}/{instance}"
        lane = self._lanes.get(owner)
        if lane is None:
            if not alone:
                self._make_room(identity)
            lane = self._lanes[owner] = OutboxLane(identity, instance, self._share)
        while lane.wake is not None:
            lane.wake.close()
            await lane.idle.wait()
        if lane.expiry is not None:
            lane.expiry.cancel()
        lane.wake = wake
        lane.idle.clear()
        self._lanes[owner] = lane
        try:
            yield lane
        finally:
            lane.wake = None
            lane.idle.set()
            lane.expiry = asyncio.create_task(self._expire(lane), name=f"expiry of {owner}")

    def _make_room(self, identity: str) -> None:
        """Whoever has gone makes room for others of his own, those first that went first; and for all where
        nothing waits for him."""
        mine = [lane for lane in self._lanes.values() if lane.identity == identity]
        gone = [lane for lane in mine if lane.wake is None]
        for lane in gone[: max(0, len(mine) - MAX_OF_ONE + 1)]:
            self._drop(lane, "its place was taken by others of the same identity")
        if len(self._lanes) >= MAX_OWNERS:
            for lane in [one for one in self._lanes.values() if one.is_done]:
                self._drop(lane, "its place is needed")
        if len(mine) - len(gone) >= MAX_OF_ONE or len(self._lanes) >= MAX_OWNERS:
            raise Busy("this agent serves too many at once", "try again later")

    def forget_others(self, identity: str, owner: str) -> None:
        """A controller that restarted has forgotten what it asked for: stop its former instances' jobs."""
        for lane in list(self._lanes.values()):
            if lane.owner != owner and lane.identity == identity and lane.wake is None:
                self._drop(lane, "the controller was restarted")

    async def close(self) -> None:
        """Ends the timers; to be called when no link is left."""
        timers = [lane.expiry for lane in self._lanes.values() if lane.expiry is not None]
        self._lanes.clear()
        for timer in timers:
            timer.cancel()
        await asyncio.gather(*timers, return_exceptions=True)

    async def _expire(self, lane: OutboxLane) -> None:
        watched_s = min(WATCHED_S, self._kept_s)
        await self._clock.sleep(watched_s)
        reason = f"the link did not come back within {watched_s:g} s"
        self._runner.cancel_owner(lane.owner, reason, Kind.WATCH)
        await self._clock.sleep(self._kept_s - watched_s)
        self._drop(lane, f"the link did not come back within {self._kept_s:g} s")

    def _drop(self, lane: OutboxLane, reason: str) -> None:
        if self._lanes.get(lane.owner) is not lane or lane.wake is not None:
            return
        del self._lanes[lane.owner]
        if lane.outbox.running or not lane.outbox.empty:
            logger.warning("results for %s are dropped: %s", lane.owner, reason)
        self._runner.cancel_owner(lane.owner, reason)
        if lane.expiry is not None and lane.expiry is not asyncio.current_task():
            lane.expiry.cancel()
