"""What each side of a session does with jobs and results, over its outbox or inbox.

A role turns one frame of the peer into events and answers through ``send``; its ``handlers`` are what this
side takes beside the frames that both share. Life, hello, clock and order belong to
:mod:`probemesh_shared.session.machine`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from probemesh_shared.model import Job
from probemesh_shared.session.events import CancelArrived, Event, JobArrived, JobTurnedAway
from probemesh_shared.session.frames import (
    Ack,
    Cancel,
    DenyList,
    Frame,
    Hello,
    JobEnd,
    JobStatus,
    RenewWanted,
    ResultBatch,
    Unreadable,
)
from probemesh_shared.session.inbox import Flood, Inbox
from probemesh_shared.session.outbox import Outbox

#: Jobs whose acknowledgement may wait to be written.
MOST_ACKS = 4096

Send = Callable[[Frame], None]
Handler = Callable[[Any], list[Event]]


def _told(frame: Any) -> list[Event]:
    return [frame]


class AgentRole:
    """Takes jobs, sends results. ``draining`` is set once new jobs are turned away."""

    def __init__(self, outbox: Outbox, send: Send, max_jobs: int) -> None:
        self.draining: str | None = None
        self._outbox = outbox
        self._send = send
        self._max_jobs = max_jobs
        self.handlers: Mapping[type, Handler] = {
            Job: self._job,
            Ack: self._ack,
            Cancel: self._cancel,
            Unreadable: self._unreadable,
            RenewWanted: _told,
            DenyList: _told,
        }

    def greeted(self, peer: Hello, now: float) -> list[Event]:
        dropped, lost = self._outbox.resume(peer.open_jobs)
        for job in lost:
            self._send(JobEnd(job.job_id, job.next_seq, JobStatus.LOST, "this agent does not know the job"))
        return [CancelArrived(job_id, "the controller no longer wants it") for job_id in dropped]

    def date(self, now: float) -> None:
        """Nothing here depends on time."""

    def outgoing(self) -> list[Frame]:
        """Results, as the window permits."""
        return list(self._outbox.take())

    @property
    def settled(self) -> bool:
        return self._outbox.empty and self._outbox.running == 0

    def _job(self, job: Job) -> list[Event]:
        busy = self._outbox.running >= self._max_jobs
        if not self._outbox.open(job.id):
            return []
        if self.draining is None and not busy:
            return [JobArrived(job)]
        detail = f"{self._max_jobs} jobs are open" if busy else f"the agent is going away: {self.draining}"
        self._outbox.end(job.id, JobStatus.REJECTED, detail)
        return [JobTurnedAway(job.id, job, detail)]

    def _ack(self, ack: Ack) -> list[Event]:
        self._outbox.acknowledge(ack.job_id, ack.seq)
        return []

    def _cancel(self, cancel: Cancel) -> list[Event]:
        known = self._outbox.cancel(cancel.job_id)
        return [CancelArrived(cancel.job_id, cancel.reason)] if known else []

    def _unreadable(self, frame: Unreadable) -> list[Event]:
        if not self._outbox.open(frame.job_id):
            return []
        detail = f"not understood by this agent: {frame.detail}"
        self._outbox.end(frame.job_id, JobStatus.REJECTED, detail)
        return [JobTurnedAway(frame.job_id, None, detail)]


class ControllerRole:
    """Sends jobs, takes results. ``draining`` is set once the agent takes, or we give, no new jobs."""

    def __init__(self, inbox: Inbox, send: Send) -> None:
        self.draining: str | None = None
        self._inbox = inbox
        self._send = send
        self._instance: str | None = None
        self._acks: dict[str, int] = {}
        self.handlers: Mapping[type, Handler] = {
            ResultBatch: self._results,
            JobEnd: self._job_end,
            Unreadable: self._unreadable,
        }

    def greeted(self, peer: Hello, now: float) -> list[Event]:
        self._instance = peer.instance
        ends = self._inbox.restarted(peer.instance)
        for frame in self._inbox.to_send(peer.instance, now):
            self._send(frame)
        return list(ends)

    def date(self, now: float) -> None:
        self._inbox.date(now)

    def outgoing(self) -> list[Frame]:
        """Acknowledgements and what else the agent is to know of jobs."""
        if self._instance is None:
            return []
        acks, self._acks = self._acks, {}
        return [*(Ack(job_id, seq) for job_id, seq in acks.items()), *self._inbox.take_notices()]

    @property
    def settled(self) -> bool:
        return not self._inbox.open_jobs() and not self._acks

    def send_job(self, job: Job) -> list[Event]:
        """Expects the job and sends it, at once or after the hellos; while draining it is rejected here."""
        self._inbox.expect(job.id, job)
        if self.draining is not None:
            end = self._inbox.reject(job.id, f"no new jobs: {self.draining}")
            return [] if end is None else [end]
        if self._instance is not None:
            self._inbox.first_sending(job.id, self._instance)
            self._send(job)
        return []

    def cancel(self, job_id: str, reason: str) -> None:
        if self._inbox.cancel(job_id, reason) and self._instance is not None:
            self._send(Cancel(job_id, reason))

    def committed(self, job_id: str, seq: int) -> None:
        if self._inbox.committed(job_id, seq):
            self._acks[job_id] = max(seq, self._acks.get(job_id, 0))

    def _results(self, frame: ResultBatch) -> list[Event]:
        event, ack = self._inbox.results(frame)
        if ack is not None:
            self._again(ack)
            if not self._inbox.knows(frame.job_id):
                self._send(Cancel(frame.job_id, "no longer wanted"))
        return [] if event is None else [event]

    def _job_end(self, frame: JobEnd) -> list[Event]:
        event, ack = self._inbox.end(frame)
        if ack is not None:
            self._again(ack)
        return [] if event is None else [event]

    def _unreadable(self, frame: Unreadable) -> list[Event]:
        event, ack = self._inbox.unreadable(frame.job_id, frame.seq or 0, frame.detail)
        if ack is not None:
            self._again(ack)
        return [] if event is None else [event]

    def _again(self, ack: Ack) -> None:
        if len(self._acks) >= MOST_ACKS:
            raise Flood("the peer does not read what it is told of jobs that nobody asked it for")
        self._acks[ack.job_id] = max(ack.seq, self._acks.get(ack.job_id, 0))
