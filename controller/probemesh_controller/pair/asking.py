"""One spec at one agent, through :class:`probemesh_controller.api.Mesh`: what comes of it is an answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar

from probemesh_shared.clock import Clock
from probemesh_shared.errors import MeshError
from probemesh_shared.model import Measurement, Spec, Target
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import Outcome

from probemesh_controller.api import Mesh, RunEvent, RunMeasured, RunPlanned, RunRequest, RunVantageEnded
from probemesh_controller.merging import closing
from probemesh_controller.pair.case import INTERRUPTED, Step, StepDone

T = TypeVar("T")

_ENDED = {
    JobStatus.EXPIRED: "its time was up before it had an answer",
    JobStatus.CANCELLED: "it was cancelled",
    JobStatus.REJECTED: "the agent did not take the job",
    JobStatus.FAILED: "a fault of our own at the agent",
    JobStatus.LOST: "the agent was lost",
}


@dataclass(slots=True)
class Answer:
    """``rows`` as they came. ``problem``: why there are none, or not all; ``lost``: the agent is gone."""

    rows: list[Measurement] = field(default_factory=list)
    problem: str | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked of whom. ``run_id`` is random; ``deadline_s`` lies within what a run takes."""

    run_id: str
    agent: str
    target: Target
    spec: Spec
    deadline_s: float


async def ask(mesh: Mesh, asking: Asking, on_row: Callable[[Measurement], None] = lambda row: None) -> Answer:
    """To the end of the run; ``on_row`` hears of rows as they come. Cancelled, it cancels the run at the
    agent. Never raises a MeshError: the mesh that went away is a problem of this answer."""
    answer = Answer()
    request = RunRequest(
        asking.run_id, (asking.target,), (asking.spec,), (asking.agent,), max(0.05, asking.deadline_s)
    )
    try:
        async with aclosing(closing(mesh.run(request))) as events:
            async for event in events:
                _take(event, answer, on_row)
    except MeshError as error:
        answer.problem = str(error)
    return answer


def _take(event: RunEvent, answer: Answer, on_row: Callable[[Measurement], None]) -> None:
    match event:
        case RunPlanned(vantages=vantages):
            for vantage in vantages:
                if vantage.outcome is not None:
                    answer.problem = vantage.reason or str(vantage.outcome)
                    answer.lost = vantage.outcome is Outcome.AGENT_LOST
        case RunMeasured(measurements=rows):
            answer.rows += rows
            for row in rows:
                on_row(row)
        case RunVantageEnded(status=status, detail=detail) if status is not JobStatus.DONE:
            said = _ENDED[status]
            answer.problem = f"{said}: {detail}" if detail else said
            answer.lost = status is JobStatus.LOST
        case _:
            pass


async def within(clock: Clock, seconds: float, work: Awaitable[T]) -> T | None:
    """What ``work`` comes to, or None where it takes longer; then it is cancelled, and has ended."""
    task = asyncio.ensure_future(work)
    timer = asyncio.ensure_future(clock.sleep(max(0.0, seconds)))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, timer):
            each.cancel()
        await asyncio.gather(task, timer, return_exceptions=True)


def came_of(task: "asyncio.Task[StepDone]", step: Step, lost: frozenset[str]) -> StepDone:
    """What came of a step; a fault of our own is raised."""
    if not task.cancelled():
        return task.result()
    gone = step.sender in lost
    return StepDone(step, problem="it was lost" if gone else "the time limit came first")


def cut_short(tasks: "Mapping[asyncio.Task[StepDone], Step]") -> tuple[StepDone, ...]:
    """Of a round that was interrupted: the steps that were over by then."""
    return tuple(
        task.result()
        if task.done() and not task.cancelled() and task.exception() is None
        else StepDone(step, problem=INTERRUPTED)
        for task, step in tasks.items()
    )
