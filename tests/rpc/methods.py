"""Every service and method of the wire, as its descriptors tell: one that is added is in here by being
there."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from probemesh import v1
from probemesh_shared.errors import MeshError
from probemesh_shared.rpc.client import Connection, failure_of
from probemesh_shared.rpc.errors import from_status, spoken_by_us
from probemesh_shared.rpc.grpc_setup import grpc


@dataclass(frozen=True, slots=True)
class Service:
    """``register`` is the generated ``add_…Servicer_to_server``."""

    descriptor: ServiceDescriptor
    register: Callable[[Any, Any], None]

    @property
    def methods(self) -> dict[str, MethodDescriptor]:
        """By grpc's name of them."""
        return {f"/{self.descriptor.full_name}/{method.name}": method for method in self.descriptor.methods}


def _services() -> list[Service]:
    found = []
    for module in pkgutil.iter_modules(v1.__path__, "probemesh.v1."):
        if not module.name.endswith("_pb2"):
            continue
        stubs = importlib.import_module(module.name)
        for name, descriptor in stubs.DESCRIPTOR.services_by_name.items():
            generated = importlib.import_module(f"{module.name}_grpc")
            found.append(Service(descriptor, getattr(generated, f"add_{name}Servicer_to_server")))
    return found


SERVICES = _services()
METHODS = {path: method for service in SERVICES for path, method in service.methods.items()}
PREFIX = "/probemesh.v1."


def short(path: str) -> str:
    """``Mesh/Run``."""
    return path.removeprefix(PREFIX)


async def call(connection: Connection, path: str, method: MethodDescriptor) -> None:
    """One call with an empty message; a link that failed is explained by its cause."""
    request, coders = empty(method)
    channel = connection.channel
    if method.client_streaming:
        stream = connection.open(channel.stream_stream(path, **coders))
        try:
            await stream.read()
            assert await stream.code() is None, "a stream that neither refused nor reached"
        finally:
            stream.cancel()
    elif method.server_streaming:
        async for _ in connection.stream(channel.unary_stream(path, **coders), request):
            raise AssertionError("an event that nobody sent")
    else:
        await connection.call(channel.unary_unary(path, **coders), request)


async def answer(
    channel: grpc.aio.Channel, path: str, method: MethodDescriptor, timeout_s: float = 5.0
) -> MeshError | grpc.StatusCode:
    """One call with an empty message, as a stranger would make it: what the far end's own code refused it
    with, else grpc's bare code. ``OK`` is also a stream that gave something, and ``DEADLINE_EXCEEDED`` one
    that waits for more."""
    request, coders = empty(method)
    kind = "stream" if method.client_streaming else "unary"
    kind += "_stream" if method.server_streaming else "_unary"
    sent = () if method.client_streaming else (request,)
    made = getattr(channel, kind)(path, **coders)(*sent, timeout=timeout_s)
    try:
        if not method.server_streaming:
            await made
        elif await made.read() is grpc.aio.EOF and await made.code() is not grpc.StatusCode.OK:
            raise await failure_of(made)
    except grpc.aio.AioRpcError as error:
        return from_status(error) if spoken_by_us(error) else error.code()
    finally:
        made.cancel()
    return grpc.StatusCode.OK


def empty(method: MethodDescriptor) -> tuple[Any, dict[str, Any]]:
    request = message_factory.GetMessageClass(method.input_type)
    response = message_factory.GetMessageClass(method.output_type)
    return request(), {
        "request_serializer": request.SerializeToString,
        "response_deserializer": response.FromString,
    }
