"""Rules for one family, or one address, that is dead while another serves the same vantage points."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from probemesh_shared.model import Finding, Place, Scope
from probemesh_shared.outcomes import rung_order
from probemesh_shared.words import Confidence, Family, Kind, PlaceKind, Verdict

from probemesh_controller.diagnosis.drafts import ENOUGH_ATTEMPTS, rejectors
from probemesh_controller.diagnosis.facts import Facts
from probemesh_controller.diagnosis.observations import Manner, Observation
from probemesh_controller.diagnosis.wording import evidence, names, ports, saw

_WORDS = {Family.IPV4: "IPv4", Family.IPV6: "IPv6"}


@dataclass(frozen=True, slots=True)
class _Dead:
    """Sources for which a family (or one address of it) is dead though another answers; and who proves
    otherwise."""

    transport: str
    family: Family
    address: str | None
    sources: tuple[str, ...]
    works: tuple[str, ...]


def family_rule(facts: Facts) -> Iterator[Finding]:
    """``family-broken`` and ``address-broken``; ports that show the same are one finding."""
    found: defaultdict[_Dead, list[tuple[int, tuple[Observation, ...], tuple[Observation, ...]]]]
    found = defaultdict(list)
    for (_, transport, port), rows in sorted(_by_question(facts).items()):
        for dead, bad, good in (*_families(transport, rows), *_addresses(transport, rows)):
            found[dead].append((port, bad, good))
    for dead, seen in found.items():
        bad = tuple(one for _, rows, _ in seen for one in rows)
        good = tuple(one for _, _, rows in seen for one in rows)
        yield _finding(facts, dead, sorted({port for port, _, _ in seen if port}), bad, good)


def _by_question(facts: Facts) -> Mapping[tuple[int, str, int], list[Observation]]:
    """Rungs with rows of addresses; in a climb ping is set aside, as it breaks nothing there."""
    found: defaultdict[tuple[int, str, int], list[Observation]] = defaultdict(list)
    kinds = {question.kind for question in facts.questions}
    for one in facts.observations:
        if (
            one.address is not None
            and one.held is not None
            and one.kind in kinds
            and one.kind is not Kind.DNS
        ):
            found[rung_order(one.kind), one.transport, one.port or 0].append(one)
    return found


_Seen = tuple[_Dead, tuple[Observation, ...], tuple[Observation, ...]]


def _families(transport: str, rows: Sequence[Observation]) -> Iterator[_Seen]:
    for family in (Family.IPV4, Family.IPV6):
        mine = [one for one in rows if one.family is family]
        others = [one for one in rows if one.family is not family]
        dead, works = _behind(mine, others)
        if dead:
            bad = tuple(one for one in mine if one.source in dead)
            good = tuple(one for one in others if one.depth and one.source in dead)
            good += tuple(one for one in mine if one.depth and one.source in works)
            yield _Dead(transport, family, None, dead, works), bad, good


def _addresses(transport: str, rows: Sequence[Observation]) -> Iterator[_Seen]:
    for address in sorted({one.address for one in rows if one.address}):
        mine = [one for one in rows if one.address == address]
        family = mine[0].family
        siblings = [one for one in rows if one.address != address and one.family is family]
        dead, works = _behind(mine, siblings)
        if dead and family is not None:
            bad = tuple(one for one in mine if one.source in dead)
            good = tuple(one for one in siblings if one.source in dead and one.depth)
            yield _Dead(transport, family, address, dead, works), bad, good


def _behind(
    mine: Iterable[Observation], others: Iterable[Observation]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who came less far by the ones than by the others, and who came further by the ones than any of them."""
    here, there = _depths(mine), _depths(others)
    dead = {source for source, depth in here.items() if depth < there.get(source, 0)}
    best = max((here[source] for source in dead), default=0)
    works = {source for source, depth in here.items() if depth > best and source not in dead}
    return tuple(sorted(dead)), tuple(sorted(works))


def _depths(rows: Iterable[Observation]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in rows:
        found[one.source] = max(found.get(one.source, 0), one.depth)
    return found


def _finding(
    facts: Facts,
    dead: _Dead,
    at_ports: list[int],
    bad: tuple[Observation, ...],
    good: tuple[Observation, ...],
) -> Finding:
    label = f" ({dead.transport} {ports(at_ports)})" if at_ports else ""
    target = facts.target.host
    what = f"{dead.address} of {target}" if dead.address else f"{target} over {_WORDS[dead.family]}"
    rival = "its other addresses answer" if dead.address else f"{_other(dead.family)} works"
    above = any(one.depth or one.kind in (Kind.TLS, Kind.HTTP) for one in bad)
    fails = "fails" if above else "is dead"
    everybody = len(dead.sources) > 1 and not dead.works
    who = f"all who tried it, {names(dead.sources)}" if everybody else names(dead.sources)
    summary = f"{what}{label} {fails} from {who} ({saw(bad[0])}) where {rival}"
    if dead.works:
        summary += f"; it works from {names(dead.works)}"
    return Finding(
        verdict=Verdict.ADDRESS_BROKEN if dead.address else Verdict.FAMILY_BROKEN,
        scope=Scope(
            dead.sources,
            (facts.target.text,),
            dead.transport,
            at_ports[0] if len(at_ports) == 1 else None,
            dead.family,
        ),
        confidence=_confidence(dead, bad, good),
        summary=summary,
        place=_place(facts, bad),
        evidence=evidence((*bad, *good)),
        alternatives=_alternatives(facts, dead, bad),
        next_test=_next(facts, dead, at_ports),
    )


def _other(family: Family) -> str:
    return _WORDS[Family.IPV4 if family is Family.IPV6 else Family.IPV6]


def _confidence(dead: _Dead, bad: Iterable[Observation], good: Iterable[Observation]) -> Confidence:
    """Silence may be chance, and so may what a service answers: of few attempts, or where it was seen to."""
    rows = list(bad)
    answered = any(one.depth for one in rows)
    if answered and any(one.wavers for one in good):
        return Confidence.POSSIBLE
    silent = any(one.manner is Manner.SILENT for one in rows)
    if not silent and all(one.sender for one in rows):
        return Confidence.CERTAIN
    enough = not (silent or answered) or all(one.attempts >= ENOUGH_ATTEMPTS for one in rows)
    return Confidence.LIKELY if enough and (len(dead.sources) > 1 or dead.works) else Confidence.POSSIBLE


def _alternatives(facts: Facts, dead: _Dead, bad: Iterable[Observation]) -> tuple[Verdict, ...]:
    """What may be behind it. A family with a single address is not told from that address alone."""
    rows = list(bad)
    left: list[Verdict] = []
    if any(one.manner is Manner.SILENT for one in rows):
        left += [Verdict.FORWARD_DROP, Verdict.RETURN_DROP, Verdict.TARGET_INPUT_DROP]
        left += [Verdict.TARGET_DOWN] if dead.address else []
    if any(one.manner is Manner.REFUSED for one in rows):
        left += [Verdict.PORT_CLOSED, Verdict.FORWARD_RESET, Verdict.TARGET_INPUT_REJECT]
    if any(one.manner is Manner.REJECTED for one in rows):
        rejected = [one for one in rows if one.manner is Manner.REJECTED]
        left += [one for one in rejectors(facts, rejected) if one not in left]
    if any(one.depth for one in rows):
        left.append(Verdict.SEVERAL_BACKENDS)
    if dead.address is None and len({one.address for one in rows}) == 1:
        left.append(Verdict.ADDRESS_BROKEN)
    return tuple(left)


def _place(facts: Facts, bad: Iterable[Observation]) -> Place | None:
    senders = {one.sender for one in bad}
    if len(senders) != 1 or None in senders:
        return None
    sender = senders.pop()
    return Place(PlaceKind.TARGET_HOST if facts.is_target(sender) else PlaceKind.HOP, sender)


def _next(facts: Facts, dead: _Dead, at_ports: list[int]) -> str:
    chosen = ",".join(dead.sources[:3])
    if dead.address:
        bare = f"[{dead.address}]" if ":" in dead.address else dead.address
        return f"meshctl probe icmp:{dead.address} {bare}:{ports(at_ports[:1]) or 443} --from {chosen}"
    flag = "-6" if dead.family is Family.IPV6 else "-4"
    return f"meshctl probe {flag} icmp:{facts.target.host} --from {chosen}  # the whole family, or this port?"
