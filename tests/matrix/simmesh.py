"""A mesh in this process: agents that measure each other as the test says, on a clock of its own."""

import asyncio
import itertools
from dataclasses import dataclass, field

from probemesh_controller.api import PlannedVantage, RunEnded, RunMeasured, RunPlanned, RunVantageEnded
from probemesh_controller.matrix.batches import Task
from probemesh_controller.matrix.measuring import Measuring
from probemesh_controller.meshes.expanding import expand
from probemesh_shared import failures
from probemesh_shared.model import (
    AgentInfo,
    FlowDetail,
    FlowSpec,
    Measurement,
    Sample,
    WatchDetail,
    WatchSpec,
)
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.specs import KINDS
from probemesh_shared.words import AgentState, Kind, Outcome, Stage

from tests.meshes.world import NOW_NS, schedule


def agent(name, state=AgentState.CONNECTED, kinds=("flow", "watch")):
    capabilities = tuple(f"kind:{kind}" for kind in kinds)
    return AgentInfo(name, state=state, addresses=("192.0.2.1",), capabilities=capabilities, id=name)


class StillClock:
    """Time passes only where somebody sleeps, and then at once: after everybody else had a turn."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    async def sleep(self, seconds):
        for _ in range(200):
            await asyncio.sleep(0)
        self.now += seconds


def row(kind, index, outcome=Outcome.OK, rtt=1.0, address="192.0.2.1", lost=0):
    samples = tuple(
        Sample(
            n,
            0.0,
            None if outcome is not Outcome.OK or n < lost else rtt,
            outcome if n >= lost else Outcome.TIMEOUT,
        )
        for n in range(4)
    )
    failure = None if outcome is Outcome.OK else failures.timed_out(Stage.CONNECT, 3.0)
    detail = FlowDetail() if kind is Kind.FLOW else None
    return Measurement(kind, index, "t", address, None, outcome, NOW_NS, samples, failure, detail)


@dataclass
class SimMesh:
    """``answers``: (source, target, kind) → rows' arguments, None for no row; else all is well. ``watches``:
    agent → its account, an exception's worth of silence (None), or a failure."""

    fleet: tuple
    answers: dict = field(default_factory=dict)
    watches: dict = field(default_factory=dict)
    lost: set = field(default_factory=set)
    runs: list = field(default_factory=list)
    standing: set = field(default_factory=set)
    dies: dict = field(default_factory=dict)
    died: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    fails: type | None = None  # runs of this spec alone
    hangs: bool = False

    async def run(self, request):
        self.runs.append(request)
        if self.error is not None and (self.fails is None or isinstance(request.specs[0], self.fails)):
            raise self.error
        (spec,) = request.specs
        state = {one.name: one.state for one in self.fleet}
        yield RunPlanned(
            tuple(
                PlannedVantage(name)
                if state[name] is AgentState.CONNECTED
                else PlannedVantage(name, None, Outcome.AGENT_LOST, "it is not connected, last seen 9 s ago")
                for name in request.agents
            )
        )
        work = self._watch if isinstance(spec, WatchSpec) else self._measure
        async for event in work(
            request, spec, [n for n in request.agents if state[n] is AgentState.CONNECTED]
        ):
            yield event

    async def _watch(self, request, spec, names):
        assert spec.surrogate and not spec.look
        ports = itertools.count(40001)
        self.standing = set(names)
        try:
            for name in names:
                account = self.watches.get(name, WatchDetail(surrogate_port=next(ports)))
                if isinstance(account, WatchDetail):
                    yield RunMeasured(
                        name,
                        0,
                        (Measurement(Kind.WATCH, 0, "t", None, None, Outcome.OK, NOW_NS, detail=account),),
                    )
                elif account is not None:
                    yield RunMeasured(
                        name,
                        0,
                        (
                            Measurement(
                                Kind.WATCH, 0, "t", None, None, Outcome.DENIED, NOW_NS, failure=account
                            ),
                        ),
                    )
            while True:
                await asyncio.sleep(0)
                for name, status in self.dies.items():
                    yield RunVantageEnded(name, 0, status, "")
                if self.dies:
                    self.died.set()
                    await asyncio.Event().wait()
        finally:
            for _ in range(3):  # giving back is a call of its own, which a second cancel would cut off
                await asyncio.sleep(0)
            self.standing = set()

    async def _measure(self, request, spec, names):
        kind = KINDS[type(spec)]
        for name in names:
            if isinstance(spec, FlowSpec):
                assert self.standing, "the responders stand while they are asked"
            for index, target in enumerate(request.targets):
                said = self.answers.get((name, target.agent or target.text, kind), {})
                if target.agent == name:
                    continue
                for one in said if isinstance(said, list) else [said]:
                    if one is not None:
                        yield RunMeasured(name, 0, (row(kind, index, **one),))
            if self.hangs:
                await asyncio.Event().wait()
            if self.dies:
                await self.died.wait()
            yield RunVantageEnded(name, 0, JobStatus.LOST if name in self.lost else JobStatus.DONE)
        yield RunEnded()


def tasks(fleet, mesh='shape = "full"\nagents = "all"', when='every = "1m"'):
    made = schedule(mesh, when)
    return tuple(Task(aim, made.options) for aim in expand(made, fleet).aims)


def measuring(mesh, some=None, **more):
    numbers = itertools.count(1)

    def random(size):
        return next(numbers).to_bytes(size, "big")

    return Measuring(mesh, StillClock(), some or tasks(mesh.fleet), mesh.fleet, random, **more)


def by_cell(seen):
    return {f"{one.cell.source}>{one.cell.target} {one.cell.probe}": one for one in seen}
