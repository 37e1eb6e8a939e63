"""The search for a path MTU on simulated paths."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probemesh_agent.path.sizes import SURE, Search


@dataclass
class Found:
    search: Search
    packets: int
    volleys: int


def found(
    mtu: int, *, tells: bool = False, names: bool = True, loss: float = 0.0, seed: int = 0, largest=1500
):
    chance = random.Random(seed)
    search, packets, volleys = Search(576, largest), 0, 0
    while sizes := search.volley():
        volleys += 1
        assert volleys < 100, search
        for size in sizes:
            search.sent(size)
            packets += 1
            if chance.random() < loss:
                continue
            if size <= mtu:
                search.heard(size)
            elif tells:
                search.too_big(size, mtu if names else None, "192.0.2.1")
    return Found(search, packets, volleys)


def test_a_path_without_a_narrow_link_takes_two_packets() -> None:
    one = found(1500)
    assert (one.search.mtu, one.search.failing, one.search.black_hole) == (1500, None, False)
    assert one.packets == 2


@pytest.mark.parametrize("mtu", [576, 577, 1280, 1337, 1400, 1499])
def test_a_router_that_says_so_is_believed_and_checked(mtu: int) -> None:
    search = found(mtu, tells=True).search
    assert (search.mtu, search.failing, search.told, search.told_by) == (mtu, mtu + 1, mtu, "192.0.2.1")
    assert search.black_hole is False


def test_a_router_that_names_no_size_is_halved_round() -> None:
    search = found(1337, tells=True, names=False).search
    assert (search.mtu, search.failing, search.told, search.black_hole) == (1337, 1338, None, False)


@pytest.mark.parametrize("mtu", [576, 577, 1280, 1337, 1400, 1499])
def test_silence_above_a_size_is_a_black_hole(mtu: int) -> None:
    one = found(mtu)
    assert (one.search.mtu, one.search.failing, one.search.black_hole) == (mtu, mtu + 1, True)
    assert one.search.tries[mtu + 1] >= SURE
    assert one.packets < 80 and one.volleys < 14


def test_nothing_is_said_of_a_path_that_takes_not_even_the_smallest() -> None:
    search = found(300).search
    assert (search.mtu, search.black_hole) == (None, None)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([700, 1333, 1400, 1492, 1500]), st.integers(0, 1 << 30), st.booleans())
def test_loss_is_no_black_hole(mtu: int, seed: int, tells: bool) -> None:
    """At 2 % each way five losses in a row of one size happen in 10⁻⁷ of searches."""
    search = found(mtu, tells=tells, loss=0.04, seed=seed).search
    assert search.mtu == mtu
    assert search.black_hole is (mtu < 1500 and not tells)


def test_a_large_interface_is_searched_as_quickly() -> None:
    assert found(9000, largest=9000).packets == 2
    assert found(1500, largest=65_000).search.mtu == 1500
