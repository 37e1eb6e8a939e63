"""What counts as misbehaviour, on a clock that only moves when told."""

import pytest
from probemesh_shared.rpc.conduct import Conduct, Leave, Limits
from probemesh_shared.rpc.connections import key_of, key_of_peer

LIMITS = Limits(
    calls=10,
    calls_per_s=2,
    reset_costs=4,
    refused_calls=3,
    noise=1000,
    noise_per_s=100,
    noise_of_strangers=500,
    noise_in_disgrace=50,
    disgrace_s=60,
)


class World:
    def __init__(self) -> None:
        self.now = 1000.0
        self.conduct = Conduct(LIMITS, lambda: self.now)

    def calls(self, count: int, who: str = "a") -> list[Leave]:
        return [self.conduct.called(who) for _ in range(count)]


@pytest.fixture
def world() -> World:
    return World()


def test_a_burst_is_taken_then_refused_in_words_then_cut_off(world: World) -> None:
    assert world.calls(10) == [Leave.TAKE] * 10
    assert world.calls(3) == [Leave.REFUSE] * 3
    assert world.calls(2) == [Leave.CUT] * 2


def test_who_heeds_the_refusal_is_never_cut_off(world: World) -> None:
    world.calls(10)
    for _ in range(100):
        assert world.calls(1) == [Leave.REFUSE]
        world.now += 1.0
        assert world.calls(2) == [Leave.TAKE] * 2


def test_disgrace_ends(world: World) -> None:
    world.calls(14)
    world.now += 59.0
    assert world.calls(1) == [Leave.CUT]
    world.now += 1.5
    assert world.calls(1) == [Leave.TAKE]


def test_certificates_are_judged_one_by_one(world: World) -> None:
    world.calls(14)
    assert world.calls(1, "b") == [Leave.TAKE]


def test_calls_that_are_taken_back_cost_more(world: World) -> None:
    world.calls(2)
    assert [world.conduct.reset("a") for _ in range(3)] == [Leave.TAKE, Leave.TAKE, Leave.CUT]
    assert world.conduct.in_disgrace("a")


def test_slow_resets_are_nobodys_business(world: World) -> None:
    for _ in range(100):
        assert world.conduct.called("a") is Leave.TAKE
        assert world.conduct.reset("a") is Leave.TAKE
        world.now += 2.5


def test_noise_of_a_connection(world: World) -> None:
    assert world.conduct.heard("c", 1000, None)
    assert not world.conduct.heard("c", 1, None)
    world.now += 5
    assert world.conduct.heard("c", 499, None)
    world.conduct.gone("c")
    assert world.conduct.heard("c", 1000, None)


def test_what_waited_to_be_read_was_no_noise(world: World) -> None:
    for _ in range(100):
        assert world.conduct.heard("c", 900, None)
        assert world.conduct.heard("c", -900, None)


def test_an_address_in_disgrace_has_little_room_for_strangers(world: World) -> None:
    assert world.conduct.heard("c", 400, "192.0.2.1")
    assert not world.conduct.heard("d", 501, "192.0.2.1")
    assert not world.conduct.heard("e", 51, "192.0.2.1")
    assert world.conduct.heard("f", 51, "192.0.2.2")
    assert world.conduct.heard("g", 999, None)  # recognised, from that very address
    world.now += 61
    assert world.conduct.heard("h", 51, "192.0.2.1")


def test_what_no_longer_matters_is_forgotten(world: World) -> None:
    world.calls(14)
    world.calls(1, "b")
    world.now += 61
    world.conduct.sweep()
    assert not world.conduct._callers
    assert not world.conduct._disgraced


@pytest.mark.parametrize(
    "peer, host, where",
    [
        ("ipv4:192.0.2.1:4711", "192.0.2.1", "192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:4711", "2001:db8::1", "2001:db8::/64"),
        ("ipv6:[2001:db8::1]:4711", "2001:db8::1", "2001:db8::/64"),
        ("ipv6:%5B::ffff:192.0.2.1%5D:4711", "192.0.2.1", "192.0.2.1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:4711", "fe80::1", "fe80::/64"),
    ],
)
def test_a_peer_as_grpc_spells_it(peer: str, host: str, where: str) -> None:
    key = key_of_peer(peer)
    assert key == key_of(host, 4711)
    assert key is not None
    assert key.where == where


@pytest.mark.parametrize("peer", ["", "unix:/run/x", "ipv4:nonsense:1", "ipv4:192.0.2.1", "ipv4:192.0.2.1:x"])
def test_a_peer_that_is_no_address(peer: str) -> None:
    assert key_of_peer(peer) is None
