"""A giant in a call, on either side: refused where it is read, before anything is done with it."""

from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.message import Message
from probemesh.v1 import mesh_pb2
from probemesh_shared.convert import BadMessage
from probemesh_shared.rpc.authz import ALLOWED
from probemesh_shared.rpc.grpc_setup import grpc
from probemesh_shared.words import Role

from tests.rpc.conftest import Served, issue
from tests.rpc.methods import METHODS, short
from tests.wire.test_absurd_sizes import CASES, filled

#: Those whose request is one message; frames of streams are judged one by one where they are read.
ASKED = {path: method for path, method in METHODS.items() if not method.client_streaming}


def encoded(message: Message) -> bytes:
    return message.SerializeToString()


@pytest.mark.parametrize("path", ASKED)
async def test_a_request_with_a_giant_reaches_no_handler(served: Served, ca: Any, path: str) -> None:
    method = ASKED[path]
    role = sorted(ALLOWED[path] - {Role.RENEWAL})[0]
    channel = served.dial(issue(ca, Role(role), "someone", "someone")).channel
    answer = message_factory.GetMessageClass(method.output_type)
    make = channel.unary_stream if method.server_streaming else channel.unary_unary
    call = make(path, request_serializer=encoded, response_deserializer=answer.FromString)

    async def ask(request: Message) -> Any:
        made = call(request, timeout=30)
        return await (made.read() if method.server_streaming else made)

    for name, field, how in CASES:
        if name != method.input_type.name:
            continue
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await ask(filled(name, field, how))
        assert told.value.code() is grpc.StatusCode.INVALID_ARGUMENT, (field, how)
        assert f"{name}.{field}: " in (told.value.details() or "")
        assert len(told.value.details() or "") < 200
    assert short(path) not in served.services.reached
    plain = message_factory.GetMessageClass(method.input_type)()
    if short(path) == "Mesh/Status":
        return
    with pytest.raises(grpc.aio.AioRpcError, match="reached"):
        await ask(plain)


async def test_an_answer_with_a_giant_is_none(served: Served, admin: Any) -> None:
    async def shout(request: Any, context: Any) -> mesh_pb2.StatusResponse:
        return mesh_pb2.StatusResponse(mesh="x" * 300_000)

    served.services.status = shout
    with pytest.raises(BadMessage, match=r"StatusResponse\.mesh: length 300000"):
        await served.status(admin)


async def test_nor_is_one_in_a_stream(served: Served, admin: Any) -> None:
    async def records(request: Any, context: Any) -> Any:
        yield mesh_pb2.AuditResponse(records=[mesh_pb2.AuditRecord()] * 20_000)

    served.services.run = records
    connection = served.dial(admin)
    call = connection.channel.unary_stream(
        "/probemesh.v1.Mesh/Run",
        request_serializer=encoded,
        response_deserializer=mesh_pb2.AuditResponse.FromString,
    )
    with pytest.raises(BadMessage, match="records: length 20000"):
        async for _ in connection.stream(call, mesh_pb2.RunRequest()):
            pass
