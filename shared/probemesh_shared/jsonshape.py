"""The shape of what ``-o json`` prints: the one description.

:mod:`probemesh_shared.jsonout` is checked against it by mypy, the committed JSON Schema is generated from it,
and real outputs are validated against that in tests. Every key is always present; ``None`` is ``null``. Keys
may be added within schema 1, never removed. A string in ``Annotated`` is the key's description.
"""

from typing import Annotated, Literal, TypedDict

from probemesh_shared.hopview import Mark
from probemesh_shared.nat import HairpinSource, NatRule, Pooling
from probemesh_shared.words import (
    AgentState,
    Aspect,
    AuditOutcome,
    Confidence,
    Direction,
    DnsAgreement,
    DnssecStatus,
    DnsSource,
    DnsTransport,
    FailureKind,
    Family,
    Kind,
    Origin,
    Outcome,
    PlaceKind,
    Stage,
    StartTls,
    Timing,
    Transport,
    Verdict,
)

Time = Annotated[str, "RFC 3339, UTC"]
Ms = Annotated[float, "milliseconds"]


class IcmpErrorJson(TypedDict):
    """The ICMP or ICMPv6 error behind a failure."""

    family: Family
    type: int
    code: int
    sender: str | None
    ttl: int | None
    info: int | None


class FailureJson(TypedDict):
    stage: Stage
    kind: FailureKind
    origin: Origin
    detail: Annotated[str, "one line for people; decide by the other keys"]
    errno: str | None
    icmp: IcmpErrorJson | None


class SampleJson(TypedDict):
    """One packet or attempt."""

    seq: int
    offset_ms: Annotated[float, "milliseconds since the measurement began"]
    rtt_ms: Ms | None
    outcome: Outcome
    failure: FailureJson | None
    timing: Timing | None
    ttl: int | None
    syn_retransmits: int | None


class RttJson(TypedDict):
    min_ms: Ms
    median_ms: Ms
    mean_ms: Ms
    max_ms: Ms
    stddev_ms: Ms | None
    jitter_ms: Ms | None


class CertificateJson(TypedDict):
    """``error`` says why the other keys are null where the certificate cannot be read."""

    subject: str | None
    issuer: str | None
    names: Annotated[list[str], "subject alternative names: DNS names, addresses, URIs"]
    not_before: Time | None
    not_after: Time | None
    fingerprint_sha256: str
    serial: Annotated[str | None, "hexadecimal"]
    key_type: str | None
    self_signed: bool | None
    signature_hash: Annotated[str | None, "sha256, sha1, ...; null where the signature has none of its own"]
    is_authority: bool | None
    spki_sha256: Annotated[str | None, "the key's pin (RFC 7469), base64"]
    error: str | None


class ChainProblemJson(TypedDict):
    """One thing that is wrong with a chain as it was sent, or odd."""

    code: str
    severity: Literal["problem", "note"]
    certificate: Annotated[int, "its place in the chain, the leaf is 0"]
    text: str


class TlsVersionTakenJson(TypedDict):
    version: Annotated[str, "TLSv1.3, TLSv1.2, TLSv1.1, TLSv1 or SSLv3"]
    accepted: Annotated[bool | None, "null: not found out"]
    ciphers: Annotated[list[str], "registry names, in the server's order where that counts"]
    preference: Annotated[Literal["server", "client"] | None, "whose order counts"]
    complete: bool
    reason: Annotated[str | None, "how it refused, or why it is not known"]


class TlsEnumerationJson(TypedDict):
    versions: list[TlsVersionTakenJson]
    complete: bool
    connections: int


class IcmpDetailJson(TypedDict):
    method: str
    size: Annotated[int | None, "payload bytes"]
    duplicates: int
    late: Annotated[int, "answers that came after their attempt's timeout, while others were waited for"]
    answered_by: Annotated[list[str], "addresses that answered in the target's place"]


class TcpDetailJson(TypedDict):
    banner: Annotated[str | None, "text, with what is not UTF-8 as \\xNN"]
    banner_hex: Annotated[str | None, "null where the text says everything"]
    banner_protocol: str | None
    local_address: str | None
    local_port: int | None
    mss: int | None
    pmtu: int | None
    scan: bool
    state: Annotated[str | None, "open, closed or filtered; null where nothing is known"]
    reason: Annotated[str | None, "by what: syn-ack, conn-refused, no-response, admin-prohibited …"]
    answer: Annotated[str | None, "what came after --send, first 512 bytes"]
    answer_hex: Annotated[str | None, "null where the text says everything"]
    answer_ms: float | None
    close: Annotated[str | None, "after our FIN: fin, reset, or open (neither in time)"]
    close_ms: float | None


class UdpDetailJson(TypedDict):
    state: Annotated[str, "open, closed, filtered or open|filtered"]
    answer: Annotated[str | None, "text, with what is not UTF-8 as \\xNN"]
    answer_hex: Annotated[str | None, "null where the text says everything"]
    answer_size: int | None
    protocol: Annotated[str | None, "of a ready-made request with a valid answer"]
    answer_text: Annotated[str | None, "what that answer says, in a line"]
    reason: Annotated[str | None, "by what: udp-response, port-unreach, no-response …"]


class DnsRecordJson(TypedDict):
    name: str
    type: str
    ttl_s: int
    value: str


class DnsExtendedErrorJson(TypedDict):
    """RFC 8914."""

    info_code: int
    name: str | None
    text: Annotated[str, "the server's own words"]


class DnsTriedJson(TypedDict):
    name: str
    record_type: str
    rcode: Annotated[str | None, "null: no answer"]
    found: bool


class HostsLineJson(TypedDict):
    line: int
    address: str
    names: list[str]


class SystemLookupJson(TypedDict):
    """How the host's own resolver comes to its answer."""

    order: Annotated[list[str], "hosts: of nsswitch.conf, with its actions"]
    search: list[str]
    ndots: int | None
    candidates: Annotated[list[str], "the full names that the C library tries, in order"]
    hosts: Annotated[list[HostsLineJson], "lines of /etc/hosts that have the name"]
    source: DnsSource | None
    agreement: Annotated[DnsAgreement | None, "its addresses beside the server's"]


class DnsDetailJson(TypedDict):
    name: str
    record_type: str
    system: Annotated[bool, "the host's own resolver was asked"]
    server: str | None
    transport: DnsTransport | None
    rcode: str | None
    flags: list[str]
    answers: list[DnsRecordJson]
    system_addresses: list[str]
    system_failure: FailureJson | None
    resolvers: Annotated[list[str], "nameservers that the host's own resolver is configured to ask"]
    authority: list[DnsRecordJson]
    additional: list[DnsRecordJson]
    records_left_out: int
    answer_size: Annotated[int | None, "bytes"]
    truncated: Annotated[bool, "the answer by UDP did not fit; what is told came by TCP"]
    edns_size: Annotated[int | None, "largest datagram that the server takes; null without EDNS"]
    edns_flags: list[str]
    nsid: Annotated[str | None, "RFC 5001: as text, or hexadecimal behind hex:"]
    extended_errors: list[DnsExtendedErrorJson]
    passed_over: Annotated[int, "datagrams that were no answer to the question"]
    serial: Annotated[int | None, "of the zone's SOA, where one came"]
    zone: Annotated[str | None, "where all servers of a zone were asked"]
    server_name: str | None
    dnssec: DnssecStatus | None
    signatures: Annotated[int, "RRSIGs in answer and authority"]
    signature_expires_at: Annotated[Time | None, "the earliest of them"]
    tried: Annotated[list[DnsTriedJson], "the names that were asked for"]
    lookup: SystemLookupJson | None
    tls: "TlsDetailJson | None"
    http_version: str | None
    http_status: int | None


class TlsDetailJson(TypedDict):
    version: str | None
    cipher: str | None
    alpn: str | None
    server_name: str | None
    chain: Annotated[list[CertificateJson], "leaf first, as the peer sent it"]
    verified: bool | None
    verify_code: Annotated[int | None, "OpenSSL's X509_V_ERR number"]
    verify_error: str | None
    tcp_ms: Ms | None
    handshake_ms: Ms | None
    alert: str | None
    starttls: Annotated[StartTls | None, "how TLS was asked for in the clear"]
    key_exchange: Annotated[str | None, "name of the group"]
    chain_problems: Annotated[list[ChainProblemJson], "the chain as it was sent, judged apart"]
    days_left: Annotated[int | None, "until the first certificate of the chain expires"]
    client_certificate_requested: bool | None
    client_certificate_authorities: Annotated[list[str], "names that the server told it takes"]
    ocsp_staple: Annotated[
        str | None, "none, good, revoked, unknown or malformed; null where nobody looked or it cannot be seen"
    ]
    ocsp_this_update: Time | None
    ocsp_next_update: Time | None
    enumeration: Annotated[TlsEnumerationJson | None, "null where it was not asked for"]


class HttpPhasesJson(TypedDict):
    dns_ms: Ms | None
    connect_ms: Ms | None
    tls_ms: Ms | None
    first_byte_ms: Ms | None
    transfer_ms: Ms | None
    total_ms: Ms | None
    proxy_ms: Annotated[Ms | None, "CONNECT and its answer"]
    send_ms: Annotated[Ms | None, "the beginning of first_byte_ms"]
    redirects_ms: Annotated[Ms | None, "all requests before this one together"]


class HttpHopJson(TypedDict):
    """One answer that redirected and was followed."""

    url: str
    method: str
    status: int | None
    location: str | None
    address: str | None
    port: int | None
    version: str | None
    tls_verified: Annotated[bool | None, "null without TLS, or where it was not judged"]
    phases: HttpPhasesJson


class HeaderJson(TypedDict):
    name: str
    value: str


class HttpDetailJson(TypedDict):
    url: str
    method: str
    version: str | None
    status: int | None
    reason: str | None
    headers: list[HeaderJson]
    body_size: int | None
    body: Annotated[str | None, "its first 4 KiB as text, with what is not UTF-8 as \\xNN"]
    body_hex: Annotated[str | None, "null where the text says everything"]
    body_truncated: bool
    location: str | None
    phases: HttpPhasesJson
    tls: TlsDetailJson | None
    effective_url: Annotated[str | None, "of the last request of the chain, as all but url and method"]
    effective_address: str | None
    redirects: Annotated[list[HttpHopJson], "answers that were followed, in order"]
    head_size: Annotated[int | None, "bytes; HTTP/2: of the packed header block"]
    sent_size: Annotated[int | None, "bytes of the request, TLS aside"]
    received_size: Annotated[int | None, "bytes of the answer with all framing, TLS aside"]
    content_length: Annotated[int | None, "as the answer declares it"]
    content_encoding: Annotated[str | None, "other than identity; never undone"]
    proxy: Annotated[str | None, "HOST:PORT; address is then the proxy's"]
    notes: Annotated[list[str], "what is odd and no failure, for people"]


class HopAnswerJson(TypedDict):
    """One answer to one probe of a trace."""

    address: str | None
    rtt_ms: Annotated[float | None, "milliseconds"]
    how: Annotated[str, "icmp, or from the target itself syn-ack, reset, echo-reply, datagram"]
    icmp: IcmpErrorJson | None
    ttl: Annotated[int | None, "of the answer itself"]
    mtu: Annotated[int | None, "that a router named"]
    quoted_source: str | None
    quoted_port: Annotated[int | None, "source port of the packet that is quoted"]
    quoted_mss: int | None
    changed: Annotated[list[str], "what the quotation has otherwise than it was sent"]


class HopJson(TypedDict):
    """All probes with one TTL. ``marks`` are what is worth a look; ``silent`` proves nothing."""

    hop: int
    sent: int
    lost: int
    loss_ratio: Annotated[float | None, "0 to 1; of answers, which routers limit"]
    addresses: list[str]
    best_ms: Annotated[float | None, "milliseconds"]
    median_ms: Annotated[float | None, "milliseconds"]
    worst_ms: Annotated[float | None, "milliseconds"]
    return_hops: Annotated[int | None, "on the way back, estimated from the answer's TTL"]
    marks: list[Mark]
    note: str
    answers: list[HopAnswerJson]


class TraceDetailJson(TypedDict):
    transport: Transport
    reached: Annotated[bool, "the target itself answered"]
    distance: Annotated[int | None, "hops to the target"]
    ended: Annotated[str, "target, error, silence, hops, deadline or local"]
    rewritten_at: Annotated[int | None, "first hop whose quotation is not what was sent"]
    stand_in: Annotated[str | None, "the router at the hop where the target seemed to answer"]
    local_address: str | None
    local_port: int | None
    hops: list[HopJson]


class MtuDetailJson(TypedDict):
    """Sizes are of IP packets, in bytes."""

    mtu: Annotated[int | None, "the largest that got there in one piece"]
    failing: Annotated[int | None, "the smallest that did not"]
    told: Annotated[int | None, "what a router said"]
    told_by: str | None
    interface_mtu: int | None
    black_hole: Annotated[bool | None, "larger ones vanish without a word; null: not found out"]
    fragments_pass: Annotated[bool | None, "a larger packet that may be fragmented gets there"]


DetailJson = (
    IcmpDetailJson
    | TcpDetailJson
    | UdpDetailJson
    | DnsDetailJson
    | TlsDetailJson
    | HttpDetailJson
    | TraceDetailJson
    | MtuDetailJson
)


class MeasurementJson(TypedDict):
    """All samples of one probe from one vantage point to one address and port."""

    kind: Kind
    target: str
    address: str | None
    port: int | None
    outcome: Outcome
    started_at: Time
    sent: int
    lost: int
    loss_ratio: Annotated[float | None, "0 to 1; null where nothing was sent"]
    rtt_ms: Annotated[float | None, "median, milliseconds"]
    rtt: RttJson | None
    samples: list[SampleJson]
    failure: FailureJson | None
    detail: Annotated[DetailJson | None, "by kind"]
    log: list[str]


class VantageJson(TypedDict):
    agent: str
    site: str | None
    outcome: Annotated[Outcome, "of the first broken rung, else ok"]
    failed_at: Annotated[Kind | None, "the kind of that rung"]
    is_target: Annotated[bool, "it owns the target's address, and counts nowhere"]
    reason: Annotated[str | None, "why it was not measured, for people"]
    expect_fail: Annotated[bool, "turned round: ok is who did not reach the target"]
    measurements: list[MeasurementJson]
    followed: Annotated[
        list[MeasurementJson], "asked afterwards, to find where a failure lies; counts nowhere"
    ]


class JoinedStationJson(TypedDict):
    """One station between the two ends: 0 is FROM, the last one TO."""

    position: int
    forward_hop: int | None
    forward_addresses: list[str]
    reverse_hop: int | None
    reverse_addresses: list[str]
    same_link: Annotated[bool | None, "both ways use one network here; null: not known"]


class JoinedJson(TypedDict):
    """Both directions of one family, laid side by side."""

    family: Family
    forward_address: str | None
    reverse_address: str | None
    forward_distance: int | None
    reverse_distance: int | None
    asymmetric: Annotated[
        bool | None, "true: the ways differ; false: they use the same links; null: not known"
    ]
    text: Annotated[str, "why, for people"]
    stations: list[JoinedStationJson]


TraceJson = TypedDict(
    "TraceJson",
    {
        "schema": Literal[1],
        "from": str,
        "to": str,
        "transport": Transport,
        "port": int | None,
        "started_at": Time,
        "forward": VantageJson,
        "reverse": Annotated[VantageJson | None, "null where TO is no agent, or FROM is self"],
        "joined": list[JoinedJson],
    },
)


ScopeJson = TypedDict(
    "ScopeJson",
    {
        "from": list[str],
        "to": list[str],
        "transport": str | None,
        "port": int | None,
        "family": Family | None,
    },
)


class PlaceJson(TypedDict):
    kind: PlaceKind
    address: str | None
    hop: int | None


class EvidenceJson(TypedDict):
    id: str
    supports: bool
    text: str


class FindingJson(TypedDict):
    verdict: Verdict
    scope: ScopeJson
    direction: Direction | None
    place: PlaceJson | None
    confidence: Confidence
    summary: str
    evidence: list[EvidenceJson]
    alternatives: list[Verdict]
    next_test: str | None


class SummaryJson(TypedDict):
    """Vantage points; those that are the target itself are in none of these."""

    reached: int
    failed: int
    unmeasured: int
    total: int


class ValueGroupJson(TypedDict):
    value: Annotated[str, "as it came; a remote end's text"]
    vantages: Annotated[list[str], "who was told so; a vantage point may be in several groups"]


class AspectJson(TypedDict):
    """Who was told what of one aspect of the target."""

    aspect: Aspect
    port: int | None
    groups: Annotated[list[ValueGroupJson], "the largest first"]
    agreed: Annotated[bool, "nobody was told what others were not; overlapping sets of addresses agree"]


class ResultJson(TypedDict):
    """``meshctl probe -o json``: one object for one TARGET, an array for several."""

    schema: Literal[1]
    target: str
    started_at: Time
    vantages: list[VantageJson]
    findings: list[FindingJson]
    consistency: list[AspectJson]
    summary: SummaryJson


class DirectionJson(TypedDict):
    """One direction of a pair; its words are relative to its own initiator."""

    outcome: Annotated[Outcome, "of the flow itself"]
    path_verdict: Annotated[Verdict | None, "null: not measured"]
    service_verdict: Annotated[Verdict | None, "null: the path let nothing through, or nobody looked"]
    verdict: Annotated[Verdict, "the fault that matters first, reachable where there is none"]
    confidence: Confidence
    alternatives: Annotated[list[Verdict], "what remains possible where the verdict is undetermined"]


class ExcludedJson(TypedDict):
    """A cause that was ruled out in one direction."""

    verdict: Verdict
    direction: Direction
    text: Annotated[str, "by what"]


class PathHopJson(TypedDict):
    """One station of a drawn path: an end, a router, or the gap where it breaks."""

    name: str
    address: str | None
    hop: int | None
    rtt_ms: float | None
    mark: Annotated[str | None, "what happens there, where something does"]
    breaks: Annotated[bool, "the flow is broken there"]


DiagnosisJson = TypedDict(
    "DiagnosisJson",
    {
        "schema": Literal[1],
        "from": str,
        "to": str,
        "transport": Transport,
        "port": int | None,
        "reverse_port": int | None,
        "started_at": Time,
        "forward": DirectionJson,
        "reverse": DirectionJson,
        "findings": list[FindingJson],
        "excluded": list[ExcludedJson],
        "path": Annotated[list[PathHopJson], "from the first end to the second"],
        "reverse_path": list[PathHopJson],
        "packets": Annotated[int, "sent by all agents together"],
        "elapsed_s": float,
        "missing": Annotated[list[str], "what could not be looked at and why, for people"],
        "replayed": Annotated[bool, "concluded from a saved case; nothing was sent"],
        "interrupted": bool,
    },
)


class ReflectorJson(TypedDict):
    """An agent that was asked from where datagrams came."""

    agent: str
    addresses: list[str]
    sees: Annotated[list[str], "the addresses that it saw; empty: it heard nothing"]
    outside: Annotated[bool | None, "it sees a translated address; null: it heard nothing"]
    hops: Annotated[int | None, "routers on the way to it, by the TTL of what came"]


class NatAgentJson(TypedDict):
    """What stands in front of one agent, in the words of RFC 4787."""

    agent: str
    site: str | None
    family: Family
    behind_nat: Annotated[bool | None, "null: no reflector beyond its own network heard it"]
    mapping: NatRule
    mapping_alternatives: Annotated[list[NatRule], "what remains possible where it is undetermined"]
    filtering: NatRule
    filtering_alternatives: Annotated[list[NatRule], "what remains possible where it is undetermined"]
    firewall_only: Annotated[bool | None, "no NAT, and not everybody may send in"]
    port_preservation: Annotated[bool | None, "source ports are kept where they are free"]
    ports_kept: Annotated[int, "how many of ports_tried sockets kept theirs"]
    ports_tried: int
    hairpinning: Annotated[bool | None, "its own outside address can be reached from inside"]
    hairpin_source: Annotated[HairpinSource | None, "whose address a hairpinned datagram carries"]
    pooling: Annotated[Pooling | None, "whether one host keeps one outside address"]
    mapped_addresses: Annotated[list[str], "outside addresses; empty without a NAT"]
    seen_addresses: Annotated[list[str], "from where the reflectors saw it, NAT or not"]
    own_addresses: Annotated[list[str], "of its interfaces"]
    layers: Annotated[int | None, "how many NATs there are, where that is certain"]
    layers_least: Annotated[int | None, "at least so many"]
    layers_most: Annotated[int | None, "at most so many"]
    cgn: Annotated[bool | None, "shared address space (100.64.0.0/10) was met"]
    lifetime_s: Annotated[float | None, "the longest silence that a mapping outlived; null: not tried"]
    lifetime_most_s: Annotated[float | None, "the shortest silence that it did not"]
    reflectors: list[ReflectorJson]
    notes: Annotated[list[str], "by what this is known, for people"]
    missing: Annotated[list[str], "what kept it from being known better, for people"]


class NatSummaryJson(TypedDict):
    """Agents by ``behind_nat``."""

    behind_nat: int
    direct: int
    unknown: int
    total: int


class NatJson(TypedDict):
    """``meshctl nat -o json``."""

    schema: Literal[1]
    agents: list[NatAgentJson]
    summary: NatSummaryJson
    interrupted: bool


class RunJson(TypedDict):
    """A saved run, without its measurements: those are ``meshctl history show ID -o json``."""

    id: str
    saved_at: Time
    command: Annotated[list[str], "what was typed; … stands where a secret was"]
    context: str | None
    targets: list[str]
    vantages: Annotated[int, "how many vantage points took part"]
    summary: Annotated[SummaryJson, "over vantage points and TARGETs"]
    exit_code: int
    interrupted: bool
    rounds: Annotated[int, "of --watch or --until; the last one is kept"]
    whole: Annotated[bool, "false where the measurements were too many to be kept"]
    version: str


class HistoryJson(TypedDict):
    """``meshctl history -o json``."""

    schema: Literal[1]
    runs: list[RunJson]


class NarrowingJson(TypedDict):
    """``by`` says in words who narrows. A list that is empty says nothing."""

    by: str
    networks: list[str]
    deny_networks: list[str]
    names: list[str]
    ports: list[str]
    kinds: list[Kind]


class AgentJson(TypedDict):
    name: str
    site: str | None
    labels: dict[str, str]
    state: AgentState
    version: str | None
    addresses: list[str]
    capabilities: list[str]
    last_seen: Time | None
    reason: str | None
    narrowed: list[NarrowingJson]


class AgentsJson(TypedDict):
    """``meshctl agents -o json``."""

    schema: Literal[1]
    agents: list[AgentJson]


AuditRecordJson = TypedDict(
    "AuditRecordJson",
    {
        "time": Time,
        "event": Annotated[str, "the call's name (create-token) or what happened (run-ended, job-rejected)"],
        "outcome": AuditOutcome,
        "who": Annotated[str | None, "role/name of the certificate shown"],
        "who_id": Annotated[str | None, "the certificate's id, where it is not the name"],
        "certificate": Annotated[str | None, "serial of the certificate shown"],
        "from": Annotated[str | None, "address and port"],
        "asked_by": Annotated[str | None, "on whose behalf a controller says it asks"],
        "run": str | None,
        "job": str | None,
        "agent": Annotated[str | None, "whom it was about"],
        "token": Annotated[str | None, "id of the token it was about, which is no secret"],
        "kinds": list[str],
        "agents": list[str],
        "targets": list[str],
        "omitted": Annotated[int, "agents and targets that had no room"],
        "counts": Annotated[dict[str, int], "measurements by outcome"],
        "detail": str | None,
        "times": Annotated[int, "how many events alike the record stands for"],
    },
)


class AuditJson(TypedDict):
    """``meshctl audit -o json``, oldest first; ``jsonl``: a record a line."""

    schema: Literal[1]
    records: list[AuditRecordJson]
    more: Annotated[bool, "there are older ones that match"]
    lost: Annotated[int, "records that could not be written since the controller was started"]


class TokenJson(TypedDict):
    """``meshctl token create -o json`` and ``meshctl operator create -o json``."""

    schema: Literal[1]
    token: Annotated[str, "secret"]
    expires_at: Time
    command: Annotated[str, "what to run on the joining host; contains the token"]


class CheckJson(TypedDict):
    name: str
    status: Literal["ok", "warning", "failed", "skipped"]
    text: str
    fix: str | None


class DoctorJson(TypedDict):
    """``meshctl doctor -o json`` and ``mesh-agent doctor -o json``."""

    schema: Literal[1]
    checks: list[CheckJson]


class ModuleJson(TypedDict):
    name: str
    source: Annotated[str, "built in, the file, or which context"]
    description: str
    options: Annotated[dict[str, str | float | bool | list[str]], "by their long names, with _ for -"]


class ModulesJson(TypedDict):
    """``meshctl modules -o json``, and of one: ``meshctl modules show NAME -o json``."""

    schema: Literal[1]
    modules: list[ModuleJson]
