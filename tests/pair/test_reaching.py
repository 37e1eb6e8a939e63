"""By which addresses the ends of a case dial each other."""

from dataclasses import replace

import pytest
from probemesh_controller.pair.case import Asked, Case, End, EndRole, Look, RoundDone, StepDone
from probemesh_controller.pair.reaching import dialled_by, seen_from, watched_address, with_seen
from probemesh_shared.model import (
    Accepted,
    Connection,
    Datagram,
    HalfOpen,
    Reply,
    ShotSeen,
    WatchDetail,
)
from probemesh_shared.words import Family, Transport

from tests.pair.fakes import ABLE, A, B, info, shots, step

NAT = "198.51.100.1"


def case(*ends: End) -> Case:
    asked = Asked("a", "b", Transport.TCP, 5432, 7001)
    made = ends or (
        End(EndRole.SOURCE, A, ("10.1.0.2",)),
        End(EndRole.TARGET, B, ("203.0.113.2",), armed=WatchDetail(agent="nonce-b")),
    )
    return Case(asked, 1, made)


def round_of(account: WatchDetail, *seen: ShotSeen, others: tuple[StepDone, ...] = ()) -> RoundDone:
    return RoundDone((StepDone(step(1), (shots(*seen),)), *others), (Look("b", account),))


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (Family.BOTH, ("203.0.113.2", "2001:db8::2")),
        (Family.IPV4, ("203.0.113.2",)),
        (Family.IPV6, ("2001:db8::2",)),
    ],
)
def test_addresses_of_the_family_that_was_asked_for(family, expected):
    b = info("b", "203.0.113.2", "2001:db8::2")
    assert dialled_by((A,), b, (A, b), family) == expected


def test_a_third_is_dialled_by_what_means_it_to_both_ends():
    third = info("c", "10.1.0.2", "203.0.113.2", "192.0.2.2")
    assert dialled_by((A, B), third, (A, B, third), Family.BOTH) == ("192.0.2.2",)


def test_what_is_configured_is_used_whoever_else_has_it():
    b = info("b", "10.1.0.2", more=(*ABLE, "advertised"))
    assert dialled_by((A,), b, (A, b), Family.BOTH) == ("10.1.0.2",)


@pytest.mark.parametrize(
    ("own", "dialled", "family", "expected"),
    [
        (("192.0.2.1",), ("198.51.100.7",), Family.BOTH, "198.51.100.7"),
        (("192.0.2.1", "2001:db8::1"), (), Family.IPV6, "2001:db8::1"),
        (("192.0.2.1",), (), Family.IPV6, "::"),
        ((), (), Family.BOTH, "0.0.0.0"),
    ],
)
def test_what_a_watch_is_told_to_be_its_own_address(own, dialled, family, expected):
    assert watched_address(info("b", *own), dialled, family) == expected


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        (WatchDetail(accepted=(Accepted(address=NAT, valid=True),)), (NAT,)),
        (WatchDetail(accepted=(Accepted(address=NAT, valid=False),)), ()),
        (WatchDetail(datagrams=(Datagram(address=NAT, valid=True),)), (NAT,)),
        (WatchDetail(half_open=(HalfOpen(NAT, 40001),)), (NAT,)),  # the port of our shot
        (WatchDetail(half_open=(HalfOpen(NAT, 50000),)), ()),  # anybody's
        (WatchDetail(connections=(Connection(3, NAT, 40001),)), (NAT,)),
        (WatchDetail(half_open=(HalfOpen("10.1.0.2", 40001),)), ()),  # known already
        (WatchDetail(half_open=(HalfOpen("\x1b[2J", 40001),)), ()),
    ],
)
def test_what_the_far_watch_saw(account, expected):
    assert seen_from(case(), round_of(account, ShotSeen(local_port=40001)), "a") == expected


def test_a_token_says_whose_it_is_only_where_one_was_sending():
    other = StepDone(replace(step(2), sender="c"), (shots(),))
    account = WatchDetail(accepted=(Accepted(address=NAT, valid=True),))
    assert seen_from(case(), round_of(account, ShotSeen(), others=(other,)), "a") == ()


def test_a_port_that_a_third_has_too_tells_of_neither():
    other = StepDone(replace(step(2), sender="c"), (shots(ShotSeen(local_port=40001)),))
    account = WatchDetail(half_open=(HalfOpen("192.0.2.2", 40001), HalfOpen(NAT, 40002)))
    mine = (ShotSeen(local_port=40001), ShotSeen(local_port=40002))
    assert seen_from(case(), round_of(account, *mine, others=(other,)), "a") == (NAT,)


def test_a_proxy_that_hits_a_port_of_ours_by_chance_is_not_where_we_come_from():
    mine = tuple(ShotSeen(local_port=port) for port in range(40_001, 40_021))
    chance = WatchDetail(connections=tuple(Connection(3, NAT, port) for port in range(39_991, 40_003)))
    assert seen_from(case(), round_of(chance, *mine), "a") == ()
    translated = WatchDetail(connections=tuple(Connection(3, NAT, port) for port in range(40_001, 40_011)))
    assert seen_from(case(), round_of(translated, *mine), "a") == (NAT,)
    few = WatchDetail(half_open=(HalfOpen(NAT, 40_001),), connections=(Connection(3, NAT, 40_009),))
    assert seen_from(case(), round_of(few, *mine), "a") == (NAT,)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(valid=True, agent="nonce-b", seen_address=NAT), (NAT,)),
        (Reply(valid=False, agent="nonce-b", seen_address=NAT), ()),
        (Reply(valid=True, agent="nonce-x", seen_address=NAT), ()),
        (Reply(valid=True, agent="nonce-b", seen_address="nowhere"), ()),
    ],
)
def test_the_word_of_our_responder(reply, expected):
    assert seen_from(case(), round_of(WatchDetail(), ShotSeen(replies=(reply,))), "a") == expected


def test_how_a_third_sees_it_is_no_address_for_the_other_end():
    """Behind one NAT both may be: from outside they have one address, from each other's side none of it."""
    third = End(EndRole.THIRD, info("c", "192.0.2.2"), armed=WatchDetail(agent="nonce-c"))
    reply = Reply(valid=True, agent="nonce-c", seen_address=NAT)
    done = RoundDone((StepDone(replace(step(1), to="c"), (shots(ShotSeen(replies=(reply,))),)),))
    assert seen_from(case(*case().ends, third), done, "a") == ()
    assert seen_from(case(*case().ends, third), done, "c") == ()


def test_an_address_is_learned_once():
    end = with_seen(End(EndRole.SOURCE, A, ("10.1.0.2",)), (NAT,), case().asked)
    assert (end.addresses, end.reflexive) == (("10.1.0.2", NAT), (NAT,))
    assert with_seen(end, (NAT,), case().asked) is end


def test_where_an_address_was_named_it_stays_the_only_one():
    asked = replace(case().asked, address="203.0.113.9")
    end = with_seen(End(EndRole.TARGET, B, ("203.0.113.9",)), (NAT,), asked)
    assert (end.addresses, end.reflexive) == (("203.0.113.9",), (NAT,))
