"""The follow-up of a run in which somebody failed: traces and control probes, announced, bounded, and to be
turned off; what they say is laid beside the results."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from probemesh_shared.errors import MeshError
from probemesh_shared.escape import escape
from probemesh_shared.model import AgentInfo, Measurement, TargetResult, TraceSpec

from probemesh_controller.api import Mesh, RunEvent, RunMeasured, RunRequest
from probemesh_controller.cli.flags import note
from probemesh_controller.cli.running import consume
from probemesh_controller.cli.signals import on_signals
from probemesh_controller.config import MeshContext
from probemesh_controller.diagnosis.following import LEAST_S, LONGEST_S, Ask, follow_up
from probemesh_controller.render.text import counted


@dataclass(frozen=True, slots=True)
class Followed:
    """``interrupted``: somebody did not want to wait for it; what came by then counts."""

    results: tuple[TargetResult, ...]
    interrupted: bool = False


async def follow(
    mesh: Mesh,
    results: Sequence[TargetResult],
    agents: Sequence[AgentInfo],
    context: MeshContext | None,
    left_s: float,
) -> Followed:
    """The results with what was asked afterwards; the same where there was nothing to ask, or no time."""
    asks = follow_up(results, agents, controller_of(context))
    budget_s = min(LONGEST_S, left_s)
    if not asks or budget_s < LEAST_S:
        return Followed(tuple(results))
    _announce(asks, budget_s)
    found: defaultdict[tuple[int, str], list[Measurement]] = defaultdict(list)
    interrupted = await _ask_all(mesh, asks, budget_s, found)
    return Followed(tuple(_with_rows(index, one, found) for index, one in enumerate(results)), interrupted)


def controller_of(context: MeshContext | None) -> tuple[str, int] | None:
    """Where agents dial: known to be good while they are connected."""
    if context is None or context.controller is None:
        return None
    host, _, port = context.controller.rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdecimal() else None


def _announce(asks: Sequence[Ask], budget_s: float) -> None:
    traces = [ask for ask in asks if isinstance(ask.spec, TraceSpec)]
    names = sorted({name for ask in traces for name in ask.agents})
    who = f"{', '.join(names[:4])}{' …' if len(names) > 4 else ''}"
    said = f"{counted(len(traces), 'trace')} from {who}, to see where it fails"
    note(f"note: {escape(said, 200)} (at most {budget_s:.0f} s; --no-trace leaves that out)")


async def _ask_all(
    mesh: Mesh,
    asks: Sequence[Ask],
    budget_s: float,
    found: defaultdict[tuple[int, str], list[Measurement]],
) -> bool:
    """All at once; whether it was interrupted."""
    runs = [asyncio.ensure_future(_ask(mesh, ask, budget_s, found)) for ask in asks]
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        for run in runs:
            run.cancel()

    try:
        with on_signals(interrupt):
            await asyncio.wait(runs)
    finally:
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
    return interrupted


async def _ask(
    mesh: Mesh, ask: Ask, budget_s: float, found: defaultdict[tuple[int, str], list[Measurement]]
) -> None:
    """A mesh that goes away meanwhile takes the follow-up with it, and nothing else."""
    kind = type(ask.spec).__name__.removesuffix("Spec").lower()

    def take(event: RunEvent) -> None:
        if isinstance(event, RunMeasured):
            rows = [row for row in event.measurements if row.kind.value == kind]
            found[ask.index, event.agent].extend(replace(row, target_index=ask.index) for row in rows)

    request = RunRequest(secrets.token_hex(16), (ask.target,), (ask.spec,), ask.agents, budget_s)
    try:
        await consume(mesh, request, take)
    except MeshError as error:
        note(f"note: no follow-up: {escape(str(error), 200)}")


def _with_rows(
    index: int, result: TargetResult, found: defaultdict[tuple[int, str], list[Measurement]]
) -> TargetResult:
    vantages = tuple(
        replace(one, followed=tuple(found[index, one.agent])) if (index, one.agent) in found else one
        for one in result.vantages
    )
    return replace(result, vantages=vantages)
