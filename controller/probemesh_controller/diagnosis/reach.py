"""Rules for a rung whose packets, or whose answers, do not get through: connect, datagram, ping.

Some reach it: ``source-selective``. Nobody does: by the manner of failing. Several manners over several
vantage points are several findings.
"""

from collections.abc import Iterator

from probemesh_shared.icmpcodes import is_port_unreachable, is_time_exceeded
from probemesh_shared.model import Finding, IcmpError
from probemesh_shared.words import Confidence, Direction, Family, Kind, PlaceKind, Verdict

from probemesh_controller.diagnosis.drafts import (
    addresses_of,
    at,
    confidence_of,
    look_on_host,
    other_port,
    place_of,
    rejectors,
    scope_of,
    silent_set,
)
from probemesh_controller.diagnosis.facts import Facts, Group, Question
from probemesh_controller.diagnosis.located import located, one_loop
from probemesh_controller.diagnosis.observations import Manner, Observation
from probemesh_controller.diagnosis.selective import how_it_fails, selective
from probemesh_controller.diagnosis.wording import agree, evidence, icmp_text, in_its_place, names, what


def reach_rule(facts: Facts) -> Iterator[Finding]:
    """All findings about questions that broke before the service was asked anything."""
    for question in map(Question.connects, facts.questions):
        found: list[Finding] = []
        for group in question.groups:
            if group.connecting:
                told = (
                    [selective(facts, question, group)]
                    if question.reached
                    else _for_all(facts, question, group)
                )
                found += [located(facts, question, group, finding) for finding in told]
        yield from one_loop(found)


def _for_all(facts: Facts, question: Question, group: Group) -> Iterator[Finding]:
    match group.manner:
        case Manner.LATE:
            yield _answers_late(facts, question, group)
        case Manner.SILENT if question.kind is Kind.ICMP and _answers_otherwise(facts, group):
            yield _echo_filtered(facts, question, group)
        case Manner.SILENT:
            yield _silent(facts, question, group)
        case Manner.REFUSED:
            yield _not_listening(facts, question, group)
        case Manner.REJECTED if group.icmp is not None and group.sender is not None:
            yield _rejected(facts, question, group, group.icmp)
        case Manner.REJECTED | Manner.RESET:
            left = rejectors(facts, group.seen)
            yield _write(facts, question, group, Verdict.UNDETERMINED, how_it_fails(group), left)


def _write(
    facts: Facts,
    question: Question,
    group: Group,
    verdict: Verdict,
    how: str,
    alternatives: tuple[Verdict, ...],
    *,
    confidence: Confidence | None = None,
    against: tuple[Observation, ...] = (),
    next_test: str | None = None,
) -> Finding:
    place = place_of(facts, group)
    alone = question.lookers == 1
    who = f"{group.sources[0]}, the only one to look, finds" if alone else names(group.sources)
    who += "" if alone else agree(group.sources, " finds", " find")
    return Finding(
        verdict=verdict,
        scope=scope_of(facts, question, group.sources, group.seen),
        confidence=confidence or confidence_of(question, group),
        summary=f"{who} {what(facts, question)} {how}",
        direction=Direction.FORWARD if place and place.kind is PlaceKind.HOP else None,
        place=place,
        evidence=evidence(group.seen, against),
        alternatives=alternatives,
        next_test=next_test or other_port(facts, question, group),
    )


def _others(question: Question, group: Group) -> tuple[Observation, ...]:
    return tuple(one for other in question.rivals(group) for one in other.seen)


def _not_listening(facts: Facts, question: Question, group: Group) -> Finding:
    mixed = bool(question.rivals(group))
    return _write(
        facts,
        question,
        group,
        Verdict.NOT_LISTENING,
        "refused by a RST: nothing listens there, or a filter answers in its place",
        (Verdict.PORT_CLOSED, Verdict.TARGET_INPUT_REJECT, Verdict.FORWARD_RESET),
        confidence=Confidence.POSSIBLE if mixed else None,
        against=_others(question, group),
        next_test=look_on_host(facts, question),
    )


def _silent(facts: Facts, question: Question, group: Group) -> Finding:
    alive = tuple(one for address in sorted(addresses_of(group.seen)) for one in facts.signs_of_life(address))
    everybody = not question.rivals(group)
    return _write(
        facts,
        question,
        group,
        Verdict.SILENT_FOR_ALL if everybody else Verdict.UNDETERMINED,
        f"silent{in_its_place(group.seen)}"
        + (": the host answers otherwise, this is filtered or unserved" if alive else ""),
        silent_set(facts, question, group),
        confidence=None if everybody else Confidence.POSSIBLE,
        against=alive,
    )


def _answers_late(facts: Facts, question: Question, group: Group) -> Finding:
    """It lives, and the path holds both ways; what is slow is not told by one place alone."""
    return _write(
        facts,
        question,
        group,
        Verdict.UNDETERMINED,
        "late, not silent: it answers ping after the time-out",
        (Verdict.VANTAGE_IMPAIRED,) if len(group.sources) == 1 else (),
        against=_others(question, group),
        next_test=f"meshctl probe icmp:{facts.target.host} --timeout 10 --from {','.join(group.sources[:3])}",
    )


def _answers_otherwise(facts: Facts, group: Group) -> bool:
    """Otherwise than by late answers to the same ping."""
    found = (facts.signs_of_life(address) for address in addresses_of(group.seen))
    return all(any(one.manner is not Manner.LATE for one in signs) for signs in found)


def _echo_filtered(facts: Facts, question: Question, group: Group) -> Finding:
    alive = tuple(one for address in sorted(addresses_of(group.seen)) for one in facts.signs_of_life(address))
    return Finding(
        verdict=Verdict.ICMP_ECHO_FILTERED,
        scope=scope_of(facts, question, group.sources, group.seen),
        confidence=confidence_of(question, group),
        summary=f"{what(facts, question)} does not answer ping, though it answers otherwise",
        evidence=evidence((*group.seen, *alive)),
        next_test=f"nothing to mend where ping is not wanted; {at(facts, question)} is up",
    )


def _rejected(facts: Facts, question: Question, group: Group, icmp: IcmpError) -> Finding:
    """DIAGNOSIS §4 rules 3, 9, 13, and the sets of §5: by whom, and with which code."""
    said = f"rejected: {icmp_text(icmp)}"
    left: tuple[Verdict, ...]
    unreachable = (icmp.type, icmp.code) == ((1, 3) if icmp.family is Family.IPV6 else (3, 1))
    if is_time_exceeded(icmp.family, icmp.type, icmp.code):
        how = f"behind too many hops or a loop: {icmp_text(icmp)}"
        left = (Verdict.FORWARD_NO_ROUTE, Verdict.FORWARD_REJECT)
        return _write(facts, question, group, Verdict.UNDETERMINED, how, left, confidence=Confidence.LIKELY)
    if unreachable:
        left = (*rejectors(facts, group.seen), Verdict.NEXT_HOP_DEAD)
        if not facts.is_target(group.sender):
            left = (Verdict.TARGET_DOWN, *left)
        return _write(facts, question, group, Verdict.UNDETERMINED, said, left, confidence=Confidence.LIKELY)
    if not facts.is_target(group.sender):
        # a port unreachable to a datagram may come from another address of the target itself
        other = is_port_unreachable(icmp.family, icmp.type, icmp.code) and question.transport == "udp"
        left = (Verdict.PORT_CLOSED,) if other else rejectors(facts, group.seen)[1:]
        sure = Confidence.LIKELY if left else None
        return _write(facts, question, group, Verdict.FORWARD_REJECT, said, left, confidence=sure)
    if question.transport == "udp" and is_port_unreachable(icmp.family, icmp.type, icmp.code):
        left = (Verdict.PORT_CLOSED, Verdict.TARGET_INPUT_REJECT)
        sure = Confidence.LIKELY if question.lookers > 1 else Confidence.POSSIBLE
        test = look_on_host(facts, question)
        how = "closed: port unreachable from the host itself"
        return _write(
            facts, question, group, Verdict.NOT_LISTENING, how, left, confidence=sure, next_test=test
        )
    left = rejectors(facts, group.seen)[1:]
    sure = Confidence.LIKELY if question.lookers > 1 else Confidence.POSSIBLE
    return _write(facts, question, group, Verdict.TARGET_INPUT_REJECT, said, left, confidence=sure)
