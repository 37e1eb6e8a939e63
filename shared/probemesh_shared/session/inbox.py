"""The controller's side of delivery: which jobs an agent owes results of, what has come, what is committed.

One inbox belongs to one agent and outlives its links; at most one live
:class:`~probemesh_shared.session.machine.Session` uses it at a time. Doubles are dropped, gaps refused.
Without I/O or clock.
"""

import dataclasses
import enum
from collections import deque
from dataclasses import dataclass, field

from probemesh_shared.model import Job
from probemesh_shared.session.events import JobEnded, ResultsArrived
from probemesh_shared.session.frames import Ack, Cancel, JobEnd, JobStatus, OpenJob, ResultBatch

#: Bytes that may have come and not be committed yet. An agent's own window is half of it.
MOST_HELD = 512 * 1024
_FRAME = 512  # what any frame counts beside its content, as in the agent's window


class Flood(ValueError):
    """More comes than the window lets through: the peer does not wait for what it sent to be committed."""


class Gap(ValueError):
    """A number is missing, or came after the end: the peer breaks the protocol."""


class Sent(enum.Enum):
    """What is known of the job's own frame."""

    NOT_YET = enum.auto()
    IN_DOUBT = enum.auto()  # sent, and nothing has come back yet
    ARRIVED = enum.auto()


@dataclass(slots=True)
class _Expected:
    job: Job | None  # None: sent by other means, never sent again
    sent: Sent
    deadline: float = 0.0
    instance: str | None = None  # the agent's process that it was sent to
    received: int = 0  # the next number that may come
    committed: int = 0  # the first number that is not committed
    ended: bool = False
    cancel: str | None = None  # the reason, once cancelled
    held: deque[int] = field(default_factory=deque)  # sizes of what was received and is not committed


class Inbox:
    """Results owed by one agent.

    A job that ends here (lost, rejected, unreadable) is forgotten at once; its ``JobEnded`` tells the owner.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, _Expected] = {}
        self._notices: list[Ack | Cancel] = []
        self._undated: list[str] = []
        self._held = 0

    # --- the owner's calls ----------------------------------------------------------------------------

    def expect(self, job_id: str, job: Job | None = None) -> None:
        """Results of this job are wanted. With ``job`` the session sends it, and again where a link was lost
        with the job in doubt, with the budget that is then left. ValueError for an id that is expected."""
        if job_id in self._jobs:
            raise ValueError(f"job {job_id} is already expected")
        self._jobs[job_id] = _Expected(job, Sent.ARRIVED if job is None else Sent.NOT_YET)
        if job is not None:
            self._undated.append(job_id)

    def forget(self, job_id: str) -> None:
        """No more of this job: what still comes is acknowledged unread, and the agent told to stop."""
        job = self._jobs.pop(job_id, None)
        if job is None:
            return
        self._held -= sum(job.held)
        if job.received:
            self._notices.append(Ack(job_id, job.received - 1))
        if not job.ended and job.sent is not Sent.NOT_YET:
            self._notices.append(Cancel(job_id, "no longer wanted"))

    def lost(self, job_id: str, detail: str = "") -> JobEnded | None:
        """Gives the job up: the agent did not come back. None where it had ended or is not known."""
        return self._close(job_id, JobStatus.LOST, detail)

    def open_jobs(self) -> tuple[OpenJob, ...]:
        """What a hello lists: every job with the first number that is not committed."""
        return tuple(OpenJob(job_id, job.committed) for job_id, job in self._jobs.items())

    def committed(self, job_id: str, seq: int) -> bool:
        """All numbers up to ``seq`` are safe; the job is forgotten with its end. Needs no live link: the next
        hello tells the agent. False for a job that is forgotten or was ended here, which is no error."""
        job = self._jobs.get(job_id)
        if job is None:
            return False
        if seq >= job.received:
            raise ValueError(f"number {seq} of job {job_id} has not been received")
        while job.committed <= seq:
            self._held -= job.held.popleft()
            job.committed += 1
        if job.ended and job.committed == job.received:
            del self._jobs[job_id]
        return True

    # --- the session's calls ----------------------------------------------------------------------------

    def take_notices(self) -> list[Ack | Cancel]:
        """What the agent is to be told of jobs that were forgotten or ended here."""
        notices, self._notices = self._notices, []
        return notices

    def cancel(self, job_id: str, reason: str) -> bool:
        """Remembers that the job is to stop; True where it is expected and has not ended."""
        job = self._jobs.get(job_id)
        if job is None or job.ended:
            return False
        job.cancel = reason
        return True

    def date(self, now: float) -> None:
        """Budgets of jobs that were expected since the last call begin to run now."""
        for job_id in self._undated:
            job = self._jobs.get(job_id)
            if job is not None and job.job is not None:
                job.deadline = now + job.job.budget_ms / 1000
        self._undated.clear()

    def to_send(self, instance: str, now: float) -> list[Job | Cancel]:
        """Jobs that agent process ``instance`` has not seen for sure, and cancellations; for a new link."""
        frames: list[Job | Cancel] = []
        for job_id, job in self._jobs.items():
            if job.job is not None and job.sent is not Sent.ARRIVED:
                job.sent, job.instance = Sent.IN_DOUBT, instance
                left = max(0, round((job.deadline - now) * 1000))
                frames.append(dataclasses.replace(job.job, budget_ms=min(left, job.job.budget_ms)))
            if job.cancel is not None and not job.ended:
                frames.append(Cancel(job_id, job.cancel))
        return frames

    def first_sending(self, job_id: str, instance: str) -> None:
        """The job goes out on a live link to ``instance``."""
        job = self._jobs[job_id]
        job.sent, job.instance = Sent.IN_DOUBT, instance

    def restarted(self, instance: str) -> list[JobEnded]:
        """The agent is now process ``instance``: what an earlier one was given is lost."""
        theirs = [j for j, job in self._jobs.items() if job.instance not in (None, instance)]
        ends = [self._close(job_id, JobStatus.LOST, "the agent restarted") for job_id in theirs]
        return [end for end in ends if end is not None]

    def reject(self, job_id: str, detail: str) -> JobEnded | None:
        """Ends a job here that the agent is not going to take."""
        return self._close(job_id, JobStatus.REJECTED, detail)

    def results(self, frame: ResultBatch) -> tuple[ResultsArrived | None, Ack | None]:
        """A batch came: the event if it is new, the acknowledgement to repeat if it is a double."""
        fresh, ack = self._arrived(frame.job_id, frame.seq, frame.size)
        return (ResultsArrived(frame.job_id, frame.seq, frame.measurements) if fresh else None), ack

    def end(self, frame: JobEnd) -> tuple[JobEnded | None, Ack | None]:
        """A job's end came; as :meth:`results`. ``LOST`` ends it whatever was received."""
        if frame.status is JobStatus.LOST and frame.job_id in self._jobs:
            return self._close(frame.job_id, JobStatus.LOST, frame.detail), None
        fresh, ack = self._arrived(frame.job_id, frame.seq)
        if not fresh:
            return None, ack
        self._jobs[frame.job_id].ended = True
        return JobEnded(frame.job_id, frame.seq, frame.status, frame.detail), None

    def unreadable(self, job_id: str, seq: int, detail: str) -> tuple[JobEnded | None, Ack | None]:
        """A batch came that cannot be read: the job fails here; the agent would only send the same again."""
        fresh, ack = self._arrived(job_id, seq)
        if not fresh:
            return None, ack
        return self._close(job_id, JobStatus.FAILED, f"unreadable results: {detail}"), None

    def knows(self, job_id: str) -> bool:
        return job_id in self._jobs

    # --- within -------------------------------------------------------------------------------------------

    def _arrived(self, job_id: str, seq: int, size: int = 0) -> tuple[bool, Ack | None]:
        """Whether the frame is new; and what to acknowledge at once: of forgotten jobs, committed doubles."""
        job = self._jobs.get(job_id)
        if job is None:
            return False, Ack(job_id, seq)
        job.sent, job.job = Sent.ARRIVED, None
        if seq < job.received:
            return False, (Ack(job_id, job.committed - 1) if job.committed else None)
        if seq > job.received or job.ended:
            raise Gap(f"number {seq} of job {job_id} came where {job.received} was due")
        if self._held + _FRAME + size > MOST_HELD:
            raise Flood(f"more than {MOST_HELD} bytes of results came before those before them were stored")
        job.received += 1
        job.held.append(_FRAME + size)
        self._held += _FRAME + size
        return True, None

    def _close(self, job_id: str, status: JobStatus, detail: str) -> JobEnded | None:
        job = self._jobs.get(job_id)
        if job is None or job.ended:
            return None
        self.forget(job_id)
        return JobEnded(job_id, job.received, status, detail)
