"""What it all means: findings, verdicts and what was excluded, from the case alone. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Final

from probemesh_shared.model import Diagnosis, DirectionVerdict, Evidence, Finding, Place, RuledOut, Scope
from probemesh_shared.words import NOT_MEASURED, Confidence, Outcome, Verdict

from probemesh_controller.pair.assess import Assessed, assess
from probemesh_controller.pair.case import Case
from probemesh_controller.pair.causes import FLOW, HARMLESS_BESIDE, NO_FAULT, OF_SERVICE, Cause, Told
from probemesh_controller.pair.cost import packets
from probemesh_controller.pair.flow.names import FAR_REPORTS, ON_WIRE
from probemesh_controller.pair.flow.purposes import FLOW_SHOTS
from probemesh_controller.pair.judge import Excluded, Judgement
from probemesh_controller.pair.signs import Notes
from probemesh_controller.pair.view import View

#: Kept of what agents say that they could not do: lines, and characters of each.
_MOST_UNTOLD: Final = 32
_LONGEST_UNTOLD: Final = 200


def conclude(case: Case) -> Diagnosis:
    """The same findings for the same case, on any day."""
    notes = Notes()
    forward, reverse = assess(case, notes)
    asked = case.asked
    told = _direction(forward), _direction(reverse)
    return Diagnosis(
        source=asked.source,
        target=asked.target,
        transport=asked.transport,
        port=asked.port,
        reverse_port=asked.reverse_port,
        started_ns=case.started_ns,
        forward=told[0],
        reverse=told[1],
        findings=(*_findings(forward, notes), *_findings(reverse, notes)),
        excluded=(*_excluded(forward, told[0], notes), *_excluded(reverse, told[1], notes)),
        packets=packets(case),
        elapsed_s=case.elapsed_s,
        missing=(*_missing(case), *_unexplained(forward), *_unexplained(reverse)),
    )


# --- one direction ----------------------------------------------------------------------------------------


def _direction(side: Assessed) -> DirectionVerdict:
    flow = side.judgements.get(FLOW)
    outcome = outcome_of(side.view)
    if flow is None:
        return DirectionVerdict(outcome=outcome)
    if outcome in NOT_MEASURED and flow.verdict is Verdict.UNDETERMINED:
        return DirectionVerdict(outcome=outcome)
    judgement = _that_matters(flow, side)
    harmless = judgement is not flow and judgement.verdict in HARMLESS_BESIDE
    verdict = Verdict.REACHABLE if harmless else judgement.verdict
    path, service = _apart(judgement, verdict)
    if judgement is not flow and service is None:  # the flow itself got through, to its service
        service = Verdict.REACHABLE
    return DirectionVerdict(
        outcome=outcome,
        path_verdict=path,
        service_verdict=service,
        verdict=verdict,
        confidence=judgement.confidence,
        alternatives=() if verdict is Verdict.REACHABLE else judgement.alternatives,
    )


def _that_matters(flow: Judgement, side: Assessed) -> Judgement:
    """The flow's own, unless it is fine and another question found what breaks something: then the one that
    is surest of it."""
    if flow.verdict is not Verdict.REACHABLE:
        return flow
    faults = [
        one
        for one in side.judgements.values()
        if one.question != FLOW and one.left and not HARMLESS_BESIDE.intersection(one.verdicts)
    ]
    rank = list(Confidence)
    return min(faults, key=lambda one: (rank.index(one.confidence), one.question), default=flow)


def _apart(judgement: Judgement, verdict: Verdict) -> tuple[Verdict | None, Verdict | None]:
    """``path_verdict`` and ``service_verdict``."""
    if verdict in OF_SERVICE:
        return Verdict.REACHABLE, verdict
    if verdict is Verdict.UNDETERMINED and judgement.verdicts and set(judgement.verdicts) <= OF_SERVICE:
        return Verdict.REACHABLE, Verdict.UNDETERMINED
    if verdict in NO_FAULT:
        return None, None
    return verdict, Verdict.REACHABLE if verdict is Verdict.REACHABLE else None


def outcome_of(view: View) -> Outcome:
    """How the flow's own shots ended: ``ok`` if any did, else the commonest."""
    found = [
        shot.outcome
        for probed in view.probes_here(*FLOW_SHOTS)
        for shot in probed.shots
        if shot.outcome is not Outcome.UNMEASURED
    ]
    if not found:
        return Outcome.UNMEASURED
    return Outcome.OK if Outcome.OK in found else max(found, key=found.count)


# --- findings ---------------------------------------------------------------------------------------------


def _findings(side: Assessed, notes: Notes) -> Iterator[Finding]:
    unmeasured = outcome_of(side.view) in NOT_MEASURED
    for judgement in side.judgements.values():
        if unmeasured and judgement.verdict is Verdict.UNDETERMINED:
            continue  # what could not be looked at stands elsewhere
        # beside the flow, what may as well be nothing is no finding
        nothing = {judgement.verdict} if judgement.question == FLOW else set(judgement.verdicts)
        if judgement.left and Verdict.REACHABLE not in nothing:
            yield _finding(judgement, side, notes)


def _finding(judgement: Judgement, side: Assessed, notes: Notes) -> Finding:
    told = Told(side.view, side.signs)
    one = judgement.verdict is not Verdict.UNDETERMINED
    causes = judgement.proven or judgement.left if one else judgement.left
    finding = Finding(
        verdict=judgement.verdict,
        scope=_scope(side.view),
        confidence=judgement.confidence,
        summary=causes[0].summary(told) if one else _either(judgement, told),
        direction=side.view.direction,
        place=_common(cause.place(told) for cause in causes),
        evidence=tuple(_evidence(judgement, side, notes)),
        alternatives=judgement.alternatives,
        next_test=None if one else settling(judgement, told),
    )
    tests = (test for cause in causes if (test := cause.next_test(told)))
    return replace(finding, next_test=finding.next_test or next(tests, None))


def settling(judgement: Judgement, told: Told) -> str | None:
    """What would tell apart what is left, where that is known: somebody who can look at a sign that nobody
    looked at."""
    view, open_signs = told.view, judgement.open_signs(told.signs)
    if told.signs.holds(FAR_REPORTS) is False:
        return f"ask again with the agent on {view.far_name} connected and up to date: it sees what arrives"
    if ON_WIRE in open_signs and not view.far_sees("packets"):
        return f"give the agent on {view.far_name} CAP_NET_RAW: it sees the wire before the host's own filter"
    return None


def _scope(view: View) -> Scope:
    return Scope((view.near_name,), (view.far_name,), view.transport.value, view.port)


def _either(judgement: Judgement, told: Told) -> str:
    view = told.view
    words = " or ".join(verdict.value for verdict in judgement.verdicts)
    if judgement.strained:
        words += ", if anything that is known here: something that was seen contradicts each"
        return f"{view.near_name} → {view.far_name}, {view.flow_name}: {words}"
    return f"{view.near_name} → {view.far_name}, {view.flow_name}: {words}; what was seen does not tell which"


def _common(places: Iterable[Place | None]) -> Place | None:
    """The place that all name, where they name the same."""
    found = set(places)
    return found.pop() if len(found) == 1 else None


def _evidence(judgement: Judgement, side: Assessed, notes: Notes) -> Iterator[Evidence]:
    """Observations behind every known sign that a cause predicts which is left; those that prove it first."""
    given: dict[str, bool] = {}
    against: set[str] = set()
    for cause in judgement.proven or judgement.left:
        proving = frozenset(name for names in cause.proof for name in names)
        for name in cause.predicts:
            holds = side.signs.holds(name)
            for identifier in side.signs[name].seen if holds is not None else ():
                if holds is not cause.predicts[name]:
                    against.add(identifier)
                given[identifier] = given.get(identifier, False) or name in proving
    for identifier in sorted(given, key=lambda one: (not given[one], int(one[1:]))):
        yield Evidence(identifier, identifier not in against, notes.text(identifier))


def _excluded(side: Assessed, told: DirectionVerdict, notes: Notes) -> tuple[RuledOut, ...]:
    """What was ruled out of the flow's causes, and by what; not what some other row still holds up, nor where
    nothing is the matter."""
    flow = side.judgements.get(FLOW)
    if flow is None or flow.verdict is Verdict.REACHABLE or flow.verdict in NO_FAULT:
        return ()
    held = {Verdict.REACHABLE, *flow.verdicts, told.verdict, *told.alternatives}
    found = (
        RuledOut(one.cause.verdict, side.view.direction, _by(one, notes))
        for one in flow.excluded
        if one.cause.verdict not in held
    )
    return tuple(dict.fromkeys(one for one in found if one.by))


def _by(one: Excluded, notes: Notes) -> tuple[str, ...]:
    return tuple(dict.fromkeys(notes.text(identifier) for sign in one.by for identifier in sign.seen))


def _unexplained(side: Assessed) -> Iterator[str]:
    """Where nothing fits: what stands against those that come nearest."""
    flow = side.judgements.get(FLOW)
    if flow is None or not flow.strained:
        return
    left = {cause.key for cause in flow.left}
    against = {sign.name for one in flow.excluded if one.cause.key in left for sign in one.by}
    yield (
        f"{side.view.near_name} → {side.view.far_name}: no cause that is known here fits all that was seen; "
        f"in the way: {', '.join(sorted(against))}"
    )


def _missing(case: Case) -> tuple[str, ...]:
    """What could not be looked at."""
    found = [f"{end.name}: {end.why_not}" for end in case.ends if end.why_not]
    found += [f"{name} was lost on the way" for name in case.lost]
    found += [
        f"{done.step.sender}: {done.step.why}: {done.problem}"
        for one in case.rounds
        for done in one.steps
        if done.problem
    ]
    found += [
        f"{done.step.sender}: {done.step.why}: {row.failure.detail}"
        for one in case.rounds
        for done in one.steps
        for row in done.rows
        if row.outcome in NOT_MEASURED and row.failure is not None and row.failure.detail
    ]
    return tuple(dict.fromkeys((*case.problems, *found, *islice(_untold(case), _MOST_UNTOLD))))


def _untold(case: Case) -> Iterator[str]:
    """What watches say they could not do, or had no room for; an agent may say whatever it likes."""
    for end in case.ends:
        for text in end.armed.problems if end.armed is not None else ():
            yield f"{end.name}: {text[:_LONGEST_UNTOLD]}"
    for one in case.rounds:
        for look in one.looks:
            yield from (f"{look.agent}: {text[:_LONGEST_UNTOLD]}" for text in look.account.problems)


__all__ = ["Cause", "conclude", "outcome_of"]
