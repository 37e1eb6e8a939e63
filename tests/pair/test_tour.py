"""Pairs that connect, on a simulated path: what is done to their packets is named, and nothing else."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from probemesh_controller.pair.case import EndRole
from probemesh_shared.model import Diagnosis
from probemesh_shared.session.frames import ADVERTISED
from probemesh_shared.words import Confidence, Direction, Family, Transport, Verdict

from tests.pair.simnet import (
    OVERFLOWS,
    PORT,
    Bucket,
    Net,
    Packet,
    Rule,
    Sim,
    diagnosed,
    dropping,
    to_b,
    verdicts,
)

TCP, UDP, ICMP = Transport.TCP, Transport.UDP, Transport.ICMP
BOTH = pytest.mark.parametrize("transport", [TCP, UDP])
ALL = pytest.mark.parametrize("transport", list(Transport))
SEEDS = range(3)


def finding(diagnosis: Diagnosis, verdict: Verdict, direction: Direction = Direction.FORWARD):
    found = [one for one in diagnosis.findings if (one.verdict, one.direction) == (verdict, direction)]
    assert found, f"{verdict} is not among {[(one.verdict, one.direction) for one in diagnosis.findings]}"
    return found[0]


def forward_only(diagnosis: Diagnosis, verdict: Verdict) -> None:
    """Certain one way, nothing the other way."""
    assert (diagnosis.forward.verdict, diagnosis.forward.confidence) == (verdict, Confidence.CERTAIN)
    assert diagnosis.forward.service_verdict is Verdict.REACHABLE
    assert diagnosis.reverse.verdict is Verdict.REACHABLE
    one = finding(diagnosis, verdict)
    assert one.evidence and all(each.supports for each in one.evidence)


# --- nothing is wrong -------------------------------------------------------------------------------------


@ALL
def test_a_healthy_pair_is_toured_in_two_rounds_and_nothing_is_found(transport: Transport) -> None:
    sim = Sim(Net(), transport)
    told = sim.run()
    assert (told.forward.verdict, told.reverse.verdict) == (Verdict.REACHABLE, Verdict.REACHABLE)
    assert not told.findings
    assert len(sim.case.rounds) == 2
    assert told.elapsed_s < 1.0
    assert told.packets < 900


@ALL
def test_loss_of_one_in_fifty_each_way_is_nothing_but_loss(transport: Transport) -> None:
    for seed in range(8):
        told = diagnosed(Net(loss=0.02, seed=seed), transport)
        for one in (told.forward, told.reverse):
            assert one.verdict in (Verdict.REACHABLE, Verdict.LOSS), seed
        assert verdicts(told) <= {"loss"}, seed
        assert told.elapsed_s <= 8.0


# --- chance and rates -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_loss_is_counted_each_way_from_what_the_far_host_counted(seed: int) -> None:
    chosen = random.Random(seed)

    def rule(packet: Packet) -> str | None:
        share = 0.2 if packet.to == "b" else 0.1
        return "drop" if packet.transport is UDP and chosen.random() < share else None

    told = diagnosed(Net((rule,), seed=seed), UDP)
    assert (told.forward.verdict, told.reverse.verdict) == (Verdict.LOSS, Verdict.LOSS)
    summary = finding(told, Verdict.LOSS).summary
    assert "on the way there" in summary and "on the way back" in summary


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_a_limit_of_rates_is_told_from_loss(transport: Transport, seed: int) -> None:
    def counts(packet: Packet) -> bool:
        return packet.syn or packet.transport is UDP

    told = diagnosed(Net((to_b(Bucket(10, 5, counts)),), seed=seed), transport)
    forward_only(told, Verdict.RATE_LIMIT)
    assert verdicts(told) == {"rate-limit"}


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_source_ports_that_always_fail_are_found_and_the_hop_named(transport: Transport, seed: int) -> None:
    rule = to_b(dropping(lambda packet: packet.source_port % 16 == 3))
    told = diagnosed(Net((rule,), seed=seed), transport)
    forward_only(told, Verdict.FLOW_SELECTIVE)
    assert verdicts(told) == {"flow-selective"}
    place = finding(told, Verdict.FLOW_SELECTIVE).place
    assert place is not None and (place.hop, place.address) == (1, "10.1.0.1")


@BOTH
@pytest.mark.parametrize("seed", range(6))
def test_a_bundle_is_one_though_the_first_flows_all_take_the_bad_link(
    transport: Transport, seed: int
) -> None:
    first: set[int] = set()

    def bad(packet: Packet) -> bool:
        if len(first) < 3 and (packet.to, packet.port) == ("b", PORT["b"]):
            first.add(packet.source_port)
        return packet.transport is transport and (packet.source_port in first or packet.source_port % 2 == 1)

    told = diagnosed(Net((to_b(dropping(bad)),), seed=seed), transport)
    assert finding(told, Verdict.FLOW_SELECTIVE).confidence is Confidence.CERTAIN
    assert verdicts(told) == {"flow-selective"}


def test_a_bad_link_is_found_beside_loss() -> None:
    rule = to_b(dropping(lambda packet: packet.source_port % 8 == 3))
    told = diagnosed(Net((rule,), loss=0.02, seed=5), TCP)
    assert finding(told, Verdict.FLOW_SELECTIVE).confidence is Confidence.CERTAIN
    assert verdicts(told) <= {"flow-selective", "loss"}


@pytest.mark.parametrize("most", [4, 8, 10])
def test_a_limit_of_connections_is_told_from_one_of_rates(most: int) -> None:
    net = Net()

    def rule(packet: Packet) -> str | None:
        if not packet.syn or (packet.to, packet.port) != ("b", PORT["b"]):
            return None
        return "drop" if net.open_connections("b", PORT["b"], packet.at_ms) >= most else None

    net.rules = (rule,)
    told = diagnosed(net, TCP)
    forward_only(told, Verdict.CONNECTION_LIMIT)
    assert verdicts(told) == {"connection-limit"}


@pytest.mark.parametrize("room", [3, 5])
def test_connections_for_which_the_service_has_no_room_are_not_lost_on_the_way(room: int) -> None:
    """A small server's queue: so many wait in it, for 50 ms each. Its host counts the rest."""
    sim, waiting = Sim(Net(), TCP), list[float]()

    def rule(packet: Packet) -> str | None:
        if not packet.syn or (packet.to, packet.port) != ("b", PORT["b"]) or packet.ttl < 64:
            return None
        if sum(at > packet.at_ms - 50.0 for at in waiting) >= room:
            sim.hosts["b"].counts[OVERFLOWS] += 1
            return "drop"
        waiting.append(packet.at_ms)
        return None

    sim.net.rules = (rule,)
    told = sim.run()
    assert (told.forward.verdict, told.forward.confidence) == (Verdict.REACHABLE, Confidence.CERTAIN)
    assert not told.findings
    assert told.elapsed_s < 4.0


# --- sizes ------------------------------------------------------------------------------------------------


def narrow(packet: Packet) -> bool:
    """A link of 1,400 bytes whose router says nothing."""
    return packet.to == "b" and packet.dont_fragment and packet.size > 1400


@ALL
def test_an_mtu_black_hole_is_found_with_its_size_and_hop(transport: Transport) -> None:
    told = diagnosed(Net((dropping(narrow),)), transport)
    forward_only(told, Verdict.MTU_BLACK_HOLE)
    one = finding(told, Verdict.MTU_BLACK_HOLE)
    assert "1400 bytes arrive, of 1460 they do not" in one.summary
    assert one.place is not None and one.place.hop == 1
    assert verdicts(told) == {"mtu-black-hole"}


def test_what_drops_large_packets_whole_or_not_is_no_black_hole() -> None:
    told = diagnosed(Net((dropping(lambda packet: packet.to == "b" and packet.size > 1000),)), UDP)
    assert (told.forward.verdict, told.forward.confidence) == (Verdict.SIZE_FILTER, Confidence.LIKELY)


def test_dropped_fragments_are_found_both_ways() -> None:
    told = diagnosed(Net((dropping(lambda packet: packet.pieces > 1),)), UDP)
    assert (told.forward.verdict, told.reverse.verdict) == (Verdict.FRAGMENT_DROP, Verdict.FRAGMENT_DROP)
    assert verdicts(told) == {"fragment-drop"}


# --- ping -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answers", [False, True])
@BOTH
def test_a_filtered_ping_is_a_finding_and_breaks_nothing(transport: Transport, answers: bool) -> None:
    rule = dropping(lambda packet: packet.transport is ICMP and packet.to == "b" and not answers)
    back = dropping(
        lambda packet: packet.transport is ICMP and packet.answer and answers and packet.to == "a"
    )
    told = diagnosed(Net((rule, back)), transport)
    assert (told.forward.verdict, told.reverse.verdict)[0] is Verdict.REACHABLE
    summary = finding(told, Verdict.ICMP_ECHO_FILTERED).summary
    assert (
        "the requests arrive, the replies are lost" if answers else "the requests do not arrive"
    ) in summary


# --- who stands between -----------------------------------------------------------------------------------


def test_a_splitter_connects_where_the_target_is_not() -> None:
    told = diagnosed(Net(answers_at={PORT["b"]: 1}), TCP)
    forward_only(told, Verdict.TCP_SPLITTER)
    place = finding(told, Verdict.TCP_SPLITTER).place
    assert place is not None and place.hop == 1


def test_nobody_in_between_is_claimed_where_hops_tell_nothing() -> None:
    assert not verdicts(diagnosed(Net(), TCP))


def test_a_syn_that_arrives_otherwise_is_a_finding() -> None:
    told = diagnosed(Net(syn_mss=1360, syn_dscp=0, syn_options=("mss", "nop", "wscale")), TCP)
    assert told.forward.verdict is Verdict.REACHABLE
    summary = finding(told, Verdict.HEADER_REWRITE).summary
    assert "MSS 1360 in place of 1460" in summary
    assert "DSCP 0 in place of 10" in summary
    assert "without the options sack and ts" in summary


def test_a_translated_source_is_a_finding() -> None:
    told = diagnosed(Net(source={"a": "198.51.100.1"}), UDP)
    assert told.forward.verdict is Verdict.REACHABLE
    assert "198.51.100.1" in finding(told, Verdict.SOURCE_NAT).summary


def test_who_answers_queries_that_cannot_arrive_is_found() -> None:
    told = diagnosed(Net(answers_at={53: 1}), UDP, port=53)
    assert finding(told, Verdict.DNS_INTERCEPT).confidence is Confidence.CERTAIN
    assert "dns-intercept" not in verdicts(diagnosed(Net(), UDP, port=53))


def test_routers_that_say_nothing_are_a_finding_and_never_certain() -> None:
    told = diagnosed(Net(mute=frozenset({2})), TCP)
    assert told.forward.verdict is Verdict.REACHABLE
    one = finding(told, Verdict.ICMP_ERRORS_FILTERED)
    assert one.confidence is Confidence.LIKELY and "(hop 2)" in one.summary


def test_connections_that_are_reset_though_the_far_end_has_them_were_forgotten_on_the_way() -> None:
    told = diagnosed(Net(forgets=True), TCP)
    assert told.forward.verdict is Verdict.STATE_LOST
    assert finding(told, Verdict.STATE_LOST).evidence


@pytest.mark.parametrize(
    ("dead", "verdict"),
    [("203.0.113.3", Verdict.ADDRESS_BROKEN), ("2001:db8:3::2", Verdict.FAMILY_BROKEN)],
)
def test_an_address_that_was_configured_and_does_not_answer_is_found(dead: str, verdict: Verdict) -> None:
    net = Net((dropping(lambda packet: packet.address == dead),))
    told = with_addresses(net, ("203.0.113.2", "203.0.113.3", "2001:db8:3::2")).run()
    found = finding(told, verdict)
    assert dead in found.summary and found.next_test is not None
    assert found.next_test.endswith(f"meshctl diagnose a b --tcp 5001 --reverse-port 7001 --address {dead}")
    assert verdicts(told) == {verdict.value}


def test_the_only_address_of_a_family_is_the_family() -> None:
    dead = "2001:db8:3::2"
    net = Net((dropping(lambda packet: packet.address == dead),))
    told = with_addresses(net, ("203.0.113.2", dead)).run()
    assert verdicts(told) == {Verdict.FAMILY_BROKEN.value}


@pytest.mark.parametrize("other", ["203.0.113.3", "2001:db8:3::2"])
def test_addresses_that_answer_are_asked_once(other: str) -> None:
    sim = with_addresses(Net(), ("203.0.113.2", other))
    assert not sim.run().findings
    asked = [one for done in sim.case.rounds for one in done.steps if one.step.address == other]
    assert len(asked) == 1


def with_addresses(net: Net, addresses: tuple[str, ...]) -> Sim:
    """B says that it is to be dialled by these."""
    sim = Sim(net, TCP, family=Family.BOTH)
    ends = tuple(
        replace(
            end,
            addresses=addresses,
            armed=replace(end.armed, addresses=addresses),
            info=replace(end.info, capabilities=(*end.info.capabilities, ADVERTISED)),
        )
        if end.role is EndRole.TARGET and end.armed is not None
        else end
        for end in sim.case.ends
    )
    sim.case = replace(sim.case, ends=ends)
    return sim


# --- what is said -----------------------------------------------------------------------------------------


def test_a_reset_for_what_is_said_is_told_from_the_service() -> None:
    def rule(packet: Packet) -> str | None:
        return "reset" if packet.payload == b"EVL!" else None

    told = diagnosed(Net((to_b(rule),)), TCP, payload=b"EVL!")
    forward_only(told, Verdict.PAYLOAD_RESET)
    harmless = diagnosed(Net((to_b(rule),)), TCP, payload=b"hello")
    assert not harmless.findings


def test_a_reset_of_whatever_says_anything_is_not_for_what_it_says() -> None:
    def rule(packet: Packet) -> str | None:
        return "reset" if packet.payload else None

    told = diagnosed(Net((to_b(rule),)), TCP, payload=b"hello").forward
    assert (told.verdict, told.confidence) == (Verdict.UNDETERMINED, Confidence.POSSIBLE)
    assert set(told.alternatives) == {Verdict.PAYLOAD_RESET, Verdict.STATE_LOST}


def test_nothing_is_said_to_a_foreign_service_unasked() -> None:
    sim = Sim(Net(), TCP)
    sim.run()
    for done in sim.case.rounds:
        for one in done.steps:
            if one.step.port == PORT["b"] and one.step.spec.token is None:
                assert all(shot.send is None for shot in one.step.spec.shots), one.step.purpose


# --- what it costs ----------------------------------------------------------------------------------------


def _faults() -> list[tuple[str, Callable[[], Rule], Transport]]:
    return [
        ("bundle", lambda: to_b(dropping(lambda packet: packet.source_port % 16 == 3)), TCP),
        ("rate", lambda: to_b(Bucket(10, 5, lambda packet: packet.syn)), TCP),
        ("size", lambda: dropping(narrow), TCP),
        ("fragments", lambda: dropping(lambda packet: packet.pieces > 1), UDP),
    ]


@pytest.mark.parametrize(("name", "rule", "transport"), _faults(), ids=[name for name, *_ in _faults()])
def test_a_fault_is_found_in_eight_seconds(name: str, rule: Callable[[], Rule], transport: Transport) -> None:
    assert diagnosed(Net((rule(),)), transport).elapsed_s <= 8.0


@ALL
def test_no_second_sees_more_than_a_hundred_connections_or_five_hundred_packets(transport: Transport) -> None:
    """To one address, of one round: the limits of everything that the mesh sends to one target."""
    rule = to_b(dropping(lambda packet: packet.source_port % 8 == 3))
    for net in (Net(), Net((rule,), loss=0.02), Net((to_b(Bucket(10, 5)),))):
        sim = Sim(net, transport)
        sim.run()
        for done in sim.case.rounds:
            for address in {one.step.address for one in done.steps}:
                for kinds, most in (((TCP,), 100), ((UDP, ICMP), 500)):
                    at = sorted(
                        shot.at_ms
                        for one in done.steps
                        if one.step.address == address and getattr(one.step.spec, "transport", None) in kinds
                        for shot in getattr(one.step.spec, "shots", ())
                    )
                    assert all(sum(a <= b < a + 1000 for b in at) <= most for a in at)


def test_without_the_far_ends_account_nothing_is_claimed_of_sizes_by_absence() -> None:
    """Replies alone then tell what arrived."""
    sim = Sim(Net((dropping(narrow),)), UDP)
    ends = tuple(
        replace(end, armed=None, why_not="it is old") if end.role is EndRole.TARGET else end
        for end in sim.case.ends
    )
    sim.case = replace(sim.case, ends=ends)
    told = sim.run()
    assert "mtu-black-hole" not in verdicts(told)
