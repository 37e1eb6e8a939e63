"""dns: what a named server says, over UDP and TCP, beside what the host's own resolver says."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from probemesh_agent.net.nameservers import read_resolv_conf
from probemesh_shared.model import DnsDetail, DnsSpec, Measurement, Options, Target
from probemesh_shared.words import DnsTransport, FailureKind, Origin, Outcome, Stage

from tests.probes_rich.rich_bench import QUICK, Bench

#: From a query to the datagrams that answer it, in order.
Answerer = Callable[[dns.message.Message], list[bytes]]


class Server(asyncio.DatagramProtocol):
    def __init__(self, answerer: Answerer) -> None:
        self.answerer = answerer
        self.asked: list[dns.message.Message] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        self.asked.append(query)
        for answer in self.answerer(query):
            self.transport.sendto(answer, peer)


def one_port_for_both() -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on one port; a connection of somebody else may hold one half of it."""
    for _ in range(100):
        udp, tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
        tcp.bind(("127.0.0.1", 0))
        try:
            udp.bind(tcp.getsockname())
        except OSError:
            udp.close()
            tcp.close()
        else:
            return udp, tcp
    raise OSError("no port is free for UDP and TCP alike")


@asynccontextmanager
async def serving(answerer: Answerer, by_tcp: Answerer | None = None) -> AsyncIterator[tuple[int, Server]]:
    """A name server on UDP, and on TCP at the same port where ``by_tcp`` is given."""
    loop = asyncio.get_running_loop()
    udp, listener = one_port_for_both()
    transport, server = await loop.create_datagram_endpoint(lambda: Server(answerer), sock=udp)
    port = transport.get_extra_info("sockname")[1]
    tcp = None

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            query = dns.message.from_wire(await reader.readexactly(size))
            for answer in (by_tcp or answerer)(query):
                writer.write(struct.pack("!H", len(answer)) + answer)
            await writer.drain()
        writer.close()

    if by_tcp is not None:
        tcp = await asyncio.start_server(stream, sock=listener)
    else:
        listener.close()
    try:
        yield port, server
    finally:
        transport.close()
        if tcp is not None:
            tcp.close()
        await asyncio.sleep(0)


def records(*lines: str, rcode: int = 0, flags: int = 0) -> Answerer:
    """``name ttl type value`` lines as the answer."""

    def answer(query: dns.message.Message) -> list[bytes]:
        made = dns.message.make_response(query)
        made.set_rcode(dns.rcode.Rcode(rcode))
        made.flags |= flags
        for line in lines:
            name, ttl, kind, value = line.split(" ", 3)
            made.answer.append(dns.rrset.from_text(name, int(ttl), "IN", kind, value))
        return [made.to_wire(max_size=65535)]

    return answer


def target(name: str, port: int | None = None, record_type: str | None = None) -> Target:
    server = f"127.0.0.1:{port}" if port else None
    return Target(f"dns:{name}", name, record_type=record_type, server=server)


def detail(row: Measurement) -> DnsDetail:
    assert isinstance(row.detail, DnsDetail)
    return row.detail


async def test_answer_with_ttl_flags_and_the_system_s_word_beside_it(bench: Bench) -> None:
    answers = records("localhost. 77 A 192.0.2.9", flags=dns.flags.AA)
    async with serving(answers) as (port, server):
        row = await bench.one(DnsSpec(replace(QUICK, count=2)), target("localhost", port, "A"))
    told = detail(row)
    assert row.outcome is Outcome.OK and (row.address, row.port) == ("127.0.0.1", port)
    assert (told.name, told.record_type, told.rcode) == ("localhost", "A", "NOERROR")
    assert told.transport is DnsTransport.UDP
    assert "aa" in told.flags and "qr" in told.flags and told.server == "127.0.0.1"
    (record,) = told.answers
    assert (record.name, record.type, record.ttl_s, record.value) == ("localhost", "A", 77, "192.0.2.9")
    assert told.system and told.system_addresses == ("127.0.0.1",) and told.system_failure is None
    assert told.resolvers == tuple(map(str, read_resolv_conf(Path("/etc/resolv.conf")).servers))
    assert (len(server.asked) == 2 and server.asked[0].id != server.asked[1].id) or len(server.asked) == 2
    assert all(one.rtt_ms is not None for one in row.samples)


TYPES = {
    "A": "192.0.2.1",
    "AAAA": "2001:db8::1",
    "CNAME": "b.example.",
    "MX": "10 mail.example.",
    "NS": "ns.example.",
    "TXT": '"v=spf1 \\027[31m -all"',
    "SOA": "ns.example. root.example. 1 2 3 4 5",
    "SRV": "1 2 443 web.example.",
    "PTR": "host.example.",
    "CAA": '0 issue "ca.example"',
    "DS": "1 13 2 " + "ab" * 32,
    "DNSKEY": "257 3 13 " + "AAAA" * 16,
    "NAPTR": '1 2 "u" "E2U+sip" "!^.*$!sip:a@b!" .',
    "SVCB": "1 web.example. alpn=h2",
    "HTTPS": "1 . alpn=h2,h3",
    "TLSA": "3 1 1 " + "ab" * 32,
    "SSHFP": "1 1 " + "ab" * 20,
}


@pytest.mark.parametrize("kind", TYPES)
async def test_common_types(bench: Bench, kind: str) -> None:
    async with serving(records(f"a.example. 5 {kind} {TYPES[kind]}")) as (port, _):
        row = await bench.one(DnsSpec(QUICK), target("a.example", port, kind))
    assert row.outcome is Outcome.OK, row.log
    (record,) = detail(row).answers
    assert record.type == kind and record.value and "\x1b" not in record.value


async def test_any_takes_what_there_is(bench: Bench) -> None:
    answers = records("a.example. 5 A 192.0.2.1", "a.example. 5 TXT x")
    async with serving(answers) as (port, _):
        row = await bench.one(DnsSpec(QUICK), target("a.example", port, "ANY"))
    assert row.outcome is Outcome.OK and {one.type for one in detail(row).answers} == {"A", "TXT"}


async def test_reverse(bench: Bench) -> None:
    async with serving(records("9.2.0.192.in-addr.arpa. 5 PTR host.example.")) as (port, server):
        row = await bench.one(DnsSpec(QUICK), target("192.0.2.9", port))
        six = await bench.one(DnsSpec(QUICK), target("2001:db8::1", port))
    assert detail(row).name == "9.2.0.192.in-addr.arpa" and detail(row).record_type == "PTR"
    assert detail(row).answers[0].value == "host.example." and not detail(row).system
    assert six.outcome is Outcome.OK
    assert server.asked[1].question[0].name.to_text().endswith("8.b.d.0.1.0.0.2.ip6.arpa.")


@pytest.mark.parametrize(
    ("rcode", "kind", "origin"),
    [
        (dns.rcode.NXDOMAIN, FailureKind.NO_SUCH_NAME, Origin.TARGET),
        (dns.rcode.SERVFAIL, FailureKind.NAME_SERVER_FAILED, Origin.RESOLVER),
        (dns.rcode.REFUSED, FailureKind.NAME_SERVER_FAILED, Origin.RESOLVER),
        (dns.rcode.FORMERR, FailureKind.NAME_SERVER_FAILED, Origin.RESOLVER),
        (dns.rcode.NOERROR, FailureKind.NO_ADDRESS, Origin.TARGET),
    ],
)
async def test_rcodes(bench: Bench, rcode: int, kind: FailureKind, origin: Origin) -> None:
    async with serving(records(rcode=rcode)) as (port, _):
        row = await bench.one(DnsSpec(QUICK), target("a.example", port, "MX"))
    assert row.outcome is Outcome.NAME_FAILS and row.failure is not None and row.log
    assert (row.failure.stage, row.failure.kind, row.failure.origin) == (Stage.RESOLVE, kind, origin)
    assert row.samples[0].rtt_ms is not None, "an answer that says no is an answer"
    assert detail(row).rcode == dns.rcode.to_text(dns.rcode.Rcode(rcode))


async def test_name_with_ipv6_alone_is_found_without_a_type(bench: Bench) -> None:
    def answer(query: dns.message.Message) -> list[bytes]:
        if query.question[0].rdtype == 28:
            return records("six.example. 5 AAAA 2001:db8::1")(query)
        return records()(query)

    async with serving(answer) as (port, _):
        row = await bench.one(DnsSpec(QUICK), target("six.example", port))
    assert row.outcome is Outcome.OK and detail(row).record_type == "AAAA"


async def test_forged_answers_first_and_the_good_one_second(bench: Bench) -> None:
    def answer(query: dns.message.Message) -> list[bytes]:
        good = records("a.example. 5 A 192.0.2.1")(query)[0]
        forged = records("a.example. 5 A 203.0.113.66")(query)[0]
        other = dns.message.make_query("b.example", "A")
        other.id = query.id
        wrong_id = bytes([forged[0] ^ 0xFF]) + forged[1:]
        wrong_question = records("b.example. 5 A 203.0.113.66")(other)[0]
        return [b"", b"\x00", wrong_id, wrong_question, query.to_wire(), forged[:20], good]

    async with serving(answer) as (port, _):
        row = await bench.one(DnsSpec(QUICK), target("a.example", port, "A"))
    assert row.outcome is Outcome.OK
    assert [one.value for one in detail(row).answers] == ["192.0.2.1"]
    assert any("passed over" in line for line in row.log)


async def test_garbage_alone_is_a_bad_answer_and_not_silence(bench: Bench) -> None:
    async with serving(lambda query: [b"\x1b[2J\x00garbage"]) as (port, _):
        row = await bench.one(DnsSpec(replace(QUICK, timeout_s=0.3)), target("a.example", port, "TXT"))
    assert row.failure is not None and row.failure.kind is FailureKind.BAD_ANSWER
    assert row.outcome is Outcome.ANSWER_UNEXPECTED and row.samples[0].rtt_ms is None


async def test_compression_loops_end(bench: Bench) -> None:
    def answer(query: dns.message.Message) -> list[bytes]:
        head = query.to_wire()[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
        question = query.to_wire()[12 : 12 + len("a.example") + 2 + 4]
        return [
            head
            + question
            + b"\xc0"
            + bytes([len(head + question)])
            + b"\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04aaaa"
        ]

    async with serving(answer) as (port, _):
        row = await bench.one(DnsSpec(replace(QUICK, timeout_s=0.3)), target("a.example", port, "A"))
    assert row.failure is not None and row.failure.kind is FailureKind.BAD_ANSWER


async def test_truncated_answers_are_asked_for_over_tcp(bench: Bench) -> None:
    many = [f"a.example. 5 A 192.0.2.{n}" for n in range(1, 101)]
    async with serving(records(flags=dns.flags.TC), records(*many)) as (port, _):
        row = await bench.one(DnsSpec(QUICK), target("a.example", port, "A"))
    assert row.outcome is Outcome.OK and detail(row).transport is DnsTransport.TCP
    assert len(detail(row).answers) == 100 and any("TCP" in line for line in row.log)


async def test_truncated_and_tcp_closed_is_a_failure(bench: Bench) -> None:
    async with serving(records(flags=dns.flags.TC)) as (port, _):
        row = await bench.one(DnsSpec(QUICK), target("a.example", port, "TXT"))
    assert row.outcome is Outcome.REFUSED and row.failure is not None
    assert row.failure.stage is Stage.CONNECT and row.failure.origin is Origin.TARGET


async def test_tcp_alone(bench: Bench) -> None:
    spec = DnsSpec(QUICK, transport=DnsTransport.TCP)
    async with serving(lambda query: [], records("a.example. 5 TXT x")) as (port, server):
        row = await bench.one(spec, target("a.example", port, "TXT"))
    assert row.outcome is Outcome.OK and not server.asked
    async with serving(lambda query: [], lambda query: [b""]) as (port, _):
        row = await bench.one(spec, target("a.example", port, "TXT"))
    assert row.failure is not None and row.failure.kind in (FailureKind.BAD_ANSWER, FailureKind.CLOSED)
    async with serving(lambda query: [], lambda query: []) as (port, _):
        row = await bench.one(spec, target("a.example", port, "TXT"))
    assert row.failure is not None and row.failure.kind is FailureKind.CLOSED


async def test_silent_and_closed_servers(bench: Bench) -> None:
    async with serving(lambda query: []) as (port, _):
        row = await bench.one(DnsSpec(replace(QUICK, timeout_s=0.2)), target("a.example", port, "TXT"))
    assert row.outcome is Outcome.TIMEOUT and row.failure is not None
    assert row.failure.origin is Origin.RESOLVER and row.failure.stage is Stage.RECEIVE
    row = await bench.one(DnsSpec(QUICK), target("a.example", port, "TXT"))
    assert row.outcome is Outcome.REFUSED and row.failure is not None and row.failure.icmp is not None
    assert (row.failure.icmp.type, row.failure.icmp.code) == (3, 3)


@pytest.mark.parametrize(
    ("name", "record_type", "kind"),
    [
        ("a.example", "NOSUCH", FailureKind.UNSUPPORTED),
        ("a.example", "AXFR", FailureKind.UNSUPPORTED),
        ("a.example", "OPT", FailureKind.UNSUPPORTED),
        ("x" * 70 + ".example", "A", FailureKind.NO_SUCH_NAME),
        ("a..example", "A", FailureKind.NO_SUCH_NAME),
    ],
)
async def test_what_cannot_be_asked_is_not_sent(
    bench: Bench, name: str, record_type: str, kind: FailureKind
) -> None:
    async with serving(records()) as (port, server):
        row = await bench.one(DnsSpec(QUICK), target(name, port, record_type))
    assert row.failure is not None and row.failure.kind is kind and not server.asked


async def test_own_name_servers_one_row_each_and_the_search_list(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 127.0.0.1\nnameserver 127.0.0.2\nsearch corp.example\n")
    bench = Bench(resolv_conf=path)
    options = Options(count=1, timeout_s=0.3)
    rows = await bench.run(DnsSpec(options), target("db", record_type="A"))
    assert [(row.address, row.port) for row in sorted(rows, key=lambda row: row.address or "")] == [
        ("127.0.0.1", 53),
        ("127.0.0.2", 53),
    ]
    for row in rows:
        assert row.outcome is not Outcome.OK and row.failure is not None
        assert detail(row).system and detail(row).system_failure is not None


async def test_name_of_the_server_that_does_not_resolve_says_nothing_of_the_name(bench: Bench) -> None:
    asked = Target("dns:a@b", "a.example", record_type="A", server="no..name")
    row = await bench.one(DnsSpec(QUICK), asked)
    assert row.failure is not None
    assert (row.failure.kind, row.failure.origin) == (FailureKind.NAME_SERVER_FAILED, Origin.RESOLVER)
    assert row.failure.detail.startswith("the name server no..name does not resolve: ")
    assert detail(row).server_name == "no..name" and detail(row).server is None
    (again,) = await bench.run(DnsSpec(QUICK, all_servers=True), asked)
    assert again.failure is not None and detail(again).server_name == "no..name"
    assert "the name server no..name does not resolve" in again.failure.detail


def zone_of(query: dns.message.Message) -> list[bytes]:
    """A zone whose first server comes with glue, and whose second has to be asked for."""
    response, name = dns.message.make_response(query), query.question[0].name
    asked = dns.rdatatype.to_text(query.question[0].rdtype)
    if asked == "NS":
        response.answer.append(dns.rrset.from_text(name, 5, "IN", "NS", f"ns1.{name}", f"ns2.{name}"))
        response.additional.append(dns.rrset.from_text(f"ns1.{name}", 5, "IN", "A", "127.0.0.81"))
        response.additional.append(dns.rrset.from_text(f"other.{name}", 5, "IN", "A", "127.0.0.99"))
    elif (asked, str(name)) == ("A", "ns2.zone.example."):
        response.answer.append(dns.rrset.from_text(name, 5, "IN", "A", "127.0.0.82"))
    return [response.to_wire()]


async def test_servers_of_a_zone_are_where_the_named_server_says_and_judged_all_the_same(
    bench: Bench,
) -> None:
    async with serving(zone_of) as (port, server):
        rows = await bench.run(DnsSpec(QUICK, all_servers=True), target("zone.example", port, "SOA"))
    told = {detail(row).server_name: (row.address, row.outcome) for row in rows}
    assert told == {
        "ns1.zone.example": ("127.0.0.81", Outcome.DENIED),
        "ns2.zone.example": ("127.0.0.82", Outcome.DENIED),
    }
    asked = {str(one.question[0].name) for one in server.asked if one.question[0].rdtype == 1}
    assert asked == {"ns2.zone.example."}, "what came as glue is not asked for once more"
