"""First stage: measurements → flat observations. Each says in closed words what one vantage point saw of one
rung.

An observation is ``held`` (True), broken (False) or *not looked* (None). What says nothing about the network
(policy, our own descriptors, a lost agent, a family this host has no way to) is *not looked*, and no rule
above can then take it for a fault of the target or the path.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from probemesh_shared.model import (
    AgentInfo,
    DnsDetail,
    Failure,
    HttpDetail,
    IcmpDetail,
    IcmpError,
    Measurement,
    TargetResult,
    TcpDetail,
    TraceDetail,
    Vantage,
)
from probemesh_shared.outcomes import REVOKED, is_own_fault, rung_order
from probemesh_shared.said import Said, said
from probemesh_shared.words import NOT_MEASURED, DnsSource, FailureKind, Family, Kind, Origin, Outcome, Stage

from probemesh_controller.diagnosis.certified import tls_detail, unverified_hops, whose_certificate


class Manner(StrEnum):
    """How a rung answered; the difference that all rules live on."""

    HELD = "held"
    SILENT = "silent"
    LATE = "late"  # ping: it answered, after the attempt's time-out
    REFUSED = "refused"  # RST to a SYN; for a datagram always an ICMP error, so REJECTED
    REJECTED = "rejected"  # an ICMP error, or an errno that only one can cause
    RESET = "reset"  # RST on an established connection
    CLOSED = "closed"  # FIN where an answer was due
    ANSWERED = "answered"  # it spoke, and said something else than was asked
    NO_NAME = "no-name"
    OWN_FILTER = "own-filter"
    OWN_ROUTE = "own-route"
    NOT_LOOKED = "not-looked"


@dataclass(frozen=True, slots=True)
class Source:
    """A vantage point with what may divide it from others. ``networks`` are its own, as far as known."""

    name: str
    site: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    addresses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Observation:
    """One rung, one address, one vantage point. ``attempts`` counts samples that were sent."""

    id: str
    source: str
    kind: Kind
    transport: str
    address: str | None
    port: int | None
    manner: Manner
    attempts: int = 0
    wavers: bool = False  # some of its attempts were answered, and some were answered otherwise
    failure: FailureKind | None = None
    unmet: str | None = None  # what was expected and is not so, in words
    connecting: bool = True  # it broke before anything was asked of the service
    icmp: IcmpError | None = None
    status: int | None = None  # HTTP
    broke_off: bool = False  # the answer began, and did not come whole
    proxy: str | None = None  # that it went by: ``address`` is the proxy's, and what is reached is the proxy
    alert: str | None = None  # TLS
    verified: bool | None = None
    verify_code: int | None = None
    staple: str | None = None  # what the server's OCSP answer says
    leaf: bytes | None = None  # DER
    sent: tuple[bytes, ...] = ()  # DER, what came after the leaf
    server_name: str | None = None
    certified: str | None = None  # whose certificate it is, where not the target's own
    unverified_hops: tuple[str, ...] = ()  # origins met by redirects, whose certificate did not verify
    said: tuple[Said, ...] = ()
    late: int = 0  # answers to ping after their attempt's time-out
    answered_by: tuple[str, ...] = ()  # who answered ping in the target's place
    rtts: tuple[float, ...] = ()  # ms, of samples that were answered
    system: tuple[str, ...] = ()  # what the host's own resolver has for the name, beside a server's answer
    by_hand: bool = False  # it has that from its hosts file
    errno: str | None = None
    dns: DnsDetail | None = None
    at_ns: int = 0  # by the clock of the vantage point

    @property
    def held(self) -> bool | None:
        """True, False, or None: not looked."""
        if self.manner in (Manner.NOT_LOOKED, Manner.OWN_FILTER, Manner.OWN_ROUTE):
            return None
        return self.manner is Manner.HELD

    @property
    def depth(self) -> int:
        """How far it came: 0 nowhere, 1 to the service that then did not answer as it should, 2 all the
        way."""
        return 2 if self.held else 0 if self.connecting else 1

    @property
    def family(self) -> Family | None:
        if self.address is None:
            return None
        return Family.IPV6 if ":" in self.address else Family.IPV4

    @property
    def unasked_server(self) -> str | None:
        """The name server that was to be asked and whose own name came to nothing."""
        return self.dns.server_name if self.dns is not None and self.address is None else None

    @property
    def lacks(self) -> str | None:
        """What a name server's answer is without, in words."""
        if self.dns is None or self.address is None or self.failure is not FailureKind.NO_ADDRESS:
            return None
        if self.errno == "REFERRAL":
            return "the name server refers to others instead of answering"
        types = dict.fromkeys(one.record_type for one in self.dns.tried)
        return f"the name has no {' or '.join(types) or self.dns.record_type} record"

    @property
    def sender(self) -> str | None:
        """Who sent the ICMP error, where the kernel told."""
        return self.icmp.sender if self.icmp else None


_BY_OUTCOME: Mapping[Outcome, Manner] = MappingProxyType(
    {
        Outcome.OK: Manner.HELD,
        Outcome.REFUSED: Manner.REFUSED,
        Outcome.RESET: Manner.RESET,
        Outcome.TIMEOUT: Manner.SILENT,
        Outcome.UNREACHABLE: Manner.REJECTED,
        Outcome.PROHIBITED: Manner.REJECTED,
        Outcome.NAME_FAILS: Manner.NO_NAME,
        Outcome.TLS_FAILS: Manner.ANSWERED,
        Outcome.ANSWER_UNEXPECTED: Manner.ANSWERED,
    }
)

_BY_FAILURE: Mapping[FailureKind, Manner] = MappingProxyType(
    {
        FailureKind.LOCAL_FILTER: Manner.OWN_FILTER,
        FailureKind.NO_ROUTE: Manner.OWN_ROUTE,
        FailureKind.TIMEOUT: Manner.SILENT,
        FailureKind.RESET: Manner.RESET,
        FailureKind.CLOSED: Manner.CLOSED,
    }
)


def manner_of(row: Measurement) -> Manner:
    """The manner of one measurement; never read off text."""
    failure = row.failure
    if failure is not None and failure.stage in (Stage.PROXY, Stage.REDIRECT):
        return _elsewhere(row, failure)
    if failure is not None and failure.kind is FailureKind.LOCAL_FILTER:
        return Manner.OWN_FILTER
    if failure is not None and failure.kind is FailureKind.NO_ROUTE:
        return Manner.OWN_ROUTE
    if is_own_fault(row) or (failure is not None and failure.kind is FailureKind.TOO_BIG):
        return Manner.NOT_LOOKED  # too big with don't-fragment: tells the path's size, not that it is broken
    if row.outcome is Outcome.OK:
        return Manner.NOT_LOOKED if _is_excused(row) else Manner.HELD
    if _is_unmet(failure):
        return Manner.ANSWERED
    if row.outcome is Outcome.NAME_FAILS or (
        failure and failure.stage is Stage.RESOLVE and row.address is None
    ):
        return Manner.NO_NAME
    if failure is not None and failure.icmp is not None:
        return Manner.OWN_FILTER if failure.origin is Origin.AGENT else Manner.REJECTED
    if failure is not None and failure.kind is FailureKind.TIMEOUT and _late(row):
        return Manner.LATE
    if failure is not None and failure.kind in _BY_FAILURE:
        return _BY_FAILURE[failure.kind]
    return _BY_OUTCOME.get(row.outcome, Manner.NOT_LOOKED)


def _late(row: Measurement) -> int:
    return row.detail.late if isinstance(row.detail, IcmpDetail) else 0


def _elsewhere(row: Measurement, failure: Failure) -> Manner:
    """It broke at another place than the target. By a redirect the target had answered, and what it answered
    leads nowhere; a proxy's failure says nothing about the target."""
    ours = is_own_fault(row) or failure.kind is FailureKind.LOCAL_FILTER
    return Manner.NOT_LOOKED if ours or failure.stage is Stage.PROXY else Manner.ANSWERED


def _is_unmet(failure: Failure | None) -> bool:
    """It answered; the answer is not what was expected of it."""
    return failure is not None and failure.kind is FailureKind.ANSWER_UNEXPECTED


def _is_excused(row: Measurement) -> bool:
    """It failed, and that was expected: neither a fault nor a proof that anything can be reached."""
    return bool(row.samples) and not any(sample.outcome is Outcome.OK for sample in row.samples)


def _transport(row: Measurement) -> str:
    if row.kind in (Kind.UDP, Kind.ICMP):
        return row.kind.value
    if row.kind is Kind.DNS:
        asked = row.detail.transport if isinstance(row.detail, DnsDetail) else None
        return asked.value if asked else "udp"
    if isinstance(row.detail, TraceDetail):
        return row.detail.transport.value
    return "icmp" if row.kind is Kind.MTU else "tcp"


def _connecting(row: Measurement) -> bool:
    if row.kind is Kind.DNS and _transport(row) != "udp" and row.failure is not None:
        return row.failure.stage in (Stage.CONNECT, Stage.RESOLVE) and not _is_unmet(row.failure)
    if row.kind in (Kind.ICMP, Kind.UDP, Kind.DNS, Kind.TRACE, Kind.MTU):
        return row.outcome is not Outcome.ANSWER_UNEXPECTED
    return row.failure is None or (row.failure.stage is Stage.CONNECT and not _is_unmet(row.failure))


def _wavers(row: Measurement) -> bool:
    """Silence of some attempts is loss, and no other answer."""
    found = {sample.outcome for sample in row.samples if sample.outcome not in NOT_MEASURED}
    return Outcome.OK in found and bool(found - {Outcome.OK, Outcome.TIMEOUT})


def _broke_off(row: Measurement) -> bool:
    detail = row.detail
    return isinstance(detail, HttpDetail) and detail.status is not None and detail.phases.total_ms is None


def _by_hand(row: Measurement) -> bool:
    lookup = row.detail.lookup if isinstance(row.detail, DnsDetail) else None
    return lookup is not None and lookup.source is DnsSource.HOSTS_FILE


def _observe_row(vantage: Vantage, row: Measurement, own: frozenset[str], identifier: str) -> Observation:
    manner, tls = manner_of(row), tls_detail(row)
    icmp = row.failure.icmp if row.failure else None
    if manner is Manner.REJECTED and icmp is not None and icmp.sender in own:
        manner = Manner.OWN_FILTER  # the error came from the prober's own host
    return Observation(
        id=identifier,
        source=vantage.agent,
        kind=row.kind,
        transport=_transport(row),
        address=row.address,
        port=row.port,
        manner=manner,
        attempts=sum(sample.outcome not in NOT_MEASURED for sample in row.samples),
        wavers=_wavers(row),
        failure=row.failure.kind if row.failure else None,
        unmet=row.failure.detail if row.failure and _is_unmet(row.failure) else None,
        connecting=_connecting(row),
        icmp=icmp,
        status=row.detail.status if isinstance(row.detail, HttpDetail) else None,
        broke_off=_broke_off(row),
        proxy=row.detail.proxy if isinstance(row.detail, HttpDetail) else None,
        alert=tls.alert if tls else None,
        verified=tls.verified and tls.ocsp_staple != REVOKED if tls else None,
        staple=tls.ocsp_staple if tls else None,
        verify_code=tls.verify_code if tls else None,
        leaf=tls.chain[0] if tls and tls.chain else None,
        sent=tls.chain[1:] if tls else (),
        server_name=tls.server_name if tls else None,
        certified=whose_certificate(row),
        unverified_hops=unverified_hops(row),
        said=tuple(said(row)),
        late=_late(row),
        answered_by=row.detail.answered_by if isinstance(row.detail, IcmpDetail) else (),
        rtts=tuple(one.rtt_ms for one in row.samples if one.outcome is Outcome.OK and one.rtt_ms is not None),
        system=row.detail.system_addresses if isinstance(row.detail, DnsDetail) else (),
        by_hand=_by_hand(row),
        errno=row.failure.errno if row.failure else None,
        dns=row.detail if isinstance(row.detail, DnsDetail) else None,
        at_ns=row.started_ns,
    )


def _identify(vantage: Vantage, row: Measurement) -> str:
    where = row.address or row.target
    where = f"[{where}]" if ":" in where and row.address else where
    port = f":{row.port}" if row.port is not None and row.address else ""
    return f"{vantage.agent}/{row.kind}/{where}{port}"


def _vantage_rows(vantage: Vantage, own: frozenset[str]) -> Iterator[Observation]:
    seen: dict[str, int] = {}
    rows = sorted(
        vantage.measurements,
        key=lambda row: (rung_order(row.kind), row.port or 0, row.address or "", row.started_ns, row.outcome),
    )
    for row in rows:
        identifier = _identify(vantage, row)
        seen[identifier] = seen.get(identifier, 0) + 1
        if seen[identifier] > 1:
            identifier = f"{identifier}#{seen[identifier]}"
        yield _observe_row(vantage, row, own, identifier)


def source_of(vantage: Vantage, agents: Mapping[str, AgentInfo]) -> Source:
    """What is known of a vantage point; its own addresses from its candidates and from its open sockets."""
    info = agents.get(vantage.agent)
    used = {
        row.detail.local_address
        for row in vantage.measurements
        if isinstance(row.detail, TcpDetail) and row.detail.local_address
    }
    return Source(
        vantage.agent,
        vantage.site if vantage.site is not None else info.site if info else None,
        dict(info.labels) if info else {},
        frozenset(used) | frozenset(info.addresses if info else ()),
    )


def observe(result: TargetResult, sources: Iterable[Source]) -> tuple[Observation, ...]:
    """All observations of one TARGET, in an order that does not depend on that of the vantage points."""
    own = {source.name: source.addresses for source in sources}
    found: list[Observation] = []
    for vantage in sorted(result.vantages, key=lambda one: one.agent):
        if not vantage.is_target:
            found.extend(_vantage_rows(vantage, own.get(vantage.agent, frozenset())))
    return tuple(found)
