"""TARGET as people type it, its canonical text, and port lists.

``host``  ``host:port``  ``[v6]:port``  ``host:22,80,8000-8100``  ``tcp://host:port``  ``udp://host:port``
``http(s)://host[:port][/path]``  ``dns:NAME[/TYPE][@SERVER]``  ``icmp:host``  ``agent:NAME[:port]``

The canonical text is a fixed point of :func:`parse_target` and serves as key: ports sorted and merged, names
as lower-case A-labels, default ports of URLs and name servers left out. Nothing here touches the network.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.hosts import (
    address_of_reverse,
    bracketed,
    canonical_host,
    canonical_name,
    is_address,
    reverse_name,
)
from probemesh_shared.model import PortRange, Target
from probemesh_shared.names import check_name, did_you_mean
from probemesh_shared.words import Family, Kind

MAX_TARGET = 2048
DNS_PORT = 53
# fmt: off
RECORD_TYPES = (
    "A", "AAAA", "ANY", "CAA", "CDNSKEY", "CDS", "CERT", "CNAME", "DNAME", "DNSKEY", "DS", "HINFO", "HTTPS",
    "LOC", "MX", "NAPTR", "NS", "NSEC", "NSEC3", "NSEC3PARAM", "OPENPGPKEY", "PTR", "RP", "RRSIG", "SMIMEA",
    "SOA", "SPF", "SRV", "SSHFP", "SVCB", "TLSA", "TXT", "URI",
)
# fmt: on

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_PATH_UNSAFE = re.compile(r"[^!#$%&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]")
_URL_PORTS = {"http": 80, "https": 443}
#: Hosts of these names would be read as how a target begins.
_OPENING = frozenset({"agent", "dns", "icmp"})
_HINT = "write HOST, HOST:PORT, [IPV6]:PORT, tcp://…, udp://…, http(s)://…, dns:NAME, icmp:HOST or agent:NAME"


def parse_target(text: str) -> Target:
    """Reads one TARGET. Raises :class:`InvalidRequest`, nothing else, with what, why and how to spell it."""
    if not text:
        raise InvalidRequest("the target is empty", _HINT)
    if len(text) > MAX_TARGET:
        raise InvalidRequest(f"the target is longer than {MAX_TARGET} characters")
    if any(char.isspace() for char in text):
        raise InvalidRequest(f"the target '{escape(text, 80)}' contains a blank", _HINT)
    if not text.isprintable():
        raise InvalidRequest(f"the target '{escape(text, 80)}' contains control or invisible characters")
    target = _parse(text)
    canonical = unparse(target)
    if len(canonical) > MAX_TARGET:  # %-escapes take three for one
        raise InvalidRequest(f"the target is longer than {MAX_TARGET} characters once it is written out")
    return replace(target, text=canonical)


def unparse(target: Target) -> str:
    """The canonical text of a target, whatever its ``text`` says."""
    ports = _ports_text(target.ports)
    tail = f":{ports}" if ports else ""
    if target.agent is not None:
        return f"agent:{target.agent}{tail}"
    match target.kind:
        case Kind.HTTP:
            return _url_text(target)
        case Kind.DNS:
            return _dns_text(target)
        case Kind.ICMP:
            return f"icmp:{target.host}"
        case Kind.TCP | Kind.UDP:
            return f"{target.kind}://{bracketed(target.host)}{tail}"
    if tail and target.host in _OPENING:
        return f"{target.host}.{tail}"  # the dot says that it is a name
    return f"{bracketed(target.host)}{tail}" if tail else target.host


def row_text(target: Target, port: int | None) -> str:
    """What one row of a port list is about: the canonical text with that one port."""
    if port is None or target.kind in (Kind.DNS, Kind.ICMP):
        return unparse(target)
    return unparse(replace(target, ports=(PortRange(port, port),)))


def expand_ports(ports: Iterable[PortRange]) -> tuple[int, ...]:
    """Every port, in order. At most 65535, as ranges of a parsed target never overlap."""
    return tuple(port for span in ports for port in range(span.first, span.last + 1))


def count_ports(ports: Iterable[PortRange]) -> int:
    return sum(span.last - span.first + 1 for span in ports)


def check_family(family: Family, target: Target) -> None:
    """A literal of the other family than asked for is refused: nothing could be sent. In DNS it is the name
    server's."""
    if target.kind is Kind.DNS:
        check_server_family(family, target.server)
    elif target.agent is None:
        _check_literal(family, target.host, target.text)


def check_server_family(family: Family, server: str | None) -> None:
    if server is not None:
        host = parse_server(server)[0]
        _check_literal(family, host, f"the name server {host}")


def _check_literal(family: Family, host: str, what: str) -> None:
    try:
        version = ip_address(host).version
    except ValueError:
        return
    if version == {Family.IPV4: 6, Family.IPV6: 4}.get(family):
        flag = "-4" if family is Family.IPV4 else "-6"
        raise InvalidRequest(f"{what} is an IPv{version} address, and {flag} was given", f"leave out {flag}")


def parse_ports(text: str) -> tuple[PortRange, ...]:
    """``22,80,8000-8100`` sorted, with overlapping and adjacent ranges merged."""
    return merge_ports(_span(item, text) for item in text.split(","))


def merge_ports(spans: Iterable[PortRange]) -> tuple[PortRange, ...]:
    merged: list[PortRange] = []
    for span in sorted(spans, key=lambda s: (s.first, s.last)):
        if merged and span.first <= merged[-1].last + 1:
            merged[-1] = PortRange(merged[-1].first, max(merged[-1].last, span.last))
        else:
            merged.append(span)
    return tuple(merged)


def parse_server(text: str) -> tuple[str, int]:
    """A name server ``HOST``, ``HOST:PORT``, ``V6`` or ``[V6]:PORT`` as (host, port), by default port 53."""
    host, ports = _host_and_ports(text)
    if count_ports(ports) > 1:
        raise InvalidRequest(f"the name server '{escape(text, 80)}' has more than one port")
    return host, ports[0].first if ports else DNS_PORT


def server_text(host: str, port: int) -> str:
    """The canonical spelling of a name server: what :func:`parse_server` reads."""
    return host if port == DNS_PORT else f"{bracketed(host)}:{port}"


def check_record_type(text: str) -> str:
    """A record type's name in capitals; ``TYPE1`` to ``TYPE65535`` too."""
    name = text.upper()
    if name in RECORD_TYPES:
        return name
    if re.fullmatch(r"TYPE[1-9][0-9]{0,4}", name) and int(name[4:]) <= 65535:
        return name
    raise InvalidRequest(f"'{escape(text, 40)}' is no DNS record type", did_you_mean(name, RECORD_TYPES))


# --- the spellings ------------------------------------------------------------------------------------


def _parse(text: str) -> Target:
    if found := _SCHEME.match(text):
        return _with_scheme(found[1].lower(), text[found.end() :])
    prefix, colon, rest = text.partition(":")
    parse = _PREFIXES.get(prefix.lower()) if colon else None
    if parse is not None:
        return parse(rest)
    host, ports = _host_and_ports(text)
    return Target(text, host, ports)


def _with_scheme(scheme: str, rest: str) -> Target:
    if scheme in ("http", "https"):
        return _parse_url(scheme, rest)
    if scheme in ("tcp", "udp"):
        host, ports = _host_and_ports(rest)
        if not ports:
            raise InvalidRequest(
                f"the target {scheme}://{escape(rest, 80)} has no port", f"write {scheme}://HOST:PORT"
            )
        return Target("", host, ports, kind=Kind(scheme))
    shown = escape(scheme, 40)
    if scheme in _PREFIXES:
        raise InvalidRequest(f"{shown}: is written without slashes", f"write {shown}:{escape(rest, 80)}")
    if scheme in ("tls", "ssl"):
        raise InvalidRequest(f"there are no {shown}:// targets", f"write --kind tls {escape(rest, 80)}")
    hint = did_you_mean(scheme, ("tcp", "udp", "http", "https")) or "tcp, udp, http and https are known"
    raise InvalidRequest(f"the scheme {shown}:// is not known", hint)


def _parse_url(scheme: str, rest: str) -> Target:
    cut = min((i for i in map(rest.find, "/?#") if i >= 0), default=len(rest))
    authority, path = rest[:cut], rest[cut:].partition("#")[0]
    if "@" in authority:
        raise InvalidRequest(
            "a URL with a user name or password is not a target: it would end up in logs and histories",
            "write what stands before the @ into a file, and name it: --auth-basic FILE",
        )
    host, ports = _host_and_ports(re.sub(r"^(\[[^\]%]*)%25", r"\1%", authority))
    if count_ports(ports) > 1:
        raise InvalidRequest("a URL has one port", f"write {scheme}://HOST:PORT/PATH")
    if not ports:
        ports = (PortRange(_URL_PORTS[scheme], _URL_PORTS[scheme]),)
    path = path if path.startswith("/") else "/" + path
    return Target("", host, ports, kind=Kind.HTTP, path=_quote(path), secure=scheme == "https")


def _parse_dns(rest: str) -> Target:
    question, at, server = rest.partition("@")
    name, slash, record_type = question.partition("/")
    if not name:
        raise InvalidRequest("the target dns: has no name", "write dns:NAME, dns:NAME/MX or dns:NAME@SERVER")
    if name.isdigit():
        raise InvalidRequest(
            f"dns:{escape(name)} could be a name or a port",
            f"for the host called dns write tcp://dns:{escape(name)}",
        )
    if (slash and not record_type) or (at and not server):
        missing = "record type after the /" if slash and not record_type else "server after the @"
        raise InvalidRequest(f"the target dns:{escape(rest, 80)} has no {missing}")
    if "://" in server:
        raise InvalidRequest(
            "a name server that is a URL does not stand in the target",
            f"write dns:{escape(question, 80)} --server https://HOST/PATH",
        )
    kind = check_record_type(record_type) if slash else None
    host, kind = _dns_question(name, kind)
    where = server_text(*parse_server(server)) if at else None
    return Target("", host, kind=Kind.DNS, record_type=kind, server=where)


def _dns_question(name: str, record_type: str | None) -> tuple[str, str | None]:
    if name == ".":
        return name, record_type
    if name.startswith("*."):
        return "*." + canonical_name(name[2:]), record_type
    host = canonical_host(name) if ":" in name else canonical_name(name)
    if is_address(host):
        host = canonical_host(host)
        if "%" in host:
            raise InvalidRequest("an address with an interface has no name in DNS")
        if record_type not in (None, "PTR"):
            raise InvalidRequest(f"an address has PTR records, not {record_type}", f"write dns:{host}")
        return reverse_name(host), "PTR"
    if record_type is None and address_of_reverse(host):
        return host, "PTR"
    return host, record_type


def _parse_icmp(rest: str) -> Target:
    if rest.isdigit():
        raise InvalidRequest(
            f"icmp:{escape(rest)} has no host", f"for the host called icmp write tcp://icmp:{escape(rest)}"
        )
    host, ports = _host_and_ports(rest)
    if ports:
        raise InvalidRequest(f"icmp:{escape(rest, 80)} has a port, and ICMP has none", f"write icmp:{host}")
    return Target("", host, kind=Kind.ICMP)


def _parse_agent(rest: str) -> Target:
    name, colon, ports = rest.partition(":")
    check_name(name, "agent name")
    if colon and not ports:
        raise InvalidRequest(
            f"agent:{name}: has no port after the colon", f"write agent:{name} or agent:{name}:PORT"
        )
    return Target("", name, parse_ports(ports) if colon else (), agent=name)


_PREFIXES = {"dns": _parse_dns, "icmp": _parse_icmp, "agent": _parse_agent}


# --- host and ports -----------------------------------------------------------------------------------


def _host_and_ports(text: str) -> tuple[str, tuple[PortRange, ...]]:
    shown = escape(text, 80)
    if "@" in text:
        raise InvalidRequest(f"'{shown}' contains an @", "a target has no user name; write HOST:PORT")
    if "/" in text:
        raise InvalidRequest(
            f"'{shown}' contains a /", f"for a web page write http://{shown} or https://{shown}"
        )
    if text.startswith("["):
        return _bracketed_and_ports(text, shown)
    if text.count(":") > 1:
        return canonical_host(text), ()
    host, colon, ports = text.partition(":")
    if colon and not host:
        raise InvalidRequest(f"the host is missing before '{shown}'", "write HOST:PORT")
    if colon and not ports:
        raise InvalidRequest(f"the port is missing after '{shown}'", "write HOST:PORT, or HOST alone")
    return canonical_host(host), parse_ports(ports) if colon else ()


def _bracketed_and_ports(text: str, shown: str) -> tuple[str, tuple[PortRange, ...]]:
    literal, bracket, tail = text[1:].partition("]")
    if not bracket or ":" not in literal or (tail and not tail.startswith(":")):
        raise InvalidRequest(
            f"'{shown}' cannot be read", "an IPv6 address with a port is written [2001:db8::1]:443"
        )
    if tail == ":":
        raise InvalidRequest(f"the port is missing after '{shown}'", "write [IPV6]:PORT")
    return canonical_host(literal), parse_ports(tail[1:]) if tail else ()


def _span(item: str, whole: str) -> PortRange:
    first, dash, last = item.partition("-")
    low = _port(first, whole)
    high = _port(last, whole) if dash else low
    if low > high:
        raise InvalidRequest(f"the port range {low}-{high} is the wrong way round", f"write {high}-{low}")
    return PortRange(low, high)


def _port(text: str, whole: str) -> int:
    hint = "ports are 1 to 65535, written like 22,80,8000-8100"
    if not (text.isascii() and text.isdigit()):
        what = (
            f"'{escape(text, 40)}' is not a port" if text else f"a port is missing in '{escape(whole, 80)}'"
        )
        raise InvalidRequest(what, hint)
    number = int(text) if len(text) <= 9 else 10**9
    if not 1 <= number <= 65535:
        raise InvalidRequest(f"there is no port {escape(text, 20)}", hint)
    return number


def _ports_text(ports: Iterable[PortRange]) -> str:
    return ",".join(str(p.first) if p.first == p.last else f"{p.first}-{p.last}" for p in ports)


def _quote(path: str) -> str:
    def encode(found: re.Match[str]) -> str:
        return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))

    return _PATH_UNSAFE.sub(encode, path)


def _url_text(target: Target) -> str:
    scheme = "https" if target.secure else "http"
    port = target.ports[0].first if target.ports else _URL_PORTS[scheme]
    tail = "" if port == _URL_PORTS[scheme] else f":{port}"
    host = bracketed(target.host).replace("%", "%25")
    return f"{scheme}://{host}{tail}{target.path or '/'}"


def _dns_text(target: Target) -> str:
    address = address_of_reverse(target.host) if target.record_type == "PTR" else None
    name = address or target.host
    record_type = f"/{target.record_type}" if target.record_type else ""
    server = f"@{target.server}" if target.server else ""
    return f"dns:{name}{record_type}{server}"
