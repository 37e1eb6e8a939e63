"""The session: a state machine for both of its ends, without I/O, clock or link.

Its owner feeds frames in and writes out what :meth:`Session.take` gives; ``now`` is any monotonic clock in
seconds, the same for all calls. A session lives as long as one link; outbox and inbox outlive it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from probemesh_shared.model import Job
from probemesh_shared.session.clocksync import ClockSync
from probemesh_shared.session.events import Drained, Ended, Event, Ready
from probemesh_shared.session.frames import (
    ClockReply,
    ClockRequest,
    DenyList,
    ErrorCode,
    ErrorFrame,
    Frame,
    Goodbye,
    Heartbeat,
    Hello,
    RenewWanted,
    UnknownFrame,
)
from probemesh_shared.session.inbox import Flood, Gap, Inbox
from probemesh_shared.session.outbox import FutureAck, Hoard, Outbox
from probemesh_shared.session.roles import AgentRole, ControllerRole, Handler


class Side(StrEnum):
    AGENT = "agent"
    CONTROLLER = "controller"


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """Seconds, and bounds. gRPC's keepalive finds dead peers sooner; ``silence_s`` is the second net."""

    hello_s: float = 10.0
    heartbeat_s: float = 15.0
    silence_s: float = 40.0
    clock_s: float = 60.0
    max_jobs: int = 256  # open at one agent for one owner
    max_queue: int = 4096  # frames that a peer may leave unread before it counts as gone


class Violation(ValueError):
    """The peer broke the protocol."""


class Session:
    """One side of one link. An agent passes its ``outbox``, a controller its ``inbox``, to one live session.

    ``wall_ns`` gives Unix nanoseconds for the clock exchange; without it there is none (the driver sets it).
    ``peer`` is the other's hello once it came, ``end`` why the session is over once it is.
    """

    def __init__(
        self,
        side: Side,
        hello: Hello,
        now: float,
        *,
        outbox: Outbox | None = None,
        inbox: Inbox | None = None,
        config: SessionConfig = SessionConfig(),
        wall_ns: Callable[[], int] | None = None,
    ) -> None:
        self.side = side
        self.wall_ns = wall_ns
        self.peer: Hello | None = None
        self.protocol: int | None = None
        self.end: Ended | None = None
        self._config = config
        self._queue: deque[Frame] = deque()
        self._pending: list[Event] = []
        self._now = self._started = self._heard = self._spoke = now
        self._heartbeats = 0
        self._sync = ClockSync()
        self._clock_due = now
        self._clock_ask = False
        self._clock_reply: tuple[int, int] | None = None
        self._agent: AgentRole | None = None
        self._controller: ControllerRole | None = None
        if side is Side.AGENT:
            self._agent = AgentRole(outbox if outbox is not None else Outbox(), self._send, config.max_jobs)
            self.hello = hello
        else:
            inbox = inbox if inbox is not None else Inbox()
            self._controller = ControllerRole(inbox, self._send)
            self.hello = replace(hello, open_jobs=inbox.open_jobs())
        self._handlers: dict[type, Handler] = {
            Hello: self._second_hello,
            Heartbeat: lambda frame: [],
            UnknownFrame: lambda frame: [],
            ClockRequest: self._clock_request,
            ClockReply: self._clock_replied,
            Goodbye: self._drained,
            **self._role.handlers,
        }
        self._send(self.hello)

    # --- the link ---------------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        return self.end is not None

    @property
    def ready(self) -> bool:
        """Hellos are exchanged, and the session is not over."""
        return self.peer is not None and self.end is None

    @property
    def settled(self) -> bool:
        """Nothing of this side waits to be sent or acknowledged: after a goodbye the link may be closed."""
        return not self._queue and self._role.settled

    def receive(self, frame: Frame, now: float) -> list[Event]:
        """A frame came. After the end nothing is taken any more."""
        if self.end is None:
            self._now = self._heard = now
            self._role.date(now)
            try:
                self._pending += self._handle(frame, now)
            except (Violation, Flood, Gap, Hoard, FutureAck) as error:
                self.fail(ErrorCode.PROTOCOL, str(error))
        return self._drain()

    def tick(self, now: float) -> list[Event]:
        """Time passed. Call it at :attr:`next_tick` at the latest, and after the frames that have come."""
        self._now = now
        self._role.date(now)
        if self.end is None:
            if self.peer is None and now >= self._started + self._config.hello_s:
                self._finish(Ended(None, f"no hello within {self._config.hello_s:g} s", by_peer=False))
            elif now >= self._heard + self._config.silence_s:
                self._finish(Ended(None, f"nothing heard for {self._config.silence_s:g} s", by_peer=False))
            elif self.peer is not None:
                self._beat(now)
        return self._drain()

    @property
    def next_tick(self) -> float:
        """When :meth:`tick` has something to do next; in the past where events wait."""
        if self._pending:
            return self._started
        if self.end is not None:
            return float("inf")
        if self.peer is None:
            return self._started + self._config.hello_s
        due = min(self._heard + self._config.silence_s, self._spoke + self._config.heartbeat_s)
        return due if self.wall_ns is None else min(due, self._clock_due)

    def take(self) -> list[Frame]:
        """Frames to write now, in order. Clock frames are stamped here, so write what this gives at once."""
        frames = list(self._queue)
        self._queue.clear()
        if self.ready:
            frames += self._role.outgoing()
            frames += self._clock_frames()
        if frames:
            self._spoke = self._now
        return frames

    # --- the owner's wishes -----------------------------------------------------------------------------

    def send_job(self, job: Job) -> None:
        """Controller: sends the job, on this link or the next. ValueError for an id that is expected."""
        self._pending += self._as_controller().send_job(job)

    def cancel(self, job_id: str, reason: str = "") -> None:
        """Controller: the job is to stop; its end still comes. Nothing for jobs that ended."""
        self._as_controller().cancel(job_id, reason)

    def committed(self, job_id: str, seq: int) -> None:
        """Controller: all numbers up to ``seq`` are safe. Without a live session call ``Inbox.committed``."""
        self._as_controller().committed(job_id, seq)

    def tell(self, frame: RenewWanted | DenyList) -> None:
        """Controller: what is no job's affair."""
        self._as_controller()
        self._send(frame)

    def goodbye(self, reason: str = "") -> None:
        """No new jobs from now on; what runs goes on, results flow. Close the link when :attr:`settled`."""
        if self.end is None and self._role.draining is None:
            self._role.draining = reason or "going away"
            self._send(Goodbye(reason))

    def fail(self, code: ErrorCode, detail: str = "") -> None:
        """Ends the session; the peer is told, if the owner still writes what :meth:`take` gives."""
        if self.end is None:
            hello = [frame for frame in self._queue if isinstance(frame, Hello)]
            self._finish(Ended(code, detail, by_peer=False))
            self._queue.extend([*hello, ErrorFrame(code, detail)])

    # --- within -----------------------------------------------------------------------------------------

    @property
    def _role(self) -> AgentRole | ControllerRole:
        role = self._agent or self._controller
        assert role is not None
        return role

    def _as_controller(self) -> ControllerRole:
        if self._controller is None:
            raise TypeError("only a controller sends jobs")
        return self._controller

    def _send(self, frame: Frame) -> None:
        if self.end is not None:
            return
        self._queue.append(frame)
        if len(self._queue) > self._config.max_queue:
            self.fail(ErrorCode.PROTOCOL, "the peer does not read")

    def _finish(self, end: Ended) -> None:
        self.end = end
        self._queue.clear()
        self._pending.append(end)

    def _drain(self) -> list[Event]:
        events, self._pending = self._pending, []
        return events

    def _handle(self, frame: Frame, now: float) -> list[Event]:
        kind = type(frame)
        if isinstance(frame, ErrorFrame):
            self._finish(Ended(frame.code, frame.detail, by_peer=True))
            return []
        if self.peer is None:
            if not isinstance(frame, Hello):
                raise Violation(f"{kind.__name__} came before hello")
            return self._greeted(frame, now)
        handler = self._handlers.get(kind)
        if handler is None:
            raise Violation(f"{kind.__name__} is not for the {self.side}")
        return handler(frame)

    def _greeted(self, peer: Hello, now: float) -> list[Event]:
        if peer.min_protocol > peer.protocol:
            raise Violation(f"hello with protocols {peer.min_protocol} to {peer.protocol}")
        protocol = min(self.hello.protocol, peer.protocol)
        if protocol < max(self.hello.min_protocol, peer.min_protocol):
            ours = f"{self.hello.min_protocol} to {self.hello.protocol}"
            self.fail(
                ErrorCode.VERSION,
                f"the {self.side} ({self.hello.software}) speaks protocols {ours}, "
                f"the other side ({peer.software}) {peer.min_protocol} to {peer.protocol}",
            )
            return []
        self.peer, self.protocol, self._clock_due = peer, protocol, now
        return [Ready(peer, protocol), *self._role.greeted(peer, now)]

    def _second_hello(self, frame: Hello) -> list[Event]:
        raise Violation("a second hello")

    def _drained(self, frame: Goodbye) -> list[Event]:
        if self._controller is not None:
            self._controller.draining = frame.reason or "the agent is going away"
        return [Drained(frame.reason)]

    def _beat(self, now: float) -> None:
        if now >= self._spoke + self._config.heartbeat_s:
            self._send(Heartbeat(self._heartbeats))
            self._heartbeats += 1
        if self.wall_ns is not None and now >= self._clock_due:
            self._clock_ask = True
            self._clock_due = now + self._config.clock_s

    def _clock_frames(self) -> list[Frame]:
        frames: list[Frame] = []
        if self.wall_ns is not None and self._clock_reply is not None:
            asked, received = self._clock_reply
            frames.append(ClockReply(asked, received, self.wall_ns()))
        if self.wall_ns is not None and self._clock_ask:
            frames.append(self._sync.ask(self.wall_ns()))
        self._clock_reply, self._clock_ask = None, False
        return frames

    def _clock_request(self, frame: ClockRequest) -> list[Event]:
        if self.wall_ns is not None:
            self._clock_reply = (frame.sent_ns, self.wall_ns())
        return []

    def _clock_replied(self, frame: ClockReply) -> list[Event]:
        measured = None if self.wall_ns is None else self._sync.conclude(frame, self.wall_ns())
        return [] if measured is None else [measured]
