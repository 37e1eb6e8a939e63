"""dns against servers that mean ill, over UDP, TCP and HTTPS: bounded, in time, and told as what it is."""

import asyncio
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import h2.config
import h2.connection
import h2.events
import pytest
import trustme
from probemesh_shared.convert import from_proto, to_proto
from probemesh_shared.model import DnsSpec, Measurement, Target
from probemesh_shared.words import DnssecStatus, DnsTransport, FailureKind, Origin, Outcome, Stage

from tests.probes_rich.rich_bench import QUICK, Bench, server_context, silent
from tests.probes_rich.rich_bench import serving as streaming
from tests.probes_rich.test_dns import detail, records, serving, target

TYPE = b"application/dns-message"


async def test_endless_junk_holds_neither_memory_nor_the_deadline(bench: Bench) -> None:
    """The server floods for as long as the attempt lasts."""

    class Flood(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.sent = transport, 0

        def datagram_received(self, data: bytes, peer: Any) -> None:
            self.send(bytes([data[0] ^ 1]) + data[1:] + b"x" * 1400, peer)

        def send(self, junk: bytes, peer: Any) -> None:
            for _ in range(20):
                self.transport.sendto(junk, peer)
                self.sent += 1
            if self.sent < 20_000 and not self.transport.is_closing():
                asyncio.get_running_loop().call_later(0.001, self.send, junk, peer)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Flood, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    tracemalloc.start()
    try:
        row = await bench.one(DnsSpec(replace(QUICK, timeout_s=0.5)), target("a.example", port, "TXT"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        transport.close()
    assert row.failure is not None and row.failure.kind is FailureKind.BAD_ANSWER
    assert detail(row).passed_over > 20 and peak < 4 << 20
    assert len(row.log) < 10 and any("passed over in all" in line for line in row.log)


async def test_forgeries_are_counted_and_the_good_one_wins(bench: Bench) -> None:
    def answer(query: dns.message.Message) -> list[bytes]:
        good = records("a.example. 5 A 192.0.2.1")(query)[0]
        return [bytes([good[0], good[1] ^ n]) + good[2:] for n in range(1, 200)] + [good]

    async with serving(answer) as (port, _):
        row = await bench.one(DnsSpec(QUICK), target("a.example", port, "A"))
    assert row.outcome is Outcome.OK and detail(row).passed_over == 199
    assert [one.value for one in detail(row).answers] == ["192.0.2.1"]


async def test_the_largest_answer_by_tcp(bench: Bench) -> None:
    """64 KiB of records: all are counted, not all are kept, and it fits on the wire."""

    def answer(query: dns.message.Message) -> list[bytes]:
        made = dns.message.make_response(query)
        for n in range(245):
            made.answer.append(
                dns.rrset.from_text(f"n{n}.a.example.", 5, "IN", "TXT", '"' + "\\255" * 240 + '"')
            )
        return [made.to_wire(max_size=65535)]

    spec = DnsSpec(QUICK, transport=DnsTransport.TCP)
    async with serving(lambda query: [], answer) as (port, _):
        row = await bench.one(spec, target("a.example", port, "TXT"))
    told = detail(row)
    assert told.answer_size is not None and told.answer_size > 60_000, row.log
    assert len(told.answers) + told.records_left_out == 245 and told.records_left_out > 0
    message = to_proto(row)
    assert message.ByteSize() < 300_000 and from_proto(Measurement, message) == row


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("transport", DnsTransport)
async def test_cancelled_and_late_probes_leave_nothing_open(bench: Bench, transport: DnsTransport) -> None:
    """Against a server that accepts and says nothing, by every way."""
    async with serving(lambda query: []) as (udp, _), streaming(silent) as tcp:
        port = udp if transport is DnsTransport.UDP else tcp
        spec = DnsSpec(replace(QUICK, timeout_s=5.0), transport=transport)
        await bench.one(spec, target("a.example", port, "TXT"), seconds=0.3)  # loads what is loaded once
        before = descriptors()
        row = await bench.one(spec, target("a.example", port, "TXT"), seconds=0.3)
        assert row.failure is not None and row.failure.kind is FailureKind.TIMEOUT
        assert descriptors() == before
        probe = asyncio.create_task(bench.one(spec, target("a.example", port, "TXT")))
        await asyncio.sleep(0.1)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        await asyncio.sleep(0)
        assert descriptors() == before


@pytest.mark.parametrize("sent", [b"\xff\xff" + b"x" * 1000, b"\x00\x00", b"\x00"])
async def test_tcp_that_promises_more_or_nothing(bench: Bench, sent: bytes) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(sent)

    spec = DnsSpec(replace(QUICK, timeout_s=1.0), transport=DnsTransport.TCP)
    async with streaming(handler) as port:
        row = await bench.one(spec, target("a.example", port, "TXT"))
    assert row.failure is not None
    assert row.failure.kind in (FailureKind.CLOSED, FailureKind.BAD_ANSWER)
    assert row.failure.origin is Origin.RESOLVER


async def test_bogus_is_told_by_the_second_question_alone(bench: Bench) -> None:
    def answer(query: dns.message.Message) -> list[bytes]:
        if query.flags & dns.flags.CD:
            return records("a.example. 5 A 192.0.2.1")(query)
        return records(rcode=2)(query)

    async with serving(answer) as (port, server):
        spec = DnsSpec(replace(QUICK, count=3), dnssec=True)
        row = await bench.one(spec, target("a.example", port, "A"))
        assert len(server.asked) == 4, "three attempts, and one question beside them"
        plain = await bench.one(DnsSpec(QUICK), target("a.example", port, "A"))
        assert len(server.asked) == 5, "nobody asked about signatures"
    assert detail(row).dnssec is DnssecStatus.BOGUS and detail(row).rcode == "SERVFAIL"
    assert any("asked again with checking disabled (CD): NOERROR" in line for line in row.log)
    assert detail(plain).dnssec is DnssecStatus.UNKNOWN


async def test_server_that_dislikes_edns_is_told_what_to_try(bench: Bench) -> None:
    def answer(query: dns.message.Message) -> list[bytes]:
        return records("a.example. 5 A 192.0.2.1", rcode=1 if query.edns >= 0 else 0)(query)

    async with serving(answer) as (port, _):
        row = await bench.one(DnsSpec(QUICK), target("a.example", port, "A"))
        bare = await bench.one(DnsSpec(QUICK, edns_size=0), target("a.example", port, "A"))
    assert detail(row).rcode == "FORMERR" and any("--edns-size 0" in line for line in row.log)
    assert bare.outcome is Outcome.OK and detail(bare).edns_size is None


async def test_formerr_without_a_question(bench: Bench) -> None:
    """Old servers answer with a bare header."""
    async with serving(lambda query: [query.to_wire()[:2] + b"\x80\x01" + b"\0" * 8]) as (port, _):
        row = await bench.one(DnsSpec(QUICK), target("a.example", port, "A"))
    assert detail(row).rcode == "FORMERR"


# --- DNS over HTTPS ---------------------------------------------------------------------------------------


def doh(port: int, **more: Any) -> tuple[DnsSpec, Target]:
    options = replace(QUICK, timeout_s=more.pop("timeout_s", 2.0))
    return DnsSpec(options, transport=DnsTransport.DOH, **more), target("a.example", port, "A")


async def posted(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return head, await reader.readexactly(int(size.split(b":")[1]))


def good_body(query: bytes) -> bytes:
    return records("a.example. 5 A 192.0.2.1")(dns.message.from_wire(query))[0]


async def by_http1(
    bench: Bench, authority: trustme.CA, answer: Any, **more: Any
) -> tuple[Measurement, bytes]:
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, body = await posted(reader)
        heads.append(head)
        for part in answer(body):
            writer.write(part)
            await writer.drain()

    context = server_context(authority, "127.0.0.1", "dns.example", alpn=("http/1.1",))
    async with streaming(handler, context) as port:
        row = await bench.one(*doh(port, **more))
    return row, heads[0]


def http(body: bytes, kind: bytes = TYPE, status: bytes = b"200 OK") -> bytes:
    size = str(len(body)).encode()
    return (
        b"HTTP/1.1 "
        + status
        + b"\r\nContent-Type: "
        + kind
        + b"\r\nContent-Length: "
        + size
        + b"\r\n\r\n"
        + body
    )


async def test_post_by_http1_where_alpn_says_so(bench: Bench, trusted: trustme.CA) -> None:
    row, head = await by_http1(
        bench, trusted, lambda query: [http(good_body(query))], server_name="dns.example"
    )
    told = detail(row)
    assert row.outcome is Outcome.OK and [one.value for one in told.answers] == ["192.0.2.1"], row.log
    assert (told.http_version, told.http_status) == ("1.1", 200)
    assert told.tls is not None and told.tls.verified is True and told.tls.alpn == "http/1.1"
    assert head.startswith(b"POST /dns-query HTTP/1.1\r\nHost: dns.example:")
    assert b"Content-Type: application/dns-message\r\n" in head and b"User-Agent" not in head


CASES = {
    "chunked": (
        lambda q: [
            b"HTTP/1.1 200 OK\r\nContent-Type: application/DNS-message; x=y\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n",
            b"%x\r\n" % len(good_body(q)) + good_body(q) + b"\r\n0\r\n\r\n",
        ],
        None,
    ),
    "status": (lambda q: [http(b"no", b"text/plain", b"503 No")], FailureKind.STATUS_UNEXPECTED),
    "type": (lambda q: [http(good_body(q), b"text/html")], FailureKind.BAD_ANSWER),
    "not dns": (lambda q: [http(b"\x1b[2Jx")], FailureKind.BAD_ANSWER),
    "other question": (lambda q: [http(b"\0\0" + good_body(q)[2:])], FailureKind.BAD_ANSWER),
    "not http": (lambda q: [b"SSH-2.0-x\r\n\r\n"], FailureKind.BAD_ANSWER),
    "closed": (lambda q: [], FailureKind.CLOSED),
    "half": (lambda q: [http(good_body(q))[:-3]], FailureKind.BAD_ANSWER),
    "endless body": (
        lambda q: [b"HTTP/1.1 200 OK\r\nContent-Type: " + TYPE + b"\r\n\r\n", *[b"x" * 65536] * 40],
        FailureKind.BAD_ANSWER,
    ),
    "informational": (
        lambda q: [b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10, http(good_body(q))],
        None,
    ),
    "too many informational": (
        lambda q: [b"HTTP/1.1 103 Early Hints\r\n\r\n" * 11, http(good_body(q))],
        FailureKind.BAD_ANSWER,
    ),
    "endless head": (
        lambda q: [b"HTTP/1.1 200 OK\r\n", *[b"X: " + b"x" * 4000] * 40],
        FailureKind.BAD_ANSWER,
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_http1_answers_of_every_kind(bench: Bench, trusted: trustme.CA, case: str) -> None:
    answer, kind = CASES[case]
    row, _ = await by_http1(bench, trusted, answer)
    assert (row.failure.kind if row.failure else None) is kind, row.log
    assert row.failure is None or row.failure.origin is Origin.RESOLVER


async def by_http2(bench: Bench, authority: trustme.CA, act: Any, **more: Any) -> Measurement:
    """``act(connection, stream_id, query)`` says what the server does with the whole request."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        connection = h2.connection.H2Connection(config=config)
        connection.initiate_connection()
        body = b""
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    for raw in act(connection, event.stream_id, body) or ():
                        writer.write(raw)
            writer.write(connection.data_to_send())
            await writer.drain()

    context = server_context(authority, "127.0.0.1", alpn=("h2",))
    async with streaming(handler, context) as port:
        return await bench.one(*doh(port, **more))


def replying(body: bytes | None = None, status: str = "200", kind: bytes = TYPE) -> Any:
    def act(connection: Any, stream: int, query: bytes) -> None:
        connection.send_headers(stream, [(":status", status), ("content-type", kind)])
        connection.send_data(stream, good_body(query) if body is None else body, end_stream=True)

    return act


def resetting(connection: Any, stream: int, query: bytes) -> None:
    connection.reset_stream(stream, 11)


def leaving(connection: Any, stream: int, query: bytes) -> None:
    connection.close_connection(2)


def babbling(connection: Any, stream: int, query: bytes) -> list[bytes]:
    return [b"HTTP/1.1 400 Bad Request\r\n\r\n"]


def pinging(connection: Any, stream: int, query: bytes) -> list[bytes]:
    """A thousand PINGs, then the answer: each is answered, none is kept."""
    settings = connection.data_to_send()
    replying()(connection, stream, query)
    return [settings, PING * 1000]


def pinging_on(connection: Any, stream: int, query: bytes) -> list[bytes]:
    return [connection.data_to_send(), PING * 40_000]


def promising(connection: Any, stream: int, query: bytes) -> list[bytes]:
    """A frame of 16 MiB, most of which comes."""
    return [connection.data_to_send(), b"\xff\xff\xff\0\0\0\0\0\x01", *[b"x" * 65536] * 100]


PING = b"\0\0\x08\x06\0\0\0\0\0" + b"12345678"
HTTP2 = {
    "good": (replying(), None),
    "status": (replying(status="415"), FailureKind.STATUS_UNEXPECTED),
    "odd status": (replying(status="2x0"), FailureKind.STATUS_UNEXPECTED),
    "type": (replying(kind=b"text/html"), FailureKind.BAD_ANSWER),
    "not dns": (replying(b"junk"), FailureKind.BAD_ANSWER),
    "reset": (resetting, FailureKind.RESET),
    "goaway": (leaving, FailureKind.RESET),
    "not http": (babbling, FailureKind.BAD_ANSWER),
    "pings": (pinging, None),
    "endless pings": (pinging_on, FailureKind.BAD_ANSWER),
    "endless frame": (promising, FailureKind.BAD_ANSWER),
}


@pytest.mark.parametrize("case", HTTP2)
async def test_http2_answers_of_every_kind(bench: Bench, trusted: trustme.CA, case: str) -> None:
    act, kind = HTTP2[case]
    row = await by_http2(bench, trusted, act)
    assert (row.failure.kind if row.failure else None) is kind, row.log
    if kind is None:
        assert detail(row).http_version == "2" and row.outcome is Outcome.OK


async def test_silent_https_server_is_told_in_time(bench: Bench, trusted: trustme.CA) -> None:
    row = await by_http2(bench, trusted, lambda *_: None, timeout_s=0.4)
    assert row.outcome is Outcome.TIMEOUT and row.failure is not None
    assert row.failure.origin is Origin.RESOLVER


async def test_tls_that_does_not_come_about(bench: Bench) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(struct.pack("!H", 12) + b"\0" * 12)

    async with streaming(plain) as port:
        spec = DnsSpec(QUICK, transport=DnsTransport.DOT)
        row = await bench.one(spec, target("a.example", port, "A"))
    assert row.outcome is Outcome.TLS_FAILS and row.failure is not None
    assert row.failure.stage is Stage.TLS and detail(row).transport is DnsTransport.DOT
