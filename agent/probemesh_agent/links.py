"""One link, whoever dialled: hello, the owner's lane, a session, jobs to the runner; and all live links."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from probemesh_shared.audit.record import NOBODY, Caller
from probemesh_shared.errors import MeshError
from probemesh_shared.session.driver import FrameStream, LinkEnd, Wake, Why, drive
from probemesh_shared.session.events import (
    CancelArrived,
    ClockMeasured,
    Event,
    JobArrived,
    JobTurnedAway,
    Ready,
)
from probemesh_shared.session.frames import DenyList, Frame, Hello, RenewWanted
from probemesh_shared.session.machine import Session, Side

from probemesh_agent.env import Clock
from probemesh_agent.lanes import Lanes, OutboxLane
from probemesh_agent.runner import Runner

logger = logging.getLogger(__name__)

#: A peer that answers keepalive and has said nothing yet has its hands full, with a fleet that came back at
#: once: to go away and dial again would make it do the same work twice, and never get through.
HELLO_S = 25.0

Greet = Callable[[], Hello]
Told = Callable[[RenewWanted | DenyList], None]


class Peeked:
    """A link whose first frame was read beforehand, to learn which process is at the other end."""

    def __init__(self, stream: FrameStream, first: Frame) -> None:
        self._stream = stream
        self._first: Frame | None = first

    async def read(self) -> Frame | None:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await self._stream.read()

    async def write(self, frame: Frame) -> None:
        await self._stream.write(frame)

    async def close(self) -> None:
        await self._stream.close()


@dataclass(eq=False, slots=True)
class _Live:
    session: Session
    wake: Wake


class Links:
    """``greet`` makes this agent's hello, anew for each link: addresses change. ``told`` takes what its own
    controller says about certificates; nobody else is listened to there."""

    def __init__(
        self, runner: Runner, lanes: Lanes, clock: Clock, greet: Greet, told: Told = lambda frame: None
    ) -> None:
        self._told = told
        self._runner = runner
        self._lanes = lanes
        self._clock = clock
        self._greet = greet
        self._live: set[_Live] = set()

    @property
    def live(self) -> int:
        return len(self._live)

    async def serve(
        self,
        stream: FrameStream,
        identity: str,
        wake: Wake,
        *,
        alone: bool = False,
        caller: Caller = NOBODY,
        on_ready: Callable[[], None] = lambda: None,
    ) -> LinkEnd:
        """Runs one link to its end. ``identity`` is who the peer proved to be, ``caller`` the same for the
        record; ``alone``: there is one process of it, so that a new instance ends what a former one asked
        for. Failures are in the answer."""
        try:
            async with asyncio.timeout(HELLO_S):
                first = await stream.read()
        except TimeoutError:
            return await _closed(stream, LinkEnd(Why.BROKEN, False, f"no hello within {HELLO_S:g} s"))
        except MeshError as error:
            return await _closed(stream, LinkEnd(Why.BROKEN, False, str(error), error=error))
        except BaseException:
            await stream.close()
            raise
        if first is None:
            return await _closed(stream, LinkEnd(Why.PEER_CLOSED, False))
        instance = first.instance if isinstance(first, Hello) else ""
        try:
            async with self._lanes.attached(identity, instance, wake, alone) as lane:
                if alone:
                    self._lanes.forget_others(identity, lane.owner)
                return await self._drive(Peeked(stream, first), lane, wake, caller, on_ready, alone)
        finally:
            await stream.close()

    async def _drive(
        self,
        stream: Peeked,
        lane: OutboxLane,
        wake: Wake,
        caller: Caller,
        on_ready: Callable[[], None],
        alone: bool,
    ) -> LinkEnd:
        hello = self._greet()
        session = Session(Side.AGENT, hello, self._clock.monotonic(), outbox=lane.outbox)
        live = _Live(session, wake)

        async def handle(event: Event) -> None:
            match event:
                case JobArrived(job):
                    self._runner.start(job, lane, caller)
                case JobTurnedAway(job_id, job, reason):
                    self._runner.turned_away(job_id, job, caller, reason)
                case CancelArrived(job_id, reason):
                    self._runner.cancel(lane.owner, job_id, reason)
                case Ready(peer):
                    logger.info("session with %s (%s)", lane.owner, peer.software)
                    on_ready()
                case RenewWanted() | DenyList():
                    if alone:
                        self._told(event)
                case ClockMeasured(offset_ms, uncertainty_ms):
                    logger.debug("clock of %s: %+.3f ± %.3f ms", lane.owner, offset_ms, uncertainty_ms)

        self._live.add(live)
        try:
            return await drive(session, stream, self._clock, handle, wake)
        finally:
            self._live.discard(live)

    def goodbye(self, reason: str) -> None:
        """All peers: no new jobs, please."""
        for live in self._live:
            live.session.goodbye(reason)
            live.wake.poke()

    async def settle(self, seconds: float) -> bool:
        """Waits until every live link has all it sent acknowledged; False where time was up."""
        end = self._clock.monotonic() + seconds
        while not all(live.session.settled for live in self._live):
            if self._clock.monotonic() >= end:
                return False
            await self._clock.sleep(0.02)
        return True

    async def wait_closed(self, seconds: float) -> None:
        """Until no link is left, or time is up."""
        end = self._clock.monotonic() + seconds
        while self._live and self._clock.monotonic() < end:
            await self._clock.sleep(0.02)

    def close(self) -> None:
        """Ends every link, once it has written what waits."""
        for live in self._live:
            live.wake.close()


async def _closed(stream: FrameStream, end: LinkEnd) -> LinkEnd:
    await stream.close()
    return end
