"""Every way by which a job can name a place: for each kind of the registry, and each field that holds one.

``place`` is an address in any spelling, or a name. A kind or a text field that is new and stands nowhere here
fails :mod:`tests.hostile_targets.test_asks`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

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

#: The one host that may be probed, of both families, and what serves there.
FRIEND, FRIEND6 = "10.9.0.2", "fd09::2"
OPTIONS = Options(count=2, interval_s=0.01, timeout_s=0.3)

Made = tuple[Spec, Target]


@dataclass(frozen=True, slots=True)
class Ask:
    """``literal``: the field takes addresses alone, or a name in it is somebody else's to resolve."""

    kind: Kind
    of: Callable[[str], Made]
    literal: bool = False


def at(host: str, *ports: int) -> Target:
    return Target(host, host, tuple(PortRange(port, port) for port in ports))


def url(host: str, *, secure: bool = False) -> Target:
    port = 443 if secure else 80
    return replace(at(host, port), kind=Kind.HTTP, path="/latest/meta-data/", secure=secure)


def given(host: str) -> Target:
    """As the controller fills it in for an agent."""
    return replace(at("friend.test", 80), addresses=(host,))


def server(host: str, port: int = 53) -> str:
    return f"[{host}]:{port}" if ":" in host and "[" not in host else f"{host}:{port}"


def _aimed(kind: Kind, spec: Spec, *ports: int) -> Ask:
    return Ask(kind, lambda place: (spec, at(place, *ports)))


def _dns(transport: DnsTransport, **more: bool) -> Ask:
    spec = DnsSpec(OPTIONS, transport=transport, **more)
    target = Target("dns:a.example", "a.example", record_type="A")
    return Ask(Kind.DNS, lambda place: (spec, replace(target, server=server(place))))


def _watch(place: str) -> Made:
    spec = WatchSpec(OPTIONS, os.urandom(16), listen=True, surrogate=True, peers=(place,), certificate=True)
    return spec, at(place, 443)


def _ladder(target: Callable[[str], Target]) -> Ask:
    return Ask(Kind.LADDER, lambda place: (LadderSpec(OPTIONS), target(place)))


def _at_port(port: int, place: str) -> Target:
    return at(place, port)


def _elsewhere(transport: Transport, place: str) -> Made:
    return FlowSpec(OPTIONS, transport, (Shot(), Shot(address=place))), at(FRIEND, 80)


_TOKEN = bytes(range(16))
_LOOKUP = Target("dns:a.example", "a.example", record_type="A")

ASKS: dict[str, Ask] = {
    "icmp": _aimed(Kind.ICMP, IcmpSpec(OPTIONS)),
    "icmp sizes": _aimed(Kind.ICMP, IcmpSpec(OPTIONS, sizes=(0, 1000))),
    "icmp expecting": _aimed(Kind.ICMP, IcmpSpec(replace(OPTIONS, expect=(Expectation("rtt-max", "1s"),)))),
    "tcp": _aimed(Kind.TCP, TcpSpec(OPTIONS), 80),
    "tcp scan": _aimed(Kind.TCP, TcpSpec(OPTIONS), *range(20, 32)),
    "tcp banner": _aimed(Kind.TCP, TcpSpec(OPTIONS, banner=True), 22),
    "tcp send": _aimed(Kind.TCP, TcpSpec(OPTIONS, send=b"?", half_close=True), 6379),
    "tcp given": Ask(Kind.TCP, lambda place: (TcpSpec(OPTIONS), given(place)), literal=True),
    **{f"udp {request}": _aimed(Kind.UDP, UdpSpec(OPTIONS, request=request), 161) for request in UdpRequest},
    "udp payload": _aimed(Kind.UDP, UdpSpec(OPTIONS, payload=b"?"), 53),
    **{f"dns {transport}": _dns(transport) for transport in DnsTransport},
    "dns all servers": _dns(DnsTransport.UDP, all_servers=True),
    "dns server": Ask(Kind.DNS, lambda place: (DnsSpec(OPTIONS, server=server(place)), _LOOKUP)),
    "dns lookup": Ask(
        Kind.DNS, lambda place: (DnsSpec(OPTIONS, server=FRIEND), Target(place, place)), literal=True
    ),
    "tls": _aimed(Kind.TLS, TlsSpec(OPTIONS), 443),
    "tls in full": _aimed(Kind.TLS, TlsSpec(OPTIONS, enumerate=True, ocsp=True), 443),
    **{f"tls after {one}": _aimed(Kind.TLS, TlsSpec(OPTIONS, starttls=one), 25) for one in StartTls},
    "http": Ask(Kind.HTTP, lambda place: (HttpSpec(OPTIONS), url(place))),
    "https": Ask(Kind.HTTP, lambda place: (HttpSpec(OPTIONS), url(place, secure=True))),
    "http 2": Ask(Kind.HTTP, lambda place: (HttpSpec(OPTIONS, http_version="2"), url(place))),
    "http post": Ask(
        Kind.HTTP, lambda place: (HttpSpec(OPTIONS, method="POST", body=b"?", follow=5), url(place))
    ),
    "http proxy": Ask(Kind.HTTP, lambda place: (HttpSpec(OPTIONS, proxy=server(place, 3128)), url(FRIEND))),
    "https proxy": Ask(
        Kind.HTTP, lambda place: (HttpSpec(OPTIONS, proxy=server(place, 3128)), url(FRIEND, secure=True))
    ),
    "http by proxy": Ask(
        Kind.HTTP, lambda place: (HttpSpec(OPTIONS, proxy=server(FRIEND, 3128)), url(place)), literal=True
    ),
    "https by proxy": Ask(
        Kind.HTTP,
        lambda place: (HttpSpec(OPTIONS, proxy=server(FRIEND, 3128)), url(place, secure=True)),
        literal=True,
    ),
    "http given": Ask(Kind.HTTP, lambda place: (HttpSpec(OPTIONS), given(place)), literal=True),
    **{f"flow {one}": _aimed(Kind.FLOW, FlowSpec(OPTIONS, one, token=_TOKEN), 80) for one in Transport},
    **{f"flow {one} elsewhere": Ask(Kind.FLOW, partial(_elsewhere, one), literal=True) for one in Transport},
    "flow given": Ask(Kind.FLOW, lambda place: (FlowSpec(OPTIONS), given(place)), literal=True),
    **{f"trace {one}": _aimed(Kind.TRACE, TraceSpec(OPTIONS, one, max_hops=3), 80) for one in Transport},
    "mtu icmp": _aimed(Kind.MTU, MtuSpec(OPTIONS)),
    "mtu udp": _aimed(Kind.MTU, MtuSpec(OPTIONS, Transport.UDP, token=_TOKEN), 9),
    "watch": Ask(Kind.WATCH, _watch, literal=True),
    "ladder": _ladder(at),
    **{f"ladder {port}": _ladder(partial(_at_port, port)) for port in (22, 53, 443, 3306, 5432)},
    "ladder ports": _ladder(lambda place: at(place, 80, 443)),
    "ladder http": _ladder(url),
    "ladder https": _ladder(lambda place: url(place, secure=True)),
    "ladder udp": _ladder(lambda place: replace(at(place, 53), kind=Kind.UDP)),
    "ladder icmp": _ladder(lambda place: replace(at(place), kind=Kind.ICMP)),
    "ladder dns": _ladder(lambda place: replace(_LOOKUP, kind=Kind.DNS, server=server(place))),
}

#: Text fields of what a job is made of that name a place to send something to.
PLACE_FIELDS = frozenset(
    {
        ("Target", "host"),
        ("Target", "server"),
        ("Target", "addresses"),
        ("DnsSpec", "server"),
        ("HttpSpec", "proxy"),
        ("Shot", "address"),
        ("WatchSpec", "peers"),
    }
)
#: And those that name none: what is said, shown or judged.
WORD_FIELDS = frozenset(
    {
        ("Target", "text"),
        ("Target", "path"),
        ("Target", "record_type"),
        ("Target", "agent"),
        ("Options", "source"),  # where from: this host's own, or its interface
        ("Expectation", "key"),
        ("Expectation", "value"),
        ("DnsSpec", "record_type"),
        ("DnsSpec", "server_name"),
        ("DnsSpec", "doh_path"),
        ("TlsSpec", "server_name"),
        ("TlsSpec", "min_version"),
        ("TlsSpec", "max_version"),
        ("TlsSpec", "ciphers"),
        ("TlsSpec", "alpn"),
        ("HttpSpec", "method"),
        ("HttpSpec", "headers"),
        ("HttpSpec", "secret_headers"),
        ("HttpSpec", "server_name"),
        ("HttpSpec", "http_version"),
    }
)
