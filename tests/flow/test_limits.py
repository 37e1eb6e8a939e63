"""What a flow never exceeds: its deadline, its sockets, the pace, the policy, the size of a message."""

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from probemesh_agent.env import ProbeEnv
from probemesh_agent.flow import MOST_SHOTS, Orders, fire
from probemesh_agent.flow.firing import MOST_SOCKETS
from probemesh_agent.flow.fitting import MOST_BYTES, fitting
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Limits, Policy
from probemesh_agent.signals import MASK
from probemesh_shared import failures
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import (
    FlowDetail,
    FlowSpec,
    IcmpError,
    Options,
    Pacing,
    PortRange,
    Reply,
    Shot,
    ShotSeen,
    Target,
)
from probemesh_shared.session.outbox import WINDOW
from probemesh_shared.wire.sizes import size_of
from probemesh_shared.words import FailureKind, Family, Outcome, Stage, Transport

from tests.flow.world import rows_of, run, seen, shots_of, spec_of, target_of

TCP, UDP, ICMP = Transport.TCP, Transport.UDP, Transport.ICMP


@pytest.fixture
def mute_port() -> Iterator[int]:
    """TCP whose handshakes are not answered (its backlog is full), and UDP that nobody reads."""
    with socket.socket() as listener, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port
        for filler in fillers:
            filler.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("transport", [TCP, UDP])
def test_the_deadline_cuts_what_is_under_way_and_what_is_to_come(
    transport: Transport, mute_port: int
) -> None:
    shots = (Shot(), Shot(at_ms=100), Shot(at_ms=2000))
    began = time.monotonic()
    told = run(
        spec_of(transport, *shots, timeout_s=5.0, listen_ms=5000), "127.0.0.1", mute_port, deadline_s=0.5
    )
    assert time.monotonic() - began < 3.0, "not its 5 s"
    assert [shot.outcome for shot in told] == [Outcome.UNMEASURED] * 3
    assert all(shot.failure and shot.failure.kind is FailureKind.DEADLINE for shot in told)
    if transport is UDP:
        assert [shot.sent for shot in told] == [True, True, None]


@pytest.mark.parametrize("transport", [TCP, UDP])
async def test_never_more_sockets_than_allowed(transport: Transport, mute_port: int) -> None:
    before, most = descriptors(), 0
    shots = [Shot() for _ in range(MOST_SOCKETS + 100)]
    spec = spec_of(transport, *shots, timeout_s=0.3, listen_ms=100)
    running = asyncio.create_task(seen(spec, "127.0.0.1", mute_port))
    while not running.done():
        await asyncio.sleep(0.01)
        most = max(most, descriptors() - before)
    told = await running
    assert len(told) == len(shots) and {shot.outcome for shot in told} == {Outcome.TIMEOUT}
    assert 100 < most <= MOST_SOCKETS + 10, "and those of counters and engine"
    assert descriptors() <= before + 1


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize("pause_s", [0.0, 0.01, 0.1])
async def test_cancelling_closes_everything(transport: Transport, pause_s: float, mute_port: int) -> None:
    await seen(spec_of(transport, Shot(), timeout_s=0.05), "127.0.0.1", mute_port)
    before, tasks = descriptors(), len(asyncio.all_tasks())
    address = "127.0.0.1"
    shots = [Shot(at_ms=10.0 * number, ttl=9) for number in range(50)]
    spec = spec_of(transport, *shots, timeout_s=5.0, listen_ms=5000)
    running = asyncio.create_task(seen(spec, address, mute_port))
    await asyncio.sleep(pause_s)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert descriptors() == before and len(asyncio.all_tasks()) == tasks


def test_shots_beyond_the_most_are_told_and_not_sent() -> None:
    async def fired() -> list[ShotSeen]:
        clock = SystemClock()
        network = SystemNetwork(clock, Policy.typed_by_user())
        env = ProbeEnv(network, clock, clock.monotonic() + 10)
        found = await network.resolve(target_of("127.0.0.1"), Options(), env.deadline)
        orders = Orders(UDP, Options(timeout_s=0.1), found.addresses[0], 9)
        shots = [Shot(socket=0) for _ in range(MOST_SHOTS + 1)]
        try:
            return await fire(orders, shots, env)
        finally:
            network.close()

    told = asyncio.run(fired())
    assert len(told) == MOST_SHOTS + 1 and told[-1].outcome is Outcome.UNSUPPORTED
    assert Outcome.UNSUPPORTED not in {shot.outcome for shot in told[:-1]}


@pytest.mark.parametrize("transport", list(Transport))
def test_what_no_shot_can_be_is_told_and_raises_nothing(transport: Transport) -> None:
    for spec in (
        spec_of(transport, Shot(send=b""), token=b"short"),
        spec_of(transport, Shot(), ttl=0),
        spec_of(transport, Shot(ttl=0)),
    ):
        (shot,) = run(spec, "127.0.0.1", 9)
        assert shot.outcome is Outcome.UNSUPPORTED and shot.failure is not None and shot.failure.detail


def test_pacing_spaces_shots_to_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is exempt: so this loopback says it is none."""
    from probemesh_agent.flow import firing

    monkeypatch.setattr(firing, "socket_address", lambda *_: ((), False))
    pacing = Pacing(packets_per_s=20.0, connects_per_s=20.0)
    for transport in (TCP, UDP):
        told = run(spec_of(transport, *(Shot(port=9) for _ in range(4))), "127.0.0.1", 9, pacing=pacing)
        times = sorted(shot.at_ms for shot in told)
        assert all(at >= 50 * place - 2 for place, at in enumerate(times)), times


def test_loopback_is_not_paced() -> None:
    pacing = Pacing(packets_per_s=0.1, connects_per_s=0.1)
    began = time.monotonic()
    run(spec_of(TCP, *(Shot() for _ in range(4))), "127.0.0.1", 9, pacing=pacing)
    assert time.monotonic() - began < 10, "not thirty"


@pytest.mark.parametrize("transport", [TCP, UDP])
def test_the_host_owner_s_rate_holds(transport: Transport) -> None:
    policy = replace(Policy.typed_by_user(), limits=Limits(packets_per_s=20.0))
    told = run(spec_of(transport, *(Shot() for _ in range(4))), "127.0.0.1", 9, policy=policy)
    assert max(shot.at_ms for shot in told) >= 140


def test_an_address_of_a_shot_is_judged_like_the_target_s() -> None:
    """With the shipped policy no loopback is dialled, whatever the target is."""
    policy = Policy.shipped()
    shots = (Shot(address="127.0.0.1"), Shot(address="0x7f.1"), Shot(address="not an address"), Shot())
    (row,) = asyncio.run(
        rows_of(spec_of(TCP, *shots, timeout_s=0.1), target_of("192.0.2.1", 9), policy=policy)
    )
    if row.detail is None:  # no way out of here at all
        assert row.failure is not None and row.failure.kind is FailureKind.NO_ROUTE
        return
    first, second, third, _ = shots_of(row)
    assert first.outcome is second.outcome is Outcome.DENIED
    assert third.failure is not None and third.failure.stage is Stage.RESOLVE


def test_a_shot_is_denied_even_where_the_target_is_allowed() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        shots = (Shot(), Shot(address="169.254.169.254"))
        allowed, denied = run(spec_of(TCP, *shots), "127.0.0.1", listener.getsockname()[1])
    assert (allowed.outcome, denied.outcome) == (Outcome.OK, Outcome.DENIED)


def test_without_planned_shots_they_are_plain_ones_with_samples() -> None:
    spec = FlowSpec(Options(count=3, interval_s=0.05, timeout_s=0.5))
    (row,) = asyncio.run(rows_of(spec, target_of("127.0.0.1", 9)))
    assert [sample.outcome for sample in row.samples] == [Outcome.REFUSED] * 3
    assert all(shot.at_ms >= 50 * place - 2 for place, shot in enumerate(shots_of(row)))


def test_plain_shots_go_to_every_address_of_a_target_and_planned_ones_to_the_first() -> None:
    addresses = ("127.0.0.1", "127.0.1.9", "::1")
    target = Target("host:9", "host", (PortRange(9, 9),), addresses=addresses)
    plain = FlowSpec(Options(count=2, interval_s=0.05, timeout_s=0.5), UDP)
    rows = asyncio.run(rows_of(plain, target))
    assert [row.address for row in rows] == list(addresses)
    assert all([sample.outcome for sample in row.samples] == [Outcome.REFUSED] * 2 for row in rows)
    planned = asyncio.run(rows_of(spec_of(UDP, Shot()), target))
    assert [row.address for row in planned] == ["127.0.0.1"]


def test_counters_of_this_host_are_told() -> None:
    (row,) = asyncio.run(rows_of(spec_of(UDP, *(Shot() for _ in range(5))), target_of("127.0.0.1", 9)))
    assert isinstance(row.detail, FlowDetail)
    rose = {counter.name: counter.delta for counter in row.detail.counters}
    assert rose["Udp.OutDatagrams"] >= 5 and rose["Udp.NoPorts"] >= 5
    assert row.detail.elapsed_ms > 0


def test_masked_signals_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MASK, "tx-timestamps,counter:Ip.OutTransmits")
    (row,) = asyncio.run(rows_of(spec_of(UDP, Shot()), target_of("127.0.0.1", 9)))
    (shot,) = shots_of(row)
    assert isinstance(row.detail, FlowDetail)
    assert (shot.scheduled, shot.sent, shot.outcome) == (None, None, Outcome.REFUSED)
    names = {counter.name for counter in row.detail.counters}
    assert "Ip.OutRequests" in names and "Ip.OutTransmits" not in names


def bulky(number: int) -> ShotSeen:
    error = IcmpError(Family.IPV6, 1, 1, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 64)
    failure = failures.from_icmp(Stage.CONNECT, error, target="2001:db8::1", number=13)
    reply = Reply(1.0, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 1, 1, 1, True, "00" * 8, "2001:db8::1", 1)
    return ShotSeen(
        number, Outcome.PROHIBITED, 1.0, failure=failure, errors=(error,) * 8, replies=(reply,) * 16
    )


def test_a_detail_is_made_to_fit_into_a_message() -> None:
    plain = FlowDetail(tuple(ShotSeen(number) for number in range(10)))
    assert fitting(plain) == plain
    full = FlowDetail(tuple(bulky(number) for number in range(MOST_SHOTS)))
    slim = fitting(full)
    assert size_of(slim) <= MOST_BYTES < WINDOW
    assert [shot.outcome for shot in slim.shots] == [shot.outcome for shot in full.shots]
    half = fitting(FlowDetail(full.shots[:1024]))
    assert size_of(half) <= MOST_BYTES and all(shot.errors for shot in half.shots), "evidence goes last"
