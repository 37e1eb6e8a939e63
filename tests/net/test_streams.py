"""Streams on loopback: how they begin, how they end, and the host owner's caps on them."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from probemesh_agent.env import Address, ProbeFailed
from probemesh_agent.net import streams
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Limits, Policy
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import Options, Target
from probemesh_shared.words import FailureKind, Family, Stage

HERE = Address("127.0.0.1", Family.IPV4)


@asynccontextmanager
async def listening(backlog: int = 16) -> AsyncIterator[socket.socket]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(backlog)
        listener.setblocking(False)
        yield listener


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_handshake_facts(network: SystemNetwork, clock: SystemClock) -> None:
    async with listening() as listener:
        port = listener.getsockname()[1]
        stream = await network.connect(HERE, port, Options(source="127.0.0.9"), clock.monotonic() + 2)
        facts = stream.facts
        await stream.close()
        await stream.close()
    assert facts.local_address == "127.0.0.9" and facts.local_port > 0
    assert facts.connect_ms is not None and 0 < facts.connect_ms < 1000 and facts.syn_retransmits == 0


async def test_unread_bytes_do_not_turn_fin_into_reset(network: SystemNetwork, clock: SystemClock) -> None:
    async with listening() as listener:
        loop = asyncio.get_running_loop()
        stream = await network.connect(HERE, listener.getsockname()[1], Options(), clock.monotonic() + 2)
        accepted, _ = await loop.sock_accept(listener)
        with accepted:
            await loop.sock_sendall(accepted, b"220 hello\r\n" * 100)
            assert (await stream.read(3, clock.monotonic() + 2)) == b"220"
            await stream.close()
            assert await loop.sock_recv(accepted, 10) == b"", "a reset would raise"


async def test_bytes_arrive_and_fin_reads_as_nothing(network: SystemNetwork, clock: SystemClock) -> None:
    async with listening() as listener:
        loop = asyncio.get_running_loop()
        stream = await network.connect(HERE, listener.getsockname()[1], Options(), clock.monotonic() + 2)
        accepted, _ = await loop.sock_accept(listener)
        with accepted:
            await stream.write(b"x" * 10, clock.monotonic() + 2)
            assert await loop.sock_recv(accepted, 100) == b"x" * 10
            accepted.shutdown(socket.SHUT_WR)
            assert await stream.read(10, clock.monotonic() + 2) == b""
            await stream.close()


async def test_silence_ends_at_the_deadline(network: SystemNetwork, clock: SystemClock) -> None:
    async with listening() as listener:
        stream = await network.connect(HERE, listener.getsockname()[1], Options(), clock.monotonic() + 2)
        with pytest.raises(ProbeFailed) as raised:
            await stream.read(10, clock.monotonic() + 0.1)
        await stream.close()
    assert (raised.value.failure.stage, raised.value.failure.kind) == (Stage.RECEIVE, FailureKind.TIMEOUT)


async def test_a_peer_that_never_reads_has_a_deadline(network: SystemNetwork, clock: SystemClock) -> None:
    async with listening() as listener:
        stream = await network.connect(HERE, listener.getsockname()[1], Options(), clock.monotonic() + 2)
        with pytest.raises(ProbeFailed) as raised:
            await stream.write(bytes(64 << 20), clock.monotonic() + 0.2)
        await stream.close()
    assert (raised.value.failure.stage, raised.value.failure.kind) == (Stage.SEND, FailureKind.TIMEOUT)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (Options(source="203.0.113.250"), FailureKind.LOCAL_RESOURCE),
        (Options(source="nosuchif0"), FailureKind.UNSUPPORTED),
        (Options(source="::1"), FailureKind.UNSUPPORTED),
    ],
)
async def test_sources_that_cannot_be_had(
    network: SystemNetwork, clock: SystemClock, options: Options, kind: FailureKind
) -> None:
    before = descriptors()
    with pytest.raises(ProbeFailed) as raised:
        await network.connect(HERE, 9, options, clock.monotonic() + 1)
    with pytest.raises(ProbeFailed):
        await network.datagrams(HERE, 9, options, clock.monotonic() + 1)
    assert raised.value.failure.kind is kind and raised.value.failure.detail
    assert descriptors() == before


async def test_options_reach_the_socket(network: SystemNetwork, clock: SystemClock) -> None:
    async with listening() as listener:
        options = Options(dscp=46, ttl=7, dont_fragment=True)
        stream = await network.connect(HERE, listener.getsockname()[1], options, clock.monotonic() + 2)
        sock = stream._wire.sock
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 46 << 2
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 7
        assert sock.getsockopt(socket.IPPROTO_IP, 10) == 2
        await stream.close()


async def test_the_owner_s_cap_on_open_connections_holds(clock: SystemClock) -> None:
    policy = Policy(loopback=True, limits=Limits(concurrent=2))
    network = SystemNetwork(clock, policy)
    async with listening() as listener:
        port = listener.getsockname()[1]
        held = [await network.connect(HERE, port, Options(), clock.monotonic() + 2) for _ in range(2)]
        with pytest.raises(ProbeFailed) as raised:
            await network.connect(HERE, port, Options(), clock.monotonic() + 0.1)
        assert raised.value.failure.kind is FailureKind.LOCAL_RESOURCE
        waiting = asyncio.create_task(network.connect(HERE, port, Options(), clock.monotonic() + 2))
        await asyncio.sleep(0)
        await held.pop().close()
        third = await waiting
        refused = asyncio.create_task(network.connect(HERE, port, Options(), clock.monotonic() + 5))
        await asyncio.sleep(0)
        refused.cancel()
        with pytest.raises(asyncio.CancelledError):
            await refused
        for stream in (*held, third):
            await stream.close()
        again = await network.connect(HERE, port, Options(), clock.monotonic() + 0.5)
        await again.close()


async def test_the_owner_s_cap_on_the_rate_holds(clock: SystemClock) -> None:
    network = SystemNetwork(clock, Policy(loopback=True, limits=Limits(packets_per_s=20)))
    async with listening() as listener:
        began = clock.monotonic()
        for _ in range(5):
            await (await network.connect(HERE, listener.getsockname()[1], Options(), began + 5)).close()
        assert clock.monotonic() - began >= 0.19
        with pytest.raises(ProbeFailed):
            await network.connect(HERE, listener.getsockname()[1], Options(), clock.monotonic() + 0.01)


async def test_a_thousand_streams_leave_nothing(network: SystemNetwork, clock: SystemClock) -> None:
    before = descriptors()
    async with listening(256) as listener:
        for _ in range(1000):
            stream = await network.connect(HERE, listener.getsockname()[1], Options(), clock.monotonic() + 2)
            await stream.close()
            listener.accept()[0].close()
    assert descriptors() == before


async def test_only_what_was_typed_is_loosened(network: SystemNetwork, clock: SystemClock) -> None:
    typed = await network.resolve(Target("x", "127.1"), Options(), clock.monotonic() + 1)
    assert [one.host for one in typed.addresses] == ["127.0.0.1"]
    redirected = await network.resolve_host("127.1", Options(), clock.monotonic() + 1)
    assert not redirected.addresses and redirected.failure is not None
    assert redirected.failure.kind is FailureKind.DENIED


async def test_a_peer_that_is_not_who_was_dialled_is_judged_by_itself(
    clock: SystemClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever led there: what was allowed was the address that was dialled."""
    really = streams.connect

    async def led_elsewhere(_: Address, port: int, options: Options, *more: Any) -> streams.TcpStream:
        return await really(HERE, port, options, *more)

    monkeypatch.setattr(streams, "connect", led_elsewhere)
    dialled = Address("192.0.2.1", Family.IPV4)
    async with listening() as listener:
        port, loop, before = listener.getsockname()[1], asyncio.get_running_loop(), descriptors()
        shipped = SystemNetwork(clock, Policy())
        with pytest.raises(ProbeFailed) as refused:
            await shipped.connect(dialled, port, Options(), clock.monotonic() + 2)
        assert refused.value.failure.kind is FailureKind.DENIED
        accepted, _ = await loop.sock_accept(listener)
        with accepted:
            assert await loop.sock_recv(accepted, 10) == b"", "nothing was said to it"
        assert descriptors() == before
        open_to_it = SystemNetwork(clock, Policy(loopback=True))
        await (await open_to_it.connect(dialled, port, Options(), clock.monotonic() + 2)).close()
