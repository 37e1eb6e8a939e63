"""A matrix measured now, over :class:`probemesh_controller.api.Mesh`."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from probemesh_shared.clock import Clock
from probemesh_shared.errors import MeshError
from probemesh_shared.model import AgentInfo, FlowSpec, Spec, Target, UdpSpec, Vantage
from probemesh_shared.outcomes import is_own_address
from probemesh_shared.slots import Cell
from probemesh_shared.words import AgentState, Kind, Outcome

from probemesh_controller.api import Mesh, RunEnded, RunEvent, RunMeasured, RunRequest
from probemesh_controller.matrix.batches import Batch, Task, batches, deadline_s
from probemesh_controller.matrix.cells import CellSeen, measured, not_measured, refused
from probemesh_controller.matrix.responders import Responders
from probemesh_controller.merging import closing
from probemesh_controller.meshes.aiming import Aim
from probemesh_controller.pair.watching import ARM_S
from probemesh_controller.results import Assembly

#: Runs under way at once.
_AT_ONCE = 8
_TOKEN_SIZE = 16

#: Told a line for people, and how many cells have something to show.
OnProgress = Callable[[str, int], None]


@dataclass(slots=True)
class _Begun:
    """A run under way or over; ``error`` is why it came to nothing, or to no end."""

    batch: Batch
    assembly: Assembly
    error: MeshError | None = None


class Measuring:
    """Of ``tasks``. ``seen`` is what is known at any moment, also after ``run`` was cancelled."""

    def __init__(
        self,
        mesh: Mesh,
        clock: Clock,
        tasks: Sequence[Task],
        agents: Sequence[AgentInfo],
        random: Callable[[int], bytes],
        deadline: float | None = None,
        on_progress: OnProgress = lambda said, cells: None,
    ) -> None:
        self._mesh, self._clock, self._random = mesh, clock, random
        self._tasks, self._agents = tuple(tasks), tuple(agents)
        self._deadline = deadline
        self._on_progress = on_progress
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._token = random(_TOKEN_SIZE)
        self._responders = Responders(mesh, clock, self._run_id(), self._token)
        self._begun: list[_Begun] = []
        self._rows = 0

    def _run_id(self) -> str:
        return self._random(16).hex()

    async def run(self) -> None:
        """To the end of all of it. Raises what the mesh raises where no part of it could begin."""
        plain = [task for task in self._tasks if not task.aim.responder]
        answered = [task for task in self._tasks if task.aim.responder]
        await _both(self._all(batches(plain, _as_it_is, None)), self._answered(answered))
        if not any(one.assembly.planned for one in self._begun):
            for one in self._begun:
                if one.error is not None:
                    raise one.error

    async def _answered(self, tasks: Sequence[Task]) -> None:
        """Those that want a responder: once it stands at each target."""
        if not tasks:
            return
        names = {task.aim.agent for task in tasks}
        try:
            self._on_progress(f"opening responders at {len(names)} agents", self._rows)
            wanted = [agent for agent in self._agents if agent.name in names]
            await self._responders.arm(wanted, ARM_S + self._stand_s(tasks))
            ready = [task for task in tasks if task.aim.agent in self._responders.port]
            await self._all(batches(ready, self._dialled, self._token))
        finally:
            await self._responders.give_back()

    def _stand_s(self, tasks: Sequence[Task]) -> float:
        """At most as long as all runs to them may take, one after the other where they do not fit."""
        some = batches(tasks, _as_it_is, self._token)
        return sum(self._deadline or deadline_s(batch) for batch in some) / min(_AT_ONCE, len(some)) + 5.0

    def _dialled(self, aim: Aim) -> Target:
        assert aim.agent is not None
        return self._responders.target_of(aim.agent)

    async def _all(self, some: Sequence[Batch]) -> None:
        await _both(*(self._batch(batch) for batch in some))

    async def _batch(self, batch: Batch) -> None:
        request = RunRequest(
            self._run_id(),
            batch.targets,
            (batch.spec,),
            batch.agents,
            min(3600.0, self._deadline or deadline_s(batch)),
        )
        begun = _Begun(batch, Assembly(replace(request, specs=(_as_rung(batch),))))
        self._begun.append(begun)
        async with self._places:
            try:
                async with aclosing(closing(self._mesh.run(request))) as events:
                    async for event in events:
                        self._take(event, batch, begun.assembly)
            except MeshError as error:  # the other parts go on
                begun.error = error
                begun.assembly.add(RunEnded())
            except asyncio.CancelledError:
                begun.assembly.add(RunEnded(cancelled=True))
                raise

    def _take(self, event: RunEvent, batch: Batch, assembly: Assembly) -> None:
        if isinstance(event, RunMeasured):
            self._rows += sum(
                len(batch.tasks.get((event.agent, row.target_index), ())) for row in event.measurements
            )
            if isinstance(batch.spec, FlowSpec):  # the responder's own datagrams are a kind of UDP
                rows = tuple(replace(row, kind=Kind.UDP, detail=None) for row in event.measurements)
                event = replace(event, measurements=rows)
        assembly.add(event)
        self._on_progress("", self._rows)

    def seen(self) -> tuple[CellSeen, ...]:
        """One for each task, by cell."""
        found: dict[Cell, CellSeen] = {}
        for begun in self._begun:
            why = None if begun.error is None else str(begun.error)
            for place, result in enumerate(begun.assembly.results()):
                for vantage in result.vantages:
                    for task in begun.batch.tasks.get((vantage.agent, place), ()):
                        found[task.aim.cell] = self._cell(task.aim, vantage, why)
        for task in self._tasks:
            if task.aim.cell not in found:
                found[task.aim.cell] = self._without(task.aim)
        return tuple(found[cell] for cell in sorted(found))

    def _cell(self, aim: Aim, vantage: Vantage, why: str | None) -> CellSeen:
        """``why`` its run came to nothing, or to no end."""
        is_agent = aim.agent is not None
        rows = [row for row in vantage.measurements if not is_own_address(row)]
        if not rows:
            outcome = Outcome.UNMEASURED if vantage.outcome is Outcome.OK else vantage.outcome
            reason = why if outcome is Outcome.UNMEASURED and why else vantage.reason
            return not_measured(aim.cell, is_agent, outcome, reason)
        seen = measured(aim.cell, is_agent, rows)
        gone = self._responders.why_not.get(aim.agent or "") if aim.responder else None
        return refused(aim.cell, gone) if gone is not None and seen.failing else seen

    def _without(self, aim: Aim) -> CellSeen:
        """Of a cell for which no run was begun."""
        failure = self._responders.why_not.get(aim.agent or "") if aim.responder else None
        if failure is not None and not self._is_lost(aim.cell.source):
            return refused(aim.cell, failure)
        if self._is_lost(aim.cell.source):
            reason = f"{aim.cell.source} is not connected"
            return not_measured(aim.cell, aim.agent is not None, Outcome.AGENT_LOST, reason)
        return not_measured(aim.cell, aim.agent is not None, Outcome.CANCELLED, "it was not begun")

    def _is_lost(self, name: str) -> bool:
        return any(agent.name == name and agent.state is AgentState.LOST for agent in self._agents)


def _as_it_is(aim: Aim) -> Target:
    return aim.target


def _as_rung(batch: Batch) -> Spec:
    """What its rows are assembled as."""
    return UdpSpec(batch.spec.options) if isinstance(batch.spec, FlowSpec) else batch.spec


async def _both(*work: Coroutine[Any, Any, None]) -> None:
    """All at once. Where one fails the others are ended, and its error is raised. Each is cancelled once
    only: a second time would cut off its giving back."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    except Exception:
        for task in tasks:
            task.cancel()
        raise
    finally:
        await asyncio.gather(*tasks, return_exceptions=True)
