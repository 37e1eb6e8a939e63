"""One run under way: its jobs at the agents, every batch committed before anybody sees it, an end in any
case."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from probemesh_shared.clock import Clock
from probemesh_shared.errors import MeshError
from probemesh_shared.escape import escape
from probemesh_shared.model import Job, Measurement, Target
from probemesh_shared.session.events import JobEnded, ResultsArrived
from probemesh_shared.session.frames import JobStatus

from probemesh_controller.api import RunEnded, RunMeasured, RunPlanned, RunRequest, RunVantageEnded
from probemesh_controller.auditing import LOCAL, RunAudit
from probemesh_controller.fleet import Feed, Fleet
from probemesh_controller.pacing import PacingPlan
from probemesh_controller.planning import Part, Plan
from probemesh_controller.runlog import RunLog
from probemesh_controller.store.port import Store
from probemesh_controller.store.worker import AsyncStore

log = logging.getLogger(__name__)

#: Seconds after a run's deadline in which last results, and agents whose link broke, may still come.
GRACE_S = 3.0
#: Seconds in which agents confirm a cancellation.
CANCEL_S = 1.0
#: Batches of one job; an agent that sends more does not send what it was asked for.
MAX_BATCHES = 100_000
_MOST_LEARNT = 16_384
_WAITS = "pacing: other runs take all that may go to a target of this one; it waits until they have ended"
_ALL_TAKEN = "busy: other runs took all that may go to this target, all the time"

#: Told which address an agent found behind a target: run, target, address.
Learn = Callable[[str, Target, str], str | None]


class Run:
    """``execute`` it once, in a task; it ends by deadline + GRACE_S, or by CANCEL_S after ``cancel``."""

    def __init__(
        self,
        request: RunRequest,
        owner: str,
        plan: Plan,
        pace: "PacingPlan | asyncio.Future[PacingPlan]",
        learn: Learn,
        audit: RunAudit,
        fleet: Fleet,
        store: AsyncStore,
        clock: Clock,
    ) -> None:
        self.id = request.run_id
        self.owner = owner
        self.log = RunLog(store)
        self.audit = audit
        self.cancelled: str | None = None
        self._request = request
        self._plan = plan
        self._pace = pace if isinstance(pace, asyncio.Future) else _ready(pace)
        self._learn = learn
        self._learnt: set[tuple[int, str]] = set()
        self._stopped = asyncio.Event()
        self._fleet = fleet
        self._store = store
        self._clock = clock
        self._deadline = clock.monotonic() + request.deadline_s
        self._longest_ms = (request.deadline_s + GRACE_S) * 1000
        self._open: dict[str, tuple[Part, Feed]] = {}

    async def execute(self) -> None:
        notes = self._pace.result().notes if self._pace.done() else (_WAITS,)
        self.log.append(RunPlanned(self._plan.vantages, notes))
        timer = asyncio.create_task(self._after(self._request.deadline_s + GRACE_S))
        try:
            await asyncio.gather(
                *(self._follow(number, part) for number, part in enumerate(self._plan.parts))
            )
        finally:
            timer.cancel()
            self.log.append(RunEnded(self.cancelled is not None))

    def cancel(self, reason: str) -> None:
        """Packets stop within a second; agents that are away are not waited for."""
        if self.cancelled is not None or self.log.ended:
            return
        self.cancelled = reason
        self._stopped.set()
        for job_id, (part, feed) in self._open.items():
            self._fleet.cancel(part.agent_id, job_id, reason)
            if not self._fleet.connected(part.agent_id):
                feed.give_up()
        self._fleet.spawn(self._after(CANCEL_S))

    async def _after(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._stopped.set()
        for _, feed in self._open.values():
            feed.give_up()

    # --- one part ---------------------------------------------------------------------------------------

    async def _follow(self, number: int, part: Part) -> None:
        job_id = f"{self.id}.{number}"
        try:
            if part.refused:
                await self._store_rows(part, job_id + ".0", [(0, part.refused)])
            end = await self._measure(number, part, job_id) if part.targets else (JobStatus.DONE, "")
        except MeshError as error:
            log.error("run %s, agent %s: %s", self.id, part.agent, error)
            end = (JobStatus.FAILED, f"the controller cannot keep results: {error}")
        except Exception as error:
            tag = secrets.token_hex(4)
            log.error("run %s, agent %s, id %s", self.id, part.agent, tag, exc_info=error)
            end = (JobStatus.FAILED, f"internal error {tag} in the controller")
        status, detail = end
        if status is JobStatus.CANCELLED:
            detail = detail or self.cancelled or ""
        self.log.append(RunVantageEnded(part.agent, part.spec_index, status, detail))

    async def _measure(self, number: int, part: Part, job_id: str) -> tuple[JobStatus, str]:
        pace = await self._turn(number)
        if self.cancelled is not None:
            return JobStatus.CANCELLED, self.cancelled
        if pace is None:
            return JobStatus.REJECTED, _ALL_TAKEN
        left_ms = max(1, round((self._deadline - self._clock.monotonic()) * 1000))
        spec = self._request.specs[part.spec_index]
        job = Job(job_id, self.id, spec, part.targets, left_ms, pace.pacing, self._asked_by(), part.narrow)
        feed = self._fleet.open(part.agent_id, job)
        self._open[job_id] = part, feed
        try:
            return await self._take(part, feed)
        finally:
            del self._open[job_id]
            self._fleet.close_feed(part.agent_id, job_id)

    async def _turn(self, number: int) -> PacingPlan | None:
        """Waits until others have left enough to send, then for this part's own turn among the run's; None
        where time was up before."""
        if not self._pace.done():
            await self._wait(self._deadline - self._clock.monotonic(), self._pace)
        if not self._pace.done():
            return None
        pace = self._pace.result()
        offset = pace.spread_s * number / len(self._plan.parts)
        if offset > 0:
            await self._wait(offset)
        return pace

    async def _wait(self, seconds: float, *others: "asyncio.Future[Any]") -> None:
        """Until time is up, one of ``others`` is done, or the run is stopped."""
        own = [
            asyncio.ensure_future(self._clock.sleep(max(0.0, seconds))),
            asyncio.ensure_future(self._stopped.wait()),
        ]
        try:
            await asyncio.wait({*own, *others}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in own:
                wait.cancel()

    def _asked_by(self) -> str:
        """For the agent's own record; it knows who it is that dials it."""
        return "" if self.owner == LOCAL else self.owner

    async def _take(self, part: Part, feed: Feed) -> tuple[JobStatus, str]:
        """Results in their order, those that wait together in one commit, until the job's end."""
        while True:
            events = [await feed.events.get()]
            while not feed.events.empty():
                events.append(feed.events.get_nowait())
            batches = [event for event in events if isinstance(event, ResultsArrived)]
            if batches:
                rows = [(batch.seq, self._mine(part, batch.measurements)) for batch in batches]
                await self._store_rows(part, feed.job.id, rows)
                self._fleet.committed(part.agent_id, feed.job.id, batches[-1].seq)
                if batches[-1].seq >= MAX_BATCHES:
                    return JobStatus.FAILED, "the agent sends more than it was asked for"
            for event in events:
                if isinstance(event, JobEnded):
                    self._fleet.committed(part.agent_id, feed.job.id, event.seq)
                    return event.status, event.detail
            if None in events:
                return self._given_up(part, feed)

    def _given_up(self, part: Part, feed: Feed) -> tuple[JobStatus, str]:
        if self.cancelled is not None:
            return JobStatus.CANCELLED, self.cancelled
        if self._fleet.revoked(part.agent_id):
            return JobStatus.LOST, "revoked"
        if self._fleet.waits(part.agent_id, feed.job.id):
            return JobStatus.REJECTED, "busy: the agent had its hands full with other runs all the time"
        if self._fleet.connected(part.agent_id):
            return JobStatus.LOST, "the agent is connected and did not finish in time"
        return JobStatus.LOST, "the link to the agent broke and did not come back in time"

    def _mine(self, part: Part, rows: tuple[Measurement, ...]) -> tuple[Measurement, ...]:
        """The run's target numbers for the job's; rows about targets that were not asked for are dropped, and
        those with round trips that are longer than the run."""
        count = len(part.indices)
        possible = tuple(row for row in rows if self._is_possible(row))
        if len(possible) < len(rows):
            log.warning(
                "agent %s reported round trips longer than the run: %d rows",
                escape(part.agent, 80),
                len(rows) - len(possible),
            )
        rows = possible
        if part.unchanged and all(row.target_index < count for row in rows):
            return rows
        mine = tuple(
            replace(row, target_index=part.indices[row.target_index])
            for row in rows
            if row.target_index < len(part.indices)
        )
        if len(mine) < len(rows):
            log.warning(
                "agent %s reported targets it was not given: %d rows", part.agent, len(rows) - len(mine)
            )
        return mine

    def _is_possible(self, row: Measurement) -> bool:
        return all(sample.rtt_ms is None or sample.rtt_ms <= self._longest_ms for sample in row.samples)

    async def _store_rows(
        self, part: Part, job_id: str, batches: list[tuple[int, tuple[Measurement, ...]]]
    ) -> None:
        self._tell_addresses(batches)
        await self._store.call(self._adding(part, job_id, batches))
        for seq, rows in batches:
            if rows:
                self.audit.measured(rows)
                self.log.append_stored(RunMeasured(part.agent, part.spec_index, rows), job_id, seq)

    def _tell_addresses(self, batches: list[tuple[int, tuple[Measurement, ...]]]) -> None:
        """Each address behind a target once."""
        for _, rows in batches:
            for row in rows:
                found = (row.target_index, row.address or "")
                if row.address and found not in self._learnt and len(self._learnt) < _MOST_LEARNT:
                    self._learnt.add(found)
                    why = self._learn(self.id, self._request.targets[row.target_index], row.address)
                    if why is not None:
                        self.cancel(why)

    def _adding(
        self, part: Part, job_id: str, batches: list[tuple[int, tuple[Measurement, ...]]]
    ) -> Callable[[Store], None]:
        def work(store: Store) -> None:
            for seq, rows in batches:
                store.add_measurements(self.id, part.agent_id, job_id, part.spec_index, seq, rows)

        return work


def _ready(pace: PacingPlan) -> "asyncio.Future[PacingPlan]":
    future: asyncio.Future[PacingPlan] = asyncio.get_running_loop().create_future()
    future.set_result(pace)
    return future
