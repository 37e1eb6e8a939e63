"""Our RPC streams as the session's driver wants them: frames in, frames out, and our own errors.

Four of them, by who dials and which side of the session one is::

    fleet_link(connection)        an agent that dialled its controller
    served_fleet_link(context)    the controller, inside Fleet.Attach
    agent_link(connection)        whoever dialled a listening agent
    served_agent_link(context)    that agent, inside Agent.Attach

grpc allows one read and one write at a time, which the driver keeps to.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, NoReturn

from google.protobuf.message import DecodeError
from probemesh.v1.session_pb2_grpc import AgentStub, FleetStub

from probemesh_shared import convert
from probemesh_shared.convert import BadMessage
from probemesh_shared.errors import MeshError, Unreachable
from probemesh_shared.rpc.client import Connection, failure_of
from probemesh_shared.rpc.errors import from_status
from probemesh_shared.rpc.grpc_setup import grpc
from probemesh_shared.session.frames import Frame

#: How long the peer may take to end the call after we have ended our side.
CLOSE_S = 0.5

Show = Callable[[Frame], Any]
Read = Callable[[Any], Frame]


def fleet_link(connection: Connection) -> "CallFrames":
    """Agent to controller. The link owns ``connection`` and closes it."""
    call = connection.open(FleetStub(connection.channel).Attach)
    return CallFrames(connection, call, convert.frame_to_agent, convert.frame_from_controller)


def agent_link(connection: Connection) -> "CallFrames":
    """Controller or laptop to a listening agent. The link owns ``connection`` and closes it."""
    call = connection.open(AgentStub(connection.channel).Attach)
    return CallFrames(connection, call, convert.frame_to_controller, convert.frame_from_agent)


def served_fleet_link(context: Any) -> "ServedFrames":
    """The controller's end, inside ``Fleet.Attach``."""
    return ServedFrames(context, convert.frame_to_controller, convert.frame_from_agent)


def served_agent_link(context: Any) -> "ServedFrames":
    """A listening agent's end, inside ``Agent.Attach``."""
    return ServedFrames(context, convert.frame_to_agent, convert.frame_from_controller)


class CallFrames:
    """The dialling end. A link that never came up is explained (:mod:`.explain`); one that broke is just
    gone."""

    def __init__(self, connection: Connection, call: Any, show: Show, read: Read) -> None:
        self._connection = connection
        self._call = call
        self._show = show
        self._from = read
        self._heard = False
        self._reading: asyncio.Task[Any] | None = None
        self._failing = asyncio.Lock()
        self._failure: MeshError | None = None

    async def read(self) -> Frame | None:
        """None where the peer ended the call with OK. Raises :class:`MeshError` and :class:`BadMessage`."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._call.read())
        try:
            # shielded: to cancel grpc's read is to cancel the call, and the last frames with it
            message = await asyncio.shield(self._reading)
        except grpc.aio.AioRpcError as error:
            await self._fail(error)
        self._reading = None
        if message is grpc.aio.EOF:
            if await self._call.code() is grpc.StatusCode.OK:
                return None
            await self._fail(await failure_of(self._call))
        self._heard = True
        if message is None:  # grpc's answer for bytes that do not parse
            raise BadMessage("a message that cannot be read")
        return self._from(message)

    async def write(self, frame: Frame) -> None:
        """Raises :class:`MeshError` where the call is over."""
        try:
            await self._call.write(self._show(frame))
        except grpc.aio.AioRpcError as error:
            await self._fail(error)
        except asyncio.InvalidStateError:
            await self._fail(await failure_of(self._call))

    async def _fail(self, error: grpc.aio.AioRpcError) -> NoReturn:
        """Reader and writer fail together: one explanation serves both."""
        async with self._failing:
            if self._failure is None:
                self._failure = from_status(error) if self._heard else await self._connection.explained(error)
        raise self._failure

    async def close(self) -> None:
        """Ends our side in good order, so that the last frame arrives, then frees call and connection: also
        of those who keep the failure for its words, whose traceback would keep the call. grpc would go on to
        dial for it, and hold what it reached."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                await self._call.done_writing()
                await self._call.code()
        self._call.cancel()
        if self._reading is not None:
            await asyncio.wait({self._reading})
            with contextlib.suppress(asyncio.CancelledError):
                self._reading.exception()  # looked at, or asyncio would complain
            self._reading = None
        if self._failure is not None:
            self._failure.__traceback__ = self._failure.__context__ = None
        await self._connection.close()


class ServedFrames:
    """The serving end. The call itself ends when its handler returns."""

    def __init__(self, context: Any, show: Show, read: Read) -> None:
        self._context = context
        self._show = show
        self._from = read

    async def read(self) -> Frame | None:
        """None where the peer ended its side, or is gone (then the handler is cancelled too)."""
        try:
            message = await self._context.read()
        except DecodeError:
            raise BadMessage("a message that cannot be read") from None
        except grpc.aio.BaseError as error:
            raise Unreachable("the link broke") from error
        return None if message is grpc.aio.EOF else self._from(message)

    async def write(self, frame: Frame) -> None:
        """Raises :class:`MeshError` where the call is over."""
        try:
            await self._context.write(self._show(frame))
        except grpc.aio.BaseError as error:
            raise Unreachable("the link broke") from error

    async def close(self) -> None:
        """Nothing to free: the server owns the connection."""
