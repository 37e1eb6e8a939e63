"""Every behaviour of RFC 4787, simulated: what is concluded contains the truth, and is the truth alone
where that can be known."""

import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probemesh_controller.natting.behaviour import behaviour
from probemesh_shared.nat import RULES, NatRule, Pooling, Ruling

from tests.natting.simulator import AD, APD, EI, Nat, Reflectors, inquire

TWO = Reflectors({"b": ("203.0.113.2",), "c": ("192.0.2.2",)})
ONE_OF_TWO = Reflectors({"b": ("203.0.113.2", "203.0.113.3")})
ONE = Reflectors({"b": ("203.0.113.2",)})
ONE_PORT = Reflectors({"b": ("203.0.113.2",)}, (6001,))
TWO_ONE_PORT = Reflectors({"b": ("203.0.113.2",), "c": ("192.0.2.2",)}, (6001,))

ALL = list(product(RULES, RULES))


@pytest.mark.parametrize(("mapping", "filtering"), ALL)
@pytest.mark.parametrize("reflectors", [TWO, ONE_OF_TWO], ids=["two-agents", "two-addresses"])
def test_without_kept_ports_each_is_told(
    mapping: NatRule, filtering: NatRule, reflectors: Reflectors
) -> None:
    found = behaviour(inquire(Nat(mapping, filtering, preserve=False), reflectors))
    assert found.behind_nat is True
    assert found.mapping == Ruling.of(mapping)
    assert found.filtering == Ruling.of(filtering)
    assert found.port_preservation is False
    assert found.mapped_addresses == ("198.51.100.1",)


@pytest.mark.parametrize(("mapping", "filtering"), ALL)
def test_with_kept_ports_all_look_alike(mapping: NatRule, filtering: NatRule) -> None:
    """DIAGNOSIS §5: that is a set, unless a second agent wants the same port."""
    found = behaviour(inquire(Nat(mapping, filtering), TWO))
    assert found.mapping == Ruling.of(EI, APD)
    assert found.filtering == Ruling.of(filtering)
    assert found.port_preservation is True
    assert any("second agent" in text for text in found.missing)


@pytest.mark.parametrize("mapping", RULES)
@pytest.mark.parametrize("reuse", [False, True])
def test_a_second_agent_with_the_same_port_tells_them_apart(mapping: NatRule, reuse: bool) -> None:
    found = behaviour(inquire(Nat(mapping, APD, reuse=reuse), TWO, neighbour=True))
    assert found.mapping == Ruling.of(mapping)


@pytest.mark.parametrize(("mapping", "filtering"), ALL)
def test_one_address_cannot_tell_by_address(mapping: NatRule, filtering: NatRule) -> None:
    found = behaviour(inquire(Nat(mapping, filtering, preserve=False), ONE))
    assert found.mapping == (Ruling.of(APD) if mapping is APD else Ruling.of(EI, AD))
    assert found.filtering == (Ruling.of(APD) if filtering is APD else Ruling.of(EI, AD))
    assert any("second reflector address" in text for text in found.missing) is (mapping is not APD)


@pytest.mark.parametrize(("mapping", "filtering"), ALL)
def test_one_port_each_cannot_tell_by_port(mapping: NatRule, filtering: NatRule) -> None:
    found = behaviour(inquire(Nat(mapping, filtering, preserve=False), TWO_ONE_PORT))
    assert found.mapping == (Ruling.of(EI) if mapping is EI else Ruling.of(AD, APD))
    assert found.filtering.possible[0:1] == (filtering,) or filtering in found.filtering.possible


@pytest.mark.parametrize("mapping", RULES)
def test_one_endpoint_tells_nothing_of_the_mapping(mapping: NatRule) -> None:
    found = behaviour(inquire(Nat(mapping, EI, preserve=False), ONE_PORT))
    assert found.behind_nat is True
    assert found.mapping == Ruling()


def test_filtering_after_mapping_is_told_all_the_same() -> None:
    """coturn called such a box endpoint-independent: its mapping test had asked everybody before."""
    for rule in RULES:
        seen = inquire(Nat(EI, rule, preserve=False), TWO, order=("map", "knock"))
        assert behaviour(seen).filtering == Ruling.of(rule)


def test_a_pool_shows_as_arbitrary_pooling() -> None:
    pool = ("198.51.100.1", "198.51.100.2", "198.51.100.3")
    found = behaviour(inquire(Nat(APD, APD, preserve=False, pool=pool), TWO, sockets=5))
    assert found.pooling is Pooling.ARBITRARY
    assert found.mapping == Ruling.of(APD)
    assert len(found.mapped_addresses) > 1


@pytest.mark.parametrize("hairpins", [False, True])
@pytest.mark.parametrize("filtering", RULES)
def test_hairpinning(hairpins: bool, filtering: NatRule) -> None:
    found = behaviour(inquire(Nat(EI, filtering, preserve=False, hairpins=hairpins), TWO))
    assert found.hairpinning is hairpins


def test_hairpinning_is_not_denied_where_the_mapping_changes_with_the_destination() -> None:
    found = behaviour(inquire(Nat(APD, APD, preserve=False, hairpins=True), TWO))
    assert found.hairpinning is None
    assert any("hairpinning" in text for text in found.notes)


@settings(max_examples=300, deadline=None)
@given(
    mapping=st.sampled_from(RULES),
    filtering=st.sampled_from(RULES),
    preserve=st.booleans(),
    reuse=st.booleans(),
    reflectors=st.sampled_from([TWO, ONE_OF_TWO, ONE, ONE_PORT, TWO_ONE_PORT]),
    neighbour=st.booleans(),
    loss=st.sampled_from([0.0, 0.02, 0.2]),
    seed=st.integers(0, 2**32),
)
def test_the_truth_is_never_excluded(
    mapping: NatRule,
    filtering: NatRule,
    preserve: bool,
    reuse: bool,
    reflectors: Reflectors,
    neighbour: bool,
    loss: float,
    seed: int,
) -> None:
    """Whatever is lost on the way. A mapping by address that keeps its ports is left out of the set that
    DIAGNOSIS §5 gives, and one that gives the same port again wherever it is free is endpoint-independent
    for all that anybody can see: neither is asked of."""
    nat = Nat(mapping, filtering, preserve, reuse, loss=loss, dice=random.Random(seed))
    found = behaviour(inquire(nat, reflectors, sockets=4, neighbour=neighbour))
    known = mapping is EI or not (preserve or reuse) or (mapping is APD and preserve)
    if known:
        assert mapping in found.mapping.possible, found
    assert filtering in found.filtering.possible, found
    assert (found.mapping.rule is NatRule.UNDETERMINED) is (len(found.mapping.possible) > 1)
