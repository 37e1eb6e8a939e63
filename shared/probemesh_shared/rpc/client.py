"""The one way to dial: mutual TLS to a peer whose name is known beforehand, and one owner of the channel."""

from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import WeakSet

from probemesh_shared.errors import MeshError, Unreachable
from probemesh_shared.identity.files import Identity
from probemesh_shared.names import dial_address
from probemesh_shared.rpc.errors import LINK_CODES, from_status, spoken_by_us
from probemesh_shared.rpc.grpc_setup import CHANNEL_OPTIONS, Option, grpc
from probemesh_shared.wire import outline

Request = TypeVar("Request")
Response = TypeVar("Response")

CALL_TIMEOUT_S = 15.0
_PROXY_HINT = "is the proxy right, may it CONNECT there, and is this host's certificate still good?"


class Connection:
    """Owns a channel and every call on it: grpc frees a socket only when nobody holds either.

    Calls go through :meth:`call`, :meth:`stream` and :meth:`open`; keep no stub beyond the connection's life.
    """

    def __init__(self, address: str, identity: Identity, server_name: str, proxy: str | None = None) -> None:
        self.address = dial_address(address)
        self.identity = identity
        self.server_name = server_name
        self.proxy = proxy
        credentials = grpc.ssl_channel_credentials(
            identity.ca_pem, identity.key_pem, identity.certificate_pem
        )
        options = _options(server_name, proxy)
        self._calls: WeakSet[Any] = WeakSet()
        self._channel: grpc.aio.Channel | None = grpc.aio.secure_channel(
            self.address, credentials, options=options, compression=grpc.Compression.NoCompression
        )

    @property
    def channel(self) -> grpc.aio.Channel:
        """For making stubs: ``MeshStub(connection.channel)``."""
        if self._channel is None:
            raise RuntimeError("the connection is closed")
        return self._channel

    @property
    def is_ready(self) -> bool:
        """A call would go out at once, over the link there is."""
        if self._channel is None:
            return False
        return bool(self._channel.get_state() is grpc.ChannelConnectivity.READY)

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Response:
        """One request, one answer. Raises :class:`MeshError`; a link that failed is explained by its
        cause."""
        call = method(request, timeout=timeout_s)
        self._calls.add(call)
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            raise await self.explained(error) from None
        outline.check(answer)
        return answer

    async def stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[Response, None]:
        """One request, many answers, all of them within ``timeout_s`` where it is given. Closing the iterator
        cancels the call. Raises :class:`MeshError`."""
        call = method(request, timeout=timeout_s)
        self._calls.add(call)
        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                outline.check(message)
                yield message  # type: ignore[misc]  # EOF is typed as object, and excluded
            if await call.code() is not grpc.StatusCode.OK:
                raise await self.explained(await failure_of(call)) from None
        except grpc.aio.AioRpcError as error:
            raise await self.explained(error) from None
        finally:
            call.cancel()

    def open(
        self, method: grpc.aio.StreamStreamMultiCallable[Request, Response]
    ) -> grpc.aio.StreamStreamCall[Request, Response]:
        """A stream of both directions, for :class:`probemesh_shared.rpc.framestream.CallFrames`."""
        call = method()
        self._calls.add(call)
        return call

    async def explained(self, error: grpc.aio.AioRpcError) -> MeshError:
        """What the far end said, or, where it was grpc that spoke, what is really wrong with the link."""
        if not spoken_by_us(error) and error.code() in LINK_CODES:
            if self.proxy is not None:  # the handshake that explains would not pass the proxy
                return Unreachable(f"{self.address} cannot be reached through {self.proxy}", _PROXY_HINT)
            from probemesh_shared.rpc.explain import explain  # only where a link failed

            return await explain(self.address, self.identity, self.server_name)
        return from_status(error)

    async def close(self) -> None:
        """Cancels what is open and frees the socket. May be called twice."""
        for call in list(self._calls):
            call.cancel()
        self._calls.clear()
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def failure_of(call: Any) -> grpc.aio.AioRpcError:
    """The error that a call which is over would have raised."""
    return grpc.aio.AioRpcError(
        await call.code(), await call.initial_metadata(), await call.trailing_metadata(), await call.details()
    )


def _options(server_name: str, proxy: str | None) -> tuple[Option, ...]:
    """A proxy by name alone: the environment is never obeyed. Of two values C-core takes the first."""
    chosen: tuple[Option, ...] = (("grpc.ssl_target_name_override", server_name),)
    if proxy is not None:
        chosen += (("grpc.enable_http_proxy", 1), ("grpc.http_proxy", proxy))
    given = {name for name, _ in chosen}
    return (*chosen, *(option for option in CHANNEL_OPTIONS if option[0] not in given))


def connect(address: str, identity: Identity, server_name: str, proxy: str | None = None) -> Connection:
    """``async with connect("192.0.2.1:7400", identity, controller_dns(mesh)) as connection``.

    Nothing is dialled before the first call. ``server_name`` is the name that the peer's certificate must
    carry (:mod:`probemesh_shared.identity.names`). Raises :class:`InvalidRequest` for an address that cannot
    be dialled. ``proxy`` is an HTTP proxy's URL that is asked to CONNECT.
    """
    return Connection(address, identity, server_name, proxy)
