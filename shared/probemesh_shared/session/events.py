"""What a session tells its owner: ``Session.receive`` and ``Session.tick`` return events, in order."""

from dataclasses import dataclass

from probemesh_shared.model import Job, Measurement
from probemesh_shared.session.frames import DenyList, ErrorCode, Hello, JobStatus, RenewWanted


@dataclass(frozen=True, slots=True)
class Ready:
    """Hellos are exchanged and a protocol version is agreed."""

    peer: Hello
    protocol: int


@dataclass(frozen=True, slots=True)
class JobArrived:
    """At the agent. Never twice for one job id within an outbox's life."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobTurnedAway:
    """At the agent, for the record: the session has rejected it by itself. ``job`` is None where it could not
    be read."""

    job_id: str
    job: Job | None
    reason: str


@dataclass(frozen=True, slots=True)
class CancelArrived:
    """At the agent, once; the job is known and not ended. Also for jobs the controller no longer lists."""

    job_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ResultsArrived:
    """At the controller, each batch once and in order. Commit, then ``Session.committed(job_id, seq)``."""

    job_id: str
    seq: int
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True)
class JobEnded:
    """At the controller, once, after all of its batches. Commit, then ``Session.committed(job_id, seq)``."""

    job_id: str
    seq: int
    status: JobStatus
    detail: str


@dataclass(frozen=True, slots=True)
class ClockMeasured:
    """Peer's wall clock minus ours, NTP's way, ± half the round trip."""

    offset_ms: float
    uncertainty_ms: float


@dataclass(frozen=True, slots=True)
class Drained:
    """The peer said goodbye: it takes no more jobs, results may still come."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over: the peer's error, our own (protocol, version), or silence (``code`` None)."""

    code: ErrorCode | None
    detail: str
    by_peer: bool


#: The last two are frames that are told as they came, at the agent.
Event = (
    Ready
    | JobArrived
    | JobTurnedAway
    | CancelArrived
    | ResultsArrived
    | JobEnded
    | ClockMeasured
    | Drained
    | Ended
    | RenewWanted
    | DenyList
)
