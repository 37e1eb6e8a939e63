"""tls against servers that mean harm: the deadline is kept, memory is bounded, and a failure says what it
was."""

import asyncio
import contextlib
import socket
import ssl
import tempfile
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest
import trustme
from probemesh_shared.convert import from_proto, to_proto
from probemesh_shared.model import Measurement, TlsDetail, TlsSpec
from probemesh_shared.words import FailureKind, Outcome

from tests.probes_rich.rich_bench import QUICK, Bench, at, serving
from tests.servers.tls_pki import make

OPTIONS = replace(QUICK, timeout_s=0.4)
SPEC = TlsSpec(OPTIONS, server_name="web.example", ocsp=True, enumerate=True)
_MIB = 1 << 20


def record(body: bytes, kind: int = 22) -> bytes:
    return bytes([kind, 3, 3]) + len(body).to_bytes(2, "big") + body


def message(kind: int, body: bytes, size: int | None = None) -> bytes:
    return bytes([kind]) + (len(body) if size is None else size).to_bytes(3, "big") + body


HELLO = message(2, b"\x03\x03" + bytes(32) + b"\x00\xc0\x2f\x00")


def endless_hellos() -> Iterator[bytes]:
    while True:
        yield record(HELLO) * 200


def endless_warnings() -> Iterator[bytes]:
    while True:
        yield record(b"\x01\x5a", 21) * 2000


def endless_message() -> Iterator[bytes]:
    yield record(HELLO)
    yield record(message(11, b"", 0xFFFFFF))
    while True:
        yield record(b"x" * 16384)


def sixteen_mib_chain() -> Iterator[bytes]:
    one = (60_000).to_bytes(3, "big") + b"\x30" * 60_000
    body = message(11, (280 * len(one)).to_bytes(3, "big") + one * 280)
    yield record(HELLO)
    for first in range(0, len(body), 16384):
        yield record(body[first : first + 16384])


def one_byte_a_record() -> Iterator[bytes]:
    yield b"".join(record(HELLO[i : i + 1]) for i in range(len(HELLO)))
    while True:
        yield record(b"\x0b") * 2000


def lying_lengths() -> Iterator[bytes]:
    yield b"\x16\x03\x03\xff\xff" + b"x" * 70_000


def empty_records() -> Iterator[bytes]:
    while True:
        yield b"\x16\x03\x03\x00\x00" * 5000


def hello_then_nonsense() -> Iterator[bytes]:
    yield record(HELLO)
    yield record(message(11, b"\xff\xff\xff" + b"x" * 100))


HOSTILE = (
    endless_hellos,
    endless_warnings,
    endless_message,
    sixteen_mib_chain,
    one_byte_a_record,
    lying_lengths,
    empty_records,
    hello_then_nonsense,
)


@pytest.mark.parametrize("said", HOSTILE, ids=lambda one: one.__name__)
async def test_the_deadline_and_the_memory_hold(bench: Bench, said) -> None:
    async def handler(reader, writer) -> None:
        await reader.read(4096)
        with contextlib.suppress(OSError):
            for data in said():
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(0)
        await reader.read()

    async with serving(handler) as port:
        tracemalloc.start()
        began = bench.clock.monotonic()
        try:
            row = await bench.one(SPEC, at(port), seconds=1.5)
            took, (_, peak) = bench.clock.monotonic() - began, tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert took < 5, "an endless server does not hold it for ever"
    assert peak < 8 * _MIB, "the server's own buffers are in this too"
    assert row.outcome is Outcome.TLS_FAILS and row.failure is not None
    detail = row.detail
    assert isinstance(detail, TlsDetail) and detail.enumeration is not None
    assert detail.ocsp_staple is None and any("stapled OCSP" in line for line in row.log)
    assert sum(len(one) for one in detail.chain) < _MIB
    assert all(len(one.ciphers) <= 190 for one in detail.enumeration.versions)


@pytest.mark.parametrize("tickets", [0, 2])
async def test_a_server_that_asks_for_a_certificate_and_leaves_at_once(
    bench: Bench, trusted: trustme.CA, tickets: int
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trusted.issue_cert("web.example").configure_cert(context)
    trusted.configure_trust(context)
    context.verify_mode, context.num_tickets = ssl.CERT_OPTIONAL, tickets

    async def leaving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    async with serving(leaving, context) as port:
        row = await bench.one(TlsSpec(OPTIONS, server_name="web.example"), at(port))
    detail = row.detail
    assert isinstance(detail, TlsDetail) and detail.client_certificate_requested
    if tickets:
        assert row.outcome is Outcome.OK
    else:
        assert row.failure is not None and row.failure.kind is FailureKind.CLOSED


async def test_a_certificate_that_no_message_has_room_for_is_left_out_and_told(bench: Bench) -> None:
    bloated = make("web.example", *(f"n{number}.{'x' * 40}.example" for number in range(1_450)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(bloated.pem + bloated.key_pem)
        file.flush()
        context.load_cert_chain(file.name)

    async def leaving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(leaving, context) as port:
        row = await bench.one(TlsSpec(OPTIONS, server_name="web.example"), at(port))
    assert isinstance(row.detail, TlsDetail) and row.detail.version == "TLSv1.3"
    assert row.detail.chain == () and row.detail.verified is False
    assert any("left out" in line for line in row.log), row.log
    assert from_proto(Measurement, to_proto(row)) == row
