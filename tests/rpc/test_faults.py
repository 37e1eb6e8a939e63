"""The error guard: whatever is raised in whichever handler, its caller learns that there was a fault and
under which id the log has it, and nothing else."""

import logging

import pytest
from probemesh_shared.rpc.client import failure_of
from probemesh_shared.rpc.grpc_setup import grpc
from probemesh_shared.words import Role

from tests.rpc.conftest import Served, issue
from tests.rpc.methods import METHODS, empty, short
from tests.rpc.test_authz import EXPECTED

SECRET = "hunter2"
FAULTS = [
    RuntimeError(f"password {SECRET}"),
    FileNotFoundError(2, "No such file", f"/etc/{SECRET}"),
    KeyError(SECRET),
    UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET),
    ExceptionGroup(SECRET, [ValueError(SECRET), TimeoutError(SECRET)]),
    AssertionError(SECRET),
    grpc.RpcError(SECRET),
    MemoryError(SECRET),
]
LEAKS = (SECRET, "Traceback", ".py", "/etc", *(type(fault).__name__ for fault in FAULTS))
STREAMS = [path for path, method in METHODS.items() if method.server_streaming]


def dialled(served: Served, ca, path: str) -> grpc.aio.Channel:
    """As somebody who may call it."""
    role = next(role for role in Role if short(path) in EXPECTED[role])
    return served.dial(issue(ca, role)).channel


async def told(channel: grpc.aio.Channel, path: str, body: bytes = b"") -> grpc.aio.AioRpcError:
    """What reaches the caller, in grpc's own words."""
    method = METHODS[path]
    _, coders = empty(method)
    kind = "stream" if method.client_streaming else "unary"
    kind += "_stream" if method.server_streaming else "_unary"
    callee = getattr(channel, kind)(path, response_deserializer=coders["response_deserializer"])
    call = callee(timeout=10) if method.client_streaming else callee(body, timeout=10)
    try:
        if not method.server_streaming:
            await call
            raise AssertionError("no error")
        if method.client_streaming and body:
            await call.write(body)
        while await call.read() is not grpc.aio.EOF:
            pass
        return await failure_of(call)
    except grpc.aio.AioRpcError as error:
        return error


def assert_hidden(error: grpc.aio.AioRpcError, caplog: pytest.LogCaptureFixture) -> None:
    """All of it is in the log, under the id that the caller was given."""
    words = f"{error.details()} {error.trailing_metadata()} {error.debug_error_string()}"
    assert error.code() is grpc.StatusCode.INTERNAL
    assert [leak for leak in LEAKS if leak in words] == []
    tag = (error.details() or "").removeprefix("internal error ")
    assert len(tag) == 8
    (logged,) = [record for record in caplog.records if f"id {tag}" in record.getMessage()]
    assert logged.exc_info is not None
    assert SECRET in str(logged.exc_info[1]) or SECRET in repr(logged.exc_info[1])


@pytest.mark.parametrize("path", METHODS)
async def test_a_fault_in_any_handler_stays_inside(serve, ca, caplog, path: str) -> None:
    served = await serve()
    channel = dialled(served, ca, path)
    for fault in FAULTS:
        served.services.fault = fault.with_traceback(None)
        with caplog.at_level(logging.ERROR):
            assert_hidden(await told(channel, path), caplog)


@pytest.mark.parametrize("path", STREAMS)
async def test_a_fault_in_the_middle_of_a_stream_stays_inside(serve, ca, caplog, path: str) -> None:
    served = await serve()
    served.services.says_first = True
    channel = dialled(served, ca, path)
    for fault in FAULTS:
        served.services.fault = fault.with_traceback(None)
        with caplog.at_level(logging.ERROR):
            assert_hidden(await told(channel, path), caplog)


@pytest.mark.parametrize("path", METHODS)
async def test_a_message_that_cannot_be_read_tells_nothing(serve, ca, path: str) -> None:
    served = await serve()
    served.services.status = served.attach.behave = _reads
    error = await told(dialled(served, ca, path), path, b"\xff\xff\xff")
    words = f"{error.details()} {error.trailing_metadata()} {error.debug_error_string()}"
    assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL)
    assert [leak for leak in LEAKS if leak in words] == []


async def _reads(frames, context) -> None:
    async for _ in frames:
        raise AssertionError("a message that cannot be read was read")
