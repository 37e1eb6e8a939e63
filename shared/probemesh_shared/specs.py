"""What is asked: targets, options and one spec for each kind of probe.

Durations carry their unit in the name; absent is ``None``, never 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from probemesh_shared.words import (
    DnsTransport,
    Family,
    Kind,
    StartTls,
    Transport,
    UdpRequest,
)


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


@dataclass(frozen=True, slots=True)
class TraceSpec:
    """Hop by hop: packets of ``transport`` with TTL ``first_hop`` upward, ``options.count`` of each, all
    of one flow (constant ports), until the target itself answers or ``max_hops``. ``transport`` None:
    TCP to the target's port where it has one, else ICMP; UDP where this agent may not ping."""

    options: Options = Options()
    transport: Transport | None = None
    first_hop: int = 1
    max_hops: int = 30


@dataclass(frozen=True, slots=True)
class MtuSpec:
    """The largest IP packet that gets there in one piece, by don't-fragment datagrams that are answered
    (ping, or ``transport`` UDP to a responder): found by halving between ``smallest`` and ``largest``
    bytes of IP packet. ``largest`` None: the MTU of the interface that leads there. ``token`` is what the
    responder at the target's port answers to (UDP); ``large``: with as many bytes as came."""

    options: Options = Options()
    transport: Transport | None = None
    smallest: int = 576
    largest: int | None = None
    token: bytes | None = None
    large: bool = False


@dataclass(frozen=True, slots=True)
class Shot:
    """One connection attempt, datagram or echo request of a :class:`FlowSpec`.

    ``port`` 0 means the target's; ``source_port`` 0 the kernel's choice. ``size`` is payload bytes
    (udp, icmp). ``mss`` sets TCP_MAXSEG: an odd one is the nonce by which the far end finds this flow
    behind a NAT. ``hold_ms`` keeps an established connection open that long, watched; None closes it
    (FIN) once it stands, or once ``send`` was answered. UDP shots of the same ``socket`` share one
    unconnected socket and its mapping in a NAT. ``address`` replaces the target's (same family, judged
    by the policy alike).

    ``send``: a connection writes these bytes once it stands and waits for an answer; where the flow has
    a token, that token's request goes before them (``b""``: it alone). With None a connection says
    nothing at all, so that a foreign service is not troubled. A datagram with ``send`` is exactly these
    bytes; else it is the token's request, padded to ``size``, or empty without a token. ``delay_ms``,
    ``large_reply`` and ``other_port`` are how the far responder is asked to reply to a request: that much
    later, as large as the request, from another port of its own (UDP)."""

    at_ms: float = 0.0  # since the flow's start
    port: int = 0
    source_port: int = 0
    ttl: int | None = None
    size: int | None = None
    dont_fragment: bool = False
    mss: int | None = None
    hold_ms: float | None = None
    send: bytes | None = None
    socket: int | None = None
    address: str | None = None
    delay_ms: int = 0
    large_reply: bool = False
    other_port: bool = False


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """Single packets and connections, laid out in time, whose fate is told one by one: the prober's side
    of a two-ended probe. Without ``shots`` they are ``options.count`` plain ones, ``options.interval_s``
    apart. With a ``token`` datagrams, and connections that are to speak (:class:`Shot`'s ``send``), carry
    the request of :mod:`probemesh_shared.wire.flowtoken`, and the far responder's reply is checked by it.
    ``listen_ms``: UDP and ICMP sockets stay open that long after the last shot, and tell what still
    comes. ``options.timeout_s`` is how long each shot waits."""

    options: Options = Options()
    transport: Transport = Transport.TCP
    shots: tuple[Shot, ...] = ()
    token: bytes | None = None
    listen_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class WatchSpec:
    """The far end's side. Without ``look`` a watch is armed under ``token``: a row comes at once, and the
    watch lives until the job is cancelled, its budget is over or the link is lost. With ``look`` the
    account of that watch since the last look comes as the only row.

    The job's target carries the port that is watched, and the address by which this agent is dialled
    (its own). ``peers`` are addresses from which the prober may come. ``listen``: a listener of our own
    on that port. ``surrogate``: listeners of our own on some free port, TCP and UDP, on the same
    number.

    ``certificate``: what the TLS service on that port presents to its own host is fetched once, for the armed
    account.

    A look with ``quiet`` says that nothing was sent since the look before (or the arming): that time
    becomes part of the counters' baseline, their rise is counted from now on, and everything else is
    kept for the next look."""

    options: Options = Options()
    token: bytes = b""
    look: bool = False
    transport: Transport = Transport.TCP
    peers: tuple[str, ...] = ()
    mss: int | None = None
    listen: bool = False
    surrogate: bool = False
    quiet: bool = False
    certificate: bool = False


Spec = (
    IcmpSpec
    | TcpSpec
    | UdpSpec
    | DnsSpec
    | TlsSpec
    | HttpSpec
    | LadderSpec
    | TraceSpec
    | MtuSpec
    | FlowSpec
    | WatchSpec
)

#: The kind of which a spec is.
KINDS: Mapping[type[Spec], Kind] = {
    IcmpSpec: Kind.ICMP,
    TcpSpec: Kind.TCP,
    UdpSpec: Kind.UDP,
    DnsSpec: Kind.DNS,
    TlsSpec: Kind.TLS,
    HttpSpec: Kind.HTTP,
    LadderSpec: Kind.LADDER,
    TraceSpec: Kind.TRACE,
    MtuSpec: Kind.MTU,
    FlowSpec: Kind.FLOW,
    WatchSpec: Kind.WATCH,
}
