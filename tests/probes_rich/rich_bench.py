"""Servers on loopback that do what a test says, and a way to run one kind against them."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from probemesh_agent.env import ProbeEnv
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.probes.registry import Registry
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import Measurement, Options, PortRange, Spec, Target
from probemesh_shared.words import Kind

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

QUICK = Options(count=1, interval_s=0.0, timeout_s=2.0)


@dataclass
class Bench:
    """Runs kinds on a network that lets the tests' own loopback be probed."""

    policy: Policy = field(default_factory=Policy.typed_by_user)
    resolv_conf: Path = Path("/etc/resolv.conf")

    def __post_init__(self) -> None:
        self.clock = SystemClock()
        self.network = SystemNetwork(self.clock, self.policy, resolv_conf=self.resolv_conf)
        self.registry = Registry()

    def env(self, seconds: float = 8.0) -> ProbeEnv:
        """What a busy machine keeps the tests waiting for is not their concern."""
        until = self.clock.monotonic() + seconds
        return ProbeEnv(self.network, self.clock, until, lag_ns=lambda: 0)

    async def run(self, spec: Spec, *targets: Target, seconds: float = 8.0) -> list[Measurement]:
        kind = Kind(type(spec).__name__.removesuffix("Spec").lower())
        rows: list[Measurement] = []
        async for batch in self.registry[kind].run(spec, targets, self.env(seconds)):
            rows.extend(batch)
        return rows

    async def one(self, spec: Spec, target: Target, seconds: float = 8.0) -> Measurement:
        (row,) = await self.run(spec, target, seconds=seconds)
        return row


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.network.close()


def at(port: int, host: str = "127.0.0.1", **more) -> Target:
    return Target(f"{host}:{port}", host, (PortRange(port, port),), **more)


@asynccontextmanager
async def serving(
    handler: Handler, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """The port of a server; its connections are dropped in the end."""

    tasks: set[asyncio.Task[None]] = set()

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await handler(reader, writer)
            with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
                writer.close()
                await writer.wait_closed()
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            writer.transport.abort()
            tasks.discard(task)

    server = await asyncio.start_server(handled, host, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the loop's next turn


def saying(*parts: bytes) -> Handler:
    """Reads a request's head, then sends ``parts`` and closes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()

    return handler


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection by RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts, reads for ever and says nothing."""
    while await reader.read(65536):
        pass


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """The authority, trusted by this process as the system's are."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return authority


def server_context(authority: trustme.CA, *names: str, alpn: tuple[str, ...] = (), **more) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **more).configure_cert(context)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context
