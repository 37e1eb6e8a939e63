"""Whoever has a genuine certificate of the mesh, the generated stubs, and bad intentions: no session of ours,
no window, no acknowledgement but what a test sends."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from probemesh.v1 import session_pb2
from probemesh_shared.identity.files import Identity
from probemesh_shared.rpc.grpc_setup import grpc


def channel_of(address: str, identity: Identity, name: str) -> Any:
    """Without a limit on what is sent."""
    credentials = grpc.ssl_channel_credentials(identity.ca_pem, identity.key_pem, identity.certificate_pem)
    options = (
        ("grpc.ssl_target_name_override", name),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_send_message_length", -1),
    )
    return grpc.aio.secure_channel(address, credentials, options)


class Stream:
    """One stream as it is: what is said is sent, what comes is kept. ``over`` is set with its end."""

    def __init__(self, call: Any, reads: bool = True) -> None:
        self._call = call
        self.heard: list[Any] = []
        self.kinds: Counter[str] = Counter()
        self.over = asyncio.Event()
        self.ended = ""  # why
        self._changed = asyncio.Event()
        self._one = asyncio.Lock()  # grpc takes one write at a time
        self.answer: Callable[[Any], Awaitable[None]] | None = None
        self._reading = asyncio.create_task(self._read()) if reads else None

    async def say(self, *messages: Any) -> bool:
        """False where the stream is over."""
        try:
            for message in messages:
                async with self._one:
                    await self._call.write(message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
            return False
        return not self.over.is_set()

    async def _read(self) -> None:
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                kind = message.WhichOneof("frame")
                self.kinds[kind] += 1
                if kind != "results" or len(self.heard) < 1000:
                    self.heard.append(message)
                if self.answer is not None:
                    await self.answer(message)
                self._changed.set()
            self.ended = f"{await self._call.code()} {await self._call.details()}"
        except grpc.aio.AioRpcError as error:
            self.ended = f"{error.code()} {error.details()}"
        finally:
            self.over.set()
            self._changed.set()

    async def until(self, condition: Callable[["Stream"], bool], seconds: float = 15.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition(self):
                assert not self.over.is_set(), self.ended
                self._changed.clear()
                await self._changed.wait()

    def told(self, kind: str) -> list[Any]:
        return [getattr(one, kind) for one in self.heard if one.WhichOneof("frame") == kind]

    async def close(self) -> None:
        self._call.cancel()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)


@contextlib.asynccontextmanager
async def stream(attach: Callable[[Any], Any], channel: Any, reads: bool = True) -> AsyncIterator[Stream]:
    async with channel:
        made = Stream(attach(channel)(), reads)
        try:
            yield made
        finally:
            await made.close()


def controller_hello(instance: str = "evil", **more: Any) -> session_pb2.ControllerFrame:
    hello = session_pb2.Hello(protocol=1, min_protocol=1, software="evil", instance=instance, **more)
    return session_pb2.ControllerFrame(hello=hello)
