"""What every rule needs to write a finding down: scope, confidence, and the next test in words that can be
run."""

from collections.abc import Iterable

from probemesh_shared.hosts import bracketed
from probemesh_shared.model import Place, Scope
from probemesh_shared.words import Confidence, Family, Kind, PlaceKind, Verdict

from probemesh_controller.diagnosis.facts import Facts, Group, Question
from probemesh_controller.diagnosis.observations import Manner, Observation
from probemesh_controller.diagnosis.wording import asked_host, ports

#: Silence of fewer attempts than this may be chance (three at 2 % loss: 8 in a million).
ENOUGH_ATTEMPTS = 3
#: One of these is often open where the port in question is not.
_WELL_KNOWN = ("22", "80", "443")


def family_of(rows: Iterable[Observation]) -> Family | None:
    """The one family of all rows, or None."""
    found = {one.family for one in rows}
    return found.pop() if len(found) == 1 else None


def scope_of(facts: Facts, question: Question, sources: Iterable[str], rows: Iterable[Observation]) -> Scope:
    """``port`` is None where the finding is about several; the summary names them. What a question of DNS
    did not reach is the name server, not the name."""
    port = question.ports[0] if len(question.ports) == 1 else None
    about = asked_host(facts, question) if question.kind is Kind.DNS else facts.target.text
    return Scope(tuple(sources), (about,), question.transport, port, family_of(rows))


#: ICMP codes that a filter sends and a route as well: no route, ``unreachable``, ``prohibit`` (DIAGNOSIS §5).
_ROUTE_OR_FILTER = {
    Family.IPV4: frozenset({(3, 0), (3, 1), (3, 6), (3, 7), (3, 11), (3, 12), (3, 13)}),
    Family.IPV6: frozenset({(1, 0), (1, 1), (1, 3), (1, 6)}),
}


def rejectors(facts: Facts, seen: Iterable[Observation]) -> tuple[Verdict, ...]:
    """Who may have sent an ICMP error, and as what. Under the target's own address a NAT that owns it may
    answer; a filter is told from a route only by another answer over the same way."""
    rows = tuple(seen)
    if all(facts.is_target(one.sender) for one in rows):
        return Verdict.TARGET_INPUT_REJECT, Verdict.FORWARD_REJECT
    if any(one.sender is None for one in rows):
        return Verdict.FORWARD_REJECT, Verdict.TARGET_INPUT_REJECT, Verdict.FORWARD_NO_ROUTE
    if any(_may_be_route(one) and not _gets_through(facts, one) for one in rows):
        return Verdict.FORWARD_REJECT, Verdict.FORWARD_NO_ROUTE
    return (Verdict.FORWARD_REJECT,)


def _may_be_route(one: Observation) -> bool:
    icmp = one.icmp
    return icmp is not None and (icmp.type, icmp.code) in _ROUTE_OR_FILTER.get(icmp.family, ())


def _gets_through(facts: Facts, one: Observation) -> bool:
    return any(other.source == one.source for other in facts.signs_of_life(one.address))


def confidence_of(question: Question, group: Group) -> Confidence:
    """An ICMP error that names its sender is positive evidence; a RST can be forged by whoever is on the
    path; silence is absence, never more than ``likely``, and from one place or few attempts only
    ``possible``."""
    if group.manner is Manner.REJECTED and group.sender is not None:
        return Confidence.CERTAIN
    if question.lookers < 2:
        return Confidence.POSSIBLE
    if group.manner is Manner.SILENT and group.attempts < ENOUGH_ATTEMPTS:
        return Confidence.POSSIBLE
    return Confidence.LIKELY


def addresses_of(rows: Iterable[Observation]) -> frozenset[str]:
    return frozenset(one.address for one in rows if one.address is not None)


def own_side(facts: Facts, question: Question, group: Group) -> tuple[Verdict, ...]:
    """A single silent vantage point that reached nothing else in the run may itself be the fault."""
    if question.lookers > 1 and len(group.sources) > 1:
        return ()
    if all(name in facts.healthy for name in group.sources):
        return ()
    return Verdict.SOURCE_OUTPUT_FILTER, Verdict.VANTAGE_IMPAIRED


def silent_set(facts: Facts, question: Question, group: Group) -> tuple[Verdict, ...]:
    """DIAGNOSIS §5: what silence leaves open. An answer from the same address takes ``target-down`` out."""
    dead = [address for address in addresses_of(group.seen) if not facts.alive(address)]
    left = [Verdict.FORWARD_DROP, Verdict.RETURN_DROP, Verdict.TARGET_INPUT_DROP]
    if dead:
        left.insert(0, Verdict.TARGET_DOWN)
    if question.kind in (Kind.UDP, Kind.DNS):
        left.append(Verdict.SILENT_SERVICE)
    if question.kind is Kind.ICMP:
        left.append(Verdict.ICMP_ECHO_FILTERED)
    return (*left, *own_side(facts, question, group))


def at(facts: Facts, question: Question) -> str:
    """The target as the command line takes it, with the port in question."""
    host = bracketed(asked_host(facts, question))
    if not question.ports:
        return host
    listed = ports(question.ports[:1])
    return f"udp://{host}:{listed}" if question.transport == "udp" else f"{host}:{listed}"


def service_of(one: Observation) -> Place | None:
    """The target's service; by a proxy nobody saw where it is, or that the proxy did not answer itself."""
    return None if one.proxy else Place(PlaceKind.TARGET_SERVICE, one.address)


def place_of(facts: Facts, group: Group) -> Place | None:
    """Only a sender can place a fault; the target's own error places it at the target's host."""
    if group.sender is None or group.manner is not Manner.REJECTED:
        return None
    if facts.is_target(group.sender):
        return Place(PlaceKind.TARGET_HOST, group.sender)
    return Place(PlaceKind.HOP, group.sender)


def look_on_host(facts: Facts, question: Question) -> str:
    """What the target's own operator can run."""
    flags = "-lun" if question.transport == "udp" else "-ltn"
    port = question.ports[0] if question.ports else ""
    return (
        f"on {asked_host(facts, question)}: ss {flags} 'sport = :{port}' shows whether anything listens there"
    )


def other_port(facts: Facts, question: Question, group: Group, beside: Iterable[str] = ()) -> str:
    """Another port and ping of the same host tell a dead host from a filter. What those who failed have tried
    already is not proposed again; ``beside`` are who should try the same."""
    bare = asked_host(facts, question)
    chosen = ",".join([*group.sources[:3], *beside][:3])
    tried = {one.source for one in facts.observations if one.kind is Kind.ICMP and one.held is not None}
    ping = "" if question.kind is Kind.ICMP or tried.issuperset(group.sources) else f"icmp:{bare} "
    wanted = ("53",) if question.kind is Kind.DNS and question.transport == "udp" else _WELL_KNOWN
    mine = {str(port) for port in question.ports} if question.transport == "tcp" else set()
    others = ",".join(port for port in wanted if port not in mine)
    return f"meshctl probe {ping}{bracketed(bare)}:{others} --from {chosen}"


def once_more(facts: Facts, question: Question, group: Group) -> str:
    """The same by one who fails and one who does not, often enough to tell who asks from when it is asked."""
    text = facts.target.text
    told = "://" in text or text.startswith(("dns:", "icmp:"))
    kind = "" if told else f" --kind {question.kind}"
    same = "the same --expect: " if any(one.unmet is not None for one in group.seen) else ""
    chosen = ",".join([group.sources[0], *question.reached[:1]])
    return f"meshctl probe {text}{kind} --from {chosen} --count 10  # {same}does it change by itself?"
