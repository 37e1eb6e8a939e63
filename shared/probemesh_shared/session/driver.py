"""Joins a session to a link: one reader task, one writer task, one timer, and a loop that feeds the session.

How an agent uses it, for each link (``links`` dials or listens; ``stream`` wraps the RPC)::

    session = Session(Side.AGENT, hello, clock.monotonic(), outbox=outbox)   # the outbox outlives the link
    wake = Wake()                         # the runner's lane pokes it after outbox.add() and outbox.end()
    end = await drive(session, stream, clock, handle, wake)           # handle starts and cancels jobs
    # then: back off and dial again, unless end.code says that it is of no use (VERSION, REVOKED, REPLACED)

How a controller's fleet uses it, for each agent that attached::

    session = Session(Side.CONTROLLER, hello, clock.monotonic(), inbox=inbox)   # the inbox outlives the link
    end = await drive(session, stream, clock, handle, wake)
    # meanwhile: session.send_job(job); wake.poke()
    # after a commit: session.committed(job_id, seq); wake.poke()      (no live session: inbox.committed)
    # on end: jobs stay open in the inbox for the next link; inbox.lost(job_id) when it does not come in time

Every call on a session from outside ``handle`` is followed by ``wake.poke()``. ``handle`` is awaited for one
event after the other while heartbeats wait: hand long work (a commit, a probe) to a task, and results to a
queue without awaiting, since a cancelled ``handle`` loses what the inbox has counted as come. To drain, say
``session.goodbye()``, poke, wait until ``session.settled``, then end ``drive`` by :meth:`Wake.close`.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from probemesh_shared.clock import Clock
from probemesh_shared.convert import BadMessage
from probemesh_shared.errors import MeshError
from probemesh_shared.session.events import Event
from probemesh_shared.session.frames import ErrorCode, Frame
from probemesh_shared.session.machine import Session

#: Frames read and not yet fed; the reader then waits, and the transport's flow control holds the peer.
READ_AHEAD = 64
#: Seconds that the last frames (an error, a goodbye) may take before the link is closed over them.
FLUSH_S = 1.0

Handle = Callable[[Event], Awaitable[None]]


class FrameStream(Protocol):
    """A link that carries frames. ``read`` and ``write`` are each called by one task at a time and raise
    :class:`MeshError` when the link breaks, ``read`` also :class:`BadMessage`. Cancelling may end the link.
    """

    async def read(self) -> Frame | None:
        """The next frame; None where the peer closed its side in good order."""

    async def write(self, frame: Frame) -> None:
        """Returns once the transport took the frame: how slowly the peer reads is felt here."""

    async def close(self) -> None:
        """Frees the link; never raises, and can be called twice."""


class Why(StrEnum):
    """What ended a link."""

    SESSION = "session"  # an error of either side, or silence: see ``code``
    PEER_CLOSED = "peer-closed"
    BROKEN = "broken"  # the transport failed: see ``error``
    CLOSED = "closed"  # by our own Wake.close


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """Why a link is over. ``ready``: hellos were exchanged; ``code`` and ``by_peer`` are the session's."""

    why: Why
    ready: bool
    detail: str = ""
    code: ErrorCode | None = None
    by_peer: bool = False
    error: MeshError | None = None


class Wake:
    """The owner's handle on a running :func:`drive`."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.closing = False

    def poke(self) -> None:
        """Something changed in the session or its outbox: look again. Only from the event loop's thread."""
        self._event.set()

    def close(self) -> None:
        """Write what waits and end the link."""
        self.closing = True
        self._event.set()

    async def wait(self) -> None:
        """Returns after the next poke; one that came before counts."""
        await self._event.wait()
        self._event.clear()


async def drive(session: Session, stream: FrameStream, clock: Clock, handle: Handle, wake: Wake) -> LinkEnd:
    """Runs the link to its end and says why it ended; on every way out the stream is closed and no task left.

    Exceptions of ``handle`` are our own faults: the peer is told ``internal``, then they are raised.
    """
    if session.wall_ns is None:
        session.wall_ns = clock.wall_ns
    link = _Link(session, stream, clock, handle, wake)
    try:
        return await link.run()
    finally:
        await link.close()


class _Link:
    def __init__(
        self, session: Session, stream: FrameStream, clock: Clock, handle: Handle, wake: Wake
    ) -> None:
        self._session = session
        self._stream = stream
        self._clock = clock
        self._handle = handle
        self._wake = wake
        self._inbound: asyncio.Queue[Frame] = asyncio.Queue(READ_AHEAD)
        self._outbound: deque[Frame] = deque()
        self._to_write = asyncio.Event()
        self._broken: MeshError | None = None
        self._peer_closed = False
        self._bad: str | None = None
        self._timer: asyncio.Task[None] | None = None
        self._timer_due = float("inf")
        self._reader = asyncio.create_task(self._read(), name="session reader")
        self._writer = asyncio.create_task(self._write(), name="session writer")

    async def run(self) -> LinkEnd:
        session = self._session
        while True:
            await self._feed()
            self._load()
            if session.ended:
                await self._flush()
                return self._end(Why.SESSION)
            if over := self._over():
                return over
            if self._wake.closing:
                await self._flush()
                return self._end(Why.CLOSED)
            self._arm()
            await self._wake.wait()

    async def close(self) -> None:
        tasks = [task for task in (self._reader, self._writer, self._timer) if task is not None]
        for task in tasks:
            task.cancel()
            task.add_done_callback(_seen)
        try:
            await asyncio.wait(tasks)
        finally:
            await self._stream.close()

    # --- the loop's parts -------------------------------------------------------------------------------

    async def _feed(self) -> None:
        """Everything that has come, then time: a frame that waits here must not look like silence."""
        session = self._session
        for _ in range(self._inbound.qsize()):
            frame = self._inbound.get_nowait()
            await self._tell(session.receive(frame, self._clock.monotonic()))
        if self._bad is not None and self._inbound.empty():
            session.fail(ErrorCode.PROTOCOL, self._bad)
        await self._tell(session.tick(self._clock.monotonic()))
        if not self._inbound.empty():
            self._wake.poke()

    async def _tell(self, events: list[Event]) -> None:
        for event in events:
            try:
                await self._handle(event)
            except Exception:
                self._session.fail(ErrorCode.INTERNAL, "internal fault")
                await self._flush()
                raise

    def _over(self) -> LinkEnd | None:
        """The link's own end, once all that it brought is fed."""
        if not self._inbound.empty():
            return None
        for task in (self._reader, self._writer):
            if task.done() and (fault := task.exception()) is not None:
                raise fault
        if self._broken is not None:
            return self._end(Why.BROKEN)
        return self._end(Why.PEER_CLOSED) if self._peer_closed else None

    def _end(self, why: Why) -> LinkEnd:
        session, end = self._session, self._session.end
        if why is Why.SESSION and end is not None:
            return LinkEnd(why, session.peer is not None, end.detail, end.code, end.by_peer)
        detail = str(self._broken) if why is Why.BROKEN else ""
        return LinkEnd(why, session.peer is not None, detail, error=self._broken)

    def _arm(self) -> None:
        """One timer at a time; an early one costs a turn, a late one is replaced."""
        due = self._session.next_tick
        if self._timer is not None and not self._timer.done():
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = asyncio.create_task(self._alarm(due), name="session timer")

    async def _alarm(self, due: float) -> None:
        await self._clock.sleep(max(0.0, due - self._clock.monotonic()))
        self._wake.poke()

    # --- tasks ------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while (frame := await self._stream.read()) is not None:
                await self._inbound.put(frame)
                self._wake.poke()
            self._peer_closed = True
        except BadMessage as error:
            self._bad = str(error)
        except MeshError as error:
            self._broken = self._broken or error
        finally:
            self._wake.poke()

    async def _write(self) -> None:
        try:
            while True:
                await self._to_write.wait()
                while self._outbound:
                    await self._stream.write(self._outbound[0])
                    self._outbound.popleft()
                self._to_write.clear()
                self._wake.poke()
        except MeshError as error:
            self._broken = self._broken or error
        finally:
            self._wake.poke()

    def _load(self) -> None:
        """Frames pass to the writer only when it is through with the last: so the session's bounds hold."""
        if not self._outbound and (frames := self._session.take()):
            self._outbound.extend(frames)
            self._to_write.set()  # only for frames: the writer's poke would start the next turn at once

    async def _flush(self) -> None:
        """Waits until all is written, the writer failed, or time is up."""
        patience = asyncio.create_task(self._clock.sleep(FLUSH_S))
        self._load()
        try:
            while self._outbound and not (patience.done() or self._writer.done()):
                waiting = asyncio.create_task(self._wake.wait())
                try:
                    await asyncio.wait({patience, self._writer, waiting}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waiting.cancel()
                self._load()
        finally:
            patience.cancel()


def _seen(task: "asyncio.Task[None]") -> None:
    """Takes note of a task's exception where the link is ending for another reason."""
    if not task.cancelled():
        task.exception()
