"""Rules for what is wrong at our own end: an agent that is gone, has no way, or filters itself. Never the
network's."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from probemesh_shared.model import Evidence, Finding, Place, Scope
from probemesh_shared.words import Confidence, FailureKind, Outcome, PlaceKind, Verdict

from probemesh_controller.diagnosis.facts import Facts
from probemesh_controller.diagnosis.observations import Manner, Observation
from probemesh_controller.diagnosis.wording import agree, evidence, icmp_text, names


def lost_rule(facts: Facts) -> Iterator[Finding]:
    """Agents we lost: what they would have seen is unknown, and that is all that can be said."""
    lost = sorted(name for name, one in facts.vantages.items() if one.outcome is Outcome.AGENT_LOST)
    if lost:
        who = agree(lost, "our own agent {} is lost", "our own agents {} are lost").format(names(lost))
        yield Finding(
            verdict=Verdict.AGENT_LOST,
            scope=Scope(tuple(lost), (facts.target.text,)),
            confidence=Confidence.CERTAIN,
            summary=f"{who}: this says nothing about {facts.target.text}",
            evidence=tuple(
                Evidence(f"{name}/agent", True, f"{name}: {facts.vantages[name].reason or 'lost'}")
                for name in lost
            ),
            next_test=f"meshctl agents show {lost[0]}",
        )


def not_addressable_rule(facts: Facts) -> Iterator[Finding]:
    """The target is an agent without an address that others could use: nothing was sent, no fault was
    seen."""
    rows = [one for one in facts.observations if one.failure is FailureKind.NOT_ADDRESSABLE]
    if rows:
        name = facts.target.agent or facts.target.host
        sources = tuple(sorted({one.source for one in rows}))
        yield Finding(
            verdict=Verdict.NOT_ADDRESSABLE,
            scope=Scope(sources, (facts.target.text,)),
            confidence=Confidence.CERTAIN,
            summary=f"{name} has no address by which {names(sources)} could probe it: no network is at fault",
            evidence=evidence(rows),
            next_test=f"on {name}: mesh-agent run --advertise an address that the others reach",
        )


def own_host_rule(facts: Facts) -> Iterator[Finding]:
    """The prober's own host refused to send, or has no route, and nothing else was tried from there."""
    looked = {one.source for one in facts.observations if one.address is not None and one.held is not None}
    by_cause: defaultdict[tuple[Manner, str], list[Observation]] = defaultdict(list)
    for one in facts.observations:
        if one.source in looked or one.manner not in (Manner.OWN_FILTER, Manner.OWN_ROUTE):
            continue
        neighbour = one.manner is Manner.OWN_FILTER and one.icmp is not None
        by_cause[one.manner, "neighbour" if neighbour else ""].append(one)
    for (manner, detail), rows in sorted(by_cause.items()):
        yield _own_host(facts, manner, bool(detail), rows)


def _own_host(facts: Facts, manner: Manner, by_icmp: bool, rows: Iterable[Observation]) -> Finding:
    seen = sorted(rows, key=lambda one: one.id)
    sources = tuple(sorted({one.source for one in seen}))
    host = facts.target.host
    left: tuple[Verdict, ...] = ()
    if manner is Manner.OWN_ROUTE:
        verdict, sure = Verdict.SOURCE_NO_ROUTE, Confidence.CERTAIN
        none = agree(sources, "has no route of its own", "have no route of their own")
        summary = f"{names(sources)} {none} to {host}"
    elif by_icmp and seen[0].icmp is not None:
        # the same error comes from a neighbour that does not answer and from a filter of our own
        verdict, sure = Verdict.UNDETERMINED, Confidence.LIKELY
        left = (Verdict.TARGET_DOWN, Verdict.NEXT_HOP_DEAD, Verdict.SOURCE_OUTPUT_FILTER)
        hosts = agree(sources, "the host of {} itself gives", "the hosts of {} themselves give")
        summary = f"{hosts.format(names(sources))} up on {host}: {icmp_text(seen[0].icmp)}"
    else:
        verdict, sure = Verdict.SOURCE_OUTPUT_FILTER, Confidence.CERTAIN
        hosts = agree(sources, "the host of {} refuses", "the hosts of {} refuse")
        own = agree(sources, "a filter of its own", "filters of their own")
        summary = f"{hosts.format(names(sources))} to send to {host}: {own}"
    place = Place(PlaceKind.SOURCE_HOST, seen[0].sender)
    test = f"on {sources[0]}: ip route get {seen[0].address or host}; nft list ruleset"
    return Finding(
        verdict,
        Scope(sources, (facts.target.text,), seen[0].transport, seen[0].port),
        sure,
        summary,
        place=place,
        evidence=evidence(seen),
        alternatives=left,
        next_test=test,
    )
