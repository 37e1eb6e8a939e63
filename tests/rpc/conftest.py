"""A mesh in memory with identities of every role and date, and servers on real sockets that serve all
services."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from probemesh.v1 import mesh_pb2, mesh_pb2_grpc, session_pb2
from probemesh_controller.pki.ca import CertificateAuthority, new_key, private_pem
from probemesh_shared.errors import NotFound
from probemesh_shared.identity.files import Identity, make_identity
from probemesh_shared.identity.names import Subject, controller_dns
from probemesh_shared.rpc.client import Connection, connect
from probemesh_shared.rpc.server import MeshServer
from probemesh_shared.words import Role

from tests.addresses import COMES_BACK
from tests.rpc.methods import SERVICES, Service, short

MESH = "demo"
CONTROLLER = controller_dns(MESH)
DAY = timedelta(days=1)


def issue(
    ca: CertificateAuthority,
    role: Role,
    subject_id: str = "4f2a",
    name: str = "berlin-1",
    now: datetime | None = None,
    life: timedelta | None = DAY,
) -> Identity:
    key = new_key()
    issued = ca.issue(Subject(ca.mesh, role, subject_id, name), key.public_key(), life, now)
    return make_identity(issued.certificate_pem, private_pem(key), ca.certificate_pem)


@pytest.fixture(scope="session")
def ca() -> CertificateAuthority:
    return CertificateAuthority.create(MESH)


@pytest.fixture(scope="session")
def other_ca() -> CertificateAuthority:
    """Of another mesh that has the same name."""
    return CertificateAuthority.create(MESH)


@pytest.fixture(scope="session")
def controller(ca: CertificateAuthority) -> Identity:
    return issue(ca, Role.CONTROLLER, "controller", "controller")


@pytest.fixture(scope="session")
def admin(ca: CertificateAuthority) -> Identity:
    return issue(ca, Role.ADMIN, "ann", "ann")


@pytest.fixture(scope="session")
def agent(ca: CertificateAuthority) -> Identity:
    return issue(ca, Role.AGENT)


class Services:
    """What handlers do: raise ``fault`` where there is one, else "reached", or what they are set to here.

    ``reached`` has the names of those that were called. ``says_first``: a stream gives one message before
    its fault.
    """

    def __init__(self) -> None:
        self.status: Callable[..., Awaitable[Any]] = _reached
        self.run: Callable[..., AsyncIterator[Any]] = _reached_stream
        self.reached: list[str] = []
        self.fault: Exception | None = None
        self.says_first = False
        self.entered = asyncio.Event()
        self.left = asyncio.Event()

    def enter(self, name: str) -> None:
        self.reached.append(name)
        if self.fault is not None and not self.says_first:
            raise self.fault


async def _reached(request: Any, context: Any) -> Any:
    raise NotFound("reached")


async def _reached_stream(request: Any, context: Any) -> AsyncIterator[Any]:
    raise NotFound("reached")
    yield


class Attach:
    """What the streams of both directions do: each of them raises "reached"; ``behave`` can be replaced."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.behave: Callable[..., Awaitable[None]] = _reached

    async def serve(self, frames: Any, context: Any) -> None:
        self._services.entered.set()
        try:
            await self.behave(frames, context)
        finally:
            self._services.left.set()


def servicer(service: Service, services: Services, attach: Attach) -> Any:
    """With a handler for each of its methods."""
    made = SimpleNamespace()
    for path, method in service.methods.items():
        setattr(made, method.name, _handler(path, method, services, attach))
    return made


def _handler(path: str, method: MethodDescriptor, services: Services, attach: Attach) -> Callable[..., Any]:
    name, first = short(path), message_factory.GetMessageClass(method.output_type)

    async def two_way(frames: Any, context: Any) -> None:
        services.enter(name)
        if services.fault is not None:
            await context.write(first())
            raise services.fault
        await attach.serve(frames, context)

    async def unary(request: Any, context: Any) -> Any:
        services.enter(name)
        return await (services.status if name == "Mesh/Status" else _reached)(request, context)

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        services.enter(name)
        if services.fault is not None:
            yield first()
            raise services.fault
        async for event in (services.run if name == "Mesh/Run" else _reached_stream)(request, context):
            yield event

    if method.client_streaming:
        return two_way
    return stream if method.server_streaming else unary


def add_all(server: MeshServer, services: Services, attach: Attach) -> None:
    """Every service of the wire."""
    for service in SERVICES:
        server.add(service.register, servicer(service, services, attach))


async def hold(frames: Any, context: Any) -> None:
    """Says hello by one heartbeat, then listens for as long as there is somebody."""
    await context.write(session_pb2.ControllerFrame(heartbeat=session_pb2.Heartbeat(seq=1)))
    async for _ in frames:
        pass


@dataclass
class Served:
    """``address`` is HOST:PORT; ``services`` and ``attach`` say what the handlers do."""

    server: MeshServer
    services: Services
    attach: Attach
    address: str = ""
    dials: list[Connection] = field(default_factory=list)

    def dial(self, identity: Identity, server_name: str = CONTROLLER) -> Connection:
        self.dials.append(connect(self.address, identity, server_name))
        return self.dials[-1]

    async def status(self, identity: Identity, server_name: str = CONTROLLER) -> mesh_pb2.StatusResponse:
        """One call on a connection of its own."""
        async with connect(self.address, identity, server_name) as connection:
            stub = mesh_pb2_grpc.MeshStub(connection.channel)
            return await connection.call(stub.Status, mesh_pb2.StatusRequest())


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve(controller: Identity) -> AsyncIterator[Serve]:
    """``await serve(identity=…)`` starts a server with all services; it is gone after the test."""
    running: list[Served] = []

    async def started(identity: Identity = controller, **options: Any) -> Served:
        server = MeshServer(identity, **options)
        services = Services()
        attach = Attach(services)
        add_all(server, services, attach)
        served = Served(server, services, attach)
        running.append(served)
        served.address = f"{COMES_BACK}:{await server.start(f'{COMES_BACK}:0')}"
        return served

    yield started
    for served in running:
        for connection in served.dials:
            await connection.close()
        await served.server.stop(0.1)


@pytest.fixture
async def served(serve: Serve) -> Served:
    found: Served = await serve()

    async def status(request: Any, context: Any) -> mesh_pb2.StatusResponse:
        return mesh_pb2.StatusResponse(mesh=MESH)

    found.services.status = status
    return found
