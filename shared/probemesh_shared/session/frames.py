"""The frames of a session. Both directions share most; who may send what is checked by the machine."""

from dataclasses import dataclass, field
from enum import StrEnum

from probemesh_shared.model import Job, Measurement

#: Marks a field that its message does not have.
UNSENT = "unsent"
#: Newest protocol spoken here, and the oldest still understood. A peer's hello carries its own two.
PROTOCOL = 1
MIN_PROTOCOL = 1
#: The capability of an agent that judges ``Options.expect``: others would measure, and never look at it.
EXPECT = "expect"
#: That of an agent that goes the way an http spec asks for (version, body, credentials, redirects, proxy):
#: others would go straight, and call it that.
HTTP_WAYS = "http-ways"
#: That of an agent that keeps to what a job narrows: others would not look at it.
NARROWS = "narrows"
#: That of an agent whose addresses were configured (``--advertise``): they mean it, whoever else has them.
ADVERTISED = "advertised"
#: Jobs an agent runs at once for one owner. More are rejected there, so a controller holds them back.
JOBS_OF_ONE_OWNER = 32


class JobStatus(StrEnum):
    """How a job ended at the agent."""

    DONE = "done"
    EXPIRED = "expired"  # its budget ran out first
    CANCELLED = "cancelled"
    REJECTED = "rejected"  # never started: malformed, too large, agent busy or draining
    FAILED = "failed"  # our own fault; the agent's log has the id
    LOST = "lost"  # the agent no longer knows it (restarted)


class ErrorCode(StrEnum):
    VERSION = "version"
    PROTOCOL = "protocol"
    BUSY = "busy"
    REPLACED = "replaced"  # another stream of the same agent took over
    REVOKED = "revoked"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job the controller still wants results of, and the first batch number it does not have."""

    job_id: str
    next_seq: int


@dataclass(frozen=True, slots=True)
class Hello:
    """First frame of each side. ``instance`` is random per process: a new one means that memory was lost.
    ``name``, ``capabilities`` and ``addresses`` are the agent's, ``open_jobs`` the controller's."""

    protocol: int
    min_protocol: int
    software: str
    instance: str
    name: str = ""
    capabilities: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    open_jobs: tuple[OpenJob, ...] = ()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    seq: int


@dataclass(frozen=True, slots=True)
class ClockRequest:
    """NTP's first timestamp, wall clock of the sender, ns."""

    sent_ns: int


@dataclass(frozen=True, slots=True)
class ClockReply:
    request_sent_ns: int
    received_ns: int
    sent_ns: int


@dataclass(frozen=True, slots=True)
class ResultBatch:
    """``seq`` counts from 0 within the job, without gaps. ``size``: bytes on the wire, where it came over
    one."""

    job_id: str
    seq: int
    measurements: tuple[Measurement, ...]
    size: int = field(default=0, compare=False, metadata={UNSENT: True})


@dataclass(frozen=True, slots=True)
class JobEnd:
    """Last of a job; takes the next ``seq`` after its batches and is acknowledged like them."""

    job_id: str
    seq: int
    status: JobStatus
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ack:
    """All of the job's numbers up to and including ``seq`` are committed."""

    job_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Cancel:
    job_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RenewWanted:
    """Controller: the agent's certificate is to be renewed within this time, though it is not due."""

    within_ms: int


@dataclass(frozen=True, slots=True)
class DenyList:
    """Controller: operators that a listening agent is to turn away, in place of the list before."""

    serials: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Goodbye:
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """The sender ends the session after this."""

    code: ErrorCode
    detail: str = ""


@dataclass(frozen=True, slots=True)
class UnknownFrame:
    """A frame kind this version does not know (newer peer): counts as life, otherwise ignored."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A job or batch that came whole but holds what cannot be (newer peer, or a hostile one). Never sent: the
    machine ends that one job, not the session, which would meet the same frame again on its next link.

    ``seq`` is None for a job and the batch's number otherwise."""

    job_id: str
    seq: int | None
    detail: str


Frame = (
    Hello
    | Heartbeat
    | ClockRequest
    | ClockReply
    | Job
    | ResultBatch
    | JobEnd
    | Ack
    | Cancel
    | RenewWanted
    | DenyList
    | Goodbye
    | ErrorFrame
    | UnknownFrame
    | Unreadable
)
