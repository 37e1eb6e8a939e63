"""Clients that come and go at the door of a real controller: it is afterwards as before."""

import asyncio

import pytest
from probemesh.v1 import mesh_pb2
from probemesh.v1.mesh_pb2_grpc import MeshStub
from probemesh_shared.identity.files import load_identity
from probemesh_shared.identity.names import controller_dns
from probemesh_shared.rpc.client import connect

from tests.chaos.live import LiveMesh, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CYCLES = 1000


async def once(mesh: LiveMesh, number: int) -> None:
    if number % 10 == 0:  # somebody who hangs up in the middle of the handshake
        host, port = mesh.address.split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.transport.abort()
        return
    identity = load_identity(mesh.state / "operator")
    async with connect(mesh.address, identity, controller_dns("chaos")) as connection:
        answer = await connection.call(MeshStub(connection.channel).Status, mesh_pb2.StatusRequest())
        assert answer.agents_connected == len(mesh.names)


def test_a_thousand_clients_leave_no_descriptor_at_the_controller(mesh: LiveMesh) -> None:
    async def cycles(count: int) -> None:
        for number in range(count):
            await once(mesh, number)

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(cycles(CYCLES // 4))

    asyncio.run(cycles(10))
    before = mesh.controller.descriptors()
    asyncio.run(all_of_them())
    until(lambda: mesh.controller.descriptors() <= before + 5, 10, f"descriptors are back at {before}")
    assert mesh.connected() == set(mesh.names)
