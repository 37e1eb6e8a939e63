"""TCP streams, TLS over them, and connected datagrams, on own non-blocking sockets and the running asyncio
loop.

Every call raises :class:`ProbeFailed` with the stage it was in; none leaves a descriptor behind when it
fails or is cancelled, and whoever holds a stream closes it. Streams end with FIN: what has come and was
not read is thrown away first, as far as it is little, because closing over unread bytes makes the kernel
send a reset.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable

from probemesh_shared import failures
from probemesh_shared.model import Options
from probemesh_shared.words import FailureKind, Stage

from probemesh_agent.env import Address, Clock, Connected, ProbeFailed, TlsFacts
from probemesh_agent.net import evidence
from probemesh_agent.net.literals import sockaddr_of
from probemesh_agent.net.sockets import open_socket
from probemesh_agent.net.tls import Session

_CHUNK = 64 * 1024
_DRAIN = 256 * 1024
_DATAGRAM = 65535

Release = Callable[[], None]


class Wire:
    """A non-blocking socket that can be waited for, with failures read from its error queue."""

    def __init__(self, sock: socket.socket, peer: str, clock: Clock) -> None:
        self.sock = sock
        self._peer = peer
        self.clock = clock

    async def ready(self, stage: Stage, deadline: float, *, write: bool = False) -> None:
        """Until the socket can be read (or written); raises ``timeout`` at ``deadline``."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        add, remove = (
            (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
        )
        began = self.clock.monotonic()
        add(self.sock, _wake, waiter)
        try:
            done, _ = await asyncio.wait({waiter}, timeout=max(0.0, deadline - began))
        finally:
            remove(self.sock)
            waiter.cancel()
        if not done:
            raise ProbeFailed(failures.timed_out(stage, round(max(0.0, self.clock.monotonic() - began), 1)))

    def in_time(self, stage: Stage, deadline: float) -> None:
        """Data that never stops coming must not carry a stream past its deadline."""
        if self.clock.monotonic() >= deadline:
            raise ProbeFailed(failures.timed_out(stage, 0.0, "the time for this attempt was over"))

    async def receive(self, limit: int, stage: Stage, deadline: float) -> bytes:
        while True:
            self.in_time(stage, deadline)
            try:
                data = self.sock.recv(limit)
            except BlockingIOError:
                await self.ready(stage, deadline)
            except InterruptedError:
                continue
            except OSError as error:
                raise self.failed(stage, error) from None
            else:
                await asyncio.sleep(0)  # a peer that never stops must not hold the loop
                return data

    async def send(self, data: bytes, stage: Stage, deadline: float) -> None:
        view = memoryview(data)
        while view:
            self.in_time(stage, deadline)
            try:
                view = view[self.sock.send(view) :]
            except BlockingIOError:
                await self.ready(stage, deadline, write=True)
            except InterruptedError:
                continue
            except OSError as error:
                raise self.failed(stage, error) from None

    def failed(self, stage: Stage, error: OSError, *, at_once: bool = False) -> ProbeFailed:
        number = error.errno or errno.EIO
        return ProbeFailed(evidence.failure(self.sock, stage, number, self._peer, at_once=at_once))


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


async def connect(
    address: Address, port: int, options: Options, clock: Clock, deadline: float
) -> "TcpStream":
    """A three-way handshake; ``deadline`` on the clock's monotonic scale."""
    sock = _opened(socket.SOCK_STREAM, address, options)
    wire = Wire(sock, address.host, clock)
    try:
        began = clock.perf_ns()
        await _handshake(wire, sockaddr_of(address.host, port)[1], deadline)
        took_ms = (clock.perf_ns() - began) / 1e6
        return TcpStream(wire, _facts(sock, took_ms))
    except OSError as error:
        failed = wire.failed(Stage.CONNECT, error, at_once=True)
        sock.close()
        raise failed from None
    except BaseException:
        sock.close()
        raise


def _opened(kind: socket.SocketKind, address: Address, options: Options) -> socket.socket:
    try:
        return open_socket(kind, address, options)
    except OSError as error:
        number = error.errno or errno.EIO
        raise ProbeFailed(failures.from_errno(Stage.CONNECT, number, at_once=True)) from None


async def _handshake(
    wire: Wire, sockaddr: tuple[str, int] | tuple[str, int, int, int], deadline: float
) -> None:
    wire.in_time(Stage.CONNECT, deadline)
    number = wire.sock.connect_ex(sockaddr)
    if number == errno.EINPROGRESS:
        await wire.ready(Stage.CONNECT, deadline, write=True)
        # SO_ERROR before the error queue: reading the queue would clear it
        if number := wire.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise wire.failed(Stage.CONNECT, OSError(number, ""))
    elif number:
        raise wire.failed(Stage.CONNECT, OSError(number, ""), at_once=True)


def _facts(sock: socket.socket, took_ms: float) -> Connected:
    local = sock.getsockname()
    rtt_ms, retransmits = evidence.handshake(sock, took_ms)
    return Connected(rtt_ms, str(local[0]), int(local[1]), retransmits)


class TcpStream:
    """:class:`probemesh_agent.env.Stream` over one socket."""

    def __init__(self, wire: Wire, facts: Connected) -> None:
        self.facts = facts
        self._wire = wire
        self._tls: Session | None = None
        self._released: Release | None = None

    @property
    def peer(self) -> str:
        """Who is at the other end by the kernel's word; empty where that has gone again."""
        try:
            return str(self._wire.sock.getpeername()[0])
        except OSError:
            return ""

    def when_closed(self, release: Release) -> None:
        """``release`` is called once, when the descriptor is free again."""
        self._released = release

    async def read(self, limit: int, deadline: float) -> bytes:
        if self._tls is None:
            return await self._wire.receive(limit, Stage.RECEIVE, deadline)
        return await self._tls.read(limit, deadline)

    async def write(self, data: bytes, deadline: float) -> None:
        if self._tls is None:
            await self._wire.send(data, Stage.SEND, deadline)
        else:
            await self._tls.write(data, deadline)

    async def end_sending(self) -> None:
        """Sends FIN and goes on reading."""
        try:
            self._wire.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._wire.failed(Stage.SEND, error) from None

    async def start_tls(self, context: ssl.SSLContext, server_name: str | None, deadline: float) -> TlsFacts:
        began = self._wire.clock.perf_ns()
        session = Session(context, server_name, self._wire.receive, self._wire.send)
        try:
            await session.handshake(deadline)
        except ProbeFailed as failed:
            failed.seen = session.seen
            raise
        self._tls = session
        return session.facts((self._wire.clock.perf_ns() - began) / 1e6)

    async def settle(self, deadline: float) -> None:
        try:
            if self._tls is not None:
                await self._tls.settle(deadline)
        except ProbeFailed as failed:
            if failed.failure.kind is not FailureKind.TIMEOUT:
                raise

    async def close(self) -> None:
        sock = self._wire.sock
        if sock.fileno() < 0:
            return
        with contextlib.suppress(OSError, ssl.SSLError):
            if self._tls is not None and (goodbye := self._tls.goodbye()):
                sock.send(goodbye)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
            _drain(sock)
        sock.close()
        if self._released is not None:
            self._released()


def _drain(sock: socket.socket) -> None:
    taken = 0
    while taken < _DRAIN and (data := sock.recv(_CHUNK)):
        taken += len(data)


class UdpSocket:
    """:class:`probemesh_agent.env.Datagrams`: connected, so that the kernel drops what comes from
    elsewhere."""

    def __init__(self, address: Address, port: int, options: Options, clock: Clock) -> None:
        sock = _opened(socket.SOCK_DGRAM, address, options)
        self._wire = Wire(sock, address.host, clock)
        self._clock = clock
        self._released: Callable[[], None] | None = None
        try:
            sock.connect(sockaddr_of(address.host, port)[1])
        except OSError as error:
            failed = self._wire.failed(Stage.CONNECT, error, at_once=True)
            sock.close()
            raise failed from None

    async def send(self, data: bytes) -> None:
        await self._wire.send(data, Stage.SEND, self._clock.monotonic() + 1.0)

    async def receive(self, deadline: float) -> bytes:
        return await self._wire.receive(_DATAGRAM, Stage.RECEIVE, deadline)

    def when_closed(self, released: Callable[[], None]) -> None:
        self._released = released

    async def close(self) -> None:
        if self._wire.sock.fileno() < 0:
            return
        self._wire.sock.close()
        if self._released is not None:
            self._released()
