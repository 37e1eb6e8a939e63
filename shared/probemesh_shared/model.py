"""The nouns of the product as frozen dataclasses: targets, specs, samples, measurements, findings, runs.

Everything but the wire converters speaks these. Units stand in the names (``_ms``, ``_s``); wall-clock
instants are integers of nanoseconds since the Unix epoch, UTC (``_ns``). Absent is ``None``, never 0.
Statistics (loss, median ...) are not stored: :mod:`probemesh_shared.stats` derives them from samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from probemesh_shared.words import (
    AgentState,
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
    UdpRequest,
    Verdict,
)

# --- what is asked ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PortRange:
    """Inclusive; 1 ≤ first ≤ last ≤ 65535."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Target:
    """What is measured, as :func:`probemesh_shared.targets.parse_target` reads it.

    ``text`` is the canonical spelling shown to people and used as key. ``kind`` is set where the spelling
    forces one (``udp://``, ``dns:``, ``icmp:``, ``http://``). For ``dns:`` targets ``host`` is the name
    asked for. ``addresses`` is filled for ``agent:`` targets before the job leaves the dispatcher: then no
    name is resolved and exactly these are tried.
    """

    text: str
    host: str
    ports: tuple[PortRange, ...] = ()
    kind: Kind | None = None
    path: str = ""  # HTTP request target, with query
    secure: bool = False  # https
    record_type: str | None = None
    server: str | None = None  # nameserver: host or address, optionally with :port
    agent: str | None = None
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an answer has to be like: ``status`` ``200-299``, ``rtt-max`` ``20ms``.

    :mod:`probemesh_shared.expectations` knows the keys; an agent that does not know one answers
    ``unsupported``."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Options:
    """What every kind obeys. ``timeout_s`` is per attempt; the deadline of the whole belongs to the job."""

    family: Family = Family.BOTH
    count: int = 3
    interval_s: float = 0.2
    timeout_s: float = 3.0
    source: str | None = None  # address or interface name
    dscp: int | None = None
    ttl: int | None = None
    size: int | None = None  # payload bytes, icmp and udp
    dont_fragment: bool = False
    expect: tuple[Expectation, ...] = ()
    source_ports: PortRange | None = None  # tcp and udp: samples take these in turn


@dataclass(frozen=True, slots=True)
class IcmpSpec:
    """``sizes`` are payload bytes, each measured in a row of its own; without any it is ``options.size``."""

    options: Options = Options()
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TcpSpec:
    """Connects; more is done where it is asked for. ``send``: then an answer is waited for; ``banner``: what
    the server says unasked; ``half_close``: a FIN of ours, and what the peer makes of it."""

    options: Options = Options()
    send: bytes | None = None
    banner: bool = False
    half_close: bool = False


@dataclass(frozen=True, slots=True)
class UdpSpec:
    """A datagram of ``payload``, to which any answer counts, but for ``options.expect``.

    Without a payload it is the ready-made ``request``, whose answer is validated: by the port table where
    that is None too, and an empty datagram where the table does not know the port."""

    options: Options = Options()
    payload: bytes | None = None
    request: UdpRequest | None = None


@dataclass(frozen=True, slots=True)
class DnsSpec:
    """``server`` None means the host's own nameservers. Type and server in the target win over the spec's.

    ``edns_size`` None: the usual 1232; 0: no EDNS. With ``all_servers`` the zone's own name servers are
    asked, and ``server`` (or the host's) only who they are."""

    options: Options = Options()
    record_type: str | None = None
    server: str | None = None
    transport: DnsTransport = DnsTransport.UDP
    server_name: str | None = None  # dot, doh: SNI and name to verify; default: the server's
    doh_path: str | None = None  # default: /dns-query
    edns_size: int | None = None
    dnssec: bool = False  # DO
    no_recurse: bool = False  # RD=0
    checking_disabled: bool = False  # CD
    all_servers: bool = False
    ca: bytes | None = None  # dot, doh: PEM, as in TlsSpec


@dataclass(frozen=True, slots=True)
class TlsSpec:
    """Versions are OpenSSL's words, ``TLSv1`` to ``TLSv1.3``; certificates and keys are PEM.

    The key is nobody's to see: it is in no ``repr``, and stays in memory."""

    options: Options = Options()
    server_name: str | None = None  # SNI and name to verify; default: the target's host
    starttls: StartTls | None = None  # ask for TLS in the clear first
    min_version: str | None = None
    max_version: str | None = None
    ciphers: str | None = None  # OpenSSL's cipher list, for TLS 1.2 and before
    alpn: tuple[str, ...] = ()  # empty: h2, http/1.1
    ca: bytes | None = None  # judged by these instead of the agent's own authorities
    client_cert: bytes | None = field(default=None, repr=False)
    client_key: bytes | None = field(default=None, repr=False)
    enumerate: bool = False  # every version and cipher that the server takes
    ocsp: bool = False  # one more handshake, for the stapled OCSP response


@dataclass(frozen=True, slots=True)
class HttpSpec:
    """``expect_status`` are inclusive ranges, empty: 200-399; a ``status`` expectation comes before them.
    Redirects are reported, and up to ``follow`` of them followed.

    ``secret_headers`` hold credentials (and ``body`` may): they are in no text made of a spec, and go to the
    target's own origin only; those for the proxy (``Proxy-Authorization``) go to the proxy only.
    """

    options: Options = Options()
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    expect_status: tuple[PortRange, ...] = ()
    server_name: str | None = None
    http_version: str | None = None  # "1.1" or "2"; None: what ALPN comes to over TLS, 1.1 in the clear
    body: bytes | None = field(default=None, repr=False)  # at most 64 KiB
    secret_headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    follow: int = 0  # redirects, at most 20
    proxy: str | None = None  # HOST:PORT, spoken to in the clear
    ca: bytes | None = None  # PEM, as in TlsSpec
    client_cert: bytes | None = field(default=None, repr=False)  # shown to the target's own origin only
    client_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LadderSpec:
    """Resolve, ping, connect, then TLS and HTTP where the port or the answer suggests them."""

    options: Options = Options()


Spec = IcmpSpec | TcpSpec | UdpSpec | DnsSpec | TlsSpec | HttpSpec | LadderSpec


@dataclass(frozen=True, slots=True)
class Pacing:
    """This agent's share of the mesh-wide limit to one target address; loopback is exempt. None: no limit."""

    packets_per_s: float | None = None
    connects_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One spec, many targets, for one agent. ``budget_ms`` is the time left when it was sent, not an
    instant."""

    id: str
    run_id: str
    spec: Spec
    targets: tuple[Target, ...]
    budget_ms: int
    pacing: Pacing = Pacing()


# --- what is seen ---------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class IcmpDetail:
    method: str = ""  # "ping-socket", "raw-socket", "ping-program"
    size: int | None = None  # payload bytes
    duplicates: int = 0
    late: int = 0  # answers after their attempt's timeout
    answered_by: tuple[str, ...] = ()  # addresses that answered in the target's place, at most eight


@dataclass(frozen=True, slots=True)
class TcpDetail:
    banner: bytes | None = None  # first bytes that came unasked, at most 256
    banner_protocol: str | None = None  # "ssh", "smtp", "ftp", "http", ...
    local_address: str | None = None
    local_port: int | None = None
    mss: int | None = None  # tcpi_snd_mss
    pmtu: int | None = None
    scan: bool = False
    state: str | None = None  # "open", "closed", "filtered"
    reason: str | None = None  # by what: a word of probemesh_shared.portstate
    answer: bytes | None = None  # first bytes after what we sent, at most 512
    answer_ms: float | None = None  # from our last byte to its first
    close: str | None = None  # what the peer did after our FIN: "fin", "reset", "open" (nothing in time)
    close_ms: float | None = None


@dataclass(frozen=True, slots=True)
class UdpDetail:
    """``state`` is ``open`` (answered), ``closed`` (port unreachable from the target) or
    ``open|filtered``."""

    state: str = ""
    answer: bytes | None = None  # at most 512 bytes
    answer_size: int | None = None
    protocol: str | None = None  # of a ready-made request whose answer is valid
    answer_text: str | None = None  # what that says, in a line
    reason: str | None = None  # by what: a word of probemesh_shared.portstate


@dataclass(frozen=True, slots=True)
class DnsRecord:
    name: str
    type: str
    ttl_s: int
    value: str


@dataclass(frozen=True, slots=True)
class DnsExtendedError:
    """RFC 8914. ``name`` is the registered one, ``text`` the server's own words."""

    info_code: int
    name: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class DnsTried:
    """One name that was asked for, as the search list has it, and what came of it."""

    name: str
    record_type: str
    rcode: str | None = None  # None: no answer
    found: bool = False


@dataclass(frozen=True, slots=True)
class HostsLine:
    """One line of ``/etc/hosts`` that has the name."""

    line: int
    address: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SystemLookup:
    """How the host's own resolver comes to its answer. ``order`` is that of ``hosts:`` in nsswitch.conf, with
    its actions; ``candidates`` the full names that the C library tries, in order."""

    order: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    ndots: int | None = None
    candidates: tuple[str, ...] = ()
    hosts: tuple[HostsLine, ...] = ()
    source: DnsSource | None = None
    agreement: DnsAgreement | None = None


@dataclass(frozen=True, slots=True)
class DnsDetail:
    """``system`` is true where the host's own resolver (getaddrinfo) was asked; ``system_addresses`` is what
    it said beside a named server's answer, ``resolvers`` the nameservers that it is configured to ask, and
    ``lookup`` how it came to its answer.

    ``truncated``: the answer by UDP did not fit, and what is told came by TCP. ``edns_size`` None: the answer
    had no EDNS. ``zone`` and ``server_name`` are set where all servers of a zone were asked."""

    name: str = ""
    record_type: str = ""
    system: bool = False
    server: str | None = None
    transport: DnsTransport | None = None
    rcode: str | None = None
    flags: tuple[str, ...] = ()
    answers: tuple[DnsRecord, ...] = ()
    system_addresses: tuple[str, ...] = ()
    system_failure: Failure | None = None
    resolvers: tuple[str, ...] = ()
    authority: tuple[DnsRecord, ...] = ()
    additional: tuple[DnsRecord, ...] = ()
    records_left_out: int = 0
    answer_size: int | None = None  # bytes
    truncated: bool = False
    edns_size: int | None = None  # largest datagram that the server takes
    edns_flags: tuple[str, ...] = ()
    nsid: str | None = None
    extended_errors: tuple[DnsExtendedError, ...] = ()
    passed_over: int = 0  # datagrams that were no answer to the question
    serial: int | None = None  # of the zone's SOA, where one came
    zone: str | None = None
    server_name: str | None = None
    dnssec: DnssecStatus | None = None
    signatures: int = 0  # RRSIGs in answer and authority
    signature_expires_ns: int | None = None  # the earliest of them
    tried: tuple[DnsTried, ...] = ()
    lookup: SystemLookup | None = None
    tls: "TlsDetail | None" = None
    http_version: str | None = None
    http_status: int | None = None


@dataclass(frozen=True, slots=True)
class TlsVersionTaken:
    """``accepted`` None: not found out. ``ciphers`` have their registry names, in the server's order where
    ``preference`` is ``server``; ``client``: it takes the client's first; None: cannot be told."""

    version: str = ""
    accepted: bool | None = None
    ciphers: tuple[str, ...] = ()
    preference: str | None = None
    complete: bool = False
    reason: str | None = None  # how it refused, or why it is not known


@dataclass(frozen=True, slots=True)
class TlsEnumeration:
    """Every version, the newest first. Not ``complete``: something was in the way, the deadline mostly."""

    versions: tuple[TlsVersionTaken, ...] = ()
    complete: bool = False
    connections: int = 0


@dataclass(frozen=True, slots=True)
class TlsDetail:
    """Certificates travel as DER, leaf first, and are parsed where they are shown.

    ``verified`` None: not judged. ``verify_code`` is OpenSSL's X509_V_ERR number, ``verify_error`` its name
    for people. ``tcp_ms`` and ``handshake_ms`` are of the first sample that completed. ``ocsp_staple`` is
    ``none``, ``good``, ``revoked``, ``unknown``, ``malformed``, or None where nobody looked or it could not
    be seen.
    """

    version: str | None = None
    cipher: str | None = None
    alpn: str | None = None
    server_name: str | None = None
    chain: tuple[bytes, ...] = ()
    verified: bool | None = None
    verify_code: int | None = None
    verify_error: str | None = None
    tcp_ms: float | None = None
    handshake_ms: float | None = None
    alert: str | None = None
    starttls: StartTls | None = None  # what TLS was asked for by
    key_exchange: str | None = None  # the group's name: "x25519"
    client_certificate_requested: bool | None = None
    client_certificate_authorities: tuple[str, ...] = ()
    ocsp_staple: str | None = None
    ocsp_this_update_ns: int | None = None
    ocsp_next_update_ns: int | None = None
    enumeration: TlsEnumeration | None = None


@dataclass(frozen=True, slots=True)
class HttpPhases:
    """Milliseconds of each phase of one request; None: the phase did not happen or did not end.

    With a proxy ``dns_ms`` and ``connect_ms`` are the proxy's. ``send_ms`` is the beginning of
    ``first_byte_ms``. ``redirects_ms`` is what all requests before this one took together.
    """

    dns_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    first_byte_ms: float | None = None
    transfer_ms: float | None = None
    total_ms: float | None = None
    proxy_ms: float | None = None  # CONNECT and its answer
    send_ms: float | None = None
    redirects_ms: float | None = None


@dataclass(frozen=True, slots=True)
class HttpHop:
    """One answer that redirected and was followed. ``tls_verified`` None: no TLS, or not judged."""

    url: str = ""
    method: str = ""
    status: int | None = None
    location: str | None = None
    address: str | None = None
    port: int | None = None
    version: str | None = None
    tls_verified: bool | None = None
    phases: HttpPhases = HttpPhases()


@dataclass(frozen=True, slots=True)
class HttpDetail:
    """``url`` and ``method`` are what was asked for; all the rest is of the last request of the chain.

    Sizes are in bytes as they came, whatever their encoding: ``body_size`` without the framing of HTTP,
    ``head_size`` with it (HTTP/2: the packed header block), ``received_size`` all of it, TLS aside.
    """

    url: str = ""
    method: str = ""
    version: str | None = None
    status: int | None = None
    reason: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body_size: int | None = None
    body: bytes | None = None  # first 4 KiB
    body_truncated: bool = False
    location: str | None = None
    phases: HttpPhases = HttpPhases()
    tls: TlsDetail | None = None
    effective_url: str | None = None
    effective_address: str | None = None
    redirects: tuple[HttpHop, ...] = ()
    head_size: int | None = None
    sent_size: int | None = None
    received_size: int | None = None
    content_length: int | None = None  # as the answer declares it
    content_encoding: str | None = None  # other than identity
    proxy: str | None = None  # HOST:PORT
    notes: tuple[str, ...] = ()  # what is odd and no failure, for people


Detail = IcmpDetail | TcpDetail | UdpDetail | DnsDetail | TlsDetail | HttpDetail


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
    nowhere."""

    agent: str
    site: str | None
    outcome: Outcome
    failed_at: Kind | None = None
    measurements: tuple[Measurement, ...] = ()
    is_target: bool = False
    reason: str | None = None  # why it was not measured, for people
    expect_fail: bool = False  # turned round: ``ok`` is who did not reach it


@dataclass(frozen=True, slots=True)
class TargetResult:
    target: Target
    started_ns: int
    vantages: tuple[Vantage, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """A vantage point as the fleet knows it. ``addresses`` are the candidates by which others probe it,
    ``reason`` is why it is not connected, where whoever dials it knows."""

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
