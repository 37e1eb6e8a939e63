"""What is read off shots, tables and ladders, and what is not."""

from dataclasses import replace

import pytest
from probemesh_controller.pair.assess import assess
from probemesh_controller.pair.causes import Told
from probemesh_controller.pair.conclude import conclude
from probemesh_controller.pair.flow import names
from probemesh_controller.pair.flow.moves import MOVES
from probemesh_controller.pair.flow.rows import at_place
from probemesh_controller.pair.signs import Notes, Signs
from probemesh_controller.pair.tour.basis import distance
from probemesh_shared.model import Datagram, Failure, HalfOpen, Listener, Place
from probemesh_shared.words import (
    AgentState,
    Confidence,
    Direction,
    FailureKind,
    Origin,
    Outcome,
    PlaceKind,
    Stage,
    Transport,
    Verdict,
)

from tests.pair.staged import (
    BACK_PORT,
    LISTENING,
    PORT,
    A,
    B,
    R,
    S,
    answered,
    case,
    counted,
    done,
    expired,
    refused,
    rejected,
    silent,
    step,
    watch,
)


def _signs(of, direction: int = 0) -> Signs:
    return assess(of, Notes())[direction].signs


def test_three_silent_attempts_are_no_silence_and_five_are():
    three = done(case(), step("first:flow", silent(3)))
    assert _signs(three).holds(names.SILENT) is None
    assert _signs(done(three, step("again", silent(2)))).holds(names.SILENT) is True


def test_a_router_that_holds_its_errors_back_has_still_said_no():
    found = _signs(done(case(), step("first:flow", [*rejected(1), *silent(2)])))
    assert found.holds(names.REJECTED) is True
    assert found[names.REJECTED].place is not None
    assert found[names.REJECTED].place.address == R
    assert found.holds(names.SILENT) is False


def test_an_answer_beside_a_silence_is_an_answer():
    found = _signs(done(case(), step("first:flow", [*silent(1), *answered(2)])))
    assert found.holds(names.ANSWERED) is True


def test_an_answer_to_a_shot_of_limited_ttl_is_one_and_its_silence_is_none():
    unlucky = done(case(), step("first:flow", silent(3)), step("ladder:flow", [*expired(R), *answered(2)]))
    found = _signs(done(unlucky, step("again", silent(14))))
    assert found.holds(names.ANSWERED) is True
    assert found.holds(names.SILENT) is False
    short = done(case(), step("first:flow", silent(3)), step("ladder:flow", silent(9)))
    assert _signs(short).holds(names.SILENT) is None


def test_an_answer_beside_a_refusal_is_neither():
    found = _signs(done(case(), step("first:flow", [*refused(1), *answered(2)])))
    assert found.holds(names.ANSWERED) is None
    assert found.holds(names.REFUSED) is None


def test_host_unreachable_after_silence_comes_from_a_neighbour_asked_in_vain():
    waited = done(case(), step("first:flow", silent(3)), step("long", rejected(2, S, 3, 1)))
    assert _signs(waited).holds(names.LATE_UNREACHABLE) is True
    limited = [replace(rejected(1, S, 3, 1)[0], failed_ms=12.0)]
    told_later = done(case(), step("first:flow", silent(3)), step("long", limited))
    assert _signs(told_later).holds(names.REJECTED) is True
    at_once = done(case(), step("first:flow", rejected(3, S, 3, 1)))
    assert _signs(at_once).holds(names.REJECTED) is True
    assert _signs(at_once).holds(names.LATE_UNREACHABLE) is False


def test_an_error_from_our_own_host_and_one_from_the_target_are_told_apart():
    assert _signs(done(case(), step("first:flow", rejected(3, A)))).holds(names.REJECTED_BY_SELF) is True
    assert _signs(done(case(), step("first:flow", rejected(3, B)))).holds(names.REJECTED_BY_TARGET) is True


def test_a_listener_on_loopback_listens_elsewhere():
    found = _signs(case(listeners=(Listener("127.0.0.1", PORT),)))
    assert (found.holds(names.LISTENING), found.holds(names.ELSEWHERE)) == (False, True)


def test_a_listener_for_ipv6_alone_does_not_take_ipv4():
    listener = Listener("2001:db8::1", PORT)
    assert _signs(case(listeners=(listener,))).holds(names.ELSEWHERE) is True


def test_a_blind_watch_says_nothing_of_listeners():
    told = case()
    ends = tuple(replace(end, armed=watch((), own=(B,), blind=("listeners",))) for end in told.ends)
    found = _signs(replace(told, ends=ends))
    assert found.holds(names.LISTENING) is None


def test_counters_beside_another_step_say_nothing_of_the_host():
    ate = watch(own=(B,), counters=counted(Ip_InReceives=10))
    beside = done(case(), step("again", silent(10)), step("first:ping", answered(3)), b=ate)
    assert _signs(beside).holds(names.HOST_DROPPED) is None
    alone = done(case(), step("again", silent(10)), b=ate)
    assert _signs(alone).holds(names.HOST_DROPPED) is True


def _half(port: int, last_ms: float = 1500.0, retransmits: int = 0) -> HalfOpen:
    return HalfOpen(A, port, B, PORT, 0.0, last_ms, retransmits)


def test_half_open_connections_with_the_probers_tuple_are_arrival():
    there = watch(own=(B,), half_open=(_half(50_000, retransmits=1),))
    found = _signs(done(case(), step("again", silent(10)), b=there))
    assert found.holds(names.DELIVERED) is True
    assert found.holds(names.SYNACK_REPEATED) is True
    strangers = watch(own=(B,), half_open=(replace(_half(1), address="192.0.2.77"),))
    assert _signs(done(case(), step("again", silent(10)), b=strangers)).holds(names.DELIVERED) is not True


def test_half_open_connections_from_behind_the_probers_nat_are_arrival():
    """Its ports are the NAT's; as whom others see it was learned."""
    outside = tuple(
        replace(_half(40_000 + number), address="198.51.100.9", first_ms=120.0) for number in range(10)
    )
    translated = watch(own=(B,), half_open=outside)
    unknown = done(case(), step("again", silent(10)), b=translated)
    assert _signs(unknown).holds(names.DELIVERED) is None
    source, target = unknown.ends
    known = replace(unknown, ends=(replace(source, reflexive=("198.51.100.9",)), target))
    assert _signs(known).holds(names.DELIVERED) is True
    assert Verdict.FORWARD_DROP not in conclude(known).forward.alternatives
    stale = watch(own=(B,), half_open=tuple(replace(one, first_ms=3.0) for one in outside))
    earlier = done(replace(known, rounds=()), step("again", silent(10)), b=stale)
    assert _signs(earlier).holds(names.DELIVERED) is False  # of the diagnosis before


def test_a_private_address_that_nobody_has_on_the_own_link_may_be_another_sites():
    """B looks for 10.1.0.2: dead, or not of this 10.1.0.0/24 at all."""
    back = Direction.REVERSE
    asked = done(case(), step("first:flow", silent(3), back), step("long", rejected(2, B, 3, 1), back))
    assert _signs(asked, 1).holds(names.ASKED_HERE) is True
    assert {Verdict.NEXT_HOP_DEAD, Verdict.NOT_ADDRESSABLE} <= set(conclude(asked).reverse.alternatives)
    by_router = done(case(), step("first:flow", silent(3), back), step("long", rejected(2, S, 3, 1), back))
    assert _signs(by_router, 1).holds(names.ASKED_HERE) is False
    assert Verdict.NOT_ADDRESSABLE not in conclude(by_router).reverse.alternatives


def test_one_connection_that_stays_half_open_is_a_lost_packet():
    one = watch(own=(B,), half_open=(_half(50_000),))
    lossy = done(case(), step("first:flow", answered(3)), b=one)
    assert conclude(lossy).forward.verdict is Verdict.UNDETERMINED
    more = watch(own=(B,), half_open=tuple(_half(50_000 + number) for number in range(3)))
    stuck = done(done(case(), step("first:flow", answered(3)), b=more), step("again", answered(3)), b=more)
    assert conclude(stuck).forward.verdict is Verdict.ASYMMETRIC_STATEFUL


LADDER = (1, 2, 3)


def _laddered(flow, base):
    return done(
        done(case(), step("first:flow", silent(3)), step("first:udp", answered(3, valid=True))),
        step("ladder:flow", flow, ttls=LADDER),
        step("ladder:base", base, ttls=LADDER),
    )


def test_a_ladder_that_stops_where_another_goes_on_names_the_place():
    base = [*expired(R), *expired(S), *answered(1, valid=True)]
    found = _signs(_laddered([*expired(R), *silent(2)], base))
    assert found.holds(names.STOPS_SHORT) is True
    place = found[names.STOPS_SHORT].place
    assert place is not None
    assert (place.kind, place.address, place.hop) == ("between", R, 1)


def test_a_ladder_that_gets_to_the_last_router_does_not_stop_short():
    base = [*expired(R), *expired(S), *answered(1, valid=True)]
    assert _signs(_laddered([*expired(R), *expired(S), *silent(1)], base)).holds(names.STOPS_SHORT) is False


def test_routers_that_answer_nobody_place_nothing():
    found = _signs(_laddered(silent(3), [*silent(2), *answered(1, valid=True)]))
    assert found.holds(names.STOPS_SHORT) is None
    assert found.holds(names.STOPS_AT_ONCE) is None


def _rested(before, quiet_ms):
    told = done(before, step("again", silent(5)))
    return replace(told, rounds=(*told.rounds[:-1], replace(told.rounds[-1], quiet_ms=quiet_ms)))


def _quiet_before_again(told):
    side = assess(told, Notes())[0]
    built = next(one for one in MOVES if one.key == "again").build(side.view, side.signs)
    assert built is not None
    return built.quiet_ms


def test_silence_behind_hops_that_are_never_heard_does_not_say_that_nobody_rejects():
    """A router that limits its errors is as silent, until it had nothing to say for long."""
    untold = _laddered([*expired(R), *silent(2)], [*expired(R), *silent(1), *answered(1, valid=True)])
    assert _signs(_rested(untold, 1000.0)).holds(names.SILENT) is True
    assert _signs(_rested(untold, 1000.0)).holds(names.REJECTED) is None
    assert _signs(_rested(untold, 2200.0)).holds(names.REJECTED) is False
    assert _quiet_before_again(untold) == 2200.0


def test_a_hop_that_is_heard_otherwise_would_say_that_it_rejects():
    told = _laddered([*expired(R), *silent(2)], [*expired(R), *expired(S), *answered(1, valid=True)])
    assert _signs(_rested(told, 1000.0)).holds(names.REJECTED) is False
    assert _quiet_before_again(told) == 1000.0
    last = _laddered([*expired(R), *expired(S), *silent(1)], [*silent(2), *answered(1, valid=True)])
    assert _signs(_rested(last, 1000.0)).holds(names.REJECTED) is False


def test_a_counter_too_noisy_to_tell_leaves_open_whether_it_came():
    """Where nothing listens only the RSTs would say so; what a listener has shows otherwise."""
    noisy = tuple(
        replace(one, delta=28, quiet_mean=2.2, quiet_deviation=3.1) if one.name == "Tcp.OutRsts" else one
        for one in counted()
    )
    for listeners, delivered in (((), None), (LISTENING, False)):
        before = done(case(listeners=listeners), step("first:flow", silent(3)))
        host = watch(listeners, own=(B,), counters=noisy)
        found = _signs(done(before, step("again", silent(14)), b=host))
        assert found.holds(names.RST_SENT) is None
        assert found.holds(names.DELIVERED) is delivered


def test_a_syn_that_comes_to_another_port_is_no_filter_of_syns():
    told = done(
        case(),
        step("first:flow", silent(3)),
        step("first:udp", answered(3, valid=True)),
        step("controls:tcp", silent(5)),
        step("first:tcp", answered(3, valid=True, seen=B), Direction.REVERSE),
    )
    assert _signs(told).holds(names.SYN_ONLY) is True
    half = watch(LISTENING, own=(B,), half_open=(_half(50_000),))
    seen = tuple(replace(one, account=half) if one.agent == "b" else one for one in told.rounds[0].looks)
    came = replace(told, rounds=(replace(told.rounds[0], looks=seen),))
    assert _signs(came).holds(names.SYN_ONLY) is False


def test_a_refusal_with_a_ttl_that_does_not_lead_there_is_not_the_targets():
    base = [*expired(R), *expired(S), *answered(1, valid=True)]
    short = _signs(_laddered([*expired(R), *refused(2)], base))
    assert short.holds(names.REFUSED_SHORT) is True
    assert short[names.REFUSED_SHORT].place.address == R
    full = _signs(_laddered([*expired(R), *expired(S), *refused(1)], base))
    assert full.holds(names.REFUSED_SHORT) is False


@pytest.mark.parametrize("rubbish", ["victim.example", "", "224.0.0.1", "::", "\x1b[2J", "999.1.1.1"])
def test_what_is_no_address_is_dialled_by_nobody(rubbish: str):
    told = done(case(), step("first:udp", answered(1, True, seen=rubbish), transport=Transport.UDP))
    _, reverse = assess(told, Notes())
    assert reverse.view.addresses == (A,)


def test_what_comes_from_another_address_is_dialled_there():
    """Behind a NAT: where its own datagrams were seen to come from."""
    seen = [*answered(3, valid=True, seen="198.51.100.1")]
    known = done(case(), step("first:udp", seen, transport=Transport.UDP))
    _, reverse = assess(known, Notes())
    assert reverse.view.address == "198.51.100.1"
    assert reverse.view.addresses == ("198.51.100.1", A)


def test_what_is_told_of_a_place_is_no_template():
    """It would be asked for a gigabyte of blanks."""
    told = Told(assess(case(), Notes())[0].view, {})
    place = Place(PlaceKind.HOP, "{near:>999999999}", 1)
    said = at_place("dropped {at}", lambda told: place)(told)
    assert said == f"a → b, tcp/{PORT}: dropped at hop 1 ({{near:>999999999}})"


@pytest.mark.parametrize("shot", [-(2**63), -2, 3, 2**62])
def test_a_far_end_may_name_shots_that_there_are_none_of(shot: int):
    told = Datagram(1.0, A, 50_000, B, PORT, 64, 62, 0, True, shot)
    asked = step("first:udp", answered(1, True), transport=Transport.UDP)
    known = done(case(), asked, b=watch(LISTENING, own=(B,), datagrams=(told,)))
    assert distance(assess(known, Notes())[0].view) == 3


# --- whole answers ----------------------------------------------------------------------------------------


def _without_the_far_end(transport: Transport) -> set[Verdict]:
    tried = done(
        case(transport, far_reports=False),
        step("first:flow", silent(3), transport=transport),
        step("again", silent(10), transport=transport),
    )
    blind = replace(tried, rounds=tuple(replace(one, looks=()) for one in tried.rounds))
    return set(conclude(blind).forward.alternatives)


def test_silence_without_the_far_ends_account_is_the_whole_set():
    known = {Verdict.FORWARD_DROP, Verdict.RETURN_DROP, Verdict.TARGET_INPUT_DROP, Verdict.TARGET_DOWN}
    assert known <= _without_the_far_end(Transport.TCP)
    assert known | {Verdict.SILENT_SERVICE} <= _without_the_far_end(Transport.UDP)


def test_another_agent_that_gets_through_says_that_the_target_is_up():
    tried = done(case(far_reports=False), step("first:flow", silent(3)), step("again", silent(10)))
    theirs = step("third:forward", answered(5))
    theirs = replace(theirs, step=replace(theirs.step, sender="c", direction=None))
    blind = done(tried, theirs)
    blind = replace(blind, rounds=tuple(replace(one, looks=()) for one in blind.rounds))
    found = set(conclude(blind).forward.alternatives)
    assert Verdict.TARGET_DOWN not in found
    assert {Verdict.FORWARD_DROP, Verdict.RETURN_DROP} <= found


def test_a_reset_without_the_far_ends_account_is_a_set():
    tried = done(case(far_reports=False), step("first:flow", refused(3)))
    blind = replace(tried, rounds=tuple(replace(one, looks=()) for one in tried.rounds))
    found = set(conclude(blind).forward.alternatives)
    assert {Verdict.PORT_CLOSED, Verdict.TARGET_INPUT_REJECT, Verdict.FORWARD_RESET} <= found


def test_a_closed_port_is_the_services_matter_and_the_path_is_fine():
    told = case(listeners=())
    rsts = watch((), own=(B,), counters=counted(Tcp_OutRsts=10))
    tried = done(done(told, step("first:flow", refused(3))), step("burst", refused(10)), b=rsts)
    found = conclude(tried).forward
    assert (found.verdict, found.confidence) == (Verdict.PORT_CLOSED, Confidence.CERTAIN)
    assert (found.path_verdict, found.service_verdict) == (Verdict.REACHABLE, Verdict.PORT_CLOSED)


def test_an_agent_that_is_not_there_is_no_fault_of_the_network():
    told = case()
    gone = replace(told.ends[0], info=replace(told.ends[0].info, state=AgentState.LOST), armed=None)
    found = conclude(replace(told, ends=(gone, told.ends[1])))
    assert found.forward.verdict is Verdict.AGENT_LOST
    assert found.forward.path_verdict is None


def test_what_an_agent_is_not_allowed_to_send_is_missing_and_said():
    asked = step("first:flow", silent(3))
    words = "this host lets its agent send no pings"
    failure = Failure(Stage.CONNECT, FailureKind.UNSUPPORTED, Origin.AGENT, words)
    row = replace(asked.rows[0], outcome=Outcome.UNSUPPORTED, failure=failure, detail=None)
    may_not = replace(asked, step=replace(asked.step, why="does ping get through"), rows=(row,))
    assert conclude(done(case(), may_not)).missing == (f"a: does ping get through: {words}",)


def test_what_a_watch_could_not_do_is_said_within_bounds():
    words = [f"{number} \x1b[2J{'x' * 9000}" for number in range(100)]
    told = case()
    armed = replace(watch(own=(A,)), problems=("no surrogate listeners", *words))
    found = conclude(replace(told, ends=(replace(told.ends[0], armed=armed), told.ends[1])))
    assert found.missing[0] == "a: no surrogate listeners"
    assert len(found.missing) == 32 and max(map(len, found.missing)) < 210


def test_an_agent_that_is_lost_on_the_way_leaves_what_it_had_told():
    tried = done(case(), step("first:flow", silent(3)))
    found = conclude(replace(tried, lost=("a",)))
    assert found.forward.verdict is Verdict.UNDETERMINED
    assert any("a was lost" in text for text in found.missing)
    reached = done(case(), step("first:flow", answered(3)))
    assert conclude(replace(reached, lost=("a",))).forward.verdict is Verdict.REACHABLE


def test_an_end_without_an_address_is_not_addressable():
    told = case()
    hidden = replace(told.ends[1], addresses=())
    found = conclude(replace(told, ends=(told.ends[0], hidden)))
    assert found.forward.verdict is Verdict.NOT_ADDRESSABLE
    assert found.forward.path_verdict is None


def test_a_repeated_syn_that_its_own_host_drops_never_left_it():
    """Also on a kernel that does not count what leaves, and behind an egress hook that its count misses."""
    silence = done(case(), step("first:flow", silent(3)))
    for counters in (counted(TcpExt_TCPRetransFail=10), counted(TcpExt_TCPRetransFail=10, Ip_OutRequests=10)):
        told = done(silence, step("again", silent(10)), a=watch(own=(A,), counters=counters))
        found = conclude(told).forward
        assert (found.verdict, found.confidence) == (Verdict.SOURCE_OUTPUT_FILTER, Confidence.CERTAIN)


def test_two_faults_are_two_findings():
    told = done(
        case(listeners=()),
        step("first:flow", refused(3)),
        step("first:flow", rejected(3, S), Direction.REVERSE),
        step("first:tcp", answered(3, valid=True, seen=B), Direction.REVERSE),
    )
    rsts = watch((), own=(B,), counters=counted(Tcp_OutRsts=10))
    there = watch((Listener("0.0.0.0", BACK_PORT),), own=(A,))
    told = done(told, step("burst", refused(10)), b=rsts, a=there)
    found = {(one.direction, one.verdict) for one in conclude(told).findings}
    assert (Direction.FORWARD, Verdict.PORT_CLOSED) in found
    assert (Direction.REVERSE, Verdict.FORWARD_REJECT) in found


# --- who says so ------------------------------------------------------------------------------------------


def test_a_router_that_speaks_as_the_target_hands_its_packets_to_somebody_else():
    base = [*expired(R), *expired(S), *answered(1, valid=True)]
    told = done(_laddered([*expired(B), *expired(B), *silent(1)], base), step("again", silent(10)))
    found = conclude(told).forward
    assert found.verdict is Verdict.DESTINATION_NAT_WRONG_HOST
    at = next(one.place for one in conclude(told).findings if one.verdict is found.verdict)
    assert at is not None and (at.address, at.hop) == (R, 1)


def test_routers_that_speak_for_themselves_stand_in_for_nobody():
    base = [*expired(R), *expired(S), *answered(1, valid=True)]
    found = _signs(_laddered([*expired(R), *expired(S), *silent(1)], base))
    assert found.holds(names.STANDS_IN) is False


def test_the_target_may_itself_pass_on_what_came_to_it():
    """A host that publishes a port of a container says "time exceeded", at its own distance and no less."""
    base = [*expired(R), *expired(S), *answered(1, valid=True)]
    found = _signs(_laddered([*silent(2), *expired(B)], [*silent(2), *base[2:]]))
    assert found.holds(names.STANDS_IN) is None


def test_a_rejection_as_the_target_that_it_saw_nothing_of_is_made_in_its_name():
    told = done(case(Transport.UDP), step("first:flow", rejected(3, B, code=3), transport=Transport.UDP))
    told = done(told, step("again", rejected(10, B, code=3), transport=Transport.UDP), b=_saw_nothing())
    found = conclude(told).forward
    assert (found.verdict, found.confidence) == (Verdict.FORWARD_REJECT, Confidence.LIKELY)


def _saw_nothing():
    return watch(LISTENING, own=(B,), counters=counted())


def _at_its_nat(shots, transport=Transport.TCP):
    """What is left of rejections and of a NAT that lets nobody in, where B dials A at the address that A's
    flows come from and A does not have."""
    public = "198.51.100.1"
    kinds = (("first:flow", transport), ("first:tcp", Transport.TCP), ("first:udp", Transport.UDP))
    seen = [step(purpose, answered(3, valid=True, seen=public), transport=kind) for purpose, kind in kinds]
    back = [step(purpose, shots, Direction.REVERSE, transport=kind) for purpose, kind in kinds]
    there = [replace(one, step=replace(one.step, address=public)) for one in back]
    judgement = assess(done(case(transport), *seen, *there), Notes())[1].judgements["flow"]
    return [one for one in judgement.left if one.key.startswith(("one-way", "forward-"))]


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.UDP])
def test_a_filter_at_the_nat_that_prohibits_rejects(transport: Transport):
    (found,) = _at_its_nat(rejected(5, "198.51.100.1"), transport)
    assert (found.verdict, found.at_most) == (Verdict.FORWARD_REJECT, Confidence.CERTAIN)


def test_a_nat_that_refuses_may_do_so_by_a_filter_too():
    (tcp,) = _at_its_nat(refused(5))
    assert (tcp.verdict, tcp.at_most) == (Verdict.ONE_WAY_INITIATION, Confidence.LIKELY)
    assert tcp.like == (Verdict.FORWARD_RESET,)
    (udp,) = _at_its_nat(rejected(5, "198.51.100.1", code=3), Transport.UDP)
    assert (udp.verdict, udp.like) == (Verdict.ONE_WAY_INITIATION, (Verdict.FORWARD_REJECT,))


def test_a_nat_that_answers_tcp_with_an_icmp_error_has_a_filter():
    """By itself a host would have sent a RST."""
    (found,) = _at_its_nat(rejected(5, "198.51.100.1", code=3))
    assert found.verdict is Verdict.FORWARD_REJECT


def test_where_no_cause_fits_the_set_is_not_empty_and_what_is_in_the_way_is_said():
    """The target says that the port is closed, and its host counts that a socket had the datagrams."""
    says_no = rejected(3, B, code=3)
    told = done(case(Transport.UDP), step("first:flow", says_no, transport=Transport.UDP))
    again = step("again", rejected(10, B, code=3), transport=Transport.UDP)
    counters = counted(Udp_InDatagrams=10, Ip_InReceives=10, Ip_InDelivers=10)
    found = conclude(done(told, again, b=watch(LISTENING, own=(B,), counters=counters)))
    assert found.forward.verdict is Verdict.UNDETERMINED
    assert found.forward.alternatives
    assert Verdict.REACHABLE not in found.forward.alternatives
    (why,) = [text for text in found.missing if "no cause that is known here fits" in text]
    assert names.DELIVERED in why or names.UNREACHABLE_SENT in why
    finding = next(one for one in found.findings if one.direction is Direction.FORWARD)
    assert any(not one.supports for one in finding.evidence)
