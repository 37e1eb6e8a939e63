"""Who meets whom: the jobs of every kind that reads what a peer says, against one hostile server each.

A kind that is new and stands in none of these fails :mod:`tests.hostile_targets.test_hostile_answers`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from probemesh_shared.model import (
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
from probemesh_shared.words import DnsTransport, Kind, StartTls, Transport, UdpRequest

from tests.hostile_targets.behaviours import FLOODS, PLAIN_ONLY, QUIET
from tests.hostile_targets.crafted import BEHAVIOURS
from tests.hostile_targets.datagrams import DATAGRAMS

#: Servers of :mod:`tests.hostile_targets.foe` with real certificates.
BLOATED = ("large certificate", "long chain", "many names", "many authorities")
#: Of a job, and of an attempt within it.
BUDGET_S = 1.5
OPTIONS = Options(count=1, timeout_s=BUDGET_S)

Made = tuple[Spec, Target]


@dataclass(frozen=True, slots=True)
class Servers:
    """``tcp`` and ``udp``: ports by the behaviour (``tls NAME``: it in TLS; ``tls2 NAME``: and HTTP/2)."""

    host: str
    ca: bytes
    tcp: Mapping[str, int]
    udp: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Meeting:
    jobs: Callable[[Servers], dict[str, Made]]
    budget_s: float = BUDGET_S


def _at(servers: Servers, port: int) -> Target:
    return Target(f"{servers.host}:{port}", servers.host, (PortRange(port, port),))


def _url(servers: Servers, port: int, *, secure: bool = False) -> Target:
    return replace(_at(servers, port), kind=Kind.HTTP, path="/", secure=secure)


def _expecting(key: str, *values: str) -> Options:
    return replace(OPTIONS, expect=tuple(Expectation(key, value) for value in values))


def _lookup(servers: Servers, port: int) -> Target:
    return Target("dns:a.example", "a.example", record_type="TXT", server=f"{servers.host}:{port}")


def _lookup_at(host: str) -> Target:
    server = f"[{host}]:53" if ":" in host else f"{host}:53"
    return Target("dns:a.example", "a.example", record_type="A", server=server)


#: What reads a stream in the clear.
CLEAR: dict[str, Spec] = {
    "tcp banner": TcpSpec(OPTIONS, banner=True),
    "tcp needles": TcpSpec(_expecting("banner", *(f"needle {n}" for n in range(12)))),
    "tcp send": TcpSpec(_expecting("answer", "never"), send=b"?" * 1000),
    "tcp half-close": TcpSpec(OPTIONS, half_close=True),
    "tls": TlsSpec(OPTIONS),
    "tls in full": TlsSpec(OPTIONS, ocsp=True, enumerate=True),
    **{f"tls after {one}": TlsSpec(OPTIONS, starttls=one) for one in StartTls if one is not StartTls.AUTO},
    "http": HttpSpec(OPTIONS),
    "http 2": HttpSpec(OPTIONS, http_version="2"),
    "http follow": HttpSpec(OPTIONS, follow=20),
    "http json": HttpSpec(_expecting("json", "a.b=1", "c=2")),
    "http post": HttpSpec(_expecting("body", "never", "nowhere"), method="POST", body=b"p" * 65_536),
    "dns tcp": DnsSpec(OPTIONS, transport=DnsTransport.TCP),
    "dns dot": DnsSpec(OPTIONS, transport=DnsTransport.DOT),
    "dns doh": DnsSpec(OPTIONS, transport=DnsTransport.DOH),
    "dns all servers": DnsSpec(OPTIONS, transport=DnsTransport.TCP, all_servers=True),
    "ladder": LadderSpec(OPTIONS),
    "trace": TraceSpec(OPTIONS, Transport.TCP),
    "flow": FlowSpec(OPTIONS, Transport.TCP, (Shot(send=b"", hold_ms=200.0), Shot(send=b"?")), bytes(16)),
}


def clear(name: str, servers: Servers) -> dict[str, Made]:
    """Every kind that reads a stream, and the ways of http, against one behaviour in the clear."""
    port = servers.tcp[name]
    made = {what: (spec, _target(spec, servers, port)) for what, spec in CLEAR.items()}
    proxy = f"{servers.host}:{port}"
    made["http proxy"] = (
        HttpSpec(OPTIONS, proxy=proxy),
        Target("n.example", "n.example", (PortRange(80, 80),)),
    )
    made["https proxy"] = (
        HttpSpec(OPTIONS, proxy=proxy),
        Target("n.example", "n.example", (PortRange(443, 443),), Kind.HTTP, "/", secure=True),
    )
    made["https"] = (HttpSpec(OPTIONS), _url(servers, port, secure=True))
    made["ladder http"] = (LadderSpec(OPTIONS), _url(servers, port))
    return made


def _target(spec: Spec, servers: Servers, port: int) -> Target:
    if isinstance(spec, DnsSpec):
        return _lookup(servers, port)
    return _url(servers, port) if isinstance(spec, HttpSpec) else _at(servers, port)


def secure(name: str, servers: Servers) -> dict[str, Made]:
    """What reads a stream within TLS."""
    one, two = servers.tcp[f"tls {name}"], servers.tcp[f"tls2 {name}"]
    http, doh = HttpSpec(OPTIONS, ca=servers.ca, follow=20), DnsSpec(OPTIONS, ca=servers.ca)
    dot = replace(doh, transport=DnsTransport.DOT)
    doh = replace(doh, transport=DnsTransport.DOH)
    return {
        "tls": (TlsSpec(OPTIONS, ca=servers.ca), _at(servers, one)),
        "https": (http, _url(servers, one, secure=True)),
        "https 2": (http, _url(servers, two, secure=True)),
        "dns dot": (dot, _lookup(servers, one)),
        "dns doh": (doh, _lookup(servers, one)),
        "dns doh 2": (doh, _lookup(servers, two)),
        "ladder": (LadderSpec(OPTIONS), _url(servers, one, secure=True)),
    }


def bloated(name: str, servers: Servers) -> dict[str, Made]:
    """Handshakes that go well, with a server that has much to say in them."""
    port = servers.tcp[f"tls {name}"]
    return {
        "tls": (TlsSpec(OPTIONS), _at(servers, port)),
        "tls in full": (TlsSpec(OPTIONS, ocsp=True, enumerate=True), _at(servers, port)),
        "https": (HttpSpec(OPTIONS), _url(servers, port, secure=True)),
        "dns dot": (DnsSpec(OPTIONS, transport=DnsTransport.DOT), _lookup(servers, port)),
        "ladder": (LadderSpec(OPTIONS), _url(servers, port, secure=True)),
        "watch": (WatchSpec(OPTIONS, name.encode().ljust(16)[:16], certificate=True), _at(servers, port)),
    }


def datagrams(name: str, servers: Servers) -> dict[str, Made]:
    """What reads datagrams."""
    port = servers.udp[name]
    at, token = _at(servers, port), bytes(range(16))
    made: dict[str, Made] = {f"udp {one}": (UdpSpec(OPTIONS, request=one), at) for one in UdpRequest}
    lookup = replace(_lookup(servers, port), record_type="A")
    return made | {
        "udp payload": (UdpSpec(_expecting("answer", "never"), payload=b"?" * 12), at),
        "dns": (DnsSpec(OPTIONS), lookup),
        "dns all servers": (DnsSpec(OPTIONS, all_servers=True), lookup),
        "flow": (FlowSpec(OPTIONS, Transport.UDP, (Shot(), Shot(socket=1)), token, listen_ms=500.0), at),
        "mtu": (MtuSpec(OPTIONS, Transport.UDP, token=token, large=True), at),
        "trace": (TraceSpec(OPTIONS, Transport.UDP), at),
        "icmp": (IcmpSpec(OPTIONS, sizes=(0, 1400)), Target(servers.host, servers.host)),
        "ladder udp": (LadderSpec(OPTIONS), replace(at, kind=Kind.UDP)),
    }


def crafted(number: int) -> dict[str, Made]:
    """Every kind whose packets a stranger may answer with packets of his own making."""
    made: dict[str, Made] = {}
    for host in (f"10.66.{number}.1", f"fd66::{number:x}"):
        at, bare = Target(host, host, (PortRange(7, 7),)), Target(host, host)
        jobs: dict[str, Made] = {
            "icmp": (IcmpSpec(replace(OPTIONS, count=3, interval_s=0.1)), bare),
            "icmp sizes": (IcmpSpec(OPTIONS, sizes=(0, 3, 1400)), bare),
            "tcp": (TcpSpec(OPTIONS), at),
            "tcp banner": (TcpSpec(OPTIONS, banner=True), at),
            "tls": (TlsSpec(OPTIONS), at),
            "http": (HttpSpec(OPTIONS), replace(at, kind=Kind.HTTP, path="/")),
            "udp": (UdpSpec(OPTIONS, request=UdpRequest.STUN), at),
            "dns": (DnsSpec(OPTIONS), _lookup_at(host)),
            "ladder": (LadderSpec(OPTIONS), at),
            "mtu udp": (MtuSpec(OPTIONS, Transport.UDP, token=bytes(16)), at),
            "mtu icmp": (MtuSpec(OPTIONS), bare),
            **{f"trace {one}": (TraceSpec(OPTIONS, one), at) for one in Transport},
            **{f"flow {one}": (FlowSpec(OPTIONS, one, token=bytes(16)), at) for one in Transport},
        }
        made |= {f"{'6' if ':' in host else '4'} {name}": job for name, job in jobs.items()}
    return made


def _crafted(name: str, servers: Servers) -> dict[str, Made]:
    return crafted(_NUMBERS[name])


def together(of: Callable[[str, Servers], dict[str, Made]], *names: str) -> Meeting:
    """All jobs against all of these at once."""
    return Meeting(
        lambda servers: {
            f"{name}: {what}": made for name in names for what, made in of(name, servers).items()
        }
    )


def in_parts(names: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    """Neighbours in a list are alike, and are kept apart: together they would be one trick, many times."""
    listed = list(names)
    parts = -(-len(listed) // size)
    for first in range(parts):
        yield tuple(listed[first::parts])


#: What ends at the first bytes where TLS is spoken already.
_WITHIN_TLS = [name for name in FLOODS if name not in PLAIN_ONLY]

MEETINGS: dict[str, Meeting] = {
    **{f"clear: {', '.join(part)}": together(clear, *part) for part in in_parts(FLOODS, 2)},
    **{f"clear: {', '.join(part)}": together(clear, *part) for part in in_parts(QUIET, 4)},
    **{f"secure: {', '.join(part)}": together(secure, *part) for part in in_parts(_WITHIN_TLS, 6)},
    "secure: quiet": together(secure, *QUIET),
    "bloated: all": together(bloated, *BLOATED),
    "forged": Meeting(lambda servers: {"dns": datagrams("forged first", servers)["dns"]}),
    **{f"datagrams: {', '.join(part)}": together(datagrams, *part) for part in in_parts(DATAGRAMS, 4)},
}
#: In a namespace, with who answers behind a TUN device.
_NUMBERS = {behaviour.__name__: number for number, behaviour in enumerate(BEHAVIOURS)}
CRAFTED: dict[str, Meeting] = {
    f"crafted: {', '.join(part)}": together(_crafted, *part) for part in in_parts(_NUMBERS, 2)
}
