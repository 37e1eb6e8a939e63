"""Runs jobs: spec to probe kind, measurements to the lane of whoever asked, every job to exactly one end.

Several jobs run at once, within caps; what is over them is rejected, never queued. A lane without room stops
the probe's iterator, so that nothing is measured faster than it can be told.
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from probemesh_shared.audit.record import NOBODY, Audit, Caller, unrecorded
from probemesh_shared.model import IcmpSpec, Job, Measurement, Spec, Target
from probemesh_shared.session.frames import JOBS_OF_ONE_OWNER, JobStatus
from probemesh_shared.specs import KINDS
from probemesh_shared.words import Kind

from probemesh_agent import rows
from probemesh_agent.auditing import Recorder
from probemesh_agent.batching import Batcher
from probemesh_agent.env import Clock, Network, Probe, ProbeEnv

logger = logging.getLogger(__name__)

#: Loads what a job needs, before its first packet (:class:`probemesh_agent.prepare.Preparation`).
Prepare = Callable[[Kind, Spec, Sequence[Target]], Awaitable[None]]


class Lane(Protocol):
    """The way back to one owner of jobs. Numbers, windows and resends are its own affair."""

    @property
    def owner(self) -> str:
        """Whose jobs these are: unique per identity and process of the peer."""

    async def room(self) -> None:
        """Returns at once while there is room, else when there is again."""

    def add(self, job_id: str, measurements: tuple[Measurement, ...]) -> None: ...

    def end(self, job_id: str, status: JobStatus, detail: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Caps:
    """What one agent takes on at once, whoever asks: ``rows`` and ``samples`` are what the running jobs may
    yield together, ``targets`` what they name; all of it is held in memory."""

    jobs: int = 64
    jobs_of_one_owner: int = JOBS_OF_ONE_OWNER
    targets: int = 65_536
    rows: int = 400_000
    samples: int = 2_000_000
    budget_ms: int = 600_000
    overtime_s: float = 0.5  # after its deadline a probe that should have ended is ended


@dataclass(frozen=True, slots=True)
class Load:
    """How much a job asks for, or several together."""

    targets: int = 0
    rows: int = 0
    samples: int = 0

    def __add__(self, other: "Load") -> "Load":
        return Load(self.targets + other.targets, self.rows + other.rows, self.samples + other.samples)

    def over(self, caps: Caps) -> str | None:
        """What is too many."""
        if self.targets > caps.targets:
            return f"{self.targets} targets, the most at once is {caps.targets}"
        if self.rows > caps.rows:
            return f"{self.rows} measurements, the most at once is {caps.rows}"
        if self.samples > caps.samples:
            return f"{self.samples} samples, the most at once is {caps.samples}"
        return None


@dataclass(slots=True)
class _Running:
    task: "asyncio.Task[None]"
    load: Load
    kind: Kind
    caller: Caller
    counts: Counter[str] = field(default_factory=Counter)  # of measurements, by outcome
    status: JobStatus | None = None  # why it was stopped, where it was
    detail: str = ""


class Runner:
    """All jobs of this process. ``probes`` holds every kind, the ladder among them."""

    def __init__(
        self,
        probes: Mapping[Kind, Probe],
        network: Network,
        clock: Clock,
        *,
        capabilities: frozenset[str] = frozenset(),
        caps: Caps = Caps(),
        prepare: Prepare | None = None,
        audit: Audit = unrecorded,
    ) -> None:
        self._recorder = Recorder(audit, clock.wall_ns)
        self._probes = probes
        self._network = network
        self._clock = clock
        self._capabilities = capabilities
        self._caps = caps
        self._prepare = prepare
        self._running: dict[tuple[str, str], _Running] = {}
        self._draining = False

    @property
    def active(self) -> int:
        """Jobs that have not ended."""
        return len(self._running)

    def start(self, job: Job, lane: Lane, caller: Caller = NOBODY) -> None:
        """Takes the job on or rejects it, by its lane; never raises. An id that is running runs once.
        ``caller`` is for the record."""
        key = (lane.owner, job.id)
        if key in self._running:
            logger.warning("job %s of %s came twice; it runs once", job.id, lane.owner)
            return
        load = _load_of(job)
        refusal = self._refusal(job, lane, load)
        if refusal is not None:
            logger.debug("job %s of %s rejected: %s", job.id, lane.owner, refusal)
            self._recorder.rejected(job.id, job, caller, refusal)
            lane.end(job.id, JobStatus.REJECTED, refusal)
            return
        self._recorder.accepted(job, caller)
        # a policy that has changed ends other jobs, and not this one
        self._network.refused_kind(KINDS[type(job.spec)])
        task = asyncio.create_task(self._run(job, lane), name=f"job {job.id}")
        self._running[key] = _Running(task, load, KINDS[type(job.spec)], caller)
        task.add_done_callback(lambda task: self._over(task, job, lane))

    def turned_away(self, job_id: str, job: Job | None, caller: Caller, reason: str) -> None:
        """For the record: it never came here."""
        self._recorder.rejected(job_id, job, caller, reason)

    def cancel(self, owner: str, job_id: str, reason: str) -> None:
        """Stops packets now; what was measured so far is told, then the end. Unknown jobs are no error."""
        running = self._running.get((owner, job_id))
        if running is not None:
            self._stop(running, JobStatus.CANCELLED, reason)

    def cancel_owner(self, owner: str, reason: str, kind: Kind | None = None) -> None:
        """All jobs of one owner, or all of one kind."""
        for (whose, _), running in list(self._running.items()):
            if whose == owner and kind in (None, running.kind):
                self._stop(running, JobStatus.CANCELLED, reason)

    def cancel_all(self, reason: str) -> None:
        """Whoever asked; new ones are taken."""
        for running in list(self._running.values()):
            self._stop(running, JobStatus.CANCELLED, reason)

    def refuse_new(self) -> None:
        """From now on jobs are rejected: the agent is going away."""
        self._draining = True

    async def finish(self, seconds: float, reason: str) -> None:
        """Waits up to ``seconds`` for the jobs to end by themselves, then cancels the rest. Watches, which
        do not, are cancelled at once."""
        self.refuse_new()
        for running in list(self._running.values()):
            if running.kind is Kind.WATCH:
                self._stop(running, JobStatus.CANCELLED, reason)
        if tasks := {running.task for running in self._running.values()}:
            await asyncio.wait(tasks, timeout=seconds)
        for running in list(self._running.values()):
            self._stop(running, JobStatus.CANCELLED, reason)
        if tasks := {running.task for running in self._running.values()}:
            await asyncio.wait(tasks)

    def _stop(self, running: _Running, status: JobStatus, detail: str) -> None:
        if running.status is None:
            running.status, running.detail = status, detail
            running.task.cancel()

    def _over(self, task: "asyncio.Task[None]", job: Job, lane: Lane) -> None:
        running = self._running.pop((lane.owner, job.id))
        if task.cancelled():  # before its first step: nothing in it has run, so nothing has told of the end
            self._end(job, lane, running, running.status or JobStatus.CANCELLED, running.detail)

    def _end(self, job: Job, lane: Lane, running: _Running, status: JobStatus, detail: str) -> None:
        self._recorder.ended(job, running.caller, status, detail, running.counts)
        lane.end(job.id, status, detail)

    def _refusal(self, job: Job, lane: Lane, load: Load) -> str | None:
        of_owner = sum(1 for owner, _ in self._running if owner == lane.owner)
        if self._draining:
            return "the agent is shutting down"
        if not job.targets:
            return "a job without targets"
        if (much := load.over(self._caps)) is not None:
            return f"too large: {much}"
        if len(self._running) >= self._caps.jobs or of_owner >= self._caps.jobs_of_one_owner:
            return "busy: too many jobs at once"
        together = sum((running.load for running in self._running.values()), load)
        if (much := together.over(self._caps)) is not None:
            return f"busy: with what runs already {much}"
        return None

    async def _run(self, job: Job, lane: Lane) -> None:
        """One job from start to end. Whatever happens, the lane hears of the end once."""
        budget_s = min(job.budget_ms, self._caps.budget_ms) / 1000
        running = self._running[lane.owner, job.id]

        def tell(batch: tuple[Measurement, ...]) -> None:
            running.counts.update(row.outcome.value for row in batch)
            lane.add(job.id, batch)

        batcher = Batcher(self._clock, tell)
        watchdog = asyncio.create_task(self._expire(job, lane, budget_s + self._caps.overtime_s))
        status, detail = JobStatus.DONE, ""
        try:
            async with batcher:
                await self._measure(job, lane, batcher, self._clock.monotonic() + budget_s)
        except asyncio.CancelledError:
            status, detail = running.status or JobStatus.CANCELLED, running.detail
        except Exception:
            fault = os.urandom(4).hex()
            logger.exception("internal fault %s in job %s", fault, job.id)
            status, detail = JobStatus.FAILED, f"internal fault {fault}; the agent's log has it"
        finally:
            watchdog.cancel()
            with suppress(asyncio.CancelledError):
                await watchdog
        self._end(job, lane, running, status, detail)

    async def _expire(self, job: Job, lane: Lane, seconds: float) -> None:
        await self._clock.sleep(seconds)
        running = self._running.get((lane.owner, job.id))
        if running is not None:
            self._stop(running, JobStatus.EXPIRED, "its time was up")

    async def _measure(self, job: Job, lane: Lane, batcher: Batcher, deadline: float) -> None:
        kind = KINDS[type(job.spec)]
        await lane.room()  # one who takes nothing off our hands has nothing more measured
        if self._prepare is not None:
            await self._prepare(kind, job.spec, job.targets)
        probe = self._probes.get(kind)
        if probe is None:
            now = self._clock.wall_ns()
            unknown = (rows.unsupported(kind, i, target, now) for i, target in enumerate(job.targets))
            await _told(unknown, batcher, lane)
            return
        network = self._network
        if job.narrow:
            from probemesh_agent.net.narrowed import narrowed  # only where something is

            network = narrowed(network, job.narrow)
        if (refused := network.refused_kind(kind)) is not None:
            await _told(rows.refused_all(kind, job.targets, refused, self._clock.wall_ns()), batcher, lane)
            return
        env = ProbeEnv(network, self._clock, deadline, job.pacing, self._capabilities)
        batches = _batches(probe, kind, job, env)
        try:
            async for batch in batches:
                batcher.add(batch)
                await lane.room()
        finally:
            await _close(batches)


def _batches(probe: Probe, kind: Kind, job: Job, env: ProbeEnv) -> AsyncIterator[Sequence[Measurement]]:
    if not job.spec.options.expect:
        return probe.run(job.spec, job.targets, env)
    from probemesh_agent.expecting import measured  # only where something is expected

    return measured(probe, kind, job.spec, job.targets, env)


async def _close(batches: AsyncIterator[Sequence[Measurement]]) -> None:
    closing = getattr(batches, "aclose", None)
    if closing is not None:
        await closing()


async def _told(measured: Iterable[Measurement], batcher: Batcher, lane: Lane) -> None:
    """What costs nothing to find out, no faster than it can be told."""
    for row in measured:
        batcher.add((row,))
        await lane.room()


def _load_of(job: Job) -> Load:
    """What the job may yield at least: a row for every port of every target, and every size of a sweep."""
    from probemesh_shared.targets import count_ports  # half a MiB that nobody idle needs

    rows = sum(max(1, count_ports(target.ports)) for target in job.targets)
    if isinstance(job.spec, IcmpSpec):
        rows *= max(1, len(job.spec.sizes))
    return Load(len(job.targets), rows, rows * job.spec.options.count)
