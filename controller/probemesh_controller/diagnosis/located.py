"""Where on the way it breaks, by traces: what a finding about a rung gains from them.

The ladder shows how far packets came, never why they did not come further: hops that are silent may only be
silent (DIAGNOSIS §5). What splits that is contrast: another packet over the same way that is answered behind
the hop at which these end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from probemesh_shared.model import Evidence, Finding, Place
from probemesh_shared.words import Confidence, Direction, Kind, PlaceKind, Transport, Verdict

from probemesh_controller.diagnosis.courses import Course
from probemesh_controller.diagnosis.drafts import addresses_of
from probemesh_controller.diagnosis.facts import Facts, Group, Question
from probemesh_controller.diagnosis.observations import Manner
from probemesh_controller.diagnosis.wording import bounded, names

_TRANSPORT = {Kind.UDP: Transport.UDP, Kind.ICMP: Transport.ICMP}
_LEFT_AT_LAST_ROUTER = (Verdict.FORWARD_DROP, Verdict.RETURN_DROP, Verdict.TARGET_INPUT_DROP)
_LEFT_PAST_A_HOP = (Verdict.BLACKHOLE, Verdict.FORWARD_DROP, Verdict.RETURN_DROP)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Traces that have to do with a group: ``mine`` of the failing flow, ``others`` that go the same way."""

    mine: tuple[Course, ...]
    others: tuple[Course, ...]


def located(facts: Facts, question: Question, group: Group, finding: Finding) -> Finding:
    """The finding, with place, mechanism and evidence as far as the traces show them."""
    seen = _seen(facts, question, group)
    if not seen.mine:
        return finding
    for reading in (_loop, _stand_in, _dead_neighbour, _rejector, _ending):
        told = reading(seen, group, finding)
        if told is not None:
            return told
    return finding


def one_loop(findings: Sequence[Finding]) -> list[Finding]:
    """Routers of one loop take turns in saying that hops ran out: that is one fault, not one for each."""
    loops = [finding for finding in findings if finding.verdict is Verdict.ROUTING_LOOP]
    if len(loops) < 2:
        return list(findings)
    first = loops[0]
    sources = tuple(sorted({name for one in loops for name in one.scope.sources}))
    told = bounded(tuple({each.id: each for one in loops for each in one.evidence}.values()))
    words = f"{names(sources)}: {first.summary.rpartition('; ')[2]}"
    merged = replace(first, scope=replace(first.scope, sources=sources), evidence=told, summary=words)
    return [merged, *(finding for finding in findings if finding not in loops)]


def _seen(facts: Facts, question: Question, group: Group) -> _Seen:
    transport = _TRANSPORT.get(question.kind, Transport.TCP)
    where = addresses_of(group.seen)
    mine, others = [], []
    for course in facts.followed.courses:
        if course.address not in where or course.source in facts.followed.impaired:
            continue
        ported = course.port is None or course.port in question.ports
        if course.source in group.sources and course.transport is transport and ported:
            mine.append(course)
        elif course.source in group.sources or course.source in question.reached:
            others.append(course)
    return _Seen(tuple(mine), tuple(others))


# --- what a trace can show --------------------------------------------------------------------------------


def _loop(seen: _Seen, group: Group, finding: Finding) -> Finding | None:
    """DIAGNOSIS rule 14."""
    rounds = [course for course in seen.mine if course.loop]
    if not rounds:
        return None
    routers = rounds[0].loop
    place = Place(PlaceKind.HOP, routers[0], rounds[0].hop_of(routers[0]))
    return _told(
        finding,
        f"packets go round between {names(routers)} until their hops run out",
        seen,
        verdict=Verdict.ROUTING_LOOP if finding.verdict is not Verdict.SOURCE_SELECTIVE else None,
        left=() if finding.verdict is not Verdict.SOURCE_SELECTIVE else (Verdict.ROUTING_LOOP,),
        place=place,
        sure=Confidence.CERTAIN,
        next_test=f"on {routers[0]}: its route to {rounds[0].address}",
    )


def _stand_in(seen: _Seen, group: Group, finding: Finding) -> Finding | None:
    """DIAGNOSIS rules 4 and 25: the refusal came from before the target."""
    course = next((one for one in seen.mine if one.detail.stand_in is not None), None)
    if course is None or group.manner is not Manner.REFUSED:
        return None
    distance, router = course.detail.distance or 1, course.detail.stand_in
    before = next((hop for hop in course.detail.hops if hop.hop == distance - 1), None)
    address = before.answers[0].address if before is not None and before.answers else None
    selective = finding.verdict is Verdict.SOURCE_SELECTIVE
    return _told(
        finding,
        f"the reset comes from hop {distance} or before it: other packets pass {router} there and go on",
        seen,
        verdict=None if selective else Verdict.FORWARD_RESET,
        left=(Verdict.FORWARD_RESET,) if selective else (),
        place=Place(PlaceKind.BETWEEN, address, distance - 1),
        sure=Confidence.LIKELY,
    )


def _dead_neighbour(seen: _Seen, group: Group, finding: Finding) -> Finding | None:
    """DIAGNOSIS rule 13: the router asked for its neighbour, and was not answered."""
    sources = {course.source for course in seen.mine}
    for course in (*seen.mine, *(one for one in seen.others if one.source in sources)):
        answer = course.waited_for()
        if answer is None or answer.address is None:
            continue
        hop = course.hop_of(answer.address)
        selective = finding.verdict is Verdict.SOURCE_SELECTIVE
        left = (Verdict.NEXT_HOP_DEAD, Verdict.TARGET_DOWN) if selective else (Verdict.TARGET_DOWN,)
        return _told(
            finding,
            f"{answer.address} says so after {(answer.rtt_ms or 0) / 1e3:.0f} s: "
            "the next address on its link does not answer it",
            seen,
            verdict=None if selective else Verdict.NEXT_HOP_DEAD,
            left=left,
            place=Place(PlaceKind.BETWEEN, answer.address, hop),
            sure=Confidence.LIKELY,
        )
    return None


def _rejector(seen: _Seen, group: Group, finding: Finding) -> Finding | None:
    """Who rejects is known; the trace says how far away that is."""
    if group.manner is not Manner.REJECTED or finding.place is None or finding.place.address is None:
        return None
    hops = [hop for course in seen.mine if (hop := course.hop_of(finding.place.address)) is not None]
    place = replace(finding.place, hop=hops[0]) if hops else finding.place
    return replace(finding, place=place, evidence=_evidence(finding, seen))


def _ending(seen: _Seen, group: Group, finding: Finding) -> Finding | None:
    """Silence: how far packets came, and what that leaves (DIAGNOSIS §5)."""
    if group.manner is not Manner.SILENT:
        return replace(finding, evidence=_evidence(finding, seen, answered=True))
    if any(course.reached for course in seen.mine):
        words = "a trace that followed was answered: it does not fail all the time"
        return _told(finding, words, seen, sure=Confidence.POSSIBLE)
    ends = {course.last_address for course in seen.mine}
    if len(ends) != 1 or None in ends:
        return _told(finding, _ends_apart(seen.mine), seen)
    (router,) = ends
    return _behind(router, seen, finding)


def _behind(router: str | None, seen: _Seen, finding: Finding) -> Finding:
    hop = seen.mine[0].hop_of(router)
    place = Place(PlaceKind.BETWEEN, router, hop)
    said = f"packets are last seen at {router} (hop {hop})"
    further = [(course, behind) for course in seen.others if (behind := course.behind(router)) is not None]
    if further:
        course, behind = further[0]
        if behind == course.address:
            words = f"{said}, which {_whose(course, finding)} pass on to the target itself"
            return _told(finding, words, seen, left=_kept(finding, _LEFT_AT_LAST_ROUTER), place=place)
        words = f"{said}; {_whose(course, finding)} go on from there to {behind}: dropped between the two"
        sure = min(finding.confidence, Confidence.LIKELY, key=_ORDER.index) if len(seen.mine) > 1 else None
        return _told(
            finding,
            words,
            seen,
            left=_kept(finding, (Verdict.FORWARD_DROP,)),
            place=place,
            sure=sure,
            next_test=f"on {router} and on {behind}: what filters {_flow(seen.mine[0])}",
            direction=Direction.FORWARD,
        )
    if any(
        course.source in {one.source for one in seen.mine} and not course.reached for course in seen.others
    ):
        words = f"{said}, and other packets come no further either: whatever is sent past it vanishes"
        return _told(finding, words, seen, left=_kept(finding, _LEFT_PAST_A_HOP), place=place)
    return _told(finding, f"{said}; what lies behind may be silent", seen, place=place)


_ORDER = (Confidence.POSSIBLE, Confidence.LIKELY, Confidence.CERTAIN)


def _kept(finding: Finding, left: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """What the traces leave, and what they cannot speak of: whether the target is up, whether it answers
    datagrams at all, our own end."""
    beside = {Verdict.SILENT_SERVICE, Verdict.ADDRESS_BROKEN}
    if Verdict.BLACKHOLE in left:
        beside |= {Verdict.TARGET_DOWN, Verdict.TARGET_INPUT_DROP, Verdict.ICMP_ECHO_FILTERED}
    if left == _LEFT_AT_LAST_ROUTER:
        beside |= {Verdict.ICMP_ECHO_FILTERED}
    return (*left, *(one for one in finding.alternatives if one in beside and one not in left))


def _ends_apart(courses: Sequence[Course]) -> str:
    shown = []
    for course in courses[:3]:
        where = course.last_address
        at = f"{where} (hop {course.hop_of(where)})" if where is not None else "no hop at all"
        shown.append(f"from {course.source} at {at}")
    return f"packets are last seen: {', '.join(shown)}"


def _whose(course: Course, finding: Finding) -> str:
    mine = course.source in finding.scope.sources
    what = "pings" if course.transport is Transport.ICMP else "packets"
    return what if mine else f"{what} from {course.source}"


def _flow(course: Course) -> str:
    return course.transport if course.port is None else f"{course.transport} port {course.port}"


# --- writing it down ----------------------------------------------------------------------------------------


def _told(
    finding: Finding,
    words: str,
    seen: _Seen,
    *,
    verdict: Verdict | None = None,
    left: tuple[Verdict, ...] | None = None,
    place: Place | None = None,
    sure: Confidence | None = None,
    next_test: str | None = None,
    direction: Direction | None = None,
) -> Finding:
    return replace(
        finding,
        verdict=verdict or finding.verdict,
        summary=f"{finding.summary}; {words}",
        alternatives=finding.alternatives if left is None else left,
        place=place or finding.place,
        confidence=sure or finding.confidence,
        direction=direction or finding.direction,
        next_test=next_test or finding.next_test,
        evidence=_evidence(finding, seen),
    )


def _evidence(finding: Finding, seen: _Seen, answered: bool = False) -> tuple[Evidence, ...]:
    """``answered``: the finding is about an answer, so that one to the trace speaks for it."""
    told = [Evidence(course.id, answered or not course.reached, _course_text(course)) for course in seen.mine]
    told += [Evidence(course.id, True, _course_text(course)) for course in seen.others]
    return bounded((*finding.evidence, *told))


def _course_text(course: Course) -> str:
    head = f"{course.source}: trace by {_flow(course)} to {course.address}"
    detail = course.detail
    if detail.stand_in is not None:
        return f"{head}: answered at hop {detail.distance}, where {detail.stand_in} stands"
    if detail.reached:
        far = "" if detail.distance is None else f" at hop {detail.distance}"
        return f"{head}: answered{far}"
    if course.loop:
        return f"{head}: goes round between {names(course.loop)}"
    router = course.last_address
    where = f"last seen at {router} (hop {course.hop_of(router)})" if router else "no hop answers"
    return f"{head}: {where}"
