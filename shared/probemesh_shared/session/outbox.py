"""The agent's side of delivery: numbers batches, keeps them until acknowledged, resends on a new link.

One outbox belongs to one owner of jobs (an identity and its process) and outlives links; at most one live
:class:`~probemesh_shared.session.machine.Session` uses it at a time. Without I/O or clock.
"""

import dataclasses
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from probemesh_shared.model import Failure, Measurement, Sample
from probemesh_shared.session.frames import JobEnd, JobStatus, OpenJob, ResultBatch
from probemesh_shared.session.spool import MemorySpool, Spool
from probemesh_shared.wire.bounds import MAX_SAMPLES, MAX_TEXT
from probemesh_shared.wire.misfits import misfit
from probemesh_shared.wire.sizes import size_of

#: Bytes sent and not yet acknowledged, at most; and the largest batch, so that one always fits.
WINDOW = 256 * 1024
_FRAME = 512  # a batch without its measurements
_PREFIX = 8  # a measurement's tag and length in its batch
MAX_HELD = 512  # jobs of which something waits for an acknowledgement; honest owners have some dozens
_ENDED_KEPT = 4096  # ids of finished jobs that are remembered, so that a job sent again does not run again


class Hoard(ValueError):
    """The peer gives jobs and acknowledges nothing of them: what is kept for it has to end somewhere."""


class FutureAck(ValueError):
    """The peer acknowledged what was never made: it breaks the protocol."""


@dataclass(slots=True)
class _Job:
    next_seq: int = 0  # the next number to be given
    unsent: int = 0  # the first number not yet sent on this link
    ended: bool = False
    cancelled: bool = False
    flying: deque[tuple[int, int]] = field(default_factory=deque)  # (seq, size) sent and not acknowledged


class Outbox:
    """Results on their way to one owner. ``limit`` is how many bytes may wait before ``room`` says no; who
    asks ``room`` before it measures more overshoots it by one batch a job."""

    def __init__(self, spool: Spool | None = None, *, limit: int = 8 << 20, window: int = WINDOW) -> None:
        self._spool = spool if spool is not None else MemorySpool()
        self._limit = limit
        self._window = window
        self._jobs: dict[str, _Job] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._turn: deque[str] = deque()  # jobs with something unsent, each once
        self._flying = 0

    @property
    def room(self) -> bool:
        """True while more results may be measured."""
        return self._spool.size < self._limit

    @property
    def waiting(self) -> int:
        """Bytes that wait for their acknowledgement, sent or not."""
        return self._spool.size

    @property
    def empty(self) -> bool:
        """True where nothing waits for an acknowledgement."""
        return self._spool.size == 0

    @property
    def unacknowledged(self) -> int:
        """Bytes sent on this link and not acknowledged: at most the window."""
        return self._flying

    @property
    def running(self) -> int:
        """How many jobs have not ended."""
        return sum(not job.ended for job in self._jobs.values())

    # --- the owner's calls ----------------------------------------------------------------------------

    def open(self, job_id: str) -> bool:
        """Takes a job on; False where this id was here before, ended or not. Raises :class:`Hoard`."""
        if job_id in self._jobs or job_id in self._gone:
            return False
        if len(self._jobs) >= MAX_HELD:
            raise Hoard(f"{MAX_HELD} jobs wait for their results to be acknowledged")
        self._jobs[job_id] = _Job()
        return True

    def add(self, job_id: str, measurements: Sequence[Measurement]) -> None:
        """Queues results, cut into batches that fit the window; nothing happens for a dropped job."""
        job = self._running(job_id)
        if job is None:
            return
        batch: list[Measurement] = []
        total = _FRAME
        for measurement in measurements:
            fitting, size = _fit(measurement, self._window - _FRAME)
            if batch and total + size > self._window:
                self._append(job, ResultBatch(job_id, job.next_seq, tuple(batch)), total)
                batch, total = [], _FRAME
            batch.append(fitting)
            total += size
        if batch:
            self._append(job, ResultBatch(job_id, job.next_seq, tuple(batch)), total)

    def end(self, job_id: str, status: JobStatus, detail: str = "") -> None:
        """The job's last word; further results and ends of it are ignored."""
        job = self._running(job_id)
        if job is not None:
            job.ended = True
            frame = JobEnd(job_id, job.next_seq, status, detail[:MAX_TEXT])
            self._append(job, frame, _FRAME + 4 * len(frame.detail))

    # --- the session's calls ----------------------------------------------------------------------------

    def cancel(self, job_id: str) -> bool:
        """The controller cancels; True where the owner has to be told: known, not ended, not told yet."""
        job = self._running(job_id)
        if job is None or job.cancelled:
            return False
        job.cancelled = True
        return True

    def acknowledge(self, job_id: str, seq: int) -> None:
        """Forgets what is committed; of dropped jobs it is nothing. Raises :class:`FutureAck`."""
        job = self._jobs.get(job_id)
        if job is None:
            return
        if seq >= job.next_seq:
            raise FutureAck(f"number {seq} of job {job_id} was acknowledged before it was made")
        self._spool.drop_through(job_id, seq)
        while job.flying and job.flying[0][0] <= seq:
            self._flying -= job.flying.popleft()[1]
        job.unsent = max(job.unsent, seq + 1)
        if job.ended and seq == job.next_seq - 1:
            self._forget(job_id)

    def resume(self, open_jobs: Iterable[OpenJob]) -> tuple[tuple[str, ...], tuple[OpenJob, ...]]:
        """A new link. ``open_jobs`` is what the controller still wants, and from which number on.

        Returns the running jobs that it no longer lists (dropped: the owner has to stop them), and the listed
        ones that are lost: not known here though some of their results have been committed. One that is
        unknown and has no results may still be on its way: the controller sends it again.
        """
        listed = {job.job_id: job.next_seq for job in open_jobs}
        self._flying = 0
        self._turn.clear()
        for job in self._jobs.values():
            job.flying.clear()
            job.unsent = 0
        dropped = tuple(j for j, job in self._jobs.items() if j not in listed and not job.ended)
        for job_id in [j for j in self._jobs if j not in listed]:
            self._forget(job_id)
        lost = tuple(
            OpenJob(j, seq) for j, seq in listed.items() if j not in self._jobs and self._is_lost(j, seq)
        )
        for job_id, seq in listed.items():
            if seq > 0:
                self.acknowledge(job_id, seq - 1)
        for job_id, job in self._jobs.items():
            if job.unsent < job.next_seq:
                self._turn.append(job_id)
        return dropped, lost

    def take(self) -> list[ResultBatch | JobEnd]:
        """What fits into the window now, one frame of each job in turn."""
        frames: list[ResultBatch | JobEnd] = []
        while self._turn:
            job_id = self._turn[0]
            job = self._jobs[job_id]
            entry = next(self._spool.pending(job_id, job.unsent), None)
            if entry is not None:
                frame, size = entry
                if self._flying and self._flying + size > self._window:
                    break
                frames.append(frame)
                job.flying.append((frame.seq, size))
                job.unsent = frame.seq + 1
                self._flying += size
            self._turn.popleft()
            if job.unsent < job.next_seq:
                self._turn.append(job_id)
        return frames

    # --- within -------------------------------------------------------------------------------------------

    def _running(self, job_id: str) -> _Job | None:
        job = self._jobs.get(job_id)
        return None if job is None or job.ended else job

    def _append(self, job: _Job, frame: ResultBatch | JobEnd, size: int) -> None:
        if job.unsent == job.next_seq:
            self._turn.append(frame.job_id)
        self._spool.append(frame, size)
        job.next_seq += 1

    def _forget(self, job_id: str) -> None:
        job = self._jobs.pop(job_id)
        self._spool.drop_through(job_id, job.next_seq)
        self._flying -= sum(size for _, size in job.flying)
        if job_id in self._turn:
            self._turn.remove(job_id)
        self._gone[job_id] = None
        if len(self._gone) > _ENDED_KEPT:
            self._gone.popitem(last=False)

    def _is_lost(self, job_id: str, next_seq: int) -> bool:
        return job_id not in self._jobs and (next_seq > 0 or job_id in self._gone)


def _fit(measurement: Measurement, limit: int) -> tuple[Measurement, int]:
    """The measurement, with what explains it left out where it would not fit into one batch, or where nobody
    could read it. Samples stay."""
    size = size_of(measurement) + _PREFIX
    why = f"{size} bytes are too many for one message" if size > limit else None
    if why is None and size > MAX_TEXT:  # shorter ones hold nothing that is too long
        why = misfit(measurement)
    if why is None:
        return measurement, size
    note = (f"detail and log left out: {why}",)
    slim = dataclasses.replace(measurement, detail=None, log=note)
    if slim.failure is not None and len(slim.failure.detail) > MAX_TEXT:
        slim = dataclasses.replace(slim, failure=_cut(slim.failure), samples=tuple(map(_bare, slim.samples)))
    size = size_of(slim) + _PREFIX
    if size > limit:
        slim = dataclasses.replace(slim, samples=tuple(map(_bare, measurement.samples[:MAX_SAMPLES])))
        size = size_of(slim) + _PREFIX
    return slim, size


def _cut(failure: Failure) -> Failure:
    return dataclasses.replace(failure, detail=failure.detail[:MAX_TEXT])


def _bare(sample: Sample) -> Sample:
    return dataclasses.replace(sample, failure=None)
