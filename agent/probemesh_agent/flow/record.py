"""What is known of one shot so far: a :class:`~probemesh_shared.twoends.ShotSeen` in the making."""

import asyncio
import time
from collections.abc import Iterable

from probemesh_shared import failures
from probemesh_shared.model import Failure, IcmpError, Reply, Shot, ShotSeen
from probemesh_shared.words import Outcome

from probemesh_agent import kernel
from probemesh_agent.engine.sockets import icmp_error
from probemesh_agent.env import Address

#: Kept of each shot: what comes beyond that is a flood, and says nothing new.
MOST_ERRORS = 8
MOST_REPLIES = 64
_NONE = ("0.0.0.0", "::")  # noqa: S104  (where nothing was chosen: there is no route)


class Record:
    """One shot, at ``address`` and ``port``, from planning to its end. Belongs to one asyncio loop."""

    __slots__ = (
        "address",
        "answer",
        "at_ms",
        "begun_ns",
        "end_kind",
        "end_ms",
        "ended",
        "entries",
        "errors",
        "failed_ms",
        "failure",
        "index",
        "local",
        "mss",
        "outcome",
        "pmtu",
        "port",
        "replies",
        "retransmits",
        "rtt_ms",
        "scheduled",
        "sent",
        "sent_ns",
        "shot",
        "so_error",
        "state",
        "ttl",
    )

    def __init__(self, index: int, shot: Shot, address: Address, port: int) -> None:
        self.index = index
        self.shot = shot
        self.address = address
        self.port = port
        self.at_ms = shot.at_ms  # when it was fired, once it was
        self.begun_ns = 0  # perf clock at its system call
        self.sent_ns: int | None = None  # the kernel's transmit stamp, wall clock
        self.outcome: Outcome | None = None
        self.failure: Failure | None = None
        self.ended = asyncio.Event()
        self.rtt_ms: float | None = None
        self.local: tuple[str, int] | None = None
        self.entries: list[kernel.QueueEntry] = []  # ICMP errors and local ones, as they came
        self.errors: list[IcmpError] = []
        self.so_error: str | None = None
        self.scheduled: bool | None = None
        self.sent: bool | None = None
        self.state: int | None = None
        self.retransmits: int | None = None
        self.mss: int | None = None
        self.pmtu: int | None = None
        self.ttl: int | None = None
        self.replies: list[Reply] = []
        self.answer: bytes | None = None
        self.end_kind: str | None = None
        self.end_ms: float | None = None
        self.failed_ms: float | None = None

    @property
    def host(self) -> str:
        return self.address.host

    def end(self, outcome: Outcome, failure: Failure | None = None) -> None:
        """The first end counts; what comes later is only kept."""
        if self.outcome is None:
            self.outcome, self.failure = outcome, failure
            self.ended.set()

    def fail(self, failure: Failure) -> None:
        if self.outcome is None and self.begun_ns:
            self.failed_ms = (time.perf_counter_ns() - self.begun_ns) / 1e6
        self.end(failures.outcome_of(failure), failure)

    def note(self, number: int, entries: Iterable[kernel.QueueEntry]) -> None:
        """``SO_ERROR`` as it was before the queue was drained, and the queue."""
        if number and self.so_error is None:
            self.so_error = failures.errno_name(number)
        for entry in entries:
            if len(self.entries) >= MOST_ERRORS:
                return
            if entry.is_icmp:
                self.errors.append(icmp_error(entry))
            if entry.is_icmp or entry.origin == kernel.ORIGIN_LOCAL:
                self.entries.append(entry)

    def stamped(self, entry: kernel.QueueEntry) -> None:
        """A transmit stamp of this shot."""
        if entry.info == kernel.STAMP_SCHEDULED:
            self.scheduled = True
        elif entry.info == kernel.STAMP_SENT:
            self.scheduled = self.sent = True
            self.sent_ns = self.sent_ns or entry.stamp_ns

    def reply(self, reply: Reply) -> None:
        if len(self.replies) < MOST_REPLIES:
            self.replies.append(reply)

    def seen(self) -> ShotSeen:
        failure = failures.past_deadline() if self.outcome is None else self.failure
        local, port = self.local or (None, 0)
        return ShotSeen(
            shot=self.index,
            outcome=self.outcome or Outcome.UNMEASURED,
            at_ms=self.at_ms,
            rtt_ms=self.rtt_ms,
            local_address=None if local in _NONE else local,
            local_port=port or None,
            failure=failure,
            errors=tuple(self.errors),
            so_error=self.so_error,
            scheduled=self.scheduled,
            sent=self.sent,
            state=self.state,
            retransmits=self.retransmits,
            mss=self.mss,
            pmtu=self.pmtu,
            ttl=self.ttl,
            replies=tuple(self.replies),
            answer=self.answer,
            end=self.end_kind,
            end_ms=self.end_ms,
            failed_ms=self.failed_ms,
        )


def local_of(where: tuple[object, ...]) -> tuple[str, int]:
    """Address and port of ``getsockname``; a scope is left out."""
    return str(where[0]).partition("%")[0], int(str(where[1]))
