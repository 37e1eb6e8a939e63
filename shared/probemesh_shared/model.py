"""The nouns of the product as frozen dataclasses, in one place: what is asked (:mod:`specs`), what one
attempt came to (:mod:`seen`), what kinds tell (:mod:`details`, :mod:`twoends`), and here jobs,
measurements, findings and runs.

Everything but the wire converters speaks these. Units stand in the names (``_ms``, ``_s``); wall-clock
instants are integers of nanoseconds since the Unix epoch, UTC (``_ns``). Absent is ``None``, never 0.
Statistics (loss, median ...) are not stored: :mod:`probemesh_shared.stats` derives them from samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from probemesh_shared.details import (
    DnsDetail,
    DnsExtendedError,
    DnsRecord,
    DnsTried,
    HostsLine,
    HttpDetail,
    HttpHop,
    HttpPhases,
    IcmpDetail,
    SystemLookup,
    TcpDetail,
    TlsDetail,
    TlsEnumeration,
    TlsVersionTaken,
    UdpDetail,
)
from probemesh_shared.narrowing import Narrowing
from probemesh_shared.seen import (
    Failure,
    IcmpError,
    Sample,
)
from probemesh_shared.specs import (
    DnsSpec,
    Expectation,
    FlowSpec,
    HttpSpec,
    IcmpSpec,
    LadderSpec,
    MtuSpec,
    Options,
    PortRange,
    Shot,
    Spec,
    Target,
    TcpSpec,
    TlsSpec,
    TraceSpec,
    UdpSpec,
    WatchSpec,
)
from probemesh_shared.twoends import (
    Accepted,
    Connection,
    Counter,
    Datagram,
    FlowDetail,
    HalfOpen,
    HopAnswer,
    Listener,
    MtuDetail,
    PacketSeen,
    Reply,
    ShotSeen,
    TraceDetail,
    TraceHop,
    WatchDetail,
)
from probemesh_shared.words import (
    AgentState,
    Confidence,
    Direction,
    Family,
    Kind,
    Outcome,
    PlaceKind,
    Transport,
    Verdict,
)

__all__ = [
    "Accepted",
    "AgentInfo",
    "Connection",
    "Counter",
    "Datagram",
    "Detail",
    "Diagnosis",
    "DirectionVerdict",
    "DnsDetail",
    "DnsExtendedError",
    "DnsRecord",
    "DnsSpec",
    "DnsTried",
    "Evidence",
    "Expectation",
    "Failure",
    "Finding",
    "FlowDetail",
    "FlowSpec",
    "HalfOpen",
    "HopAnswer",
    "HostsLine",
    "HttpDetail",
    "HttpHop",
    "HttpPhases",
    "HttpSpec",
    "IcmpDetail",
    "IcmpError",
    "IcmpSpec",
    "Job",
    "LadderSpec",
    "Listener",
    "Measurement",
    "MtuDetail",
    "MtuSpec",
    "Narrowing",
    "Options",
    "Pacing",
    "PacketSeen",
    "PathHop",
    "Place",
    "PortRange",
    "Reply",
    "Sample",
    "Scope",
    "Shot",
    "ShotSeen",
    "Spec",
    "SystemLookup",
    "Target",
    "TargetResult",
    "TcpDetail",
    "TcpSpec",
    "TlsDetail",
    "TlsEnumeration",
    "TlsSpec",
    "TlsVersionTaken",
    "TraceDetail",
    "TraceHop",
    "TraceSpec",
    "UdpDetail",
    "UdpSpec",
    "Vantage",
    "WatchDetail",
    "WatchSpec",
]

# --- what an agent is sent --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pacing:
    """This agent's share of the mesh-wide limit to one target address; loopback is exempt. None: no limit."""

    packets_per_s: float | None = None
    connects_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One spec, many targets, for one agent. ``budget_ms`` is the time left when it was sent, not an
    instant; ``asked_by`` is who asked the controller (``operator/alice``), as it says. ``narrow`` is what the
    mesh adds to the agent's own policy, each of them to be kept."""

    id: str
    run_id: str
    spec: Spec
    targets: tuple[Target, ...]
    budget_ms: int
    pacing: Pacing = Pacing()
    asked_by: str = ""
    narrow: tuple[Narrowing, ...] = ()


# --- what is seen ------------------------------------------------------------------------------------

Detail = (
    IcmpDetail
    | TcpDetail
    | UdpDetail
    | DnsDetail
    | TlsDetail
    | HttpDetail
    | TraceDetail
    | MtuDetail
    | FlowDetail
    | WatchDetail
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """All samples of one probe from one vantage point to one address (and port) of one target.

    ``target_index`` counts within the job. ``target`` is the canonical text of what this row is about
    (``host:port`` for one port of a list). ``outcome`` is ``ok`` if any sample was; otherwise that of
    ``failure``.
    """

    kind: Kind
    target_index: int
    target: str
    address: str | None
    port: int | None
    outcome: Outcome
    started_ns: int
    samples: tuple[Sample, ...] = ()
    failure: Failure | None = None
    detail: Detail | None = None
    log: tuple[str, ...] = ()


# --- what is concluded ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scope:
    sources: tuple[str, ...] = ()  # JSON: from
    targets: tuple[str, ...] = ()  # JSON: to
    transport: str | None = None
    port: int | None = None
    family: Family | None = None


@dataclass(frozen=True, slots=True)
class Place:
    kind: PlaceKind
    address: str | None = None
    hop: int | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    id: str
    supports: bool
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    verdict: Verdict
    scope: Scope
    confidence: Confidence
    summary: str
    direction: Direction | None = None
    place: Place | None = None
    evidence: tuple[Evidence, ...] = ()
    alternatives: tuple[Verdict, ...] = ()
    next_test: str | None = None


# --- a run, as the command line shows it ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Vantage:
    """One vantage point's account of one TARGET. ``is_target``: it owns the target's address, and counts
    nowhere. ``followed`` is what it was asked afterwards, to find where a failure lies: traces to the target,
    and control probes to others; it changes no outcome."""

    agent: str
    site: str | None
    outcome: Outcome
    failed_at: Kind | None = None
    measurements: tuple[Measurement, ...] = ()
    is_target: bool = False
    reason: str | None = None  # why it was not measured, for people
    expect_fail: bool = False  # turned round: ``ok`` is who did not reach it
    followed: tuple[Measurement, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetResult:
    target: Target
    started_ns: int
    vantages: tuple[Vantage, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class DirectionVerdict:
    """One direction of a pair; words are relative to its own initiator. ``outcome`` is of the probe itself
    (``ok``, ``timeout`` ...). ``path_verdict`` None: not measured. ``service_verdict`` None where the
    path let nothing through, or nobody looked. ``verdict`` is the fault that matters first,
    ``reachable`` where there is none, ``undetermined`` where ``alternatives`` is the set. Beside another
    verdict ``alternatives`` has it and what looks just like it from both ends."""

    outcome: Outcome = Outcome.UNMEASURED
    path_verdict: Verdict | None = None
    service_verdict: Verdict | None = None
    verdict: Verdict = Verdict.UNDETERMINED
    confidence: Confidence = Confidence.POSSIBLE
    alternatives: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True)
class PathHop:
    """One station of a drawn path: an end, a router or the gap where it breaks. ``mark`` is what stands
    beside it (``"forward-drop"``), None for most; ``breaks``: the flow is broken there."""

    name: str
    address: str | None = None
    hop: int | None = None
    rtt_ms: float | None = None
    mark: str | None = None
    breaks: bool = False


@dataclass(frozen=True, slots=True)
class RuledOut:
    """A cause that does not fit what was seen of one direction, and by what, in words for people. A verdict
    may have several such: one for each mechanism that it stands for."""

    verdict: Verdict
    direction: Direction
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What two ends say together. ``excluded`` are causes that were ruled out. ``path`` is from source to
    target, ``reverse_path`` back. ``packets`` and ``elapsed_s`` are what it cost; ``missing`` is what could
    not be looked at and why, for people."""

    source: str
    target: str
    transport: Transport
    port: int | None
    reverse_port: int | None
    started_ns: int
    forward: DirectionVerdict = DirectionVerdict()
    reverse: DirectionVerdict = DirectionVerdict()
    findings: tuple[Finding, ...] = ()
    excluded: tuple[RuledOut, ...] = ()
    path: tuple[PathHop, ...] = ()
    reverse_path: tuple[PathHop, ...] = ()
    packets: int = 0
    elapsed_s: float = 0.0
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """A vantage point as the fleet knows it. ``addresses`` are the candidates by which others probe it,
    ``narrow`` is what every job of the mesh's adds to its own policy,
    ``reason`` is why it is not connected, where whoever dials it knows, or what else is wrong with it."""

    name: str
    site: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    state: AgentState = AgentState.LOST
    version: str | None = None
    addresses: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    last_seen_ns: int | None = None
    id: str = ""
    ephemeral: bool = False
    reason: str | None = None
    narrow: tuple[Narrowing, ...] = ()
