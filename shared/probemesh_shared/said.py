"""What one measurement says of its target, in a form that can be compared with what others say. Pure.

What differs by itself is left out here, once for all who compare: the order and the TTL of records,
signatures, the query of a redirect, dates, counters and tokens in bodies and banners. Everything is a
stranger's text: bounded here, escaped where it is shown.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address

from probemesh_shared.model import (
    DnsDetail,
    HttpDetail,
    Measurement,
    Target,
    TcpDetail,
    TlsDetail,
    UdpDetail,
)
from probemesh_shared.steady import banner_line, steady, timeless
from probemesh_shared.words import NOT_MEASURED, Aspect, DnsSource, FailureKind, Kind, Outcome

#: Stands among ``parts`` for a name, or a record, that is said not to be.
NOTHING = "-"
#: Stands in ``by`` where no nameserver was asked.
HOSTS_FILE = "its /etc/hosts"
_LONGEST = 200

_FAMILIES = (Aspect.IPV4_ADDRESSES, Aspect.IPV6_ADDRESSES)
_ABSENT = {FailureKind.NO_SUCH_NAME: "no such name", FailureKind.NO_ADDRESS: "no address"}
_ASKED = {"A": _FAMILIES[:1], "AAAA": _FAMILIES[1:]}


@dataclass(frozen=True, slots=True)
class Said:
    """``parts``: whoever shares one of them agrees (two addresses of one pool). ``text`` is for people.
    ``by`` is the nameserver where a nameserver said it, ``own`` whether it is the host's own resolver, and
    ``own_too`` that the host's own resolver, which asks that nameserver, said the same.
    ``held`` False: the row as a whole counts as failed, and other findings speak of it."""

    aspect: Aspect
    port: int | None
    parts: frozenset[str]
    text: str
    by: str | None = None
    own: bool = False
    held: bool = True
    own_too: bool = False


def said(row: Measurement) -> Iterator[Said]:
    """Everything comparable in one measurement."""
    held = row.outcome is Outcome.OK
    match row.detail:
        case DnsDetail() as dns:
            yield from _named(dns, row.outcome)
        case TlsDetail() as tls:
            yield from _certificate(row.port, tls, held)
        case HttpDetail() as http:
            yield from _http(row.port, http, held)
        case TcpDetail() as tcp:
            yield from _tcp(row.port, tcp, held)
        case UdpDetail() as udp:
            yield from _datagram(row.port, udp, held)


# --- names --------------------------------------------------------------------------------------------


def dialled(target: Target, rows: Iterable[Measurement]) -> Iterator[Said]:
    """The addresses that a name came to where no row tells of its resolving; none for a literal, an agent, a
    question of DNS."""
    if target.agent is not None or target.addresses or target.kind is Kind.DNS or is_literal(target.host):
        return
    seen = {row.address for row in rows if row.address and row.outcome not in NOT_MEASURED}
    for aspect, mine in zip(_FAMILIES, _by_family(seen), strict=True):
        if mine:
            yield Said(aspect, None, frozenset(mine), ", ".join(mine), own=True)


def is_literal(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _named(dns: DnsDetail, outcome: Outcome) -> Iterator[Said]:
    """Where the host's own resolver said what its nameserver says when asked directly, that is said once."""
    own = tuple(_resolved(dns))
    mine = [one for one in own if dns.server in dns.resolvers and one.by != HOSTS_FILE]
    same = set()
    for answer in _answered(dns, outcome):
        twins = [one for one in mine if (one.aspect, one.parts) == (answer.aspect, answer.parts)]
        same.update(twins)
        yield replace(answer, own_too=bool(twins))
    yield from (one for one in own if one not in same)


def _resolved(dns: DnsDetail) -> Iterator[Said]:
    """What the host's own resolver said."""
    if not dns.system:
        return
    by = f"resolver {', '.join(dns.resolvers)}" if dns.resolvers else None
    if dns.lookup is not None and dns.lookup.source is DnsSource.HOSTS_FILE:
        by = HOSTS_FILE
    absent = _ABSENT.get(dns.system_failure.kind) if dns.system_failure else None
    aspects = _ASKED.get(dns.record_type, _FAMILIES)
    yield from _addresses(dns.system_addresses, absent, aspects, by, own=True)


def _addresses(
    found: Iterable[str], absent: str | None, aspects: tuple[Aspect, ...], by: str | None, own: bool
) -> Iterator[Said]:
    for aspect, mine in zip(_FAMILIES, _by_family(found), strict=True):
        if aspect not in aspects:
            continue
        if mine:
            yield Said(aspect, None, frozenset(mine), ", ".join(mine)[:_LONGEST], by, own)
        elif absent:
            yield Said(aspect, None, frozenset({NOTHING}), absent, by, own)


def _by_family(found: Iterable[str]) -> tuple[list[str], list[str]]:
    addresses = sorted(set(found))
    return [one for one in addresses if ":" not in one], [one for one in addresses if ":" in one]


def _answered(dns: DnsDetail, outcome: Outcome) -> Iterator[Said]:
    """What the named server said, where it gave an answer rather than an excuse."""
    if dns.server is None or dns.rcode not in ("NOERROR", "NXDOMAIN") or outcome in NOT_MEASURED:
        return
    by = f"server {dns.server}"
    kind = dns.record_type
    absent = "no such name" if dns.rcode == "NXDOMAIN" else "no such record"
    if kind in _ASKED:
        found = [record.value for record in dns.answers if record.type == kind]
        yield from _addresses(found, None if found else absent, _ASKED[kind], by, own=False)
        return
    values = sorted({record.value for record in dns.answers if record.type == kind})
    text = ", ".join(values)[:_LONGEST] or absent
    yield Said(Aspect.RECORDS, None, frozenset({"\n".join(values) or NOTHING}), f"{kind}: {text}", by)


# --- services -----------------------------------------------------------------------------------------


def _certificate(port: int | None, tls: TlsDetail, held: bool) -> Iterator[Said]:
    if tls.chain:
        print_ = hashlib.sha256(tls.chain[0]).hexdigest()
        yield Said(Aspect.CERTIFICATE, port, frozenset({print_}), f"sha256 {print_}", held=held)


def _http(port: int | None, http: HttpDetail, held: bool) -> Iterator[Said]:
    if http.tls is not None and not http.redirects:  # else it is another server's
        yield from _certificate(port, http.tls, True)
    if http.status is None:
        return
    status = str(http.status)
    yield Said(Aspect.STATUS, port, frozenset({status}), status, held=held)
    led = http.location if http.location is not None else http.effective_url if http.redirects else None
    if led is not None:
        where = re.split(r"[?#]", led, maxsplit=1)[0][:_LONGEST]
        yield Said(Aspect.LOCATION, port, frozenset({where}), where, held=held)
    if http.body is not None and not http.body_truncated and http.body_size in (None, len(http.body)):
        digest = _digest(steady(http.body))
        text = f"{status}, {len(http.body)} bytes, {_digest(http.body)}"
        yield Said(Aspect.BODY, port, frozenset({f"{status} {digest}"}), text, held=held)
    for name, value in http.headers:
        if name.lower() == "server":
            yield Said(Aspect.SERVER, port, frozenset({value[:_LONGEST]}), value[:_LONGEST], held=held)
            return


def _tcp(port: int | None, tcp: TcpDetail, held: bool) -> Iterator[Said]:
    if tcp.banner:
        line = banner_line(tcp.banner, tcp.banner_protocol)
        yield Said(Aspect.BANNER, port, frozenset({line}), line, held=held)
    if tcp.answer:
        line = banner_line(tcp.answer, None)
        yield Said(Aspect.ANSWER, port, frozenset({_digest(steady(tcp.answer))}), line, held=held)


#: Requests whose answer is about who asks.
_OF_THE_ASKER = frozenset({"stun"})


def _datagram(port: int | None, udp: UdpDetail, held: bool) -> Iterator[Said]:
    """What a ready-made request was told is compared by what it says; other answers byte by byte."""
    if udp.protocol is not None and udp.answer_text is not None:
        if udp.protocol not in _OF_THE_ASKER:
            text = f"{udp.protocol}: {timeless(udp.answer_text)[:_LONGEST]}"
            yield Said(Aspect.DATAGRAM, port, frozenset({text}), text, held=held)
    elif udp.answer:
        text = f"{len(udp.answer)} bytes, {_digest(udp.answer)}"
        yield Said(Aspect.DATAGRAM, port, frozenset({udp.answer.hex()}), text, held=held)


def _digest(data: bytes) -> str:
    return f"sha256 {hashlib.sha256(data).hexdigest()[:16]}"
