"""Floods of every HTTP/2 frame by somebody with a good certificate, and connections by somebody with none:
they are cut off, and nobody else is."""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from probemesh.v1 import mesh_pb2, session_pb2
from probemesh.v1.mesh_pb2_grpc import MeshStub
from probemesh.v1.session_pb2_grpc import FleetStub
from probemesh_controller.pki.ca import CertificateAuthority
from probemesh_shared.audit.record import AuditRecord
from probemesh_shared.errors import Busy, MeshError
from probemesh_shared.identity.files import Identity
from probemesh_shared.rpc import door
from probemesh_shared.rpc.conduct import Limits
from probemesh_shared.rpc.framestream import fleet_link
from probemesh_shared.rpc.server import MeshServer
from probemesh_shared.session.frames import Heartbeat
from probemesh_shared.words import AuditOutcome, Role

from tests.hostile.floods import ATTACH, CANCEL, ELSEWHERE, EMPTY, FLOODS, STATUS, attack
from tests.hostile.rawh2 import END_HEADERS, END_STREAM, RawH2, Type, frame, request_headers
from tests.rpc.conftest import CONTROLLER, Served, hold, issue

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="session")
def villain(ca: CertificateAuthority) -> Identity:
    return issue(ca, Role.AGENT, "bad1", "bad-1")


async def hold_one(context: Any) -> None:
    """Says something, and works for ever without listening."""
    await context.write(session_pb2.ControllerFrame(heartbeat=session_pb2.Heartbeat(seq=1)))
    await asyncio.Event().wait()


# --- floods -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_is_cut_off_and_nobody_else(
    serve: Any, agent: Identity, villain: Identity, name: str
) -> None:
    served = await serve()
    served.attach.behave = hold
    link = fleet_link(served.dial(agent))
    await link.read()
    assert await asyncio.to_thread(attack, served.address, villain, name) is not None
    for number in range(3):  # the healthy one is heard still
        await link.write(Heartbeat(number))
    await until(lambda: {peer.name for peer in served.server.peers()} == {"berlin-1"})
    assert not [who for who in served.server.door.cuts if who == "too many connections"]
    await link.close()


async def test_calls_at_full_speed_are_refused_then_cut_off(
    serve: Any, villain: Identity, agent: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "Limits", lambda: Limits(calls=40, calls_per_s=1, refused_calls=10))
    recorded: asyncio.Queue[AuditRecord] = asyncio.Queue()
    served = await serve(audit=lambda one: recorded.put_nowait(one) if one.event == "cut-off" else None)
    connection = served.dial(villain)
    stub = MeshStub(connection.channel)
    told: list[type[MeshError]] = []
    for _ in range(60):
        with suppress(MeshError):
            try:
                await connection.call(stub.Status, mesh_pb2.StatusRequest())
            except MeshError as error:
                told.append(type(error))
                raise
    assert told[:40].count(Busy) == 0
    assert set(told[40:51]) == {Busy}
    async with asyncio.timeout(10):
        record = await recorded.get()
    assert (record.who, record.outcome) == ("agent/bad-1", AuditOutcome.CUT)
    assert record.detail == "too many calls with this certificate"
    assert record.address.startswith("127.0.0.1:")
    with pytest.raises(Busy, match="too many calls"):  # also on another connection
        await served.status(villain)
    with pytest.raises(MeshError, match="may not look at the mesh"):  # others are judged by themselves
        await served.status(agent)


async def test_calls_taken_back_end_in_disgrace(
    serve: Any, villain: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow enough for grpc to hand every one of them to a handler."""
    monkeypatch.setattr(door, "Limits", lambda: Limits(calls=40, calls_per_s=1))
    served = await serve()

    async def work(frames: Any, context: Any) -> None:
        await hold_one(context)

    served.attach.behave = work

    def raid() -> int:
        with RawH2(served.address, villain, CONTROLLER) as raw:
            headers = request_headers(ATTACH)
            for number in range(1, 401, 2):
                raw.heard = b""
                if not raw.send(frame(Type.HEADERS, END_HEADERS, number, headers)):
                    return number
                raw.hear(number.to_bytes(4, "big"))
                raw.send(frame(Type.RST_STREAM, 0, number, CANCEL))
            return 0

    assert await asyncio.to_thread(raid)
    assert served.server.door.cuts.total() == 1
    assert set(served.server.door.cuts) <= {
        "calls that are taken back",
        "too many calls with this certificate",
    }
    with pytest.raises(Busy):
        await served.status(villain)


async def test_who_breaks_headers_off_again_and_again_may_not_dial(
    serve: Any, agent: Identity, villain: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection is over before anybody looks, and each has cost us a call with thousands of headers."""
    served = await serve()
    served.attach.behave = hold
    link = fleet_link(served.dial(agent))
    await link.read()

    def raid() -> bool:
        for _ in range(200):
            try:
                attack(served.address, villain, "headers-broken-off", patience_s=1.0)
            except OSError:  # no dialling may take as long as the address is barred
                if served.server.door.cuts["headers without an end"]:
                    return True
        return False

    assert await asyncio.to_thread(raid)
    host, port = served.address.rsplit(":", 1)
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(socket.create_connection, (host, int(port)), 0.2, (ELSEWHERE, 0))
    await link.write(Heartbeat(1))
    with pytest.raises(MeshError, match="may not look at the mesh"):  # others dial as ever
        await served.status(agent)
    now = time.monotonic()
    monkeypatch.setattr(served.server.door, "_now", lambda: now + 3600)
    await served.server.door.look()
    await asyncio.to_thread(lambda: socket.create_connection((host, int(port)), 5, (ELSEWHERE, 0)).close())
    await link.close()


async def test_a_whole_call_with_headers_by_the_thousand_ends_in_disgrace(
    serve: Any, agent: Identity, villain: Identity
) -> None:
    """grpc bounds the headers of a frame, and not those of a call."""
    served = await serve()

    def raid() -> bool:
        with RawH2(served.address, villain, CONTROLLER) as raw:
            raw.send(frame(Type.HEADERS, 0, 1, request_headers(STATUS)))
            raw.send(frame(Type.CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 150) * 20)
            raw.send(frame(Type.CONTINUATION, END_HEADERS, 1) + frame(Type.DATA, END_STREAM, 1, EMPTY))
            heard = raw.hear(b"headers without an end")
            raw.drain(5.0)
            return heard and raw.closed

    assert await asyncio.to_thread(raid)
    assert served.server.door.cuts["headers without an end"] == 1
    with pytest.raises(Busy):
        await served.status(villain)
    with pytest.raises(MeshError, match="may not look at the mesh"):
        await served.status(agent)


async def test_bulk_is_no_noise(serve: Any, agent: Identity) -> None:
    """Five times what noise may be, as messages of a session."""
    served = await serve()
    got = asyncio.Event()
    size, count = 900_000, 48

    async def take(frames: Any, context: Any) -> None:
        number = 0
        async for _ in frames:
            number += 1
            if number == count:
                got.set()

    served.attach.behave = take
    connection = served.dial(agent)
    call = connection.open(FleetStub(connection.channel).Attach)
    await served.services.entered.wait()
    message = session_pb2.AgentFrame(goodbye=session_pb2.Goodbye(reason="x" * size))
    for _ in range(count):
        await call.write(message)
        await served.server.door.look()
    await got.wait()
    await served.server.door.look()
    assert not served.server.door.cuts
    call.cancel()


# --- connections --------------------------------------------------------------------------------------------


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("not within 10 s")


async def until_cut(served: Served, why: str, count: int) -> None:
    """Looks by itself, as the server does once a second."""
    for _ in range(100):
        if served.server.door.cuts[why] >= count:
            return
        await served.server.door.look()
        await asyncio.sleep(0.05)
    raise AssertionError(f"cut off: {served.server.door.cuts}")


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_connections_of_one_certificate(serve: Any, agent: Identity, admin: Identity) -> None:
    served = await serve()
    served.attach.behave = hold
    links = []
    for _ in range(11):
        links.append(fleet_link(served.dial(agent)))
        await links[-1].read()
    other = served.dial(admin)
    with pytest.raises(MeshError, match="reached"):
        await other.call(MeshStub(other.channel).Status, mesh_pb2.StatusRequest())
    await until_cut(served, "too many connections", 3)
    for link in links[8:]:  # the newest
        with pytest.raises(MeshError):
            async with asyncio.timeout(5):
                await link.read()
    assert len(served.server.peers()) == 8
    assert served.server.door.cuts.total() == 3
    for link in links:
        await link.close()


async def test_connections_of_strangers_at_one_address(serve: Any, agent: Identity) -> None:
    """Of those that never finish a handshake so many may wait, the oldest go first; a peer that is
    recognised is none of them."""
    served = await serve(max_connections=64)  # 32 strangers
    served.attach.behave = hold
    link = fleet_link(served.dial(agent))
    await link.read()
    host, port = served.address.split(":")
    waiting = [await asyncio.open_connection(host, int(port)) for _ in range(40)]
    await until_cut(served, "too many connections", 8)
    async with asyncio.timeout(5):
        for reader, _ in waiting[:8]:
            assert await reader.read(1) == b""
    assert not any(reader.at_eof() for reader, _ in waiting[8:])
    await link.write(Heartbeat(1))
    for _, writer in waiting:
        writer.close()
    await link.close()


async def test_a_fleet_behind_one_address_has_its_turn(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand agents that come back at once from behind a balancer look like strangers for as long as
    their handshakes wait for us. They are taken for some once there is little room."""
    monkeypatch.setattr(door, "_YOUNG_S", -1.0)
    served = await serve(max_connections=400)  # a quarter is 100, and 32 strangers
    host, port = served.address.split(":")

    async def seen(count: int) -> None:
        for _ in range(100):
            await served.server.door.look()
            if len(served.server.door._known) >= count:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"not {count} connections")

    waiting = [await asyncio.open_connection(host, int(port)) for _ in range(80)]
    await seen(80)
    assert not served.server.door.cuts
    waiting += [await asyncio.open_connection(host, int(port)) for _ in range(40)]
    await until_cut(served, "too many connections", 69)  # down to the 32, after the 101st
    for _, writer in waiting:
        writer.close()


async def test_who_never_says_anything_after_the_handshake_is_let_go(
    serve: Any, villain: Identity, agent: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "SILENT_S", 1.0)
    served = await serve()
    served.attach.behave = hold
    link = fleet_link(served.dial(agent))
    await link.read()

    def wait() -> float:
        with RawH2(served.address, villain, CONTROLLER) as raw:
            began = time.monotonic()
            while not raw.closed and time.monotonic() < began + 10:
                raw.drain(1.0)
            return time.monotonic() - began

    assert await asyncio.to_thread(wait) < 9
    assert served.server.door.cuts == {"silence": 1}
    await link.write(Heartbeat(1))
    await link.close()


async def test_an_idle_connection_that_was_recognised_may_stay(
    serve: Any, admin: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "SILENT_S", 0.1)
    served = await serve()
    connection = served.dial(admin)
    for _ in range(3):
        with pytest.raises(MeshError, match="reached"):
            await connection.call(MeshStub(connection.channel).Status, mesh_pb2.StatusRequest())
        await asyncio.sleep(0.2)
        await served.server.door.look()
    assert not served.server.door.cuts


async def test_other_sockets_of_the_process_are_left_alone(
    serve: Any, villain: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither our own probes' nor another listener's."""
    monkeypatch.setattr(door, "SILENT_S", -1.0)
    served = await serve()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        probe = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with probe, accepted:
            before = descriptors()
            for _ in range(3):
                await served.server.door.look()
            assert descriptors() == before
            probe.send(b"x")
            assert accepted.recv(1) == b"x"
    assert not served.server.door.cuts


async def test_ipv6(controller: Identity, villain: Identity) -> None:
    """A door on ::1 knows whom it sees."""
    server = MeshServer(controller)
    port = await server.start("[::1]:0")
    try:
        sent = await asyncio.to_thread(attack, f"::1:{port}", villain, "settings", 20.0, "::1")
        assert sent is not None
        assert server.door.cuts["noise"] == 1
    finally:
        await server.stop(0.1)
