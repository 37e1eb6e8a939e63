"""What ``meshctl probe``'s options ask for, as specs. Pure: refuses options that fit no kind asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.model import (
    DnsSpec,
    HttpSpec,
    IcmpSpec,
    LadderSpec,
    Options,
    PortRange,
    Spec,
    Target,
    TcpSpec,
    TlsSpec,
    UdpSpec,
)
from probemesh_shared.names import did_you_mean
from probemesh_shared.targets import check_record_type, count_ports, parse_server, server_text
from probemesh_shared.words import DnsTransport, Family, Kind

_KINDS = (Kind.ICMP, Kind.DNS, Kind.TCP, Kind.UDP, Kind.TLS, Kind.HTTP)
#: Kinds that a spelling which forces a kind leaves possible.
_FITS = {
    Kind.UDP: {Kind.UDP, Kind.ICMP, Kind.DNS},
    Kind.TCP: {Kind.TCP, Kind.TLS, Kind.HTTP, Kind.ICMP, Kind.DNS},
    Kind.HTTP: {Kind.HTTP, Kind.TLS, Kind.TCP, Kind.ICMP, Kind.DNS},
    Kind.ICMP: {Kind.ICMP, Kind.DNS},
    Kind.DNS: {Kind.DNS},
}
LONGEST_S = 3600
#: Options that belong to some kinds only.
_BELONGS = {
    "--size": (Kind.ICMP, Kind.UDP),
    "--dont-fragment": (Kind.ICMP, Kind.UDP),
    "--payload": (Kind.UDP,),
    "--expect": (Kind.UDP,),
    "--server": (Kind.DNS,),
    "--type": (Kind.DNS,),
    "--transport": (Kind.DNS,),
    "--sni": (Kind.TLS, Kind.HTTP),
    "--method": (Kind.HTTP,),
    "--header": (Kind.HTTP,),
    "--expect-status": (Kind.HTTP,),
    "--expect-body": (Kind.HTTP,),
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
    size: int | None = None
    dont_fragment: bool = False
    payload: str | None = None
    expect: str | None = None
    server: str | None = None
    record_type: str | None = None
    transport: str | None = None
    sni: str | None = None
    method: str | None = None
    headers: Sequence[str] = ()
    expect_status: str | None = None
    expect_body: str | None = None


def build_specs(asked: Asked, targets: Sequence[Target]) -> tuple[Spec, ...]:
    """One spec a kind; the ladder where no kind is named or needed. Raises :class:`InvalidRequest`."""
    options = _options(asked)
    given = _given(asked)
    kinds = _kinds(asked.kinds) or _needed(given, targets)
    for target in targets:
        for kind in kinds:
            _check_fit(kind, target)
    for name in given:
        if not any(kind in _BELONGS[name] for kind in kinds):
            belongs = " and ".join(_BELONGS[name])
            raise InvalidRequest(f"{name} belongs to the kind {belongs}", f"add --kind {_BELONGS[name][0]}")
    if not kinds:
        return (LadderSpec(options),)
    return tuple(_BUILDERS[kind](asked, options) for kind in kinds)


def default_deadline(asked: Asked) -> float:
    """15 s, or longer where the samples asked for cannot fit into that. Raises :class:`InvalidRequest`."""
    needed = asked.count * asked.interval + 2 * asked.timeout
    if needed > LONGEST_S:
        samples = f"{asked.count} samples {asked.interval:g} s apart"
        raise InvalidRequest(f"{samples} take longer than {LONGEST_S} s", "lower --count or --interval")
    return max(15.0, needed)


def parse_bytes(text: str, what: str) -> bytes:
    """``hex:0a0b`` as those bytes, everything else as UTF-8."""
    if not text.startswith("hex:"):
        return text.encode("utf-8", "surrogateescape")
    try:
        return bytes.fromhex(text[4:])
    except ValueError:
        raise InvalidRequest(
            f"{what} '{escape(text, 60)}' is not hexadecimal", "for example hex:0a0b0c"
        ) from None


def _options(asked: Asked) -> Options:
    _within("--count", asked.count, 1, 1000)
    _within("--interval", asked.interval, 0.01, 60)
    _within("--timeout", asked.timeout, 0.05, 60)
    _within("--dscp", asked.dscp, 0, 63)
    _within("--ttl", asked.ttl, 1, 255)
    _within("--size", asked.size, 0, 65507)
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
        size=asked.size,
        dont_fragment=asked.dont_fragment,
    )


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise InvalidRequest(f"{name} {value:g} is out of range", f"{low:g} to {high:g}")


def _given(asked: Asked) -> list[str]:
    values = {
        "--size": asked.size,
        "--dont-fragment": asked.dont_fragment or None,
        "--payload": asked.payload,
        "--expect": asked.expect,
        "--server": asked.server,
        "--type": asked.record_type,
        "--transport": asked.transport,
        "--sni": asked.sni,
        "--method": asked.method,
        "--header": asked.headers or None,
        "--expect-status": asked.expect_status,
        "--expect-body": asked.expect_body,
    }
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


def _icmp(asked: Asked, options: Options) -> Spec:
    return IcmpSpec(options)


def _tcp(asked: Asked, options: Options) -> Spec:
    return TcpSpec(options)


def _udp(asked: Asked, options: Options) -> Spec:
    payload = None if asked.payload is None else parse_bytes(asked.payload, "--payload")
    expect = None if asked.expect is None else parse_bytes(asked.expect, "--expect")
    return UdpSpec(options, payload, expect)


def _dns(asked: Asked, options: Options) -> Spec:
    transport = asked.transport or "udp"
    if transport not in tuple(DnsTransport):
        raise InvalidRequest(f"there is no DNS transport '{escape(transport, 40)}'", "udp or tcp")
    return DnsSpec(
        options,
        record_type=check_record_type(asked.record_type) if asked.record_type else None,
        server=server_text(*parse_server(asked.server)) if asked.server else None,
        transport=DnsTransport(transport),
    )


def _tls(asked: Asked, options: Options) -> Spec:
    return TlsSpec(options, server_name=asked.sni)


def _http(asked: Asked, options: Options) -> Spec:
    method = (asked.method or "GET").upper()
    if not method.isascii() or not method.isalpha() or len(method) > 20:
        raise InvalidRequest(f"'{escape(method, 40)}' is no HTTP method", "GET, HEAD, OPTIONS, POST")
    return HttpSpec(
        options,
        method=method,
        headers=tuple(_header(text) for text in asked.headers),
        expect_status=_statuses(asked.expect_status) if asked.expect_status else (),
        expect_body=asked.expect_body,
        server_name=asked.sni,
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    token = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    if not colon or not token:
        raise InvalidRequest(f"the header '{escape(text, 60)}' cannot be read", "write 'Name: value'")
    if any(ord(char) < 32 and char != "\t" for char in value) or "\x7f" in value:
        raise InvalidRequest(f"the header {name} has control characters in its value")
    return name, value.strip()


def _statuses(text: str) -> tuple[PortRange, ...]:
    spans = []
    for item in text.split(","):
        first, _, last = item.partition("-")
        numbers = [int(word) if word.isascii() and word.isdigit() else 0 for word in (first, last or first)]
        if not all(100 <= number <= 999 for number in numbers) or numbers[0] > numbers[1]:
            raise InvalidRequest(
                f"'{escape(item, 40)}' is no HTTP status or range", "for example 200,301-308"
            )
        spans.append(PortRange(*numbers))
    return tuple(spans)


_BUILDERS: dict[Kind, Callable[[Asked, Options], Spec]] = {
    Kind.ICMP: _icmp,
    Kind.DNS: _dns,
    Kind.TCP: _tcp,
    Kind.UDP: _udp,
    Kind.TLS: _tls,
    Kind.HTTP: _http,
}
