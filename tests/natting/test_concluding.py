"""What is concluded where less was seen, or something else than a NAT stands there."""

from dataclasses import replace

from probemesh_controller.natting import around
from probemesh_controller.natting.behaviour import behaviour
from probemesh_controller.natting.filtering import filtering
from probemesh_controller.natting.mapping import clash_rule, mapping
from probemesh_controller.natting.seen import (
    Asked,
    Clash,
    Endpoint,
    Knock,
    Knocker,
    Rung,
    Seen,
    Sighting,
    Silence,
)
from probemesh_shared.nat import RULES, NatRule, Ruling

EI, AD, APD = RULES
B1, B2, C1 = Endpoint("203.0.113.2", 6001), Endpoint("203.0.113.2", 6002), Endpoint("192.0.2.2", 6001)
OUT = "198.51.100.1"
ASKED = (Asked("b", (B1, B2)), Asked("c", (C1,)))


def sighting(
    to: Endpoint, address: str, port: int, socket: int = 1, local: int = 5000, **more: int
) -> Sighting:
    return Sighting(socket, local, "c" if to == C1 else "b", to, Endpoint(address, port), **more)


def seen(*sightings: Sighting, **more: object) -> Seen:
    base = Seen("a", own=("10.1.0.2",), reflectors=ASKED, sent=9, sightings=sightings)
    return replace(base, **more)  # type: ignore[arg-type]


def knock(knocker: Knocker, arrived: int, source: str = B1.address, socket: int = 1) -> Knock:
    return Knock(socket, knocker, "c" if source == C1.address else "b", source, 3, arrived)


def test_no_reflector_is_said_and_nothing_is_excluded() -> None:
    found = behaviour(Seen("a"))
    assert found.behind_nat is None
    assert found.mapping == found.filtering == Ruling(NatRule.UNDETERMINED, RULES)
    assert "another agent" in found.missing[0]


def test_udp_that_is_never_heard() -> None:
    found = behaviour(seen())
    assert found.behind_nat is None
    assert "none was heard" in found.missing[0]


def test_its_own_address_seen_beyond_a_router_is_no_nat() -> None:
    found = behaviour(
        seen(
            sighting(B1, "10.1.0.2", 5000, ttl=62),
            sighting(C1, "10.1.0.2", 5000, ttl=62),
            knocks=(knock(Knocker.OTHER_PORT, 0), knock(Knocker.OTHER_ADDRESS, 0, C1.address)),
            heard=frozenset({B1, C1}),
        )
    )
    assert found.behind_nat is False
    assert found.mapping == Ruling.of(EI)
    assert found.filtering == Ruling.of(APD)
    assert found.firewall_only is True
    assert found.layers == 0
    assert found.mapped_addresses == ()


def test_its_own_address_without_a_firewall() -> None:
    found = behaviour(
        seen(
            sighting(B1, "10.1.0.2", 5000, ttl=62),
            sighting(C1, "10.1.0.2", 5000, ttl=62),
            knocks=(knock(Knocker.OTHER_ADDRESS, 3, C1.address),),
        )
    )
    assert (found.behind_nat, found.firewall_only) == (False, False)
    assert found.filtering == Ruling.of(EI)


def test_a_reflector_on_the_same_link_says_nothing() -> None:
    found = behaviour(seen(sighting(B1, "10.1.0.2", 5000, ttl=64)))
    assert found.behind_nat is None
    assert "beyond its own link" in found.missing[0]


def test_a_neighbour_does_not_hide_the_nat() -> None:
    """The neighbour sees the inside address; it counts for nothing where another sees the outside one."""
    found = behaviour(
        seen(
            sighting(B1, "10.1.0.2", 5000, ttl=64),
            sighting(C1, OUT, 4001),
            sighting(C1, OUT, 4002, socket=2, local=5001),
            knocks=(knock(Knocker.OTHER_ADDRESS, 3), knock(Knocker.OTHER_PORT, 0, C1.address)),
            heard=frozenset({B1, C1}),
        )
    )
    assert found.filtering == Ruling.of(APD), "the neighbour's knock passed no NAT"
    assert found.behind_nat is True
    assert found.mapped_addresses == (OUT,)
    assert [one.outside for one in found.reflectors] == [False, True]


def test_a_public_address_of_its_own_needs_no_router_in_between() -> None:
    found = behaviour(seen(sighting(B1, "198.18.0.7", 5000, ttl=64), own=("198.18.0.7",)))
    assert found.behind_nat is False


def test_a_port_rewritten_on_the_host_itself_is_a_nat() -> None:
    assert behaviour(seen(sighting(B1, "10.1.0.2", 4999, ttl=62))).behind_nat is True


def test_a_mapping_that_changed_under_way_proves_nothing() -> None:
    judged = mapping(
        [sighting(B1, OUT, 1, order=1), sighting(B1, OUT, 2, order=2), sighting(C1, OUT, 3, order=3)]
    )
    assert judged.ruling == Ruling()
    assert any("changed under way" in note for note in judged.notes)


def test_one_difference_seen_once_is_not_believed() -> None:
    pair = [sighting(B1, OUT, 4000, order=1), sighting(B2, OUT, 4001, order=2)]
    assert mapping(pair).ruling.rule is NatRule.UNDETERMINED
    assert mapping([*pair, sighting(B1, OUT, 4000, order=3)]).ruling == Ruling.of(APD)


def test_ports_that_are_always_as_far_away_prove_as_little_as_kept_ones() -> None:
    far = [
        sighting(to, OUT, local + 1000, socket=local, local=local)
        for local in (5000, 5100, 5200)
        for to in (B1, B2, C1)
    ]
    assert mapping(far).ruling == Ruling.of(EI, APD)


def test_a_pool_by_destination_that_keeps_ports_is_a_set() -> None:
    told = [sighting(B1, OUT, 5000), sighting(B2, OUT, 5000), sighting(C1, "198.51.100.9", 5000)]
    assert mapping(told).ruling == Ruling.of(AD, APD)


def test_clashes() -> None:
    first = (sighting(B1, OUT, 5000),)

    def second(beside: int, there: int, away: int) -> Clash:
        ports = zip((B2, B1, C1), (beside, there, away), strict=True)
        return Clash(first, tuple(sighting(to, OUT, port) for to, port in ports))

    assert clash_rule(second(5000, 4000, 5000)) is APD
    assert clash_rule(second(4000, 4000, 4000)) is EI
    assert clash_rule(second(4000, 4000, 5000)) is AD
    assert clash_rule(second(5000, 5000, 5000)) is None, "nothing clashed"
    assert clash_rule(Clash((), ())) is None
    assert clash_rule(Clash((sighting(B1, OUT, 4444),), second(1, 2, 3).second)) is None, "port not kept"


def test_silence_of_who_was_never_heard_does_not_count() -> None:
    knocks = (knock(Knocker.OTHER_PORT, 3), knock(Knocker.OTHER_ADDRESS, 0, C1.address))
    unheard = filtering(knocks, {B1})
    assert unheard.ruling == Ruling.of(EI, AD)
    assert any("says nothing" in text for text in unheard.missing)
    assert filtering(knocks, {B1, C1}).ruling == Ruling.of(AD)


def test_an_agent_that_cannot_be_reached_proves_what_it_gets_in() -> None:
    def found(came_from: str) -> Ruling:
        unreached = Knock(1, Knocker.OTHER_ADDRESS, "c", C1.address, 3, 3, (came_from,))
        told = seen(
            sighting(B1, OUT, 4000),
            knocks=(knock(Knocker.OTHER_PORT, 0), unreached),
            heard=frozenset({B1}),
        )
        return behaviour(told).filtering

    assert found("192.0.2.66") == Ruling.of(EI), "of a NAT of its own"
    assert found(OUT) == Ruling.of(APD), "by hairpin"
    assert found("10.1.0.9") == Ruling.of(APD), "a neighbour"


def test_addresses_that_are_let_in_by_name_are_no_behaviour() -> None:
    knocks = [
        knock(Knocker.OTHER_ADDRESS, arrived, source, socket)
        for socket in (1, 2, 3)
        for source, arrived in ((C1.address, 3), ("192.0.2.9", 0))
    ]
    judged = filtering(knocks, {B1, C1, Endpoint("192.0.2.9", 7)})
    assert judged.ruling == Ruling()
    assert "192.0.2.2 always come in, those of 192.0.2.9 never" in judged.notes[-1]
    assert filtering(knocks, {B1, C1}).ruling == Ruling.of(EI), "nobody knows that .9 can come in at all"


def test_filtering_where_not_even_answers_come_in() -> None:
    judged = filtering((knock(Knocker.OTHER_PORT, 0),), ())
    assert judged.ruling == Ruling()
    assert "not even what was asked for" in judged.missing[0]


def test_layers_by_the_ladder_to_its_own_address() -> None:
    one = around.layers((Rung(OUT, 1, OUT, True), Rung(OUT, 2, OUT, True)), True)
    assert (one.count, one.most) == (1, 1)
    two = around.layers((Rung(OUT, 1, "10.1.0.1"), Rung(OUT, 2, OUT, True)), True)
    assert (two.count, two.least, two.most) == (None, 1, 2)
    assert "10.1.0.1" in two.note
    silent = around.layers((Rung(OUT, 1), Rung(OUT, 2)), True)
    assert (silent.count, silent.most) == (None, None)
    assert "drops" in silent.missing


def test_a_reflector_between_two_nats_makes_certain_of_both() -> None:
    middle = "10.1.2.2"
    found = behaviour(
        seen(
            sighting(B1, OUT, 5000),
            sighting(C1, middle, 5000),
            ladder=(Rung(OUT, 1, "192.168.7.1"), Rung(OUT, 2, OUT, True), Rung(middle, 1, middle, True)),
            knocks=(knock(Knocker.OTHER_ADDRESS, 3, C1.address), knock(Knocker.OTHER_PORT, 0)),
            heard=frozenset({B1, C1}),
        )
    )
    assert (found.layers, found.layers_least, found.layers_most) == (2, 2, 2)
    assert found.mapped_addresses == (OUT,)
    assert found.filtering == Ruling.of(APD), "who stands between passed one of the two only"
    one = around.layers((Rung(OUT, 1, OUT, True), Rung(middle, 1, middle, True)), True)
    assert one.count == 1, "one NAT with two outside addresses"


def test_shared_address_space_is_noticed() -> None:
    rungs = (Rung(OUT, 1, "192.168.1.1"), Rung(OUT, 2, "100.64.0.1"), Rung(OUT, 3, OUT, True))
    met = seen(sighting(B1, OUT, 4000), ladder=rungs)
    assert behaviour(met).cgn is True
    assert behaviour(seen(sighting(B1, "100.64.9.9", 4000))).cgn is True
    assert behaviour(seen(sighting(B1, OUT, 4000))).cgn is None


def test_lifetime_lies_between_what_lived_and_what_did_not() -> None:
    assert around.lifetime((Silence(10, True), Silence(30, True), Silence(60, False))) == (30, 60)
    assert around.lifetime((Silence(10, False),)) == (None, 10)
    assert around.lifetime((Silence(20, False), Silence(40, True))) == (40, None), "that one was lost"
    late = (Silence(20, True, 1.5), Silence(30, False, 1.5))
    assert around.lifetime(late) == (20, 31.5), "at least, and at most"
    assert around.lifetime(()) == (None, None)


def test_hops_by_ttl() -> None:
    assert [around.hops(ttl) for ttl in (64, 62, 128, 120, 255, 250, None)] == [0, 2, 0, 8, 0, 5, None]
