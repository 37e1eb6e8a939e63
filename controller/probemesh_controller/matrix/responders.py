"""Responders of a matrix: each target of a probe ``udp`` opens a free port that answers this run's token, as
the watch of a two-ended probe does. One run arms them all; closing it gives them back."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from probemesh_shared.clock import Clock
from probemesh_shared.errors import MeshError
from probemesh_shared.model import (
    AgentInfo,
    Failure,
    Measurement,
    Options,
    Target,
    WatchSpec,
)
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import AgentState, FailureKind, Kind, Origin, Stage, Transport

from probemesh_controller.api import Mesh, RunEvent, RunMeasured, RunPlanned, RunRequest, RunVantageEnded
from probemesh_controller.merging import closing
from probemesh_controller.meshes.expanding import of_agent
from probemesh_controller.pair.asking import within
from probemesh_controller.pair.part import cannot
from probemesh_controller.pair.watching import ARM_S, GIVE_BACK_S, account_of

#: What a watch looks at beside its own ports: nothing. An address without a port is enough.
_NOTHING = Target("icmp:127.0.0.1", "127.0.0.1", kind=Kind.ICMP)


class Responders:
    """``port`` has those that answer, ``why_not`` those that do not or no more. ``give_back`` in any case."""

    def __init__(self, mesh: Mesh, clock: Clock, run_id: str, token: bytes) -> None:
        self.port: dict[str, int] = {}
        self.why_not: dict[str, Failure] = {}
        self._mesh, self._clock = mesh, clock
        self._run_id, self._token = run_id, token
        self._awaited: set[str] = set()
        self._all_told = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def arm(self, agents: Sequence[AgentInfo], stand_s: float) -> None:
        """At all of them; until each has told, or :data:`ARM_S` have passed. They stand for ``stand_s``."""
        able = []
        for agent in agents:
            if (why := cannot(agent, Kind.WATCH)) is None:
                able.append(agent.name)
            else:
                there = agent.state is AgentState.CONNECTED
                kind = FailureKind.UNSUPPORTED if there else FailureKind.AGENT_LOST
                self.why_not[agent.name] = _failure(kind, _said(agent.name, why))
        if not able:
            return
        self._awaited = set(able)
        spec = WatchSpec(Options(), self._token, transport=Transport.UDP, surrogate=True)
        request = RunRequest(self._run_id, (_NOTHING,), (spec,), tuple(able), min(3600.0, stand_s))
        self._task = asyncio.create_task(self._stand(request), name="responders")
        await within(self._clock, ARM_S, self._all_told.wait())
        for name in self._awaited:
            self.why_not[name] = _failure(FailureKind.DEADLINE, f"{name} opened no responder in time")
        self._awaited = set()

    def target_of(self, name: str) -> Target:
        """The TARGET of one that answers."""
        return of_agent(name, (self.port[name],))

    async def give_back(self) -> None:
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=GIVE_BACK_S)

    async def _stand(self, request: RunRequest) -> None:
        try:
            async with aclosing(closing(self._mesh.run(request))) as events:
                async for event in events:
                    self._take(event)
        except MeshError as error:
            self._all_fail(str(error))
        self._all_fail("the run of the responders ended")

    def _all_fail(self, why: str) -> None:
        for name in tuple(self._awaited):
            self._fails(name, _failure(FailureKind.CANCELLED, f"{name} opened no responder: {why}"))

    def _take(self, event: RunEvent) -> None:
        match event:
            case RunPlanned(vantages=vantages):
                for one in vantages:
                    if one.outcome is not None:
                        self._fails(one.agent, _failure(FailureKind.AGENT_LOST, _said(one.agent, one.reason)))
            case RunMeasured(agent=agent, measurements=rows):
                for row in rows:
                    self._told(agent, row)
            case RunVantageEnded(agent=agent, status=status, detail=detail):
                lost = status is JobStatus.LOST
                kind = FailureKind.AGENT_LOST if lost else FailureKind.CANCELLED
                why = "it was lost meanwhile" if lost else detail or f"its responder ended ({status})"
                self._fails(agent, _failure(kind, _said(agent, why)))

    def _told(self, agent: str, row: Measurement) -> None:
        account = account_of(row)
        if account is None:
            unknown = _failure(FailureKind.UNSUPPORTED, f"{agent} opened no responder")
            self._fails(agent, row.failure or unknown)
        elif account.surrogate_port is None:
            said = "; ".join(account.problems) or "it opened no port"  # its policy, most often
            self._fails(agent, _failure(FailureKind.UNSUPPORTED, _said(agent, said)))
        else:
            self.port[agent] = account.surrogate_port
            self._heard_of(agent)

    def _fails(self, agent: str, failure: Failure) -> None:
        """The first reason stays: what comes after it follows from it."""
        self.why_not.setdefault(agent, failure)
        self._heard_of(agent)

    def _heard_of(self, agent: str) -> None:
        self._awaited.discard(agent)
        if not self._awaited:
            self._all_told.set()


def _said(agent: str, why: str | None) -> str:
    return f"{agent} does not answer: {why or 'it takes no part'}"


def _failure(kind: FailureKind, detail: str) -> Failure:
    return Failure(Stage.CONNECT, kind, Origin.AGENT, detail)
