"""Limits that grpc keeps for us only when it is told rightly: sizes, descriptors, time, ports."""

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from probemesh.v1 import mesh_pb2, mesh_pb2_grpc, session_pb2_grpc
from probemesh_shared.errors import MeshError, NotFound, StateError
from probemesh_shared.identity.files import save_identity
from probemesh_shared.rpc import client, grpc_setup, server
from probemesh_shared.rpc.client import connect
from probemesh_shared.rpc.framestream import fleet_link
from probemesh_shared.rpc.grpc_setup import grpc
from probemesh_shared.rpc.server import MeshServer

from tests.rpc.conftest import CONTROLLER, add_all, hold

CHILD = Path(__file__).with_name("served_alone.py")


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.slow
async def test_a_thousand_connects_leave_no_descriptor(served, admin) -> None:
    async def once(number: int) -> None:
        async with connect(served.address, admin, CONTROLLER) as connection:
            stub = mesh_pb2_grpc.MeshStub(connection.channel)
            if number % 3 == 0:  # closed with a call under way
                connection.open(session_pb2_grpc.FleetStub(connection.channel).Attach)
            await connection.call(stub.Status, mesh_pb2.StatusRequest())

    for number in range(10):
        await once(number)
    before = descriptors()
    for number in range(1000):
        await once(number)
    await asyncio.sleep(0)
    assert descriptors() - before <= 5


async def test_failed_connects_leave_no_descriptor(admin) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        before = descriptors()
        for _ in range(100):
            async with connect(address, admin, CONTROLLER) as connection:
                with pytest.raises(grpc.aio.AioRpcError):
                    stub = mesh_pb2_grpc.MeshStub(connection.channel)
                    await stub.Status(mesh_pb2.StatusRequest(), timeout=5)
        assert descriptors() - before <= 5


async def test_an_oversize_message_is_refused_on_both_sides(served, admin) -> None:
    options = [("grpc.ssl_target_name_override", CONTROLLER), ("grpc.max_send_message_length", -1)]
    credentials = grpc.ssl_channel_credentials(admin.ca_pem, admin.key_pem, admin.certificate_pem)
    async with grpc.aio.secure_channel(served.address, credentials, options=options) as channel:
        method = channel.unary_unary("/probemesh.v1.Mesh/Status")
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await method(bytes(grpc_setup.MAX_MESSAGE + 1), timeout=5)
    assert told.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    async def giant(request: Any, context: Any) -> Any:
        return mesh_pb2.StatusResponse(mesh="x" * grpc_setup.MAX_MESSAGE)

    served.services.status = giant
    with pytest.raises(MeshError):
        await served.status(admin)


async def test_a_gzip_bomb_is_refused_before_it_is_inflated(ca, controller, admin, tmp_path: Path) -> None:
    """128 MiB of zeros are 130 KB on the wire. The server runs alone, so that its memory is its own."""
    save_identity(tmp_path, controller)
    child = await asyncio.create_subprocess_exec(
        sys.executable, CHILD, tmp_path, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdin is not None
    address = (await child.stdout.readline()).decode().strip()
    options = [("grpc.ssl_target_name_override", CONTROLLER), ("grpc.max_send_message_length", -1)]
    credentials = grpc.ssl_channel_credentials(admin.ca_pem, admin.key_pem, admin.certificate_pem)
    try:
        async with grpc.aio.secure_channel(
            address, credentials, options=options, compression=grpc.Compression.Gzip
        ) as channel:
            method = channel.unary_unary("/probemesh.v1.Mesh/Status")
            with pytest.raises(grpc.aio.AioRpcError) as told:
                await method(b"small", timeout=5)  # inflated and read: not a message
            assert told.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            before = peak(child.pid)
            with pytest.raises(grpc.aio.AioRpcError) as told:
                await method(bytes(128 << 20), timeout=20)
        assert told.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert peak(child.pid) - before < 16 << 20
    finally:
        child.stdin.close()
        await child.wait()


def peak(process: int) -> int:
    """Highest resident size, bytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmHWM")


async def test_large_metadata_is_refused(served, admin) -> None:
    stub = mesh_pb2_grpc.MeshStub(served.dial(admin).channel)
    with pytest.raises(grpc.aio.AioRpcError) as told:
        await stub.Status(mesh_pb2.StatusRequest(), timeout=5, metadata=(("x", "y" * (9 << 10)),))
    assert told.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


#: What a server lets one connection have; a diagnosis needs about twenty.
STREAMS = dict(grpc_setup.SERVER_OPTIONS)["grpc.max_concurrent_streams"]


async def test_so_many_streams_a_connection(serve, agent) -> None:
    served = await serve()
    served.attach.behave = hold
    connection = served.dial(agent)
    stub = session_pb2_grpc.FleetStub(connection.channel)
    async with asyncio.timeout(10):
        calls = [connection.open(stub.Attach) for _ in range(STREAMS)]
        for call in calls:
            await call.read()
        one_more = connection.open(stub.Attach)
        reading = asyncio.create_task(one_more.read())
        done, _ = await asyncio.wait({reading}, timeout=0.2)
        assert not done
        assert len(served.server.peers()) == STREAMS
        calls[0].cancel()
        await reading  # it waited for its turn


async def test_one_port_one_server(serve, controller) -> None:
    served = await serve()
    second = MeshServer(controller)
    with pytest.raises(StateError, match=f"cannot listen on {served.address}: Address already in use"):
        await second.start(served.address)


async def test_an_address_that_is_not_ours(controller) -> None:
    with pytest.raises(StateError, match="Cannot assign requested address"):
        await MeshServer(controller).start("192.0.2.1:7400")


async def test_connections_are_bounded(serve, controller) -> None:
    served = await serve(max_connections=2)
    host, port = served.address.split(":")
    links = [await asyncio.open_connection(host, int(port)) for _ in range(4)]
    async with asyncio.timeout(3):
        assert await links[3][0].read(1) == b""
    for _, writer in links:
        writer.close()


@pytest.mark.slow
async def test_a_silent_connection_is_closed_in_five_seconds(served) -> None:
    host, port = served.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    loop = asyncio.get_running_loop()
    before = loop.time()
    async with asyncio.timeout(8):
        assert await reader.read(1) == b""
    assert 4 < loop.time() - before < 7
    writer.close()


# --- keepalive ----------------------------------------------------------------------------------------------


def faster(options: Any, factor: int) -> tuple[grpc_setup.Option, ...]:
    """The same relations between the times, ``factor`` times shorter."""
    names = {
        "grpc.keepalive_time_ms",
        "grpc.keepalive_timeout_ms",
        "grpc.http2.min_ping_interval_without_data_ms",
    }
    return tuple((name, value // factor if name in names else value) for name, value in options)


@pytest.mark.slow
@pytest.mark.parametrize("told", [True, False], ids=["with-our-options", "without-the-servers-ping-option"])
async def test_an_idle_stream_lives(serve, agent, monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    """Twelve pings, ten times faster than in life (where tests/chaos/test_unasked.py sees it). Left to grpc's
    default, the server kills the stream."""
    options = faster(grpc_setup.SERVER_OPTIONS, 10)
    if not told:
        options = tuple(one for one in options if "min_ping" not in one[0])
    monkeypatch.setattr(server, "SERVER_OPTIONS", options)
    monkeypatch.setattr(client, "CHANNEL_OPTIONS", faster(grpc_setup.CHANNEL_OPTIONS, 10))
    served = await serve()
    served.attach.behave = hold
    link = fleet_link(served.dial(agent))
    await link.read()
    reading = asyncio.create_task(link.read())
    done, _ = await asyncio.wait({reading}, timeout=12)
    assert bool(done) is not told
    if done:
        with pytest.raises(MeshError, match=r"[Tt]oo many pings"):
            reading.result()
    reading.cancel()
    await asyncio.wait({reading})


async def test_a_client_may_come_back_to_a_server_that_was_away(serve, agent, admin, controller) -> None:
    """A channel that failed does not hold its back-off against the next try."""
    served = await serve()
    connection = served.dial(admin)
    stub = mesh_pb2_grpc.MeshStub(connection.channel)
    with pytest.raises(NotFound):
        await connection.call(stub.Status, mesh_pb2.StatusRequest())
    await served.server.stop(0.1)
    with pytest.raises(MeshError):
        await connection.call(stub.Status, mesh_pb2.StatusRequest())
    second = MeshServer(controller)
    add_all(second, served.services, served.attach)
    await second.start(served.address)
    try:
        async with asyncio.timeout(3):
            while True:
                try:
                    await connection.call(stub.Status, mesh_pb2.StatusRequest())
                except NotFound:
                    break
                except MeshError:
                    await asyncio.sleep(0.05)
    finally:
        await connection.close()
        await second.stop(0.1)
