"""Rules for what the service itself does once it is reached: TLS, HTTP, datagrams that were answered
wrongly."""

from collections import defaultdict
from collections.abc import Iterator

from probemesh_shared.model import Evidence, Finding, Scope
from probemesh_shared.words import Confidence, Kind, Verdict

from probemesh_controller.diagnosis.drafts import confidence_of, scope_of, service_of
from probemesh_controller.diagnosis.facts import Facts, Group, Question
from probemesh_controller.diagnosis.observations import Manner, Observation
from probemesh_controller.diagnosis.selective import answered_otherwise, selective
from probemesh_controller.diagnosis.wording import (
    agree,
    asked_host,
    bounded,
    evidence,
    look_at_certificate,
    names,
    saw,
    what,
)


def service_rule(facts: Facts) -> Iterator[Finding]:
    """The connection stood, and what followed was wrong: for everybody, or for some only."""
    for question in facts.questions:
        for group in question.groups:
            if group.connecting:
                continue
            yield _judge(facts, question, group)


def _judge(facts: Facts, question: Question, group: Group) -> Finding:
    """Who is answered with something else has reached it; a handshake that some cannot complete has not come
    about, like a request that is reset or lost."""
    if not question.reached:
        return _for_all(facts, question, group)
    answered = group.manner is Manner.ANSWERED
    if answered and (question.kind is not Kind.TLS or any(one.unmet is not None for one in group.seen)):
        return answered_otherwise(facts, question, group)
    return selective(facts, question, group)


def _for_all(facts: Facts, question: Question, group: Group) -> Finding:
    verdict, alternatives = _verdict(question, group)
    alone, rivals = question.lookers == 1, question.rivals(group)
    who = f"{group.sources[0]} (the only one to look)" if alone else names(group.sources)
    sure = Confidence.POSSIBLE if alone or rivals else confidence_of(question, group)
    if group.manner in (Manner.ANSWERED, Manner.CLOSED) and not alone and not rivals:
        sure = Confidence.LIKELY if group.seen[0].proxy else Confidence.CERTAIN  # it was heard to say so
    said = saw(group.seen[0])
    others = tuple(one for other in rivals for one in other.seen)
    return Finding(
        verdict=verdict,
        scope=scope_of(facts, question, group.sources, group.seen),
        confidence=sure,
        summary=f"{what(facts, question)} is reached, but {question.kind} fails for {who}: {said}",
        place=service_of(group.seen[0]),
        evidence=evidence((*group.seen, *_beneath(facts, question, group)), others),
        alternatives=alternatives,
        next_test=_next(facts, question, group),
    )


def _next(facts: Facts, question: Question, group: Group) -> str:
    if group.seen[0].unmet is not None:
        return f"meshctl probe {facts.target.text} --from {group.sources[0]} -o json  # shows all that came"
    return f"read the log of the service on {asked_host(facts, question)}"


def _beneath(facts: Facts, question: Question, group: Group) -> tuple[Observation, ...]:
    """The connects that held under the rung that broke."""
    return tuple(
        one
        for one in facts.observations
        if one.kind is Kind.TCP and one.held and one.port in question.ports and one.source in group.sources
    )


def _verdict(question: Question, group: Group) -> tuple[Verdict, tuple[Verdict, ...]]:
    if group.manner is Manner.SILENT:
        return Verdict.SERVICE_UNRESPONSIVE, (Verdict.FORWARD_DROP, Verdict.RETURN_DROP)
    broken = Verdict.TLS_FAILS if question.kind is Kind.TLS else Verdict.ANSWER_UNEXPECTED
    return broken, (Verdict.FORWARD_RESET,) if group.manner is Manner.RESET else ()


#: Port, whose certificate where not the target's own, and what is wrong with it.
_Failing = tuple[int, str, str]


def certificate_rule(facts: Facts) -> Iterator[Finding]:
    """A certificate that did not verify, by port, by whose it is and by all that is wrong with it; those for
    whom it did verify stand against."""
    failing: defaultdict[_Failing, list[Observation]] = defaultdict(list)
    known = tuple(sorted({der for one in facts.observations if one.verified for der in one.sent}))
    for one in facts.observations:
        if one.verified is False:
            failing[(*_whose(one), _problems(one, known))].append(one)
        for origin in one.unverified_hops:
            failing[0, origin, "refused where a redirect was followed"].append(one)
    for (port, whose, why), rows in sorted(failing.items()):
        yield _certificate(facts, (port, whose, why), rows, _verifying(facts, port, whose))


def _whose(one: Observation) -> tuple[int, str]:
    """Port and name; an origin has its port in its name."""
    whose = one.certified or ""
    return 0 if "//" in whose else one.port or 0, whose


def _verifying(facts: Facts, port: int, whose: str) -> list[Observation]:
    return [one for one in facts.observations if one.verified and _whose(one) == (port, whose)]


def _problems(one: Observation, known: tuple[bytes, ...]) -> str:
    # reading certificates costs a large import, which only this finding needs
    from probemesh_shared.certificates import certificate_problems

    said = certificate_problems(
        one.leaf,
        one.verify_code,
        one.server_name,
        one.at_ns,
        sent=one.sent,
        known=known,
        staple=one.staple,
    )
    return ", ".join(said)


def _certificate(
    facts: Facts, failing: _Failing, rows: list[Observation], good: list[Observation]
) -> Finding:
    port, whose, why = failing
    sources = tuple(sorted({one.source for one in rows}))
    sees = agree(sources, "sees", "see")
    summary = f"the certificate of {whose or facts.target.host} is {why}, as {names(sources)} {sees} it"
    lookers = {
        one.source for one in facts.observations if one.verified is not None and _whose(one) == (port, whose)
    }
    if len(lookers) > len(sources):
        summary += f" ({len(sources)} of {len(lookers)} who looked)"
    leaves = {one.leaf for one in (*rows, *good) if one.leaf}
    if good:
        summary += f"; it verifies at {names(sorted({one.source for one in good}))}"
    if len(leaves) > 1:
        summary += "; not everybody was shown the same certificate"
    return Finding(
        verdict=Verdict.CERTIFICATE_INVALID,
        scope=Scope(sources, (facts.target.text,), "tcp", port or None),
        confidence=Confidence.CERTAIN,
        summary=summary,
        place=None if whose else service_of(rows[0]),
        evidence=_certificate_evidence(rows, good, why),
        next_test=look_at_certificate(facts, port, rows[0], whose),
    )


def _certificate_evidence(rows: list[Observation], good: list[Observation], why: str) -> tuple[Evidence, ...]:
    bad = [
        Evidence(one.id, True, f"{one.source}: {one.kind} {one.address}: certificate {why}") for one in rows
    ]
    fine = [Evidence(one.id, False, f"{one.source}: {one.kind} {one.address}: verifies") for one in good]
    return bounded([*sorted(bad, key=lambda one: one.id), *sorted(fine, key=lambda one: one.id)])
