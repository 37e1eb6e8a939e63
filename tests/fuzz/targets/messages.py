"""Every message of the protocol that a dataclass is made of, and the requests of the mesh service: a new one
is fuzzed by being there."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import probemesh_controller
import probemesh_shared
from google.protobuf.message import Message
from probemesh.v1 import mesh_pb2
from probemesh_controller import wire
from probemesh_shared import convert, model
from probemesh_shared.convert import BadMessage
from probemesh_shared.wire import compiler

from tests.fuzz.checks import pick

#: Where the nouns live that travel.
_MODULES = ("api", "audit", "details", "model", "nat", "seen", "session.frames", "specs", "twoends")


def _modules() -> Iterator[Any]:
    for package in (probemesh_shared, probemesh_controller):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name.removeprefix(f"{package.__name__}.").startswith(_MODULES):
                yield importlib.import_module(found.name)


def _nouns() -> list[type]:
    found = {
        value
        for module in _modules()
        for value in vars(module).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and _travels(value)
    }
    return sorted(found, key=lambda cls: cls.__name__)


def _travels(cls: type) -> bool:
    try:
        compiler.reader(cls)
    except compiler.Mismatch:
        return False
    return True


NOUNS = _nouns()
_Read = Callable[[bytes], Any]


def _noun(cls: type) -> _Read:
    message = compiler.message_class(cls)
    return lambda data: convert.from_proto(cls, convert.parse(message, data))


def _of_service(cls: type[Message], read_it: Callable[[Any], Any]) -> _Read:
    return lambda data: read_it(convert.parse(cls, data))


WAYS: tuple[tuple[str, _Read], ...] = (
    *((cls.__name__, _noun(cls)) for cls in NOUNS),
    ("a run's request", _of_service(mesh_pb2.RunRequest, wire.request_from_proto)),
    ("a run's event", _of_service(mesh_pb2.RunEvent, wire.event_from_proto)),
    ("a token's request", _of_service(mesh_pb2.CreateTokenRequest, wire.token_from_proto)),
    ("an audit's query", _of_service(mesh_pb2.AuditRequest, wire.query_from_proto)),
    ("a status", _of_service(mesh_pb2.StatusResponse, wire.status_from_proto)),
)


def _number(name: str) -> int:
    return next(number for number, (one, _) in enumerate(WAYS) if one == name)


_TARGET = convert.to_proto(model.Target("db:5432", "db", (model.PortRange(5432, 5432),)))
_TOKEN = mesh_pb2.CreateTokenRequest(role="agent", name="a", uses=1, ttl_s=60, labels={"k": "v"})
_RUN = mesh_pb2.RunRequest(
    run_id="r",
    targets=[_TARGET],
    specs=[convert.spec_to_proto(model.TcpSpec())],
    agents=["a"],
    deadline_ms=5,
)
SEEDS = (
    *(bytes((number,)) for number in range(len(WAYS))),
    bytes((_number("Target"),)) + _TARGET.SerializeToString(),
    bytes((_number("a run's request"),)) + _RUN.SerializeToString(),
    bytes((_number("a token's request"),)) + _TOKEN.SerializeToString(),
)


def read(data: bytes) -> None:
    (_, way), rest = pick(data, WAYS)
    try:
        value = way(rest)
    except BadMessage as error:
        assert str(error)
        return
    if dataclasses.is_dataclass(value) and type(value) in NOUNS:
        message = convert.to_proto(value)
        again = convert.from_proto(type(value), convert.parse(type(message), message.SerializeToString()))
        assert again == value
