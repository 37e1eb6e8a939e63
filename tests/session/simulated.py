"""Two sessions and the link between them, without sockets, time or tasks: every step is the test's own.

Frames cross the link as protobuf bytes, so that what is tested is what travels.
"""

from collections import deque
from dataclasses import dataclass, field

from probemesh.v1 import session_pb2
from probemesh_shared import convert
from probemesh_shared.model import Job, Measurement, Sample, Target, TcpDetail, TcpSpec
from probemesh_shared.session.events import Event
from probemesh_shared.session.frames import MIN_PROTOCOL, PROTOCOL, Frame, Hello
from probemesh_shared.session.inbox import Inbox
from probemesh_shared.session.machine import Session, SessionConfig, Side
from probemesh_shared.session.outbox import Outbox
from probemesh_shared.words import Kind, Outcome, Timing

EPOCH_NS = 1_790_000_000_000_000_000


def hello(instance: str, *, protocol: int = PROTOCOL, least: int = MIN_PROTOCOL) -> Hello:
    return Hello(protocol, least, "probemesh 0.1.0", instance, name="lisbon-1")


def job(job_id: str, budget_ms: int = 15_000) -> Job:
    return Job(job_id, "run", TcpSpec(), (Target("db:5432", "db"),), budget_ms)


def measurement(number: int, padding: int = 0) -> Measurement:
    """Told apart by ``target_index``; ``padding`` bytes larger than need be."""
    return Measurement(
        Kind.TCP,
        number,
        "db:5432",
        "192.0.2.1",
        5432,
        Outcome.OK,
        EPOCH_NS,
        (Sample(0, 0.0, 1.25, Outcome.OK, timing=Timing.TCP_INFO),),
        detail=TcpDetail(banner=b"x" * min(padding, 60_000)),
        log=("y" * 15_000,) * (max(0, padding - 60_000) // 15_000),
    )


def over_the_wire(frame: Frame, side: Side) -> Frame:
    """As the peer of ``side`` reads what ``side`` sends."""
    if side is Side.AGENT:
        sent = convert.frame_to_agent(frame).SerializeToString()
        return convert.frame_from_agent(session_pb2.AgentFrame.FromString(sent))
    raw = convert.frame_to_controller(frame).SerializeToString()
    return convert.frame_from_controller(session_pb2.ControllerFrame.FromString(raw))


@dataclass
class End:
    """One side: its session on the present link, and all events since its process began."""

    session: Session
    wire: deque[Frame] = field(default_factory=deque)  # on the way from here to the other side

    def write(self) -> list[Frame]:
        frames = self.session.take()
        self.wire.extend(over_the_wire(frame, self.session.side) for frame in frames)
        return frames


class Link:
    """An agent's and a controller's session over one link; both directions deliver on their own.

    With ``skew_ns`` (how far the agent's wall clock is ahead) clocks are compared, without it they are not.
    """

    def __init__(
        self,
        outbox: Outbox,
        inbox: Inbox,
        *,
        now: float = 0.0,
        agent: Hello | None = None,
        controller: Hello | None = None,
        config: SessionConfig | None = None,
        skew_ns: int | None = None,
    ) -> None:
        self.now = now
        config = config or SessionConfig()
        self.agent = End(
            Session(
                Side.AGENT,
                agent or hello("agent-1"),
                now,
                outbox=outbox,
                config=config,
                wall_ns=None if skew_ns is None else lambda: self.wall_ns() + skew_ns,
            )
        )
        self.controller = End(
            Session(
                Side.CONTROLLER,
                controller or hello("controller-1"),
                now,
                inbox=inbox,
                config=config,
                wall_ns=None if skew_ns is None else self.wall_ns,
            )
        )

    def wall_ns(self) -> int:
        return EPOCH_NS + round(self.now * 1e9)

    def deliver(self, to: End, limit: int = 1 << 30) -> list[Event]:
        """Up to ``limit`` frames reach one side."""
        source = self.controller if to is self.agent else self.agent
        events: list[Event] = []
        while source.wire and limit:
            events += to.session.receive(source.wire.popleft(), self.now)
            limit -= 1
        return events

    def tick(self, end: End) -> list[Event]:
        return end.session.tick(self.now)

    def settle(self) -> tuple[list[Event], list[Event]]:
        """Everything crosses until nothing is left to say; events of agent and controller."""
        agent, controller = self.tick(self.agent), self.tick(self.controller)
        while True:
            self.agent.write()
            self.controller.write()
            if not self.agent.wire and not self.controller.wire:
                return agent, controller
            controller += self.deliver(self.controller) + self.tick(self.controller)
            agent += self.deliver(self.agent) + self.tick(self.agent)

    def pass_time(self, seconds: float) -> tuple[list[Event], list[Event]]:
        """Time in steps, both sides ticked when they asked for it."""
        end = self.now + seconds
        agent, controller = self.settle()
        while self.now < end:
            due = min(self.agent.session.next_tick, self.controller.session.next_tick)
            self.now = min(end, max(due, self.now))
            for events, new in zip((agent, controller), self.settle(), strict=True):
                events += new
        return agent, controller
