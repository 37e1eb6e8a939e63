"""What a trace says hop by hop: marks, and how two directions are laid side by side."""

from probemesh_controller.tracejoin import join
from probemesh_shared.hopview import Mark, hop_views, last_answered, loop_of
from probemesh_shared.model import HopAnswer, IcmpError, Measurement, TraceDetail, TraceHop
from probemesh_shared.words import Family, Kind, Outcome, Transport

TARGET = "203.0.113.2"


def ran_out(address: str, ttl: int = 64, **more) -> HopAnswer:
    return HopAnswer(address, 1.0, IcmpError(Family.IPV4, 11, 0, address), ttl, **more)


def target(address: str = TARGET, how: str = "syn-ack") -> HopAnswer:
    return HopAnswer(address, 2.0, how=how)


def hop(number: int, *answers: HopAnswer, sent: int = 1) -> TraceHop:
    return TraceHop(number, sent, answers)


def detail(*hops: TraceHop, **more) -> TraceDetail:
    return TraceDetail(Transport.TCP, hops, **more)


def marks(*hops: TraceHop, **more) -> list[tuple[Mark, ...]]:
    return [view.marks for view in hop_views(detail(*hops, **more), TARGET)]


def test_a_plain_path_has_the_target_and_nothing_odd() -> None:
    told = marks(hop(1, ran_out("10.0.0.1", 64)), hop(2, ran_out("10.0.1.1", 63)), hop(3, target()))
    assert told == [(), (), (Mark.TARGET,)]


def test_a_silent_hop_is_silent_and_nothing_else() -> None:
    (view,) = hop_views(detail(hop(1, sent=3)), TARGET)
    assert (view.marks, view.lost, view.loss_ratio, view.note) == ((Mark.SILENT,), 3, 1.0, "")


def test_fewer_answers_than_from_hops_behind_it_are_a_limit_and_no_loss() -> None:
    told = marks(hop(1, ran_out("10.0.0.1"), sent=3), hop(2, *[target()] * 3, sent=3))
    assert Mark.HELD_BACK in told[0]
    assert Mark.HELD_BACK not in marks(hop(1, ran_out("10.0.0.1"), sent=3), hop(2, target(), sent=3))[0]


def test_an_address_that_comes_again_is_a_loop() -> None:
    names = ["a", "b", "c", "b", "c", "b"]
    hops = [hop(n, ran_out(f"10.0.0.{ord(name)}", 65 - n)) for n, name in enumerate(names, 1)]
    assert [Mark.LOOP in one for one in marks(*hops)] == [False, False, False, True, True, True]
    assert loop_of(detail(*hops)) == ("10.0.0.99", "10.0.0.98")
    assert loop_of(detail(*hops[:3])) == ()


def test_the_dialled_address_as_a_router_is_destination_nat() -> None:
    assert Mark.DESTINATION_NAT in marks(hop(1, ran_out(TARGET)), hop(2, target()))[0]


def test_who_stands_in_is_told_at_the_target_s_hop() -> None:
    told = marks(hop(1, ran_out("10.0.0.1")), hop(2, target()), distance=2, stand_in="10.0.1.1")
    assert told[1] == (Mark.TARGET, Mark.STAND_IN)


def test_another_mss_is_told_once_and_from_the_first_hop_by_what_was_sent() -> None:
    told = marks(
        hop(1, ran_out("10.0.0.1", quoted_mss=1460)),
        hop(2, ran_out("10.0.1.1", 63, quoted_mss=1300, changed=("mss",))),
        hop(3, ran_out("10.0.2.1", 62, quoted_mss=1300, changed=("mss",))),
    )
    assert told == [(), (Mark.MSS_CHANGED,), ()]
    first = marks(hop(1, ran_out("10.0.0.1", quoted_mss=1300, changed=("mss",))))
    assert first == [(Mark.MSS_CHANGED,)]


def test_a_rewritten_quotation_is_told_where_it_begins() -> None:
    told = marks(
        hop(1, ran_out("10.0.0.1")),
        hop(2, ran_out("10.0.1.1", 63, changed=("checksum",))),
        hop(3, ran_out("10.0.2.1", 62, changed=("checksum",))),
    )
    assert told == [(), (Mark.REWRITTEN,), ()]


def test_a_refusal_names_its_sender_and_is_no_hop_that_passed_it_on() -> None:
    refusal = HopAnswer("10.0.1.1", 1.0, IcmpError(Family.IPV4, 3, 13, "10.0.1.1"), 63)
    told = detail(hop(1, ran_out("10.0.0.1")), hop(2, refusal))
    assert hop_views(told, TARGET)[1].marks == (Mark.REFUSES,)
    last = last_answered(told)
    assert last is not None and last.hop == 1


def test_a_way_back_that_is_much_longer_is_told() -> None:
    assert Mark.RETURN_DIFFERS in marks(hop(1, ran_out("10.0.0.1", 60)))[0]
    assert Mark.RETURN_DIFFERS not in marks(hop(1, ran_out("10.0.0.1", 63)))[0]


# --- side by side -----------------------------------------------------------------------------------------


def row(*names: str | None, address: str = TARGET, **more) -> Measurement:
    """A trace whose hops are named, the last one the target itself."""
    hops = [hop(n, *([ran_out(name)] if name else [])) for n, name in enumerate(names, 1)]
    hops.append(hop(len(hops) + 1, target(address)))
    told = detail(*hops, reached=True, distance=len(hops), **more)
    return Measurement(Kind.TRACE, 0, "t", address, 1, Outcome.OK, 0, detail=told)


def test_the_same_links_both_ways_are_the_same_way() -> None:
    there = row("10.1.0.2", "10.2.0.2")
    back = row("10.3.0.1", "10.2.0.1", address="10.1.0.1")
    (joined,) = join([there], [back])
    assert joined.asymmetric is False
    assert [station.same_link for station in joined.stations] == [None, None, True, None]


def test_equal_lengths_over_other_links_are_not_proof() -> None:
    (joined,) = join([row("10.1.0.2", "10.2.0.2")], [row("10.3.0.1", "172.16.0.1", address="10.1.0.1")])
    assert joined.asymmetric is None and "other links" in joined.text


def test_a_silent_hop_leaves_it_open() -> None:
    (joined,) = join([row("10.1.0.2", None)], [row("10.3.0.1", "10.2.0.1", address="10.1.0.1")])
    assert joined.asymmetric is None and joined.stations


def test_lengths_that_differ_are_proof() -> None:
    (joined,) = join([row("10.1.0.2", "10.2.0.2")], [row("10.3.0.1", address="10.1.0.1")])
    assert joined.asymmetric is True and len(joined.stations) == 4


def test_what_was_answered_in_the_target_s_place_is_no_length() -> None:
    there = row("10.1.0.2", stand_in="10.2.0.2")
    (joined,) = join([there], [row("10.3.0.1", address="10.1.0.1")])
    assert joined.asymmetric is None and joined.stations == ()


def test_families_are_not_mixed() -> None:
    assert join([row("10.1.0.2")], [row("2001:db8::1", address="2001:db8:1::1")]) == ()
