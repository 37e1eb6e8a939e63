"""The sentences of findings. Texts hold names and addresses as they came; whoever shows them escapes them."""

from collections.abc import Iterable, Sequence

from probemesh_shared.hosts import bracketed
from probemesh_shared.icmpcodes import meaning
from probemesh_shared.model import Evidence, IcmpError
from probemesh_shared.targets import parse_server
from probemesh_shared.words import FailureKind, Kind

from probemesh_controller.diagnosis.facts import Facts, Question
from probemesh_controller.diagnosis.observations import Manner, Observation

#: More than this of one kind in a sentence are counted, not named.
_NAMED = 4
#: More than this of evidence for one finding repeats itself; what speaks against it keeps a share.
EVIDENCE_LIMIT = 50
_AGAINST_KEPT = 10


def names(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b, c and 17 more``."""
    if len(items) > _NAMED:
        rest = len(items) - _NAMED + 1
        return f"{', '.join(items[: _NAMED - 1])} and {rest} more"
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def agree(items: Sequence[str], one: str, several: str) -> str:
    """The form of a verb, or of a noun, that goes with so many names."""
    return one if len(items) == 1 else several


def ports(numbers: Iterable[int]) -> str:
    """``5432``, or ``22, 8000-8100``."""
    spans: list[list[int]] = []
    for port in sorted(set(numbers)):
        if spans and spans[-1][1] == port - 1:
            spans[-1][1] = port
        else:
            spans.append([port, port])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def what(facts: Facts, question: Question) -> str:
    """``tcp port 5432 of db.internal``, ``db.internal`` (ping), ``the name server 192.0.2.53 (udp port
    53)``. By a proxy it is the proxy that is reached."""
    host = asked_host(facts, question)
    if proxies := _proxies(question):
        return f"the proxy {names(proxies)} (for {host})"
    if not question.ports:
        return host
    noun = "port" if len(question.ports) == 1 else "ports"
    where = f"{question.transport} {noun} {ports(question.ports)}"
    return f"the name server {host} ({where})" if question.kind is Kind.DNS else f"{where} of {host}"


def _proxies(question: Question) -> list[str]:
    seen = (*question.held, *(one for group in question.groups for one in group.seen))
    return sorted({one.proxy for one in seen if one.proxy is not None})


def asked_host(facts: Facts, question: Question) -> str:
    """Who is asked: the target's host, or the name server that a question of DNS goes to."""
    if question.kind is not Kind.DNS:
        return facts.target.host
    seen = (*question.held, *(one for group in question.groups for one in group.seen))
    addresses = {one.address for one in seen if one.address}
    if len(addresses) != 1 and facts.target.server:
        return parse_server(facts.target.server)[0]
    return min(addresses, default=facts.target.host)


def look_at_certificate(facts: Facts, port: int, one: Observation, whose: str = "") -> str:
    """``whose``: an origin, or a name server's name, where it is not the target."""
    origin = whose.partition("//")[2]
    where = origin or f"{bracketed(whose or facts.target.host)}:{port or 443}"
    where = where if origin.rpartition(":")[2].isdecimal() or not origin else f"{origin}:443"
    name = one.server_name or facts.target.host
    literal = ":" in name or name.rpartition(".")[2].isdecimal()
    flag = "" if literal else f" -servername {name}"
    return f"openssl s_client -connect {where}{flag} -showcerts </dev/null"


def icmp_text(icmp: IcmpError) -> str:
    """``communication administratively prohibited (ICMP 3/13) from 10.0.0.1``."""
    found = meaning(icmp.family, icmp.type, icmp.code)
    protocol = "ICMPv6" if icmp.family.value == "ipv6" else "ICMP"
    words = found.words if found else "an error"
    return f"{words} ({protocol} {icmp.type}/{icmp.code}) from {icmp.sender or 'an unknown sender'}"


_FAILURES = {
    FailureKind.NO_SUCH_NAME: "no such name",
    FailureKind.NO_ADDRESS: "the name has no address of the family asked for",
    FailureKind.NAME_SERVER_FAILED: "the nameserver failed",
    FailureKind.TIMEOUT: "no answer",
    FailureKind.TLS_ALERT: "the server ended the handshake with an alert",
    FailureKind.TLS_PROTOCOL: "no TLS, or no version or cipher in common",
    FailureKind.STATUS_UNEXPECTED: "an unexpected status",
    FailureKind.BODY_UNEXPECTED: "an unexpected body",
    FailureKind.BAD_ANSWER: "an answer that is not of this protocol",
    FailureKind.NOT_ADDRESSABLE: "no address by which it could be probed",
}


def saw(one: Observation) -> str:
    """What an observation saw, without its subject."""
    times = f" to {one.attempts} attempts" if one.attempts > 1 else ""
    match one.manner:
        case Manner.HELD:
            return "reached"
        case Manner.SILENT:
            return _silence(one, times)
        case Manner.LATE:
            came = "1 answer came" if one.late == 1 else f"{one.late} answers came"
            return f"no answer{times} in time, {came} late{in_its_place((one,))}"
        case Manner.REFUSED:
            return "refused by a RST"
        case Manner.REJECTED | Manner.OWN_FILTER if one.icmp is not None:
            return icmp_text(one.icmp)
        case Manner.REJECTED:
            return "an unreachable error whose sender is not known"
        case Manner.RESET:
            return "reset after the connection stood"
        case Manner.CLOSED:
            return "closed where an answer was due"
        case Manner.OWN_FILTER:
            return "its own host refused to send"
        case Manner.OWN_ROUTE:
            return "its own host has no route there"
    return one.unmet or _of_a_name(one) or _failed(one)


def _of_a_name(one: Observation) -> str | None:
    if one.unasked_server is not None:
        return f"the name server {one.unasked_server} does not resolve"
    return one.lacks


def _failed(one: Observation) -> str:
    alert = f" ({one.alert})" if one.alert else ""
    words = _FAILURES.get(one.failure, "an unexpected answer") if one.failure else "not measured"
    return f"{words}{_status(one)}{alert}"


def _silence(one: Observation, times: str) -> str:
    if one.broke_off:
        return f"the answer began{_status(one)} and was not whole in time"
    stood = "the connection stood, and then " if one.kind is Kind.DNS and not one.connecting else ""
    return f"{stood}no answer{times}{in_its_place((one,))}"


def _status(one: Observation) -> str:
    return f" (HTTP {one.status})" if one.status is not None else ""


def in_its_place(seen: Iterable[Observation]) -> str:
    """Who answered ping though it was not asked; nothing where nobody did."""
    others = sorted({address for one in seen for address in one.answered_by})
    return f", {names(others)} {agree(others, 'answers', 'answer')} in its place" if others else ""


def evidence(supporting: Iterable[Observation], against: Iterable[Observation] = ()) -> tuple[Evidence, ...]:
    """Each observation once, those against last; bounded, see :func:`bounded`."""
    found: dict[str, Evidence] = {}
    for supports, rows in ((True, supporting), (False, against)):
        for one in sorted(rows, key=lambda row: row.id):
            where = f" [{one.address}]" if one.address and ":" in one.address else f" {one.address or ''}"
            port = f":{one.port}" if one.port is not None and one.address else ""
            text = f"{one.source}: {one.kind}{where.rstrip()}{port}: {saw(one)}"
            found.setdefault(one.id, Evidence(one.id, supports, text))
    return bounded(found.values())


def evidence_with(rows: Iterable[tuple[Observation, bool, str]]) -> tuple[Evidence, ...]:
    """The same with words of the rule's own: (observation, whether it supports, what it saw)."""
    found: dict[str, Evidence] = {}
    for one, supports, text in sorted(rows, key=lambda row: (not row[1], row[0].id)):
        where = f"{one.source}: {one.kind} {one.address or ''}".rstrip()
        found.setdefault(one.id, Evidence(one.id, supports, f"{where}: {text}"))
    return bounded(found.values())


def bounded(rows: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """At most ``EVIDENCE_LIMIT``; where some are left out, the last one says how many."""
    everything = tuple(rows)
    if len(everything) <= EVIDENCE_LIMIT:
        return everything
    room = EVIDENCE_LIMIT - 1
    against = [one for one in everything if not one.supports]
    supporting = [one for one in everything if one.supports][: room - min(_AGAINST_KEPT, len(against))]
    kept = (*supporting, *against[: room - len(supporting)])
    rest = len(everything) - len(kept)
    return *kept, Evidence("more", True, f"and {rest} more observations")
