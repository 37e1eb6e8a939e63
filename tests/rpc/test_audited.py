"""Every call leaves a record: a method by being there, whoever calls it, however it ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from probemesh.v1 import mesh_pb2, mesh_pb2_grpc
from probemesh_shared.audit.record import AuditRecord
from probemesh_shared.errors import Busy, MeshError, NotFound, StateError, Unreachable
from probemesh_shared.identity.names import controller_dns
from probemesh_shared.rpc import calls
from probemesh_shared.rpc.authz import allowed
from probemesh_shared.rpc.client import connect
from probemesh_shared.rpc.framestream import fleet_link
from probemesh_shared.rpc.grpc_setup import grpc
from probemesh_shared.rpc.peer import Peer
from probemesh_shared.session.frames import Heartbeat
from probemesh_shared.words import AuditOutcome, Role

from tests.rpc.conftest import CONTROLLER, hold, issue
from tests.rpc.methods import METHODS, call

EVENTS = {path: calls.event_of(path) for path in METHODS}


class Records(list[AuditRecord]):
    """An audit that grows while the server serves."""

    def __init__(self) -> None:
        self._grew = asyncio.Event()

    def __call__(self, record: AuditRecord) -> None:
        self.append(record)
        self._grew.set()

    async def wait(self, count: int) -> list[AuditRecord]:
        async with asyncio.timeout(10):
            while len(self) < count:
                self._grew.clear()
                await self._grew.wait()
        return list(self)


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
async def audited(serve: Any, records: Records) -> Any:
    return await serve(audit=records)


@pytest.mark.parametrize("role", list(Role))
async def test_every_method_by_every_role_is_recorded(audited, ca, records, role: Role) -> None:
    identity = issue(ca, role)
    connection = audited.dial(identity)
    for path, method in METHODS.items():
        records.clear()
        with pytest.raises((MeshError, grpc.aio.AioRpcError)):
            await call(connection, path, method)
        may = allowed(path, role)
        told = await records.wait(2 if may and method.client_streaming else 1)
        assert {record.event for record in told} == {EVENTS[path]}
        expected = [AuditOutcome.STARTED] * (len(told) - 1)
        expected += [AuditOutcome.REJECTED if may else AuditOutcome.REFUSED]
        assert [record.outcome for record in told] == expected
        last = told[-1]
        assert (last.certificate, last.detail == "reached") == (identity.serial, may)
        assert last.who.startswith(f"{role}/")
        assert last.address.startswith("127.0.0.1:")
        assert last.at_ns > 0


def test_events_are_words_of_their_own() -> None:
    assert EVENTS["/probemesh.v1.Mesh/CreateToken"] == "create-token"
    assert EVENTS["/probemesh.v1.Enrolment/Enrol"] == "enrol"
    twice = {event for event in EVENTS.values() if list(EVENTS.values()).count(event) > 1}
    assert twice == {"attach"}, "an agent's and a listening agent's: never at the same place"


@pytest.mark.parametrize(
    ("raised", "outcome", "detail"),
    [
        (None, AuditOutcome.OK, ""),
        (Busy("later"), AuditOutcome.REJECTED, "later"),
        (NotFound("no such agent"), AuditOutcome.REJECTED, "no such agent"),
        (Unreachable("away"), AuditOutcome.REJECTED, "away"),
        (StateError("disk full"), AuditOutcome.FAILED, "disk full"),
        (ValueError("hunter2"), AuditOutcome.FAILED, "internal error "),
    ],
    ids=repr,
)
async def test_how_a_call_ended(audited, admin, records, raised, outcome, detail) -> None:
    async def status(request: Any, context: Any) -> mesh_pb2.StatusResponse:
        calls.note(agent="berlin-1", detail="noted")
        if raised is not None:
            raise raised
        return mesh_pb2.StatusResponse()

    audited.services.status = status
    if raised is None:
        await audited.status(admin)
    else:
        with pytest.raises(MeshError):
            await audited.status(admin)
    (record,) = await records.wait(1)
    assert (record.outcome, record.agent, record.who) == (outcome, "berlin-1", f"admin/{admin.name}")
    assert record.detail.startswith(detail or "noted")
    assert "hunter2" not in record.detail


async def test_notes_of_one_call_do_not_show_in_another(audited, admin, records) -> None:
    first = asyncio.Event()

    async def status(request: Any, context: Any) -> mesh_pb2.StatusResponse:
        if not first.is_set():
            first.set()
            calls.note(agent="berlin-1")
            await asyncio.sleep(0.05)
        return mesh_pb2.StatusResponse(mesh=calls.caller().who)

    audited.services.status = status
    answers = await asyncio.gather(*(audited.status(admin) for _ in range(4)))
    assert {answer.mesh for answer in answers} == {"admin/ann"}
    assert sorted(record.agent for record in await records.wait(4)) == ["", "", "", "berlin-1"]


async def test_streams_are_recorded_when_they_begin_and_when_they_end(audited, agent, records) -> None:
    audited.attach.behave = hold
    link = fleet_link(audited.dial(agent))
    assert await link.read() == Heartbeat(1)
    (begun,) = await records.wait(1)
    assert (begun.event, begun.outcome) == ("attach", AuditOutcome.STARTED)
    assert (begun.who, begun.who_id) == (f"agent/{agent.name}", agent.id)
    await link.close()
    ended = (await records.wait(2))[1]
    assert (ended.outcome, ended.who) == (AuditOutcome.OK, begun.who)


async def test_who_is_cut_off_is_recorded_so(audited, agent, records) -> None:
    audited.attach.behave = hold
    link = fleet_link(audited.dial(agent))
    await link.read()
    audited.server.revoke(agent.id, [agent.serial])
    cut = (await records.wait(2))[1]
    assert (cut.outcome, cut.detail) == (AuditOutcome.CUT, "this certificate has been revoked")
    with pytest.raises(MeshError):
        await fleet_link(audited.dial(agent)).read()
    refused = (await records.wait(3))[2]
    assert (refused.outcome, refused.detail) == (AuditOutcome.REFUSED, "this certificate has been revoked")


async def test_who_goes_away_is_recorded_so(audited, admin, records) -> None:
    async def forever(request: Any, context: Any) -> AsyncIterator[mesh_pb2.RunEvent]:
        calls.note(run="r1")
        yield mesh_pb2.RunEvent()
        await asyncio.Event().wait()

    audited.services.run = forever
    stub = mesh_pb2_grpc.MeshStub(audited.dial(admin).channel)
    running = stub.Run(mesh_pb2.RunRequest())
    await running.read()
    running.cancel()
    (record,) = await records.wait(1)
    assert (record.event, record.outcome, record.run) == ("run", AuditOutcome.CANCELLED, "r1")


async def test_what_cannot_be_parsed_is_recorded(audited, admin, records) -> None:
    connection = audited.dial(admin)
    method = connection.channel.unary_unary("/probemesh.v1.Mesh/Status")
    with pytest.raises(grpc.aio.AioRpcError):
        await method(b"\xff\xff\xff")
    (record,) = await records.wait(1)
    assert (record.event, record.outcome) == ("status", AuditOutcome.REJECTED)


async def test_another_mesh_is_recorded_under_its_own_name(audited, ca, records) -> None:
    ca.mesh = "elsewhere"
    try:
        stranger = issue(ca, Role.ADMIN)
    finally:
        ca.mesh = "demo"
    with pytest.raises(MeshError, match="another mesh"):
        async with connect(audited.address, stranger, CONTROLLER) as connection:
            await connection.call(mesh_pb2_grpc.MeshStub(connection.channel).Status, mesh_pb2.StatusRequest())
    assert controller_dns("demo") == CONTROLLER
    (record,) = await records.wait(1)
    assert (record.outcome, record.detail) == (
        AuditOutcome.REFUSED,
        "this certificate belongs to another mesh",
    )


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("ipv4:192.0.2.1:4711", "192.0.2.1:4711"),
        ("ipv6:%5B2001:db8::1%5D:4711", "[2001:db8::1]:4711"),
        ("ipv6:%5Bfe80::1%25eth0%5D:4711", "[fe80::1%eth0]:4711"),
        ("unix:/run/x", "unix:/run/x"),
        ("", ""),
    ],
)
def test_addresses_are_written_as_people_write_them(address: str, shown: str) -> None:
    assert calls.plain_address(address) == shown


def test_outside_of_a_call_it_is_nobody_from_elsewhere() -> None:
    calls.note(agent="berlin-1")
    assert calls.caller().who == "local"


def test_who_is_the_role_and_the_name() -> None:
    agent = Peer(Role.AGENT, "berlin-1", "77fe", "demo", "01", "ipv4:192.0.2.1:1")
    assert (calls.caller_of(agent).who, calls.caller_of(agent).who_id) == ("agent/berlin-1", "77fe")
    alice = Peer(Role.OPERATOR, "alice", "alice", "demo")
    assert (calls.caller_of(alice).who, calls.caller_of(alice).who_id) == ("operator/alice", "")
