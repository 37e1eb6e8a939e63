"""The way of a flow as the case tells it, and where a finding marks it."""

from dataclasses import replace

import pytest
from probemesh_controller.pair.case import Asked, Case, End, EndRole, RoundDone, StepDone
from probemesh_controller.pair.paths import path_of
from probemesh_controller.pair.view import View
from probemesh_controller.render.paths import drawing
from probemesh_shared.model import (
    DirectionVerdict,
    Finding,
    FlowSpec,
    HopAnswer,
    IcmpError,
    PathHop,
    Place,
    Scope,
    Shot,
    ShotSeen,
    TraceDetail,
    TraceHop,
    TraceSpec,
)
from probemesh_shared.words import (
    Confidence,
    Direction,
    Family,
    Kind,
    Outcome,
    PlaceKind,
    Transport,
    Verdict,
)

from tests.pair.fakes import A, B, row, shots, step

GOOD = DirectionVerdict(Outcome.OK, Verdict.REACHABLE, None, Verdict.REACHABLE)
BAD = DirectionVerdict(Outcome.TIMEOUT, Verdict.FORWARD_DROP, None, Verdict.FORWARD_DROP)
R, S = "10.1.0.1", "198.51.100.2"


def expired(shot: int, sender: str, rtt_ms: float | None = None) -> ShotSeen:
    error = IcmpError(Family.IPV4, 11, 0, sender, 64, None)
    return ShotSeen(shot, Outcome.UNREACHABLE, errors=(error,), rtt_ms=rtt_ms)


def silent(shot: int) -> ShotSeen:
    return ShotSeen(shot, Outcome.TIMEOUT)


def ladder(*seen: ShotSeen, ttls: tuple[int, ...] = (1, 2, 3)) -> StepDone:
    spec = FlowSpec(transport=Transport.TCP, shots=tuple(Shot(ttl=ttl) for ttl in ttls))
    return StepDone(replace(step(1, spec=spec), purpose="ladder:base"), (shots(*seen),))


def view(*done: StepDone) -> View:
    asked = Asked("a", "b", Transport.TCP, 5432, 7001)
    ends = (End(EndRole.SOURCE, A, ("10.1.0.2",)), End(EndRole.TARGET, B, ("203.0.113.2",)))
    return View(Case(asked, 1, ends, (RoundDone(done),)), Direction.FORWARD)


def finding(place: Place | None, verdict: Verdict = Verdict.FORWARD_DROP) -> Finding:
    return Finding(verdict, Scope(), Confidence.CERTAIN, "", Direction.FORWARD, place)


def brief(path: tuple[PathHop, ...]) -> list[str]:
    return [f"{'!' if hop.breaks else ''}{hop.name}={hop.address}" for hop in path]


WHOLE = view(ladder(expired(0, R, 0.5), expired(1, S, 5.0), ShotSeen(2, Outcome.OK, rtt_ms=6.0)))


def test_a_ladder_tells_the_hops_and_how_far_the_end_is():
    path = path_of(WHOLE, GOOD, ())
    assert path == (
        PathHop("a", "10.1.0.2"),
        PathHop("hop 1", R, 1, 0.5),
        PathHop("hop 2", S, 2, 5.0),
        PathHop("b", "203.0.113.2", 3, 6.0),
    )


def test_a_hop_that_nobody_heard_of_has_no_address():
    path = path_of(view(ladder(expired(0, R), silent(1), ShotSeen(2, Outcome.REFUSED))), GOOD, ())
    assert brief(path) == ["a=10.1.0.2", f"hop 1={R}", "hop 2=None", "b=203.0.113.2"]


def test_a_box_that_answers_in_its_place_brings_the_end_no_nearer():
    proxied = ladder(ShotSeen(0, Outcome.OK), ShotSeen(1, Outcome.OK), ShotSeen(2, Outcome.OK))
    plain = ladder(expired(0, R), expired(1, S), ShotSeen(2, Outcome.OK))
    assert path_of(view(proxied, plain), GOOD, ())[-1].hop == 3


def test_a_ladder_to_another_address_is_not_of_this_way():
    other = ladder(expired(0, "192.0.2.77"), ShotSeen(1, Outcome.OK), ttls=(1, 2))
    spec = replace(
        other.step.spec, shots=tuple(replace(s, address="192.0.2.9") for s in other.step.spec.shots)
    )
    other = replace(other, step=replace(other.step, spec=spec))
    assert brief(path_of(view(other), GOOD, ())) == ["a=10.1.0.2", "b=203.0.113.2"]


def test_without_a_ladder_there_are_two_ends():
    flow = StepDone(step(1), (shots(ShotSeen(0, Outcome.OK, local_address="10.1.0.77")),))
    assert brief(path_of(view(flow), GOOD, ())) == ["a=10.1.0.77", "b=203.0.113.2"]


def test_a_trace_tells_it_too():
    hops = (
        TraceHop(1, 1, (HopAnswer(R, 0.5, IcmpError(Family.IPV4, 11, 0, R, None, None)),)),
        TraceHop(2, 1, ()),
        TraceHop(3, 1, (HopAnswer("203.0.113.2", 6.0),)),
    )
    detail = TraceDetail(Transport.TCP, hops, reached=True, distance=3)
    done = StepDone(step(1, spec=TraceSpec()), (row(Kind.TRACE, detail),))
    path = path_of(view(done), GOOD, ())
    assert [(hop.address, hop.rtt_ms) for hop in path[1:]] == [(R, 0.5), (None, None), ("203.0.113.2", 6.0)]


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (Place(PlaceKind.HOP, S, 2), ["a", "hop 1", "!hop 2", "b"]),
        (Place(PlaceKind.HOP, None, 1), ["a", "!hop 1", "hop 2", "b"]),
        (Place(PlaceKind.HOP, "192.0.2.99"), ["a", "hop 1", "hop 2", "!hop", "b"]),
        (Place(PlaceKind.BETWEEN, R, 1), ["a", "hop 1", "!there or just behind", "hop 2", "b"]),
        (Place(PlaceKind.BETWEEN), ["a", "!on the way", "hop 1", "hop 2", "b"]),
        (
            Place(PlaceKind.BETWEEN, "192.0.2.9", 7),
            ["a", "hop 1", "hop 2", "hop 7", "!there or just behind", "b"],
        ),
        (Place(PlaceKind.SOURCE_HOST), ["!a", "hop 1", "hop 2", "b"]),
        (Place(PlaceKind.TARGET_HOST, "203.0.113.2"), ["a", "hop 1", "hop 2", "!b"]),
        (Place(PlaceKind.TARGET_SERVICE), ["a", "hop 1", "hop 2", "!b"]),
        (Place(PlaceKind.BEHIND_HOST, "172.17.0.2"), ["a", "hop 1", "hop 2", "b", "!behind it"]),
        (None, ["a", "hop 1", "hop 2", "!somewhere", "b"]),
    ],
)
def test_where_a_finding_marks_it(place, expected):
    path = path_of(WHOLE, BAD, (finding(place),))
    assert [f"{'!' if hop.breaks else ''}{hop.name}" for hop in path] == expected
    assert {hop.mark for hop in path if hop.breaks} <= {"forward-drop"}


def test_an_answer_that_is_lost_breaks_behind_the_far_end():
    told = replace(BAD, verdict=Verdict.RETURN_DROP)
    path = path_of(WHOLE, told, (finding(Place(PlaceKind.HOP, R, 2), Verdict.RETURN_DROP),))
    assert brief(path)[-2:] == ["b=203.0.113.2", f"!on the way back={R}"]
    assert brief(path_of(WHOLE, told, ()))[-1] == "!on the way back=None"
    its_own = finding(Place(PlaceKind.TARGET_HOST, "203.0.113.2"), Verdict.RETURN_DROP)
    assert brief(path_of(WHOLE, told, (its_own,)))[-1] == "!b=203.0.113.2"
    lines = drawing(path, 100, color=False)
    assert lines[-3].startswith("  ●  b") and lines[-1].startswith("  ✕  on the way back")


def test_a_service_breaks_at_its_end_and_what_nobody_measured_nowhere():
    closed = replace(BAD, path_verdict=Verdict.REACHABLE, verdict=Verdict.PORT_CLOSED)
    assert brief(path_of(WHOLE, closed, ()))[-1] == "!b=203.0.113.2"
    nobody = DirectionVerdict()
    assert not any(hop.breaks for hop in path_of(WHOLE, nobody, ()))


def test_on_the_way_back_nothing_need_listen():
    closed = replace(BAD, path_verdict=Verdict.REACHABLE, verdict=Verdict.PORT_CLOSED)
    back = View(WHOLE.case, Direction.REVERSE)
    assert not any(hop.breaks for hop in path_of(back, closed, ()))


def test_what_breaks_nothing_marks_nothing():
    harmless = finding(Place(PlaceKind.HOP, R, 1), Verdict.SOURCE_NAT)
    assert not any(hop.breaks for hop in path_of(WHOLE, GOOD, (harmless,)))
    other_way = replace(finding(Place(PlaceKind.HOP, R, 1)), direction=Direction.REVERSE)
    assert [hop.name for hop in path_of(WHOLE, BAD, (other_way,)) if hop.breaks] == ["somewhere"]


@pytest.mark.parametrize("verdict", [Verdict.FAMILY_BROKEN, Verdict.ADDRESS_BROKEN])
def test_the_way_to_an_address_that_answers_is_not_the_one_that_breaks(verdict):
    told = DirectionVerdict(Outcome.OK, verdict, Verdict.REACHABLE, verdict)
    assert not any(hop.breaks for hop in path_of(WHOLE, told, (finding(None, verdict),)))


def test_a_set_is_marked_with_all_that_it_may_be():
    told = replace(BAD, verdict=Verdict.UNDETERMINED, alternatives=(Verdict.BLACKHOLE, Verdict.FORWARD_DROP))
    path = path_of(WHOLE, told, (finding(Place(PlaceKind.BETWEEN, R, 1), Verdict.UNDETERMINED),))
    assert [hop.mark for hop in path if hop.breaks] == ["blackhole or forward-drop"]


@pytest.mark.parametrize("ttls", [(0, 255, -1), (70, 71, 72), (40, 40, 40), (1, 40, 40), (2, 3, 4)])
def test_what_is_no_ladder_draws_nothing(ttls):
    seen = ladder(expired(0, R), expired(1, S), ShotSeen(2, Outcome.OK), ttls=ttls)
    assert brief(path_of(view(seen), GOOD, ())) == ["a=10.1.0.2", "b=203.0.113.2"]


def test_many_hops_that_say_nothing_are_told_together():
    silent = [PathHop(f"hop {n}", None, n) for n in range(2, 6)]
    path = (PathHop("a", "10.1.0.2"), PathHop("hop 1", R, 1), *silent, PathHop("b", "203.0.113.2", 6))
    (line,) = drawing(path, 120, color=False)
    assert line == f"  ● a 10.1.0.2 ── ○ {R} ── ○ hops 2 to 5, which say nothing ── ● b 203.0.113.2"


def test_a_shot_that_was_not_asked_for_is_passed_over():
    assert brief(path_of(view(ladder(expired(99, R), expired(-1, S))), GOOD, ())) == [
        "a=10.1.0.2",
        "b=203.0.113.2",
    ]
