"""What one attempt came to: failures with their ICMP errors, and samples."""

from dataclasses import dataclass

from probemesh_shared.words import (
    FailureKind,
    Family,
    Origin,
    Outcome,
    Stage,
    Timing,
)


@dataclass(frozen=True, slots=True)
class IcmpError:
    """An ICMP or ICMPv6 error as the error queue gave it. ``ttl`` is that of the ICMP packet itself."""

    family: Family
    type: int
    code: int
    sender: str | None
    ttl: int | None = None
    info: int | None = None  # ee_info: the MTU of "fragmentation needed"


@dataclass(frozen=True, slots=True)
class Failure:
    """``detail`` is one line for people; nothing is ever decided by reading it."""

    stage: Stage
    kind: FailureKind
    origin: Origin
    detail: str
    errno: str | None = None  # symbolic: "ECONNREFUSED"
    icmp: IcmpError | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One packet or attempt. ``rtt_ms`` None with outcome ``ok`` is possible: reached, time unknown
    (TCP_INFO after a lost SYN)."""

    seq: int
    offset_ms: float  # since the measurement's started_ns
    rtt_ms: float | None
    outcome: Outcome
    failure: Failure | None = None
    timing: Timing | None = None
    ttl: int | None = None  # of the answer, where the kernel tells
    syn_retransmits: int | None = None
