"""Findings about what some vantage points get and others do not: the way there (``source-selective``), or an
answer that is as expected (``answer-unexpected``, of those for whom it is not)."""

from collections import defaultdict

from probemesh_shared.model import Finding
from probemesh_shared.words import Confidence, Direction, Kind, Verdict

from probemesh_controller.diagnosis.drafts import (
    ENOUGH_ATTEMPTS,
    addresses_of,
    confidence_of,
    once_more,
    other_port,
    own_side,
    place_of,
    rejectors,
    scope_of,
    service_of,
)
from probemesh_controller.diagnosis.facts import Facts, Group, Question
from probemesh_controller.diagnosis.observations import Manner
from probemesh_controller.diagnosis.splits import divide
from probemesh_controller.diagnosis.wording import agree, evidence, icmp_text, in_its_place, names, saw, what

#: Answers that a sentence names; the others are counted.
_SHOWN = 3


def selective(facts: Facts, question: Question, group: Group) -> Finding:
    """Some vantage points reach it, these do not: by what they divide, whether dropped or rejected, by
    whom."""
    sure = _confidence(question, group)
    place = place_of(facts, group)
    return Finding(
        verdict=Verdict.SOURCE_SELECTIVE,
        scope=scope_of(facts, question, group.sources, group.seen),
        confidence=sure,
        summary=f"{_summary(facts, question, group)}{_divided(facts, question, group, sure)}",
        direction=Direction.FORWARD if place else None,
        place=place,
        evidence=evidence((*group.seen, *question.held)),
        alternatives=_selective_set(facts, question, group),
        next_test=_split_test(facts, question, group),
    )


def answered_otherwise(facts: Facts, question: Question, group: Group) -> Finding:
    """All of these reach it, and are answered with what was not expected, where others are answered with what
    was."""
    sure = _confidence(question, group)
    told = f"{_answers(group)}; for {names(question.reached)} it is as expected"
    return Finding(
        verdict=Verdict.ANSWER_UNEXPECTED,
        scope=scope_of(facts, question, group.sources, group.seen),
        confidence=sure,
        summary=f"{what(facts, question)} is reached, and its answer is not as expected: {told}"
        f"{_divided(facts, question, group, sure)}",
        place=service_of(group.seen[0]),
        evidence=evidence((*group.seen, *question.held)),
        alternatives=(Verdict.SEVERAL_BACKENDS,),
        next_test=once_more(facts, question, group),
    )


def _answers(group: Group) -> str:
    """Which answer for whom."""
    said: defaultdict[str, set[str]] = defaultdict(set)
    for one in group.seen:
        said[saw(one)].add(one.source)
    shown = [f"{text} for {names(sorted(who))}" for text, who in sorted(said.items())[:_SHOWN]]
    rest = len(said) - len(shown)
    return "; ".join([*shown, f"and {rest} more answers"] if rest else shown)


def _wavering(question: Question) -> tuple[str, ...]:
    """Vantage points that reached it, and not by every attempt: it answers differently from one request to
    the next."""
    return tuple(sorted({one.source for one in question.held if one.wavers}))


def _confidence(question: Question, group: Group) -> Confidence:
    """What a service does now and then falls on some vantage points and not on others, where each asks but
    once or twice."""
    unsteady = not group.connecting and bool(_wavering(question))
    if unsteady or group.attempts < ENOUGH_ATTEMPTS:
        return Confidence.POSSIBLE
    return confidence_of(question, group)


def _divided(facts: Facts, question: Question, group: Group, sure: Confidence) -> str:
    """By what they divide; above the connect only where it is not likely to be chance."""
    if not group.connecting and (wavering := _wavering(question)):
        return f"; yet not every attempt of {names(wavering)} was answered so: it changes by itself"
    if not group.connecting and sure is Confidence.POSSIBLE:
        return ""
    split = divide(facts, question, group)
    return "" if split is None else f"; they divide by {split.attribute.removesuffix('=')}: {split.text}"


def _summary(facts: Facts, question: Question, group: Group) -> str:
    subject, others = names(group.sources), names(question.reached)
    where = what(facts, question)
    fails = how_it_fails(group)
    if group.connecting:
        return f"{subject} cannot reach {where}, {others} can: {fails}"
    reach = agree(group.sources, "reaches", "reach")
    return f"{subject} {reach} {where}, but {question.kind} fails: {fails}; for {others} it does not"


def _selective_set(facts: Facts, question: Question, group: Group) -> tuple[Verdict, ...]:
    """Which mechanisms are left. Those who reach it prove that the target lives."""
    elsewhere = not addresses_of(group.seen) & addresses_of(question.held)
    other_address = (Verdict.ADDRESS_BROKEN,) if elsewhere else ()
    if not group.connecting:
        return _above_connect(group)
    match group.manner:
        case Manner.LATE:
            return (Verdict.VANTAGE_IMPAIRED,) if len(group.sources) == 1 else ()
        case Manner.SILENT:
            left = (Verdict.FORWARD_DROP, Verdict.RETURN_DROP, Verdict.TARGET_INPUT_DROP)
            udp = (Verdict.SILENT_SERVICE,) if question.kind in (Kind.UDP, Kind.DNS) else ()
            return (*left, *udp, *own_side(facts, question, group), *other_address)
        case Manner.REFUSED:
            closed = (Verdict.PORT_CLOSED,) if elsewhere else ()
            return (Verdict.FORWARD_RESET, Verdict.TARGET_INPUT_REJECT, *closed, *other_address)
        case Manner.REJECTED:
            return (*rejectors(facts, group.seen), *other_address)
    return other_address


def _above_connect(group: Group) -> tuple[Verdict, ...]:
    """A service that does it now and then is never excluded: see :func:`_confidence`."""
    match group.manner:
        case Manner.SILENT:
            left = (Verdict.SERVICE_UNRESPONSIVE, Verdict.FORWARD_DROP, Verdict.RETURN_DROP)
            return (*left, Verdict.SEVERAL_BACKENDS)
        case Manner.RESET:
            return Verdict.FORWARD_RESET, Verdict.ANSWER_UNEXPECTED, Verdict.SEVERAL_BACKENDS
    return (Verdict.SEVERAL_BACKENDS,)


def how_it_fails(group: Group) -> str:
    """In what way, as the end of a sentence."""
    match group.manner:
        case Manner.SILENT if group.connecting:
            return f"dropped, no answer came back{in_its_place(group.seen)}"
        case Manner.SILENT if group.seen[0].broke_off:
            return saw(group.seen[0])
        case Manner.SILENT:
            return "it connects, then nothing comes back"
        case Manner.LATE:
            return "late, not silent: it answers ping after the time-out"
        case Manner.REFUSED:
            return "refused by a RST"
        case Manner.REJECTED if group.icmp is not None:
            return f"rejected, {icmp_text(group.icmp)}"
        case Manner.REJECTED:
            return "rejected, by a sender that is not known"
        case Manner.RESET:
            return "reset after the connection stood"
        case Manner.CLOSED:
            return "closed where an answer was due"
    return saw(group.seen[0])


def _split_test(facts: Facts, question: Question, group: Group) -> str:
    if not group.connecting:
        return once_more(facts, question, group)
    missing = addresses_of(group.seen) - addresses_of(question.held)
    if missing and not addresses_of(group.seen) & addresses_of(question.held):
        address = min(missing)
        host = f"[{address}]" if ":" in address else address
        port = f":{question.ports[0]}" if question.ports else ""
        return f"meshctl probe {host}{port} --from {question.reached[0]}  # not the address it was given"
    return other_port(facts, question, group, question.reached[:1])
