"""The driver, in a simulated network: everything is asked and seen by flows and watches alone."""

import asyncio
import random
from itertools import product

import pytest
from probemesh_controller.natting.behaviour import behaviour
from probemesh_controller.natting.drive import Inquiries
from probemesh_controller.natting.silence import Lifetime, coarse, fine
from probemesh_shared.clock import VirtualClock
from probemesh_shared.model import FlowSpec, WatchSpec
from probemesh_shared.nat import RULES, NatBehaviour, NatRule, Ruling
from probemesh_shared.words import Transport

from tests.natting.simmesh import LAG_S, SimMesh, World
from tests.natting.simulator import AD, APD, EI, Nat
from tests.pair.fakes import through

A, A2, B, C = "10.1.0.2", "10.1.0.3", ("203.0.113.2", "203.0.113.3"), ("192.0.2.2",)
OUT = "198.51.100.1"
DICE = random.Random(7)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def world(nat: Nat | None, **more: object) -> World:
    nats = {"a": nat} if nat is not None else {}
    return World({"a": (A,), "b": B, "c": C}, nats, **more)  # type: ignore[arg-type]


async def told(
    clock: VirtualClock, there: World, *names: str, lifetime: float | None = None, lag_s: float = LAG_S
) -> tuple[NatBehaviour, ...]:
    there.clock = clock
    mesh = SimMesh(clock, there, lag_s)
    asked = Lifetime(lifetime) if lifetime is not None else None
    work = Inquiries(mesh, names or ("a",), clock, lifetime=asked, random=DICE.randbytes)
    await through(clock, work.run(), 900)
    assert mesh.under_way == 0
    assert not any(there.posts.values()), "every watch is given back"
    return tuple(behaviour(one) for one in work.seen())


@pytest.mark.parametrize(("mapping", "filtering"), list(product(RULES, RULES)))
async def test_every_behaviour(clock: VirtualClock, mapping: NatRule, filtering: NatRule) -> None:
    (found,) = await told(clock, world(Nat(mapping, filtering, preserve=False)))
    assert (found.mapping, found.filtering) == (Ruling.of(mapping), Ruling.of(filtering))
    assert found.behind_nat is True
    assert found.port_preservation is False
    assert found.mapped_addresses == (OUT,)
    assert found.layers == 1


@pytest.mark.parametrize("filtering", RULES)
async def test_kept_ports_are_a_set(clock: VirtualClock, filtering: NatRule) -> None:
    (found,) = await told(clock, world(Nat(APD, filtering, reuse=True)))
    assert found.mapping == Ruling.of(EI, APD)
    assert found.filtering == Ruling.of(filtering)
    assert found.port_preservation is True
    assert found.ports_kept == found.ports_tried == 8


@pytest.mark.parametrize("mapping", RULES)
@pytest.mark.parametrize("both", [True, False], ids=["both-asked", "one-asked"])
async def test_a_second_agent_behind_the_nat_forces_a_clash(
    clock: VirtualClock, mapping: NatRule, both: bool
) -> None:
    nat = Nat(mapping, APD, reuse=True)
    there = World({"a": (A,), "a2": (A2,), "b": B, "c": C}, {"a": nat, "a2": nat})
    for found in await told(clock, there, *(("a", "a2") if both else ("a",))):
        assert found.mapping == Ruling.of(mapping), found.agent
        assert [one.outside for one in found.reflectors if one.agent.startswith("a")] == [False]


async def test_filtering_is_not_taken_from_a_neighbour(clock: VirtualClock) -> None:
    """The neighbour is the only reflector but one, and comes in where nobody else does."""
    nat = Nat(EI, APD, preserve=False)
    there = World({"a": (A,), "a2": (A2,), "b": B}, {"a": nat, "a2": nat})
    (found,) = await told(clock, there)
    assert found.filtering == Ruling.of(APD)


@pytest.mark.parametrize("hairpins", [True, False])
async def test_hairpinning(clock: VirtualClock, hairpins: bool) -> None:
    (found,) = await told(clock, world(Nat(EI, APD, preserve=False, hairpins=hairpins)))
    assert found.hairpinning is hairpins
    assert found.hairpin_source == ("external" if hairpins else None)


async def test_routers_before_the_nat_leave_layers_open(clock: VirtualClock) -> None:
    (found,) = await told(clock, world(Nat(EI, APD, preserve=False), routers=1))
    assert (found.layers, found.layers_most) == (None, 2)
    assert any("10.1.0.1" in note for note in found.notes)


async def test_no_nat(clock: VirtualClock) -> None:
    (found,) = await told(clock, world(None))
    assert (found.behind_nat, found.firewall_only) == (False, False)
    assert (found.mapping, found.filtering) == (Ruling.of(EI), Ruling.of(EI))
    assert found.mapped_addresses == ()
    assert found.layers == 0


class Firewall(Nat):
    """Filters, and translates nothing."""

    def _fresh(self, inside, scope):  # type: ignore[no-untyped-def]
        return inside


@pytest.mark.parametrize("filtering", [AD, APD])
async def test_a_firewall_alone(clock: VirtualClock, filtering: NatRule) -> None:
    (found,) = await told(clock, world(Firewall(EI, filtering, pool=(A,))))
    assert (found.behind_nat, found.firewall_only) == (False, True)
    assert found.filtering == Ruling.of(filtering)


async def test_nobody_hears_it(clock: VirtualClock) -> None:
    (found,) = await told(clock, world(Nat(EI, EI), deaf=frozenset({"b", "c"})))
    assert found.behind_nat is None
    assert found.mapping == found.filtering == Ruling()
    assert any("UDP does not get out" in text for text in found.missing)


async def test_a_deaf_reflector_is_passed_over(clock: VirtualClock) -> None:
    (found,) = await told(clock, world(Nat(EI, AD, preserve=False), deaf=frozenset({"b"})))
    assert found.behind_nat is True
    assert [one.outside for one in found.reflectors] == [None, True]
    assert found.filtering.possible == (EI, AD), "the only other address was never heard"


async def test_an_agent_behind_a_nat_of_its_own_knocks_too(clock: VirtualClock) -> None:
    nat = Nat(EI, APD, preserve=False)
    there = World({"a": (A,), "b": B[:1], "c": C}, {"a": nat})
    (found,) = await told(clock, there, "b")
    assert [(one.agent, one.outside) for one in found.reflectors] == [("c", False), ("a", None)]
    assert (found.behind_nat, found.filtering) == (False, Ruling.of(EI))


async def test_a_public_host_whose_peers_are_all_behind_nats(clock: VirtualClock) -> None:
    """It reaches nobody, and is reached."""
    there = World({"a": (A,), "b": ("10.9.0.2",), "c": C}, {"a": Nat(EI, APD), "b": Nat(EI, APD)})
    (found,) = await told(clock, there, "c")
    assert (found.behind_nat, found.firewall_only) == (False, False)
    assert (found.mapping, found.filtering) == (Ruling.of(EI), Ruling.of(EI))
    assert "a reaches it, unasked, by its own address 192.0.2.2" in found.notes
    assert [one.outside for one in found.reflectors] == [None, None]


async def test_an_agent_that_nobody_can_tell_anything_of(clock: VirtualClock) -> None:
    """Both behind NATs, so that neither reaches the other."""
    nats = {"a": Nat(EI, APD), "b": Nat(EI, APD, pool=("203.0.113.9",))}
    (found,) = await told(clock, World({"a": (A,), "b": ("10.9.0.2",)}, nats))
    assert found.behind_nat is None
    assert any("does not get in there" in text for text in found.missing)


async def test_this_machine_is_on_no_list_of_agents(clock: VirtualClock) -> None:
    there = World({"self": (A,), "b": B, "c": C}, {"self": Nat(AD, APD, preserve=False)})
    (found,) = await told(clock, there, "self")
    assert (found.mapping, found.filtering) == (Ruling.of(AD), Ruling.of(APD))
    assert found.own_addresses == (A,)


async def test_the_only_agent(clock: VirtualClock) -> None:
    (found,) = await told(clock, World({"a": (A,)}))
    assert found.behind_nat is None
    assert any("another agent" in text for text in found.missing)


async def test_an_agent_that_is_too_old_says_so(clock: VirtualClock) -> None:
    there = world(Nat(EI, EI), old=frozenset({"a", "c"}))
    (found,) = await told(clock, there)
    assert any("upgrade it" in text for text in found.missing)
    (found,) = await told(clock, world(Nat(EI, EI, preserve=False), old=frozenset({"c"})))
    assert [one.agent for one in found.reflectors] == ["b"]


async def test_two_percent_of_loss_change_nothing(clock: VirtualClock) -> None:
    for seed in range(12):
        nat = Nat(AD, AD, preserve=False, loss=0.02, dice=random.Random(seed))
        (found,) = await told(clock, world(nat))
        assert (found.mapping, found.filtering) == (Ruling.of(AD), Ruling.of(AD)), seed


@pytest.mark.parametrize("lag_s", [0.7, 1.3, 1.4, 1.48])
async def test_a_slow_control_channel_makes_no_filter(clock: VirtualClock, lag_s: float) -> None:
    """A knock that is sent when the socket is closed already is silent too."""
    (found,) = await told(clock, world(Nat(EI, EI, preserve=False)), lag_s=lag_s)
    assert found.filtering == Ruling.of(EI)
    assert found.mapping == Ruling.of(EI)


async def test_a_control_channel_that_is_too_slow_leaves_a_set(clock: VirtualClock) -> None:
    (found,) = await told(clock, world(Nat(EI, EI, preserve=False)), lag_s=1.6)
    assert EI in found.filtering.possible


async def test_filtering_is_asked_before_anybody_else_was_sent_to(clock: VirtualClock) -> None:
    mesh = SimMesh(clock, world(Nat(EI, APD)))
    await through(clock, Inquiries(mesh, ("a",), clock, random=DICE.randbytes).run())
    flows = [r.specs[0] for r in mesh.requests if isinstance(r.specs[0], FlowSpec) and r.agents == ("a",)]
    first = {(shot.address, shot.port) for shot in flows[0].shots}
    assert len(first) == 1
    assert all(flow.transport is Transport.UDP for flow in flows)
    tokens = {r.specs[0].token for r in mesh.requests if isinstance(r.specs[0], WatchSpec)}
    assert len(tokens) == 1


async def test_many_subjects_are_asked_in_turn(clock: VirtualClock) -> None:
    addresses = {f"h{number}": (f"203.0.113.{number}",) for number in range(1, 9)}
    found = await told(clock, World(addresses), *addresses)
    assert [one.agent for one in found] == list(addresses)
    assert all(one.behind_nat is False for one in found)


@pytest.mark.parametrize("mapping", [EI, APD])
async def test_the_lifetime_of_a_silent_mapping(clock: VirtualClock, mapping: NatRule) -> None:
    there, began = world(Nat(mapping, APD, preserve=False), lifetime_s=30.0), clock.monotonic()
    (found,) = await told(clock, there, lifetime=150.0)
    assert found.lifetime_s is not None and found.lifetime_most_s is not None
    assert found.lifetime_s <= 30.5
    assert found.lifetime_most_s >= 29.5
    assert found.lifetime_most_s - found.lifetime_s < 2.5
    assert clock.monotonic() - began < 260


async def test_a_lifetime_beyond_what_was_tried(clock: VirtualClock) -> None:
    (found,) = await told(clock, world(Nat(EI, APD, preserve=False)), lifetime=20.0)
    assert (found.lifetime_s, found.lifetime_most_s) == (20.0, None)


async def test_the_lifetime_of_a_firewalls_state(clock: VirtualClock) -> None:
    there = world(Firewall(EI, APD, pool=(A,)), lifetime_s=5.0)
    (found,) = await told(clock, there, lifetime=20.0)
    assert found.behind_nat is False
    assert found.lifetime_s is not None and found.lifetime_s <= 5.2


def test_what_silences_are_tried() -> None:
    assert coarse(150)[0] == 2 and coarse(150)[-1] == 150 and len(coarse(150)) == 12
    assert coarse(2) == (2,)
    assert fine(20, 29) == tuple(range(21, 29))
    assert fine(None, 2) == fine(20, None) == fine(3, 3.1) == ()


async def test_what_was_seen_until_it_was_stopped_is_kept(clock: VirtualClock) -> None:
    there = world(Nat(EI, AD, preserve=False))
    mesh = SimMesh(clock, there)
    work = Inquiries(mesh, ("a", "b"), clock, random=DICE.randbytes)
    assert [one.agent for one in work.seen()] == ["a", "b"]
    task = asyncio.ensure_future(work.run())
    await clock.settle()
    end = clock.monotonic() + 4.4
    while clock.monotonic() < end:
        await clock.advance(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert mesh.under_way == 0 and not any(there.posts.values())
    first = behaviour(work.seen()[0])
    assert first.behind_nat is True
    assert first.filtering.possible == (EI, AD), "who else could come in was not known yet"
