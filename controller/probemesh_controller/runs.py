"""The runs of a controller: starting, following, picking up again after a lost link, and what becomes of
those that nobody follows any more."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from probemesh_shared.audit.record import Audit, unrecorded
from probemesh_shared.clock import Clock
from probemesh_shared.errors import Busy, InvalidRequest, MeshError, NotFound
from probemesh_shared.model import AgentInfo
from probemesh_shared.rpc.calls import caller

from probemesh_controller.api import RunEvent, RunRequest
from probemesh_controller.auditing import RunAudit
from probemesh_controller.fleet import Fleet
from probemesh_controller.pacing import BudgetOf, Claim, Ledger, PacingPlan
from probemesh_controller.planning import check, plan
from probemesh_controller.run import Run
from probemesh_controller.store.port import RunRecord
from probemesh_controller.store.worker import AsyncStore

log = logging.getLogger(__name__)

#: Seconds for which a run waits for a client whose link was lost.
RESUME_S = 30.0
MAX_ACTIVE = 256
#: Of these, what one operator may have. No command of ours begins that many: most has ``meshctl nat``, some
#: three dozen.
RUNS_OF_ONE = 64
MAX_KEPT = 1024


@dataclass(slots=True)
class _Held:
    """A run, its task, and who reads it. ``absence`` counts the times that nobody did."""

    run: Run
    task: asyncio.Task[None]
    readers: int = 0
    absence: int = 0


class Runs:
    """One event loop. Errors are MeshErrors."""

    def __init__(
        self,
        fleet: Fleet,
        store: AsyncStore,
        clock: Clock,
        *,
        resume_s: float = RESUME_S,
        audit: Audit = unrecorded,
    ) -> None:
        self._fleet = fleet
        self._audit = audit
        self._store = store
        self._clock = clock
        self._resume_s = resume_s
        self._held: dict[str, _Held] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._ledger = Ledger()
        self._turns: dict[str, asyncio.Future[PacingPlan]] = {}
        self._closing = False
        self._at_once: Callable[[], int] = lambda: RUNS_OF_ONE
        self._begun: dict[str, str] = {}  # by id, whose: those that are not held yet
        self._unwanted: dict[str, str] = {}  # of these, what was cancelled meanwhile, and why

    def limited_by(self, at_once: Callable[[], int], budget_of: BudgetOf) -> None:
        """``at_once``: runs that one owner may have under way. Both are asked for each run that begins."""
        self._at_once, self._ledger.budget_of = at_once, budget_of

    @property
    def active(self) -> int:
        return len(self._owners())

    def _owners(self) -> list[str]:
        """Of the runs under way, and of those that are about to be."""
        under_way = [held.run.owner for held in self._held.values() if not held.run.log.ended]
        return [*under_way, *self._begun.values()]

    def _admit(self, run_id: str, owner: str) -> None:
        owners, most = self._owners(), self._at_once()
        if self._closing:
            raise Busy("the controller is going away")
        if run_id in self._held or run_id in self._begun:
            raise InvalidRequest(f"run {run_id} exists already")
        if owners.count(owner) >= most:
            raise Busy(
                f"{most} of one operator's runs may be under way at once, and no more", "wait for one to end"
            )
        if len(owners) >= MAX_ACTIVE:
            raise Busy(f"{MAX_ACTIVE} runs are under way", "try again in a moment")

    async def start(self, request: RunRequest, owner: str) -> Run:
        """Raises InvalidRequest, Busy, and StateError where the run cannot be recorded."""
        check(request)
        self._admit(request.run_id, owner)
        self._begun[request.run_id] = owner
        try:
            return await self._begin(request, owner)
        finally:
            del self._begun[request.run_id]
            self._unwanted.pop(request.run_id, None)

    async def _begin(self, request: RunRequest, owner: str) -> Run:
        now = self._clock.wall_ns()
        record = RunRecord(
            request.run_id, now, owner, tuple(target.text for target in request.targets), request.agents
        )
        await self._store.call(lambda store: store.add_run(record))
        fleet = await self._fleet.agents()
        made = plan(request, fleet, now)
        pace = self._pace(request, made.probing, fleet)
        audit = RunAudit(self._audit, self._clock.wall_ns, caller(), request)
        run = Run(
            request, owner, made, pace, self._ledger.learn, audit, self._fleet, self._store, self._clock
        )
        audit.started()
        if run.id in self._unwanted:
            run.cancel(self._unwanted[run.id])
        task = asyncio.create_task(self._execute(run), name=f"run {run.id}")
        self._held[run.id] = _Held(run, task)
        self._make_room()
        return run

    def _pace(
        self, request: RunRequest, agents: int, fleet: tuple[AgentInfo, ...]
    ) -> "PacingPlan | asyncio.Future[PacingPlan]":
        """How fast the run may be, or will be told to be once others have ended."""
        named = {target.agent for target in request.targets if target.agent}
        addresses = {agent.name: agent.addresses for agent in fleet if agent.name in named}
        claim = Claim(request.run_id, request.specs, request.targets, agents, request.deadline_s, addresses)
        pace = self._ledger.claim(claim)
        if pace is not None:
            return pace
        turn = self._turns[request.run_id] = asyncio.get_running_loop().create_future()
        return turn

    def _release(self, run_id: str) -> None:
        self._turns.pop(run_id, None)
        for waiting, pace in self._ledger.release(run_id):
            turn = self._turns.pop(waiting)
            if not turn.done():
                turn.set_result(pace)

    async def _execute(self, run: Run) -> None:
        try:
            await run.execute()
        finally:
            self._release(run.id)
            run.audit.ended(run.cancelled)
        ended, cancelled = self._clock.wall_ns(), run.cancelled is not None
        try:
            await self._store.call(lambda store: store.end_run(run.id, ended, cancelled))
        except MeshError as error:
            log.error("run %s: its end is not recorded: %s", run.id, error)

    def _make_room(self) -> None:
        """Finished runs that nobody reads go first, the oldest before the others."""
        idle = [run_id for run_id, held in self._held.items() if held.run.log.ended and not held.readers]
        for run_id in idle[: max(0, len(self._held) - MAX_KEPT)]:
            del self._held[run_id]

    def find(self, run_id: str, owner: str) -> Run:
        """Raises NotFound, also for runs of others: their ids are nobody else's business."""
        held = self._held.get(run_id)
        if held is None or held.run.owner != owner:
            raise NotFound("there is no such run (any more)", "start it again")
        return held.run

    def cancel(self, run_id: str, owner: str, reason: str) -> None:
        """Also one that is only about to begin. Raises NotFound."""
        if self._begun.get(run_id) == owner:
            self._unwanted[run_id] = reason
        else:
            self.find(run_id, owner).cancel(reason)

    def cancel_owner(self, owner: str, reason: str) -> None:
        """All runs of somebody who may no longer have any."""
        for held in self._held.values():
            if held.run.owner == owner:
                held.run.cancel(reason)

    async def follow(self, run: Run, after: int = 0) -> AsyncGenerator[tuple[int, RunEvent], None]:
        """Numbered events after ``after``. Once nobody follows for the resume time, a run under way is
        cancelled and a finished one forgotten."""
        held = self._held[run.id]
        held.readers += 1
        try:
            async with aclosing(run.log.read(after)) as items:
                async for item in items:
                    yield item
        finally:
            held.readers -= 1
            if held.readers == 0 and not self._closing:
                held.absence += 1
                watcher = asyncio.create_task(self._watch(held, held.absence), name=f"watch {run.id}")
                self._watchers.add(watcher)
                watcher.add_done_callback(self._watchers.discard)

    async def _watch(self, held: _Held, absence: int) -> None:
        await self._clock.sleep(self._resume_s)
        if held.readers or held.absence != absence:
            return
        held.run.cancel("nobody follows it any more")
        await asyncio.wait({held.task})
        self._held.pop(held.run.id, None)

    async def aclose(self, reason: str) -> None:
        """Cancels all runs and waits for their ends, which is a second or so."""
        self._closing = True
        for watcher in self._watchers:
            watcher.cancel()
        for held in self._held.values():
            held.run.cancel(reason)
        tasks = {held.task for held in self._held.values() if not held.task.done()}
        if tasks:
            await asyncio.wait(tasks)
