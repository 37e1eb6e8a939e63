"""A prober and a far responder of ours, as they are, on loopback."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator

import pytest
from probemesh_agent.env import ProbeEnv
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.probes.watch import WatchProbe
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import Shot, WatchDetail, WatchSpec
from probemesh_shared.words import Outcome, Transport

from tests.flow.world import seen, spec_of, target_of

TCP, UDP = Transport.TCP, Transport.UDP
HOSTS = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


@contextlib.asynccontextmanager
async def watch(host: str, token: bytes) -> AsyncIterator[WatchDetail]:
    clock = SystemClock()
    network = SystemNetwork(clock, Policy.typed_by_user())
    env = ProbeEnv(network, clock, clock.monotonic() + 30)
    spec = WatchSpec(token=token, surrogate=True, peers=(host,))
    rows = WatchProbe().run(spec, (target_of(host, 5001),), env)
    try:
        (row,) = await anext(rows)
        assert isinstance(row.detail, WatchDetail), row
        yield row.detail
    finally:
        await rows.aclose()
        network.close()


@HOSTS
async def test_connection_and_datagram_are_answered_by_the_watch(host: str) -> None:
    token = secrets.token_bytes(16)
    async with watch(host, token) as armed:
        assert armed.surrogate_port is not None
        port = armed.surrogate_port
        (connected,) = await seen(spec_of(TCP, Shot(send=b""), token=token), host, port)
        plain, large, late = await seen(
            spec_of(UDP, Shot(), Shot(size=900, large_reply=True), Shot(delay_ms=120), token=token),
            host,
            port,
        )
    for shot in (connected, plain, large, late):
        assert shot.outcome is Outcome.OK, shot
        (reply,) = shot.replies
        assert reply.valid and reply.agent == armed.agent
        assert (reply.seen_address, reply.seen_port) == (host, shot.local_port)
    assert large.replies[0].size == 900
    assert late.replies[0].at_ms - late.at_ms >= 115


@HOSTS
async def test_a_reply_from_another_port_counts_and_says_so(host: str) -> None:
    token = secrets.token_bytes(16)
    async with watch(host, token) as armed:
        assert armed.surrogate_port is not None
        spec = spec_of(UDP, Shot(other_port=True), token=token)
        (shot,) = await seen(spec, host, armed.surrogate_port)
    assert shot.outcome is Outcome.OK
    assert shot.replies[0].source == host and shot.replies[0].source_port != armed.surrogate_port


@HOSTS
async def test_the_watch_s_own_port_can_be_dialled_from(host: str) -> None:
    """The reversed five-tuple: from the port that listens, to the port that dialled."""
    token = secrets.token_bytes(16)
    served = asyncio.Event()
    server = await asyncio.start_server(lambda reader, writer: (served.set(), writer.close())[1], host, 0)
    async with server, watch(host, token) as armed:
        assert armed.surrogate_port is not None
        port = server.sockets[0].getsockname()[1]
        spec = spec_of(TCP, *(Shot(source_port=armed.surrogate_port, at_ms=60.0 * i) for i in range(3)))
        told = await seen(spec, host, port)
        assert [(shot.outcome, shot.local_port) for shot in told] == [(Outcome.OK, armed.surrogate_port)] * 3
        (again,) = await seen(spec_of(TCP, Shot(send=b""), token=token), host, armed.surrogate_port)
    assert again.replies[0].agent == armed.agent, "and it listens still"
