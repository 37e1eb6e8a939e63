"""Whose an address is: what came in where, and what lists do not tell."""

from dataclasses import replace

import pytest
from probemesh_controller.pair.assess import assess
from probemesh_controller.pair.case import Case
from probemesh_controller.pair.conclude import conclude
from probemesh_controller.pair.flow.names import AT_BOX
from probemesh_controller.pair.owning import far_has
from probemesh_controller.pair.signs import Notes
from probemesh_controller.pair.tour.names import HAIRPIN, HANDED_ON, NOT_ITS_OWN, TRANSLATED
from probemesh_controller.pair.view import views
from probemesh_shared.model import Accepted, IcmpError, ShotSeen
from probemesh_shared.twoends import MOST_ADDRESSES
from probemesh_shared.words import Confidence, Family, Outcome, Transport, Verdict

from tests.pair.staged import LISTENING, PORT, A, B, answered, case, done, refused, step, watch

NEAR, FAR, LOCAL = "127.0.1.1", "127.0.1.2", "127.0.0.1"
MANY = tuple(f"198.18.{number >> 8}.{number & 255}" for number in range(MOST_ADDRESSES))


def _loopback(shots: list[ShotSeen]) -> Case:
    """Two agents of one host: 127.0.0.1 alone is on an interface."""
    before = case()
    own = [
        replace(end, addresses=(dialled,), armed=watch(LISTENING, own=(LOCAL,)))
        for end, dialled in zip(before.ends, (NEAR, FAR), strict=True)
    ]
    sent = step("first:flow", [replace(shot, local_address=NEAR) for shot in shots])
    sent = replace(sent, step=replace(sent.step, address=FAR))
    there = watch(LISTENING, own=(LOCAL,))
    return done(replace(before, ends=tuple(own)), sent, b=there, a=there)


def _came(address: str, seen: str = A, own: tuple[str, ...] = (B,)) -> Case:
    """B accepted what was sent to its address of the case, at ``address``."""
    taken = tuple(
        Accepted(1.0, seen, 50_000 + number, address, PORT, syn_ttl=62, valid=True) for number in range(3)
    )
    shots = [
        replace(shot, replies=(replace(shot.replies[0], seen_port=50_000 + number),))
        for number, shot in enumerate(answered(3, valid=True, seen=seen))
    ]
    before = case()
    source, target = before.ends
    ends = (source, replace(target, armed=watch(LISTENING, own=own)))
    told = watch(LISTENING, own=own, accepted=taken)
    return done(replace(before, ends=ends), step("first:flow", shots), b=told)


def _verdicts(told: Case) -> set[Verdict]:
    return {finding.verdict for finding in conclude(told).findings}


def test_a_source_that_is_the_probers_own_socket_is_no_nat():
    told = _loopback(answered(3, valid=True, seen=NEAR))
    forward = assess(told, Notes())[0]
    assert forward.signs.holds(TRANSLATED) is False
    assert not _verdicts(told) & {Verdict.SOURCE_NAT, Verdict.DESTINATION_NAT}


@pytest.mark.parametrize("seen", ["", "nonsense", "::1%\x1b[31m"])
def test_what_a_responder_calls_an_address_may_be_none(seen: str):
    shots = [replace(shot, local_address=None) for shot in answered(3, valid=True, seen=seen)]
    assert conclude(done(case(), step("first:flow", shots), b=watch(LISTENING))).forward


def test_a_source_that_is_not_the_probers_own_is_a_nat_though_the_list_is_cut():
    told = _loopback(answered(3, valid=True, seen="127.0.9.9"))
    assert assess(told, Notes())[0].signs.holds(TRANSLATED) is True


def test_a_loopback_address_that_is_not_listed_may_be_the_far_ends_own():
    forward = assess(_loopback(refused(5)), Notes())[0]
    assert far_has(forward.view) is None
    assert forward.signs.holds(AT_BOX) is None and forward.signs.holds(NOT_ITS_OWN) is None
    assert forward.signs.holds(HAIRPIN) is False


def test_on_loopback_a_reset_is_neither_a_hairpin_nor_excluded_for_want_of_an_interface():
    told = conclude(_loopback(refused(5)))
    assert Verdict.HAIRPIN_FAILS not in told.forward.alternatives
    assert not [one for one in told.excluded if "on no interface" in str(one)]


def test_an_address_at_which_something_was_taken_in_is_its_own_though_on_no_interface():
    """As with ``ip route add local``."""
    told = _came(B, own=("10.9.9.9",))
    forward = assess(told, Notes())[0]
    assert far_has(forward.view) is True
    assert forward.signs.holds(AT_BOX) is False
    assert Verdict.DESTINATION_NAT not in _verdicts(told)


def test_what_comes_in_at_another_address_was_handed_on():
    told = _came("10.9.9.9", own=("10.9.9.9",))
    forward = assess(told, Notes())[0]
    assert far_has(forward.view) is False and forward.signs.holds(HANDED_ON) is True
    (found,) = [one for one in conclude(told).findings if one.verdict is Verdict.DESTINATION_NAT]
    assert found.confidence is Confidence.CERTAIN


def test_that_it_is_on_no_interface_alone_proves_no_translation():
    told = replace(_came("10.9.9.9", own=("10.9.9.9",)))
    unseen = replace(told.rounds[0], looks=())
    (found,) = [
        one
        for one in conclude(replace(told, rounds=(unseen,))).findings
        if one.verdict is Verdict.DESTINATION_NAT
    ]
    assert found.confidence is Confidence.LIKELY


def test_a_list_that_was_cut_may_have_had_it():
    before = case()
    source, target = before.ends
    ends = (source, replace(target, armed=watch(LISTENING, own=MANY)))
    told = done(replace(before, ends=ends), step("first:flow", refused(5)), b=watch(LISTENING, own=MANY))
    assert far_has(views(told)[0]) is None


def test_an_address_where_hops_run_out_is_no_hosts_own():
    error = IcmpError(Family.IPV4, 11, 0, B)
    shot = ShotSeen(outcome=Outcome.UNREACHABLE, errors=(error,))
    before = case()
    source, target = before.ends
    ends = (source, replace(target, armed=watch(LISTENING, own=MANY)))
    told = done(replace(before, ends=ends), step("first:flow", [shot]), b=watch(LISTENING, own=MANY))
    assert far_has(views(told)[0]) is False


def test_a_port_that_is_closed_on_loopback_is_said_so_by_the_target():
    error = IcmpError(Family.IPV4, 3, 3, FAR)
    shot = ShotSeen(outcome=Outcome.REFUSED, errors=(error,))
    before = _loopback([shot] * 5)
    told = replace(before, asked=replace(before.asked, transport=Transport.UDP))
    from probemesh_controller.pair.flow.fates import fate_of
    from probemesh_controller.pair.flow.names import REJECTED_BY_TARGET

    view = views(told)[0]
    assert fate_of(next(view.probes()).shots[0], view) == REJECTED_BY_TARGET
