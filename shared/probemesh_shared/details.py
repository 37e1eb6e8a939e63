"""What a kind's measurements tell beside their samples, one class for each kind."""

from dataclasses import dataclass

from probemesh_shared.seen import Failure
from probemesh_shared.words import (
    DnsAgreement,
    DnssecStatus,
    DnsSource,
    DnsTransport,
    StartTls,
)


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
