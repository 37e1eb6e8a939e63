"""A mesh of agents that do what the test says, in virtual time, and a plan written by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

from probemesh_controller.api import (
    PlannedVantage,
    RunEnded,
    RunEvent,
    RunMeasured,
    RunPlanned,
    RunRequest,
    RunVantageEnded,
)
from probemesh_controller.pair.case import Case, Round, Step
from probemesh_shared.clock import VirtualClock
from probemesh_shared.model import (
    AgentInfo,
    Detail,
    Failure,
    FlowDetail,
    FlowSpec,
    Measurement,
    Reply,
    Shot,
    ShotSeen,
    WatchDetail,
    WatchSpec,
)
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import (
    AgentState,
    Direction,
    FailureKind,
    Kind,
    Origin,
    Outcome,
    Stage,
    Transport,
)

NOW_NS = 1_795_371_723_123_456_789
ABLE = ("kind:flow", "kind:watch", "kind:trace", "kind:mtu", "kind:tls", "ipv4")


def info(name: str, *addresses: str, more: tuple[str, ...] = ABLE, **rest: object) -> AgentInfo:
    state = rest.pop("state", AgentState.CONNECTED)
    return AgentInfo(
        name, addresses=addresses, capabilities=more, id=f"id-{name}", state=state, version="9.9", **rest
    )


A = info("a", "10.1.0.2")
B = info("b", "203.0.113.2")
C = info("c", "192.0.2.2")


def row(kind: Kind, detail: Detail | None, failure: Failure | None = None, outcome: Outcome | None = None):
    outcome = outcome or (Outcome.OK if failure is None else Outcome.DENIED)
    return Measurement(kind, 0, "t", None, None, outcome, NOW_NS, failure=failure, detail=detail)


DENIED = Failure(Stage.CONNECT, FailureKind.DENIED, Origin.AGENT, "this agent's policy denies it")


def shots(*seen: ShotSeen) -> Measurement:
    return row(Kind.FLOW, FlowDetail(seen or (ShotSeen(outcome=Outcome.OK),)))


def seen_as(address: str, agent: str) -> Measurement:
    """A reply of a responder, which tells from where the packet came."""
    reply = Reply(1.0, "203.0.113.2", 7, valid=True, agent=agent, seen_address=address, seen_port=9)
    return shots(ShotSeen(outcome=Outcome.OK, replies=(reply,)))


@dataclass
class FakeMesh:
    """``steps`` makes a sender's rows (or raises); ``takes_s`` is how long that takes; ``watches`` makes the
    first row of a watch, ``looks`` the account of each look, by agent and the number of the look."""

    clock: VirtualClock
    fleet: list[AgentInfo] = field(default_factory=lambda: [A, B, C])
    steps: Callable[[RunRequest], list[Measurement]] = lambda request: [shots()]
    takes_s: Callable[[RunRequest], float] = lambda request: 0.2
    watches: Callable[[str], Measurement] = lambda agent: row(Kind.WATCH, WatchDetail(agent=f"nonce-{agent}"))
    looks: Callable[[str, int], WatchDetail] = lambda agent, number: WatchDetail(
        number, agent=f"nonce-{agent}"
    )
    end: Callable[[RunRequest], tuple[JobStatus, str]] = lambda request: (JobStatus.DONE, "")
    requests: list[RunRequest] = field(default_factory=list)
    armed: dict[str, WatchSpec] = field(default_factory=dict)
    looked: dict[str, int] = field(default_factory=dict)
    quieted: list[str] = field(default_factory=list)  # told that it was quiet before
    given_back: list[str] = field(default_factory=list)
    under_way: int = 0

    async def agents(self) -> tuple[AgentInfo, ...]:
        return tuple(self.fleet)

    def lose(self, name: str) -> None:
        self.fleet = [replace(a, state=AgentState.LOST) if a.name == name else a for a in self.fleet]

    async def run(self, request: RunRequest) -> AsyncIterator[RunEvent]:
        self.requests.append(request)
        (name,), (spec,) = request.agents, request.specs
        there = next(a for a in self.fleet if a.name == name)
        self.under_way += 1
        try:
            if there.state is not AgentState.CONNECTED:
                yield RunPlanned((PlannedVantage(name, None, Outcome.AGENT_LOST, "it is not connected"),))
                yield RunEnded()
                return
            yield RunPlanned((PlannedVantage(name),))
            if isinstance(spec, WatchSpec) and not spec.look:
                async for event in self._watch(request, spec, name):
                    yield event
                return
            if isinstance(spec, WatchSpec):
                assert spec.token == self.armed[name].token and name not in self.given_back
                await self.clock.sleep(0.01)
                number = self.looked.get(name, 0) + (not spec.quiet)
                self.looked[name] = number
                self.quieted += [name] * spec.quiet
                yield RunMeasured(name, 0, (row(Kind.WATCH, self.looks(name, number)),))
                yield RunVantageEnded(name, 0, JobStatus.DONE)
            else:
                await self.clock.sleep(self.takes_s(request))
                rows = tuple(self.steps(request))
                if rows:
                    yield RunMeasured(name, 0, rows)
                yield RunVantageEnded(name, 0, *self.end(request))
            yield RunEnded()
        finally:
            self.under_way -= 1

    async def _watch(self, request: RunRequest, spec: WatchSpec, name: str) -> AsyncIterator[RunEvent]:
        await self.clock.sleep(0.05)
        first = self.watches(name)
        self.armed[name] = spec
        yield RunMeasured(name, 0, (first,))
        if first.detail is None:
            yield RunVantageEnded(name, 0, JobStatus.DONE)
            return
        try:
            await asyncio.Event().wait()
        finally:
            self.given_back.append(name)


def step(number: int, sender: str = "a", to: str = "b", address: str = "203.0.113.2", **more: object) -> Step:
    direction = Direction.FORWARD if sender == "a" else Direction.REVERSE
    spec = more.pop("spec", FlowSpec(transport=Transport.TCP, shots=(Shot(),) * 3))
    return Step(f"s{number}", "connect", "whether it connects", sender, address, 5432, spec, to, direction)


def rounds(*planned: Round) -> Callable[[Case], Round | None]:
    """A plan that does these, one after the other."""
    return lambda case: planned[len(case.rounds)] if len(case.rounds) < len(planned) else None


async def through(clock: VirtualClock, work, most_s: float = 120.0):
    """Runs ``work`` in virtual time, which goes on only where nobody has anything to do."""
    task = asyncio.ensure_future(work)
    end = clock.monotonic() + most_s
    await clock.settle()
    while not task.done() and clock.next_wake is not None and clock.monotonic() < end:
        await clock.advance(clock.next_wake - clock.monotonic())
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise AssertionError("it hangs")
    return task.result()
