"""Session frames over the real calls, both dialling directions, and a session driven over them."""

import asyncio
import gc
import socket
from typing import Any

import pytest
from probemesh_shared.clock import SystemClock
from probemesh_shared.convert import BadMessage
from probemesh_shared.errors import CertificateRefused, MeshError, Unreachable
from probemesh_shared.rpc.client import connect
from probemesh_shared.rpc.framestream import agent_link, fleet_link, served_agent_link, served_fleet_link
from probemesh_shared.rpc.grpc_setup import grpc
from probemesh_shared.rpc.server import MeshServer
from probemesh_shared.session.driver import Wake, Why, drive
from probemesh_shared.session.events import Event, Ready
from probemesh_shared.session.frames import Cancel, Goodbye, Heartbeat, Hello, UnknownFrame
from probemesh_shared.session.inbox import Inbox
from probemesh_shared.session.machine import Session, Side
from probemesh_shared.session.outbox import Outbox
from probemesh_shared.session.spool import MemorySpool
from probemesh_shared.words import Role

from tests.rpc.conftest import CONTROLLER, issue

HELLO = Hello(1, 1, "test", "instance-1")


@pytest.mark.parametrize("way", ["agent dials", "agent listens"])
async def test_frames_go_both_ways_and_end_in_order(serve, agent, admin, way: str) -> None:
    served = await serve()
    seen: list[Any] = []

    async def behave(frames: Any, context: Any) -> None:
        link = served_fleet_link(context) if way == "agent dials" else served_agent_link(context)
        while (frame := await link.read()) is not None:
            seen.append(frame)
            await link.write(Heartbeat(len(seen)))

    served.attach.behave = behave
    link = fleet_link(served.dial(agent)) if way == "agent dials" else agent_link(served.dial(admin))
    sent = [HELLO, Goodbye("done") if way == "agent dials" else Cancel("job-1", "enough")]
    async with asyncio.timeout(10):
        for number, frame in enumerate(sent, 1):
            await link.write(frame)
            assert await link.read() == Heartbeat(number)
        await link.close()
        await served.attach._services.left.wait()
    assert seen == sent
    await link.close()


async def test_the_last_frame_before_close_arrives(serve, agent) -> None:
    """Closing ends our side before it cancels: a cancel would overtake what was just written."""
    served = await serve()
    seen: list[Any] = []

    async def behave(frames: Any, context: Any) -> None:
        link = served_fleet_link(context)
        while (frame := await link.read()) is not None:
            seen.append(frame)

    served.attach.behave = behave
    for number in range(20):
        link = fleet_link(served.dial(agent))
        await link.write(Heartbeat(number))
        await link.close()
    assert seen == [Heartbeat(number) for number in range(20)]


async def test_a_server_that_ends_in_good_order(serve, agent) -> None:
    served = await serve()

    async def leave(frames: Any, context: Any) -> None:
        return

    served.attach.behave = leave
    link = fleet_link(served.dial(agent))
    assert await link.read() is None
    with pytest.raises(MeshError):
        async with asyncio.timeout(5):
            while True:
                await link.write(HELLO)


async def test_a_link_that_never_came_up_is_explained(serve, other_ca, ca, agent) -> None:
    served = await serve(issue(other_ca, Role.CONTROLLER, "controller", "controller"))
    link = fleet_link(served.dial(agent))
    results = await asyncio.gather(link.read(), link.write(HELLO), return_exceptions=True)
    assert any(isinstance(result, CertificateRefused) for result in results)
    assert not any(isinstance(result, grpc.aio.AioRpcError) for result in results)
    await link.close()


async def test_a_link_that_failed_dials_no_more(agent) -> None:
    """Whoever keeps its error keeps neither channel nor call: with them grpc would go on to dial, and hold a
    connection that nobody uses. It does so after a fifth of a second."""
    with socket.socket() as later:
        later.bind(("127.0.0.1", 0))
        link = fleet_link(connect(f"127.0.0.1:{later.getsockname()[1]}", agent, CONTROLLER))
        gc.disable()  # what only it can free stays for as long as it likes
        try:
            try:
                await link.read()
            except Unreachable as error:
                kept = error  # by hand: pytest would keep its traceback too
            await link.close()
            del link
            later.listen()
            later.settimeout(1.5)
            with pytest.raises(TimeoutError):
                await asyncio.to_thread(later.accept)
        finally:
            gc.enable()
    assert "connection refused" in str(kept)


async def test_a_link_that_breaks_is_unreachable(serve, agent) -> None:
    served = await serve()

    async def speak(frames: Any, context: Any) -> None:
        link = served_fleet_link(context)
        await link.write(Heartbeat(1))
        await link.read()

    served.attach.behave = speak
    link = fleet_link(served.dial(agent))
    assert await link.read() == Heartbeat(1)
    await served.server.stop(0)
    with pytest.raises(Unreachable):
        await link.read()
    await link.close()


async def test_bytes_that_are_no_frame(serve, agent) -> None:
    served = await serve()
    told: list[Exception] = []

    async def behave(frames: Any, context: Any) -> None:
        try:
            await served_fleet_link(context).read()
        except BadMessage as error:
            told.append(error)
            raise

    served.attach.behave = behave
    connection = served.dial(agent)
    call = connection.open(connection.channel.stream_stream("/probemesh.v1.Fleet/Attach"))
    await call.write(b"\xff\xff\xff")
    async with asyncio.timeout(5):
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(told) == 1


async def test_bytes_that_are_no_frame_from_a_server(controller, agent) -> None:
    async def behave(frames: Any, context: Any) -> None:
        await context.write(b"\x7a\x02\xff\xff")  # field 15: a newer peer's
        await context.write(b"\xff\xff\xff")
        await context.read()

    def register(servicer: Any, server: Any) -> None:
        raw = {"Attach": grpc.stream_stream_rpc_method_handler(servicer, None, None)}
        server.add_registered_method_handlers("probemesh.v1.Fleet", raw)

    server = MeshServer(controller)
    server.add(register, behave)
    port = await server.start("127.0.0.1:0")
    link = fleet_link(connect(f"127.0.0.1:{port}", agent, CONTROLLER))
    async with asyncio.timeout(5):
        assert await link.read() == UnknownFrame()
        with pytest.raises(BadMessage):
            await link.read()
    await link.close()
    await server.stop(0.1)


async def test_a_session_over_it(serve, agent) -> None:
    """Both ends driven: hellos, then the agent's side is closed and the controller's ends in good order."""
    served = await serve()
    clock = SystemClock()
    events: list[Event] = []
    ends: list[Any] = []

    async def note(event: Event) -> None:
        events.append(event)

    async def behave(frames: Any, context: Any) -> None:
        session = Session(Side.CONTROLLER, HELLO, clock.monotonic(), inbox=Inbox())
        ends.append(await drive(session, served_fleet_link(context), clock, note, Wake()))

    served.attach.behave = behave
    wake = Wake()

    async def ready(event: Event) -> None:
        events.append(event)
        if isinstance(event, Ready):
            wake.close()

    session = Session(Side.AGENT, HELLO, clock.monotonic(), outbox=Outbox(MemorySpool()))
    async with asyncio.timeout(10):
        end = await drive(session, fleet_link(served.dial(agent)), clock, ready, wake)
        await served.attach._services.left.wait()
    assert end.why is Why.CLOSED
    assert end.ready
    assert [one.why for one in ends] == [Why.PEER_CLOSED]
    assert sum(isinstance(event, Ready) for event in events) == 2
