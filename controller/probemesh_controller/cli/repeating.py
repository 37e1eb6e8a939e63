"""One run again and again: rounds that never overlap, each a run of its own, until something ends them."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from probemesh_shared.clock import Clock
from probemesh_shared.errors import CertificateRefused, MeshError, NotAllowed
from probemesh_shared.escape import escape
from probemesh_shared.model import AgentInfo, TargetResult
from probemesh_shared.outcomes import exit_code
from probemesh_shared.words import Outcome

from probemesh_controller.api import Mesh, PlannedVantage, RunEnded, RunEvent, RunPlanned, RunRequest
from probemesh_controller.cli.again import Plan, tally
from probemesh_controller.cli.running import consume, settle
from probemesh_controller.cli.screens import Screen
from probemesh_controller.cli.signals import on_signals
from probemesh_controller.results import Assembly

Results = tuple[TargetResult, ...]
#: A round of ``--until`` is not cut shorter than this by the end of its time.
SHORTEST_S = 1.0


@dataclass(slots=True)
class Repetition:
    """How far it is. ``results`` are those of the last round that ended by itself; of the first, ``cut``
    says that an interrupt ended it."""

    results: Results | None = None
    run_id: str = ""
    rounds: int = 0
    cut: bool = False
    code: int = 0


#: (seconds left for it or None) → results, run id, whether it was interrupted
Measure = Callable[[float | None], Awaitable[tuple[Results, str, bool]]]


async def repeat(
    plan: Plan,
    measure: Measure,
    clock: Clock,
    stop: asyncio.Event,
    screen: Screen,
    strict: bool,
    done: Repetition,
) -> None:
    """Fills ``done``; ends by the plan or by ``stop``. Raises the MeshError of the first round."""
    began, held = clock.monotonic(), 0
    screen.begin()
    while True:
        started = clock.monotonic()
        left = None if plan.within_s is None else max(SHORTEST_S, began + plan.within_s - started)
        results, run_id, cut = await measure(left)
        if cut and done.rounds:  # what was seen last in full says more
            break
        done.results, done.run_id, done.rounds = results, run_id, done.rounds + 1
        held = _judge(plan, results, strict, held, done)  # before it is shown, which may fail
        screen.round(done.rounds, clock.wall_ns(), results)
        if cut:
            done.cut = True
            break
        again = max(started + plan.every_s, clock.monotonic())
        if _is_over(plan, held, done, again - began):
            return
        if await _stopped_within(again - clock.monotonic(), clock, stop):
            break
    done.code = 130


def _judge(plan: Plan, results: Results, strict: bool, held: int, done: Repetition) -> int:
    """Puts the exit code that this round means, were it the last; returns for how many rounds it holds."""
    if plan.until is None:
        done.code = exit_code(results, strict)
        return 0
    counts = tally(results, plan.until, strict)
    held = held + 1 if counts.holds else 0
    done.code = 0 if held >= plan.hold else counts.exit_code
    return held


def _is_over(plan: Plan, held: int, done: Repetition, next_s: float) -> bool:
    """``next_s`` is when the next round would begin, counted from the first."""
    if plan.until is None:
        return plan.rounds is not None and done.rounds >= plan.rounds
    nobody = done.results is not None and all(one.is_target for r in done.results for one in r.vantages)
    late = plan.within_s is not None and next_s >= plan.within_s
    return held >= plan.hold or nobody or late


async def _stopped_within(seconds: float, clock: Clock, stop: asyncio.Event) -> bool:
    """Waits, or is interrupted; says which."""
    sleeping = asyncio.ensure_future(clock.sleep(seconds))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return stop.is_set()
    finally:
        for task in (sleeping, stopping):
            task.cancel()
        await asyncio.gather(sleeping, stopping, return_exceptions=True)


# --- one round --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Rounds:
    """Measures one round after the other on a mesh that may come and go. What was said of the round before
    is not said again."""

    mesh: Mesh
    request: RunRequest
    agents: Sequence[AgentInfo]
    clock: Clock
    stop: asyncio.Event
    screen: Screen
    begin: Callable[[RunRequest, int], Assembly]
    conclude: Callable[[Assembly], Results]
    _said_before: set[str] = field(default_factory=set)
    _said: set[str] = field(default_factory=set)
    _count: int = 0

    async def __call__(self, left: float | None) -> tuple[Results, str, bool]:
        self._count += 1
        self._said_before, self._said = self._said, set()
        deadline = self.request.deadline_s if left is None else min(self.request.deadline_s, left)
        request = replace(self.request, run_id=secrets.token_hex(16), deadline_s=deadline)
        assembly = self.begin(request, self.clock.wall_ns())
        interrupted = False
        try:
            interrupted = await self._run(request, assembly)
        except MeshError as error:
            if self._count == 1 or isinstance(error, CertificateRefused | NotAllowed):
                raise  # that does not pass by itself, as a controller's absence does
            self._without_mesh(error, assembly)
        assembly.add(RunEnded(cancelled=interrupted))
        return self.conclude(assembly), request.run_id, interrupted

    async def _run(self, request: RunRequest, assembly: Assembly) -> bool:
        def take(event: RunEvent) -> None:
            assembly.add(event)
            if isinstance(event, RunPlanned):
                for text in event.notes:
                    self._say(escape(text, 400))

        consumer = asyncio.ensure_future(consume(self.mesh, request, take))
        stopping = asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait({consumer, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (consumer, stopping):
                task.cancel()
            await asyncio.gather(consumer, stopping, return_exceptions=True)
        if consumer.cancelled():
            return True
        settle(consumer, assembly, self._say)
        return False

    def _without_mesh(self, error: MeshError, assembly: Assembly) -> None:
        """A controller that is away for a while ends no watch: nobody was measured, and that is said."""
        why = escape(str(error), 400)
        self._say(f"warning: {why}")
        sites = {agent.name: agent.site for agent in self.agents}
        planned = (
            PlannedVantage(name, sites.get(name), Outcome.UNMEASURED, str(error))
            for name in self.request.agents
        )
        assembly.add(RunPlanned(tuple(planned)))

    def _say(self, text: str) -> None:
        if text not in self._said | self._said_before:
            self.screen.say(text)
        self._said.add(text)


@contextlib.asynccontextmanager
async def interruptible() -> AsyncIterator[asyncio.Event]:
    """Set by the first Ctrl-C or SIGTERM; the second ends us at once."""
    stop = asyncio.Event()

    def interrupt() -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    with on_signals(interrupt):
        yield stop
