"""Path MTU by datagrams to a responder: one in this process, that answers by token, up to a size."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from probemesh_agent.env import ProbeEnv
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.probes.registry import Registry
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import Measurement, MtuDetail, MtuSpec, Options, PortRange, Target
from probemesh_shared.wire.flowtoken import pack_reply, read_request
from probemesh_shared.words import Kind, Outcome, Transport

TOKEN, NONCE = bytes(range(16)), bytes(8)
HEADERS = 28


class Responder(asyncio.DatagramProtocol):
    def __init__(self, largest: int) -> None:
        self.largest = largest
        self.sizes: list[int] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, where: Any) -> None:
        request = read_request(data, TOKEN)
        self.sizes.append(len(data))
        if request is not None and len(data) <= self.largest:
            self.transport.sendto(pack_reply(request, NONCE, *where[:2]), where)


@asynccontextmanager
async def responding(largest: int) -> AsyncIterator[tuple[Responder, int]]:
    loop = asyncio.get_running_loop()
    transport, responder = await loop.create_datagram_endpoint(
        lambda: Responder(largest), local_addr=("127.0.0.1", 0)
    )
    try:
        yield responder, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def measured(port: int, **more: Any) -> Measurement:
    clock = SystemClock()
    network = SystemNetwork(clock, Policy.typed_by_user())
    spec = MtuSpec(Options(timeout_s=0.3), Transport.UDP, largest=1500, **more)
    target = Target(f"udp://127.0.0.1:{port}", "127.0.0.1", (PortRange(port, port),))
    try:
        env = ProbeEnv(network, clock, clock.monotonic() + 10)
        batches = [batch async for batch in Registry()[Kind.MTU].run(spec, (target,), env)]
    finally:
        network.close()
    (row,) = [row for batch in batches for row in batch]
    return row


@pytest.mark.parametrize("large", [False, True])
async def test_all_sizes_pass(large: bool) -> None:
    async with responding(65_535) as (responder, port):
        row = await measured(port, token=TOKEN, large=large)
    assert row.outcome is Outcome.OK and isinstance(row.detail, MtuDetail)
    assert (row.detail.mtu, row.detail.failing, row.detail.black_hole) == (1500, None, False)
    assert 1500 - HEADERS in responder.sizes and row.port == port


async def test_what_is_never_answered_is_a_black_hole() -> None:
    async with responding(1400 - HEADERS) as (_, port):
        row = await measured(port, token=TOKEN)
    assert isinstance(row.detail, MtuDetail)
    assert (row.detail.mtu, row.detail.failing, row.detail.black_hole) == (1400, 1401, True)
    assert row.detail.fragments_pass is False


async def test_answers_to_another_token_count_for_nothing() -> None:
    async with responding(65_535) as (_, port):
        row = await measured(port, token=bytes(16))
    assert row.outcome is Outcome.TIMEOUT and row.failure is not None and row.log


async def test_a_closed_port_says_so() -> None:
    async with responding(65_535) as (_, port):
        pass
    row = await measured(port, token=TOKEN)
    assert row.outcome is Outcome.REFUSED and row.failure is not None and row.failure.detail


async def test_without_a_token_it_is_not_tried() -> None:
    row = await measured(9)
    assert row.outcome is Outcome.UNSUPPORTED
