"""What callers learn of our faults, and how they are cut off."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from probemesh.v1 import mesh_pb2, mesh_pb2_grpc, session_pb2, session_pb2_grpc
from probemesh_shared.errors import (
    Busy,
    CertificateRefused,
    InvalidRequest,
    MeshError,
    NotAllowed,
    NotFound,
    StateError,
    Unreachable,
    VersionMismatch,
)
from probemesh_shared.rpc import guard
from probemesh_shared.rpc.framestream import fleet_link
from probemesh_shared.rpc.grpc_setup import grpc
from probemesh_shared.session.frames import Heartbeat
from probemesh_shared.words import Role

from tests.rpc.conftest import CONTROLLER, hold, issue

SECRET = "/etc/shadow: hunter2"


class Strange(Exception):
    """Of no family that anybody maps."""


async def unary_raises(request: Any, context: Any) -> Any:
    raise Strange(SECRET)


async def unary_groups(request: Any, context: Any) -> Any:
    raise ExceptionGroup(SECRET, [Strange(SECRET)])


async def unary_answers_rubbish(request: Any, context: Any) -> Any:
    return SECRET


async def stream_raises_at_once(request: Any, context: Any) -> AsyncIterator[Any]:
    raise Strange(SECRET)
    yield


async def stream_raises_later(request: Any, context: Any) -> AsyncIterator[Any]:
    yield mesh_pb2.RunEvent()
    raise Strange(SECRET)


async def stream_answers_rubbish(request: Any, context: Any) -> AsyncIterator[Any]:
    yield SECRET


async def attach_raises_at_once(frames: Any, context: Any) -> None:
    raise Strange(SECRET)


async def attach_raises_later(frames: Any, context: Any) -> None:
    await context.write(session_pb2.ControllerFrame())
    raise Strange(SECRET)


def assert_hidden(error: grpc.aio.AioRpcError, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of it on the wire; all of it in the log, under the id that the caller was given."""
    told = f"{error.details()} {error.trailing_metadata()} {error.debug_error_string()}"
    assert error.code() is grpc.StatusCode.INTERNAL
    for word in ("hunter2", "shadow", "Strange", "Traceback", ".py"):
        assert word not in told
    tag = (error.details() or "").removeprefix("internal error ")
    assert len(tag) == 8
    logged = [record for record in caplog.records if f"id {tag}" in record.getMessage()]
    assert len(logged) == 1
    assert logged[0].exc_info


async def drain(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass
    if await call.code() is not grpc.StatusCode.OK:
        raise grpc.aio.AioRpcError(
            await call.code(),
            await call.initial_metadata(),
            await call.trailing_metadata(),
            await call.details(),
            call.debug_error_string() if hasattr(call, "debug_error_string") else None,
        )


@pytest.mark.parametrize("behaviour", [unary_raises, unary_groups, unary_answers_rubbish])
async def test_unary_faults_stay_inside(serve, admin, caplog, behaviour) -> None:
    served = await serve()
    served.services.status = behaviour
    stub = mesh_pb2_grpc.MeshStub(served.dial(admin).channel)
    with caplog.at_level(logging.ERROR), pytest.raises(grpc.aio.AioRpcError) as told:
        await stub.Status(mesh_pb2.StatusRequest(), timeout=5)
    assert_hidden(told.value, caplog)


@pytest.mark.parametrize("behaviour", [stream_raises_at_once, stream_raises_later, stream_answers_rubbish])
async def test_stream_faults_stay_inside(serve, admin, caplog, behaviour) -> None:
    served = await serve()
    served.services.run = behaviour
    stub = mesh_pb2_grpc.MeshStub(served.dial(admin).channel)
    with caplog.at_level(logging.ERROR), pytest.raises(grpc.aio.AioRpcError) as told:
        await drain(stub.Run(mesh_pb2.RunRequest(), timeout=5))
    assert_hidden(told.value, caplog)


@pytest.mark.parametrize("behaviour", [attach_raises_at_once, attach_raises_later])
async def test_faults_of_two_way_streams_stay_inside(serve, agent, caplog, behaviour) -> None:
    served = await serve()
    served.attach.behave = behaviour
    stub = session_pb2_grpc.FleetStub(served.dial(agent).channel)
    with caplog.at_level(logging.ERROR), pytest.raises(grpc.aio.AioRpcError) as told:
        await drain(stub.Attach(timeout=5))
    assert_hidden(told.value, caplog)


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("such and such", "do this"),
        NotFound("no such agent"),
        NotAllowed("no"),
        CertificateRefused("no", "yes"),
        Busy("later"),
        VersionMismatch("too new"),
        StateError("disk full", "make room: ü"),
        Unreachable("the agent is away"),
        MeshError("else"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_our_errors_arrive_as_they_were_raised(serve, admin, error: MeshError) -> None:
    served = await serve()

    async def refuse(request: Any, context: Any) -> Any:
        raise error

    async def refuse_later(request: Any, context: Any) -> AsyncIterator[Any]:
        yield mesh_pb2.RunEvent()
        raise error

    served.services.status, served.services.run = refuse, refuse_later
    connection = served.dial(admin)
    stub = mesh_pb2_grpc.MeshStub(connection.channel)
    with pytest.raises(MeshError) as told:
        await connection.call(stub.Status, mesh_pb2.StatusRequest())
    assert (type(told.value), str(told.value), told.value.hint) == (type(error), str(error), error.hint)
    events = connection.stream(stub.Run, mesh_pb2.RunRequest())
    assert await anext(events) == mesh_pb2.RunEvent()
    with pytest.raises(MeshError) as told:
        await anext(events)
    assert (type(told.value), str(told.value), told.value.hint) == (type(error), str(error), error.hint)


async def test_what_a_hostile_server_says_is_bounded_and_escaped(serve, admin) -> None:
    served = await serve()

    async def shout(request: Any, context: Any) -> Any:
        await context.abort(
            grpc.StatusCode.NOT_FOUND,
            "\x1b[2J\u202e" + "x" * 3000,
            (("probemesh-error", "NoSuchClass"), ("probemesh-hint-bin", b"\xff\x1b]0;\x07" + b"y" * 2000)),
        )

    served.services.status = shout
    with pytest.raises(NotFound) as told:
        await served.status(admin)
    assert str(told.value).startswith("\\x1b[2J\\u202exxx")
    assert told.value.hint is not None
    for text in (str(told.value), told.value.hint):
        assert len(text) <= 600
        assert text.isprintable()


# --- revocation -----------------------------------------------------------------------------------------


async def test_revocation_cuts_live_streams_and_later_calls(serve, ca, agent, admin) -> None:
    served = await serve()
    served.attach.behave = hold
    other = issue(ca, Role.AGENT, "other", "tokyo-1")
    links = [fleet_link(served.dial(identity)) for identity in (agent, agent, other)]
    for link in links:
        assert await link.read() == Heartbeat(1)
    assert served.server.revoke(agent.id, [agent.serial]) == 2
    async with asyncio.timeout(5):
        for link in links[:2]:
            with pytest.raises(CertificateRefused, match="has been revoked"):
                await link.read()
    assert [peer.id for peer in served.server.peers()] == ["other"]
    with pytest.raises(CertificateRefused, match="has been revoked"):
        await fleet_link(served.dial(agent)).read()
    again = issue(ca, Role.AGENT, agent.id, agent.name)  # the id may come back with a new certificate
    assert await fleet_link(served.dial(again)).read() == Heartbeat(1)


async def test_revoking_by_id_alone_denies_the_certificate_in_use(serve, agent) -> None:
    served = await serve()
    served.attach.behave = hold
    link = fleet_link(served.dial(agent))
    await link.read()
    assert served.server.revoke(agent.id) == 1
    with pytest.raises(CertificateRefused):
        await fleet_link(served.dial(agent)).read()


async def test_a_handler_that_swallows_its_cancellation_does_not_hide_the_reason(serve, agent) -> None:
    served = await serve()

    async def stubborn(frames: Any, context: Any) -> None:
        try:
            await hold(frames, context)
        except asyncio.CancelledError:
            return

    served.attach.behave = stubborn
    link = fleet_link(served.dial(agent))
    await link.read()
    served.server.revoke(agent.id)
    with pytest.raises(CertificateRefused, match="has been revoked"):
        await link.read()


async def test_a_stream_does_not_outlive_its_certificate(serve, ca) -> None:
    served = await serve()
    served.attach.behave = hold
    link = fleet_link(served.dial(issue(ca, Role.AGENT, life=timedelta(seconds=2))))
    assert await link.read() == Heartbeat(1)
    with pytest.raises(CertificateRefused, match="expired since the connection was made"):
        await link.read()
    await link.close()


async def test_a_call_over_an_old_connection_with_a_certificate_that_ended(serve, ca) -> None:
    served = await serve()
    connection = served.dial(issue(ca, Role.ADMIN, "ann", "ann"))
    stub = mesh_pb2_grpc.MeshStub(connection.channel)
    with pytest.raises(NotFound, match="reached"):
        await connection.call(stub.Status, mesh_pb2.StatusRequest())
    served.server._guard._wall_ns = lambda: time.time_ns() + 25 * 3600 * 10**9
    with pytest.raises(CertificateRefused, match="expired since the connection was made"):
        await connection.call(stub.Status, mesh_pb2.StatusRequest())


async def test_an_operator_is_denied_by_name_until_it_joins_anew(serve, ca) -> None:
    served = await serve()
    one, another = (issue(ca, Role.OPERATOR, "bob", "bob") for _ in range(2))
    assert served.server.deny_operator("bob", [one.serial]) == 0
    for identity in (one, another, issue(ca, Role.RENEWAL, "bob", "bob")):
        with pytest.raises(CertificateRefused, match="revoked"):
            await served.status(identity)
    with pytest.raises(NotAllowed):  # an agent whose id happens to be a person's name is somebody else
        await served.status(issue(ca, Role.AGENT, "bob", "bob"))
    served.server.readmit_operator("bob")
    with pytest.raises(NotFound, match="reached"):
        await served.status(another)
    with pytest.raises(CertificateRefused, match="revoked"):
        await served.status(one)


async def test_revocation_in_the_middle_of_a_write_is_told_every_time(serve, ca) -> None:
    """grpc sends no status beside a message; one caller in sixty was left hanging."""
    served = await serve()

    async def talk(frames: Any, context: Any) -> None:
        while True:
            await context.write(session_pb2.ControllerFrame(heartbeat=session_pb2.Heartbeat(seq=1)))

    served.attach.behave = talk
    for number in range(100):
        identity = issue(ca, Role.AGENT, f"id-{number}", f"agent-{number}")
        link = fleet_link(served.dial(identity))
        await link.read()
        assert served.server.revoke(identity.id) == 1
        async with asyncio.timeout(5):
            with pytest.raises(CertificateRefused, match="has been revoked"):
                while await link.read():
                    pass
        await link.close()


async def test_serials_denied_at_start(serve, admin) -> None:
    served = await serve(denied_serials=[admin.serial])
    with pytest.raises(CertificateRefused, match="has been revoked"):
        await served.status(admin)


async def test_another_mesh_of_the_same_ca_is_refused(served, ca, admin) -> None:
    ca.mesh = "elsewhere"
    try:
        stranger = issue(ca, Role.ADMIN)
    finally:
        ca.mesh = "demo"
    with pytest.raises(CertificateRefused, match="belongs to another mesh"):
        await served.status(stranger)


# --- one certificate's share, and the end -------------------------------------------------------------------


async def test_calls_of_one_certificate_are_bounded(
    serve, ca, agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_CALLS", 2)
    served = await serve()
    served.attach.behave = hold
    for _ in range(2):
        await fleet_link(served.dial(agent)).read()
    with pytest.raises(Busy):
        await fleet_link(served.dial(agent)).read()
    assert await fleet_link(served.dial(issue(ca, Role.AGENT, "other", "tokyo-1"))).read() == Heartbeat(1)


async def test_a_client_that_goes_away_frees_its_handler(serve, agent) -> None:
    served = await serve()
    served.attach.behave = hold
    link = fleet_link(served.dial(agent))
    await link.read()
    await link.close()
    async with asyncio.timeout(5):
        await served.attach._services.left.wait()
    assert served.server.peers() == ()


async def test_stop_with_streams_open_is_quick_and_says_why(serve, agent) -> None:
    served = await serve()
    served.attach.behave = hold
    link = fleet_link(served.dial(agent))
    await link.read()
    loop = asyncio.get_running_loop()
    before = loop.time()
    await served.server.stop(5)
    assert loop.time() - before < 1
    with pytest.raises(Unreachable, match="shutting down"):
        await link.read()


async def test_a_certificate_is_reloaded_without_a_restart(serve, ca, admin, agent) -> None:
    served = await serve(agent)
    with pytest.raises(CertificateRefused, match="another role or name"):
        await served.status(admin)
    served.server.reload(issue(ca, Role.CONTROLLER, "controller", "controller"))
    with pytest.raises(NotFound, match="reached"):
        await served.status(admin, CONTROLLER)


def test_lists_without_end_make_nothing_grow() -> None:
    made = guard.Guard("demo")
    for number in range(50):
        made.deny_operators([f"eve-{number}"], [f"{number}-{serial}" for serial in range(100)])
    assert (len(made._denied), len(made._listed), made._denied_operators) == (0, 100, {"eve-49"})
