"""What this host's owner lets its agent send: in all, by kind and to one address, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
from probemesh_agent.env import Address, ProbeFailed
from probemesh_agent.net.allowance import UNLIMITED, Allowance, Rate, asking, place
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import KindLimits, Limits, Policy
from probemesh_shared.clock import VirtualClock
from probemesh_shared.errors import StateError
from probemesh_shared.model import Options
from probemesh_shared.words import FailureKind, Family, Kind

HOST = Address("192.0.2.1", Family.IPV4)
OTHER = Address("192.0.2.2", Family.IPV4)


def most_in_a_second(times: list[float]) -> int:
    times.sort()
    first, most = 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


# --- one rate -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_s", [0.5, 1.0, 3.0, 100.0, 5000.0])
def test_a_rate_is_kept_by_whoever_asks_in_whatever_way(per_s: float) -> None:
    """A batch that takes what room there is, and one that books, in turn."""
    rate, left, now = Rate(per_s, ""), list[float](), 10.0
    while now < 16.0:
        count = rate.room(now, 50)
        rate.take(now, count)
        left += [now] * count
        if (at := rate.book(now, now)) is not None:
            left.append(at)
        now += max(rate.wait_s(now), 0.0005)
    assert 6 * per_s - 1 <= len(left) <= 6.06 * per_s + 1
    assert most_in_a_second(left) <= 1.05 * per_s + 1


def test_what_is_booked_is_told_and_nothing_is_booked_in_vain() -> None:
    rate = Rate(2.0, "")
    assert [rate.book(0.0, 1.0) for _ in range(4)] == [0.0, 0.5, 1.0, None]
    assert rate.book(0.0, 1.5) == 1.5, "what was refused took nothing"
    assert rate.room(1.9, 9) == 0 and rate.room(2.0, 9) == 1


def test_keys_are_apart_and_forgotten() -> None:
    rate = Rate(1.0, "")
    assert [rate.book(0.0, 0.0, key) for key in "aba"] == [0.0, 0.0, None]
    for number in range(40_000):
        rate.book(float(number), inf, str(number))
    assert len(rate) < 20_000


def test_an_address_is_counted_once_however_it_is_spelt() -> None:
    spellings = ("10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::1")
    assert {place(text) for text in spellings} == {"10.0.0.1"}
    assert place("fe80::1%eth0") == place("fe80::1%2") == "fe80::1"
    assert place("127.0.0.9") is place("::1") is None


# --- all of them --------------------------------------------------------------------------------------------


def test_a_connection_is_a_packet_too_and_a_kind_has_its_own_besides() -> None:
    allowance = Allowance(
        Limits(50, 40, 9, 30, 20, {Kind.HTTP: KindLimits(connections_per_s=3), Kind.ICMP: KindLimits(7)})
    )

    def rates(kind: Kind | None, connects: bool) -> list[float]:
        return [rate.per_s for rate in allowance.rates(kind, connects)]

    assert rates(Kind.TCP, False) == rates(None, False) == [50]
    assert rates(Kind.TCP, True) == [50, 40]
    assert rates(Kind.HTTP, True) == [3, 50, 40] and rates(Kind.ICMP, False) == [7, 50]
    to_one = [allowance.target(connects) for connects in (False, True)]
    assert [rate.per_s for rate in to_one if rate is not None] == [30, 20]


def test_sockets_of_streams_and_engine_count_together() -> None:
    allowance = Allowance(Limits(concurrent=3, kinds={Kind.TCP: KindLimits(concurrent=2)}))
    engine = {None: 1, Kind.TCP: 1}
    allowance.engine_open = lambda kind: engine.get(kind, 0)
    assert allowance.full(Kind.TCP) is None and allowance.room(Kind.TCP, 9) == 1
    allowance.opened(Kind.TCP)
    full = allowance.full(Kind.TCP)
    assert full is not None and full.detail.endswith("2 of tcp are under way, and no more are allowed")
    assert allowance.full(Kind.HTTP) is None and allowance.room(Kind.TCP, 9) == 0
    allowance.opened(Kind.HTTP)
    full = allowance.full(Kind.HTTP)
    assert full is not None and "3 sockets are open" in full.detail
    allowance.closed(Kind.TCP)
    allowance.limit(replace(allowance.limits, concurrent=2))
    assert allowance.full(Kind.HTTP) is not None, "what is open stays counted"


# --- the network that keeps them ----------------------------------------------------------------------------

Ask = Callable[[SystemNetwork, Address, float], Awaitable[object]]


async def send(network: SystemNetwork, address: Address, until: float) -> object:
    return await network.sending(address, Options(), until)


async def connect(network: SystemNetwork, address: Address, until: float) -> object:
    (await network.admit(address, until, connects=True))()
    return None


async def by_datagram(network: SystemNetwork, address: Address, until: float) -> object:
    """As the dns kind does; a datagram socket that is connected sends nothing."""
    await (await network.datagrams(address, 53, Options(), until)).close()
    return None


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def network_of(clock: VirtualClock, limits: Limits) -> SystemNetwork:
    return SystemNetwork(clock, Policy(loopback=True, limits=limits))


async def left(
    clock: VirtualClock, network: SystemNetwork, ask: Ask, *addresses: Address, count: int, seconds: float
) -> tuple[list[float], list[str]]:
    """As twenty jobs would that heed nothing: when each of ``count`` attempts at each address left, and what
    the others were told."""
    times, refusals = list[float](), list[str]()
    until = clock.monotonic() + seconds

    async def job(numbers: Iterator[int], address: Address) -> None:
        for _ in numbers:
            try:
                await ask(network, address, until)
            except ProbeFailed as failed:
                assert failed.failure.kind is FailureKind.LOCAL_RESOURCE
                refusals.append(failed.failure.detail)
            else:
                times.append(clock.monotonic())

    async with asyncio.TaskGroup() as group:
        for address in addresses:
            numbers = iter(range(count))
            for _ in range(20):
                group.create_task(job(numbers, address))
        while clock.monotonic() < until + 1:
            await clock.advance(0.02)
    return times, refusals


@pytest.mark.parametrize(("ask", "most"), [(send, 100), (connect, 20), (by_datagram, 100)])
async def test_whatever_is_asked_one_address_gets_no_more(clock: VirtualClock, ask: Ask, most: int) -> None:
    """T3, T14: a controller that was taken over sends jobs without pacing."""
    network = network_of(clock, Limits(target_packets_per_s=100, target_connections_per_s=20))
    times, refusals = await left(clock, network, ask, HOST, count=1000, seconds=3)
    assert 2.9 * most <= len(times) and most_in_a_second(times) <= 1.1 * most
    assert len(times) + len(refusals) == 1000
    assert "a second to one address are allowed, and no more" in refusals[0]


async def test_addresses_do_not_slow_each_other(clock: VirtualClock) -> None:
    network = network_of(clock, Limits(target_packets_per_s=10))
    times, _ = await left(clock, network, send, HOST, OTHER, count=1000, seconds=3)
    assert 2 * 29 <= len(times) <= 2 * 33


async def test_loopback_is_nobodys_host(clock: VirtualClock) -> None:
    network = network_of(clock, Limits(target_packets_per_s=1))
    times, _ = await left(clock, network, send, Address("::1", Family.IPV6), count=1000, seconds=1)
    assert len(times) == 1000


async def test_a_kind_keeps_to_its_own_rate_and_leaves_the_others_alone(clock: VirtualClock) -> None:
    free = replace(UNLIMITED, packets_per_s=200, kinds={Kind.TRACE: KindLimits(packets_per_s=20)})
    network = network_of(clock, free)

    async def trace(network: SystemNetwork, address: Address, until: float) -> object:
        asking.set(Kind.TRACE)
        return await send(network, address, until)

    slow, fast = await asyncio.gather(
        left(clock, network, trace, HOST, count=1000, seconds=3),
        left(clock, network, send, OTHER, count=1000, seconds=3),
    )
    assert 57 <= len(slow[0]) <= 63 and "20 packets a second of trace" in slow[1][0]
    assert 600 <= len(slow[0]) + len(fast[0]) <= 620


async def test_a_kind_has_only_so_many_open(clock: VirtualClock) -> None:
    network = network_of(clock, replace(UNLIMITED, kinds={Kind.HTTP: KindLimits(concurrent=2)}))
    asking.set(Kind.HTTP)
    until = clock.monotonic() + 1
    releases = [await network.admit(HOST, until, connects=True) for _ in range(2)]
    waiting = asyncio.create_task(network.admit(HOST, until, connects=True))
    await clock.settle()
    assert not waiting.done()
    releases.pop()()
    (await waiting)()
    asking.set(Kind.TLS)
    for _ in range(9):
        await network.admit(HOST, until, connects=True)


# --- the file -----------------------------------------------------------------------------------------------


def load(path: Path, text: str) -> Limits:
    path.write_text(text)
    return Policy.load(path).limits


def test_the_owner_says_all_of_it_in_the_file(tmp_path: Path) -> None:
    said = load(
        tmp_path / "p.toml",
        """
        [limits]
        packets_per_s = 2000
        connections_per_s = 100.5
        concurrent = 512
        target_packets_per_s = 50
        target_connections_per_s = 5
        [limits.icmp]
        packets_per_s = 20
        concurrent = 30
        [limits.http]
        connections_per_s = 1
        """,
    )
    kinds = {Kind.ICMP: KindLimits(20, inf, 30), Kind.HTTP: KindLimits(inf, 1)}
    assert said == Limits(2000, 100.5, 512, 50, 5, kinds)
    assert said.in_words(Kind.ICMP) == "at most 20 packets/s, 30 at once"
    assert (
        said.in_words()
        == said.in_words(Kind.TCP)
        == (
            "at most 2000 packets/s, 100.5 connections/s, 512 at once, "
            "50 packets/s to one address, 5 connections/s to one address"
        )
    )


def test_what_is_not_said_is_as_shipped(tmp_path: Path) -> None:
    assert load(tmp_path / "p", "[allow]\n") == Limits() == Policy.shipped().limits
    assert load(tmp_path / "p", "[limits.icmp]\npackets_per_s = 9\n").target_packets_per_s == 1000
    assert Limits().target_connections_per_s == 200
    assert Policy.typed_by_user(Policy.load(tmp_path / "p")).limits.target_packets_per_s == 1000
    assert Policy.typed_by_user().limits.target_packets_per_s == inf, "who types it here owns no mesh"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[limits]\npacket_per_s = 1", "unknown key 'packet_per_s'"),
        ("[limits]\ntarget_packets_per_s = inf", "target_packets_per_s must be a number above 0"),
        ("[limits]\ntarget_connections_per_s = -1", "target_connections_per_s must be a number above 0"),
        ("[limits]\nconnections_per_s = true", "connections_per_s must be"),
        ("[limits]\nconcurrent = 0", "concurrent must be a whole number"),
        ("[limits]\nicmp = 3", "unknown key 'icmp'"),
        ("[limits.icpm]\npackets_per_s = 1", "[limits.icpm]: 'icpm' is no probe kind"),
        ("[limits.ladder]\npackets_per_s = 1", "rungs"),
        ("[limits.watch]\nconcurrent = 1", "sends nothing"),
        ("[limits.icmp]", "[limits.icmp] is empty"),
        ("[limits.icmp]\ntarget_packets_per_s = 1", "unknown key 'target_packets_per_s'"),
        ("[limits.icmp]\npackets_per_s = '1'", "[limits.icmp] packets_per_s must be"),
        ("[limits.icmp]\nconcurrent = 1.5", "[limits.icmp] concurrent must be a whole"),
        ("[limits.icmp]\nconnections_per_s = 1", "icmp opens no connections"),
        ("[limits.mtu]\nconcurrent = 1", "by its packets alone"),
        ("[limits.icmp.more]\nconcurrent = 1", "unknown key 'more'"),
    ],
)
def test_what_cannot_be_read_is_no_policy(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(StateError) as raised:
        load(tmp_path / "p", text)
    assert says in str(raised.value)
