"""What ``meshctl probe``'s options ask for, as specs. Pure: refuses options that fit no kind asked for.

Each kind's own options are read in the module of that kind; what they have in common is read here."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.expectations import of_kind
from probemesh_shared.model import LadderSpec, MtuSpec, Options, Spec, Target, TraceSpec
from probemesh_shared.names import did_you_mean
from probemesh_shared.targets import check_family, count_ports
from probemesh_shared.words import Family, Kind

from probemesh_controller.cli.specs.dns import DnsAsked
from probemesh_controller.cli.specs.expected import read_expectations, refuse_failing_twice
from probemesh_controller.cli.specs.http import HttpAsked
from probemesh_controller.cli.specs.icmp import IcmpAsked, parse_sizes
from probemesh_controller.cli.specs.tcp import TcpAsked
from probemesh_controller.cli.specs.tls import ENUMERATION_S, TlsAsked
from probemesh_controller.cli.specs.udp import UdpAsked
from probemesh_controller.cli.specs.values import parse_span, within

_KINDS = (Kind.ICMP, Kind.DNS, Kind.TCP, Kind.UDP, Kind.TLS, Kind.HTTP, Kind.TRACE, Kind.MTU)
#: Kinds that a spelling which forces a kind leaves possible.
_FITS = {
    Kind.UDP: {Kind.UDP, Kind.ICMP, Kind.DNS, Kind.TRACE, Kind.MTU},
    Kind.TCP: {Kind.TCP, Kind.TLS, Kind.HTTP, Kind.ICMP, Kind.DNS, Kind.TRACE, Kind.MTU},
    Kind.HTTP: {Kind.HTTP, Kind.TLS, Kind.TCP, Kind.ICMP, Kind.DNS, Kind.TRACE, Kind.MTU},
    Kind.ICMP: {Kind.ICMP, Kind.DNS, Kind.TRACE, Kind.MTU},
    Kind.DNS: {Kind.DNS},
}
LONGEST_S = 3600
#: Options that belong to some kinds only; the first one is proposed where none of them was asked for.
_BELONGS = {
    "--size": (Kind.ICMP, Kind.UDP, Kind.TRACE),
    "--dont-fragment": (Kind.ICMP, Kind.UDP, Kind.TRACE),
    "--source-port": (Kind.TCP, Kind.UDP, Kind.TRACE),
    # tcp
    "--send": (Kind.TCP,),
    "--banner": (Kind.TCP,),
    "--half-close": (Kind.TCP,),
    # udp
    "--payload": (Kind.UDP,),
    "--request": (Kind.UDP,),
    # dns
    "--server": (Kind.DNS,),
    "--type": (Kind.DNS,),
    "--transport": (Kind.DNS,),
    "--server-name": (Kind.DNS,),
    "--edns-size": (Kind.DNS,),
    "--dnssec": (Kind.DNS,),
    "--no-recurse": (Kind.DNS,),
    "--cd": (Kind.DNS,),
    "--all-servers": (Kind.DNS,),
    # tls
    "--sni": (Kind.TLS, Kind.HTTP),
    "--starttls": (Kind.TLS,),
    "--tls-min": (Kind.TLS,),
    "--tls-max": (Kind.TLS,),
    "--ciphers": (Kind.TLS,),
    "--alpn": (Kind.TLS,),
    "--ca": (Kind.TLS, Kind.HTTP, Kind.DNS),
    "--client-cert": (Kind.TLS, Kind.HTTP),
    "--client-key": (Kind.TLS, Kind.HTTP),
    "--enumerate": (Kind.TLS,),
    "--ocsp": (Kind.TLS,),
    # http
    "--method": (Kind.HTTP,),
    "--header": (Kind.HTTP,),
    "--http-version": (Kind.HTTP,),
    "--data": (Kind.HTTP,),
    "--auth-basic": (Kind.HTTP,),
    "--auth-bearer": (Kind.HTTP,),
    "--follow": (Kind.HTTP,),
    "--max-redirects": (Kind.HTTP,),
    "--proxy": (Kind.HTTP,),
    "--proxy-auth": (Kind.HTTP,),
    "--range": (Kind.HTTP,),
    "--if-none-match": (Kind.HTTP,),
    "--if-modified-since": (Kind.HTTP,),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The options as typed; None or empty where they were not given."""

    kinds: Sequence[str] = ()
    count: int = 3
    interval: float = 0.2
    timeout: float = 3.0
    ipv4: bool = False
    ipv6: bool = False
    source: str | None = None
    dscp: int | None = None
    ttl: int | None = None
    size: str | None = None
    dont_fragment: bool = False
    source_port: str | None = None
    expect: Sequence[str] = ()
    expect_status: str | None = None  # the same as expect status=
    expect_body: str | None = None
    expect_fail: bool = False
    icmp: IcmpAsked = field(default_factory=IcmpAsked)
    dns: DnsAsked = field(default_factory=DnsAsked)
    tcp: TcpAsked = field(default_factory=TcpAsked)
    udp: UdpAsked = field(default_factory=UdpAsked)
    tls: TlsAsked = field(default_factory=TlsAsked)
    http: HttpAsked = field(default_factory=HttpAsked)


def build_specs(asked: Asked, targets: Sequence[Target]) -> tuple[Spec, ...]:
    """One spec a kind; the ladder where no kind is named or needed. Raises :class:`InvalidRequest`."""
    given = _given(asked)
    kinds = _kinds(asked.kinds) or _needed(given, targets)
    options = replace(_options(asked), expect=read_expectations(_expected(asked), kinds, targets))
    if asked.expect_fail:
        refuse_failing_twice(options.expect)
    for target in targets:
        if set(kinds) != {Kind.DNS} and "--proxy" not in given:  # there it is that of the way to another
            check_family(options.family, target)
        if Kind.DNS in (*kinds, target.kind):
            asked.dns.check(target, options.family)
        for kind in kinds:
            _check_fit(kind, target)
            if kind is Kind.TLS and asked.tls.enumerate and count_ports(target.ports) > 16:
                raise InvalidRequest(f"{target.text} has too many ports for --enumerate", "16 at most")
    for name in given:
        if not any(kind in _BELONGS[name] for kind in kinds):
            belongs = " and ".join(_BELONGS[name])
            raise InvalidRequest(f"{name} belongs to the kind {belongs}", f"add --kind {_BELONGS[name][0]}")
    if not kinds:
        return (LadderSpec(options),)
    if kinds == (Kind.DNS,) and asked.tls.ca is not None:
        asked.dns.check_certified("--ca judges")
    if asked.size is not None and "," in asked.size.replace("-", ",") and Kind.UDP in kinds:
        several = f"several sizes ({escape(asked.size, 40)})"
        raise InvalidRequest(f"{several} belong to the kind icmp", "give udp one")
    return tuple(_spec(kind, asked, options) for kind in kinds)


def default_deadline(asked: Asked) -> float:
    """15 s, or longer where what is asked for cannot fit into that. Raises :class:`InvalidRequest`."""
    needed = asked.count * asked.interval + 2 * asked.timeout
    if needed > LONGEST_S:
        samples = f"{asked.count} samples {asked.interval:g} s apart"
        raise InvalidRequest(f"{samples} take longer than {LONGEST_S} s", "lower --count or --interval")
    return max(ENUMERATION_S if asked.tls.enumerate else 15.0, needed)


def _expected(asked: Asked) -> list[str]:
    aliases = {"status": asked.expect_status, "body": asked.expect_body}
    return [*asked.expect, *(f"{key}={text}" for key, text in aliases.items() if text is not None)]


def _options(asked: Asked) -> Options:
    sizes = _sizes(asked)
    within("--count", asked.count, 1, 1000)
    within("--interval", asked.interval, 0.01, 60)
    within("--timeout", asked.timeout, 0.05, 60)
    within("--dscp", asked.dscp, 0, 63)
    within("--ttl", asked.ttl, 1, 255)
    if asked.ipv4 and asked.ipv6:
        raise InvalidRequest("-4 and -6 exclude each other", "give neither to try both families")
    return Options(
        family=Family.IPV4 if asked.ipv4 else Family.IPV6 if asked.ipv6 else Family.BOTH,
        count=asked.count,
        interval_s=asked.interval,
        timeout_s=asked.timeout,
        source=asked.source,
        dscp=asked.dscp,
        ttl=asked.ttl,
        size=sizes[0] if len(sizes) == 1 else None,
        dont_fragment=asked.dont_fragment,
        source_ports=None if asked.source_port is None else parse_span(asked.source_port, "--source-port"),
    )


def _sizes(asked: Asked) -> tuple[int, ...]:
    """Several are a matter of the kind icmp."""
    return () if asked.size is None else parse_sizes(asked.size)


def _given(asked: Asked) -> list[str]:
    values: dict[str, object] = {"--size": asked.size, "--dont-fragment": asked.dont_fragment or None}
    values["--source-port"] = asked.source_port
    for one in (asked.icmp, asked.dns, asked.tcp, asked.udp, asked.tls, asked.http):
        values |= one.given()
    return [name for name, value in values.items() if value is not None]


def _kinds(words: Sequence[str]) -> tuple[Kind, ...]:
    found = []
    for word in words:
        if word not in _KINDS:
            hint = did_you_mean(word, _KINDS) or f"known: {', '.join(_KINDS)}"
            raise InvalidRequest(f"there is no probe kind '{escape(word, 40)}'", hint)
        found.append(Kind(word))
    return tuple(dict.fromkeys(found))


def _needed(given: Sequence[str], targets: Sequence[Target]) -> tuple[Kind, ...]:
    """An option of a kind that all targets already are of asks for that kind."""
    kinds = {target.kind for target in targets}
    if not given or len(kinds) != 1:
        return ()
    (kind,) = kinds
    return (kind,) if kind is not None else ()


def _check_fit(kind: Kind, target: Target) -> None:
    if target.kind is not None and kind not in _FITS[target.kind]:
        raise InvalidRequest(f"--kind {kind} does not fit {target.text}", f"write it as {target.host}:PORT")
    if kind in (Kind.TCP, Kind.UDP, Kind.TLS) and not target.ports:
        raise InvalidRequest(f"{kind} needs a port, and {target.text} has none", f"write {target.text}:PORT")
    if kind is Kind.HTTP and not target.ports:
        raise InvalidRequest(
            f"http needs a URL or a port, and {target.text} has none", f"write http://{target.host}/"
        )
    if kind is Kind.HTTP and count_ports(target.ports) > 16:
        raise InvalidRequest(f"{target.text} has too many ports for http", "16 at most")


def _spec(kind: Kind, asked: Asked, options: Options) -> Spec:
    options = replace(options, expect=of_kind(options.expect, kind))
    match kind:
        case Kind.ICMP:
            return asked.icmp.spec(options, _sizes(asked))
        case Kind.DNS:
            return asked.dns.trusting(asked.dns.spec(options), asked.tls.ca)
        case Kind.TCP:
            return asked.tcp.spec(options)
        case Kind.UDP:
            return asked.udp.spec(options)
        case Kind.TLS:
            return asked.tls.spec(options)
        case Kind.HTTP:
            return asked.tls.trusting(asked.http.spec(options, asked.tls.sni))
        case Kind.LADDER:
            return LadderSpec(options)
        case Kind.TRACE:
            return TraceSpec(options)
        case Kind.MTU:
            return MtuSpec(options)
        case Kind.FLOW | Kind.WATCH:
            raise InvalidRequest(f"{kind} is a part of a diagnosis", "see: meshctl diagnose --help")


__all__ = [
    "LONGEST_S",
    "Asked",
    "DnsAsked",
    "HttpAsked",
    "IcmpAsked",
    "TcpAsked",
    "TlsAsked",
    "UdpAsked",
    "build_specs",
    "default_deadline",
]
