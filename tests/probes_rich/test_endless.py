"""Peers that never stop, for every kind that reads what they say: memory is bounded, the deadline kept."""

import asyncio
import contextlib
import socket
import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from probemesh_shared.model import DnsSpec, HttpSpec, Measurement, Spec, Target, TcpSpec, TlsSpec, UdpSpec
from probemesh_shared.words import DnsTransport, Outcome, UdpRequest

from tests.probes_rich.rich_bench import QUICK, Bench, at, serving

TIMEOUT_S = 0.6
OPTIONS = replace(QUICK, timeout_s=TIMEOUT_S)
MOST = 16 << 20
HEAD = b"HTTP/1.1 200 OK\r\n"

#: what is asked, what the peer says first, and what it says for ever after
ENDLESS: dict[str, tuple[Spec, bytes, bytes]] = {
    "tcp banner": (TcpSpec(OPTIONS, banner=True), b"", b"b" * 65536),
    "tcp answer": (TcpSpec(OPTIONS, send=b"?"), b"", b"a" * 65536),
    "tcp after our FIN": (TcpSpec(OPTIONS, half_close=True), b"", b"f" * 65536),
    "http head": (HttpSpec(OPTIONS), HEAD, b"X-More: " + b"h" * 1000 + b"\r\n"),
    "http one header": (HttpSpec(OPTIONS), HEAD + b"X-Long: ", b"h" * 65536),
    "http informational": (HttpSpec(OPTIONS), b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000),
    "http body": (HttpSpec(OPTIONS), HEAD + b"\r\n", b"b" * 65536),
    "http sized body": (HttpSpec(OPTIONS), HEAD + b"Content-Length: 10737418240\r\n\r\n", b"b" * 65536),
    "http chunks": (HttpSpec(OPTIONS), HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nc\r\n" * 8000),
    "http chunk extensions": (
        HttpSpec(OPTIONS),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
        b"1;" + b"e" * 4000 + b"\r\nc\r\n",
    ),
    "tls that is text": (TlsSpec(OPTIONS), b"", b"t" * 65536),
    "dns over tcp": (DnsSpec(OPTIONS, transport=DnsTransport.TCP), b"\xff\xff", b"d" * 65536),
}


@asynccontextmanager
async def endless(first: bytes, more: bytes) -> AsyncIterator[int]:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(more)
            await writer.drain()

    async with serving(handler) as port:
        yield port


async def weighed(bench: Bench, spec: Spec, target: Target) -> tuple[Measurement, float, int]:
    """The row, seconds, and the most bytes that were held at once, the peer's in this process among them."""
    tracemalloc.start()
    try:
        began = bench.clock.monotonic()
        row = await bench.one(spec, target)
        return row, bench.clock.monotonic() - began, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("what", ENDLESS)
async def test_a_stream_that_never_ends(bench: Bench, what: str) -> None:
    spec, first, more = ENDLESS[what]
    async with endless(first, more) as port:
        server = f"127.0.0.1:{port}" if isinstance(spec, DnsSpec) else None
        target = Target("dns:a.example", "a.example", server=server) if server else at(port)
        await bench.one(spec, target)  # loaded before it is weighed
        row, took_s, peak = await weighed(bench, spec, target)
    assert peak < MOST, what
    assert took_s < TIMEOUT_S * 3 + 2.0, "its time-out, and the machine's"
    assert row.outcome in (Outcome.OK, Outcome.ANSWER_UNEXPECTED, Outcome.TIMEOUT, Outcome.TLS_FAILS), (
        row.failure
    )


@contextlib.contextmanager
def flooding(datagram: bytes) -> Iterator[int]:
    """Whoever sends here once gets ``datagram`` for ever."""
    over = threading.Event()

    def flood() -> None:
        with contextlib.suppress(OSError):
            _, sender = sock.recvfrom(65535)
            while not over.is_set():
                sock.sendto(datagram, sender)

    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        thread = threading.Thread(target=flood)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("request_", list(UdpRequest))
@pytest.mark.parametrize("size", [0, 12, 1200, 60_000])
async def test_datagrams_that_never_end(bench: Bench, request_: UdpRequest, size: int) -> None:
    with flooding(b"\xff" * size) as port:
        spec = UdpSpec(OPTIONS, request=request_)
        row, took_s, peak = await weighed(bench, spec, at(port))
    assert peak < MOST
    assert took_s < TIMEOUT_S + 2.0
    plain = request_ is UdpRequest.NONE  # to which any datagram is an answer
    assert row.outcome is (Outcome.OK if plain else Outcome.ANSWER_UNEXPECTED), row.failure
