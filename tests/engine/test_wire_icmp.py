"""Echo packets, the kernel's structures, ping's lines: read back what was written, survive what is forged."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_agent import kernel
from probemesh_agent.engine.echo import ancillary
from probemesh_agent.engine.item import Item
from probemesh_agent.probes.pingprogram import Reading, arguments
from probemesh_agent.wire import icmp
from probemesh_agent.wire.pingtext import PingError, PingReply, read_line
from probemesh_shared.model import IcmpDetail, Options
from probemesh_shared.words import FailureKind, Outcome


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.binary(max_size=80))
def test_a_request_is_read_back_and_its_checksum_holds(identifier: int, sequence: int, body: bytes):
    packet = icmp.request(False, identifier, sequence, body)
    assert icmp.fold(icmp.word_sum(packet)) == 0
    assert icmp.read_echo(packet, False, requests=True) == icmp.Echo(8, identifier, sequence, body)
    assert icmp.read_echo(packet, False) is None


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFF00), st.binary(max_size=40))
def test_headers_of_a_volley_are_those_of_single_requests(identifier: int, first: int, body: bytes):
    total = icmp.word_sum(body) + (icmp.ECHO_REQUEST_V4 << 8) + identifier
    heads = icmp.request_headers(icmp.ECHO_REQUEST_V4, identifier, total, first, 40)
    for number in range(40):
        packet = heads[8 * number : 8 * number + 8] + body
        assert icmp.fold(icmp.word_sum(packet)) == 0
        assert icmp.read_echo(packet, False, requests=True) == icmp.Echo(8, identifier, first + number, body)
    bare = icmp.request_headers(icmp.ECHO_REQUEST_V6, identifier, 0, first, 1)
    assert bare == icmp.request(True, identifier, first, b"")


@given(st.binary(max_size=120))
def test_noise_is_never_more_than_nothing(noise: bytes):
    icmp.read_echo(noise, True)
    stripped = icmp.strip_ipv4_header(noise)
    assert stripped is None or len(stripped[0]) <= len(noise) - 20
    kernel.queue_entry(noise, [(0, kernel.IP_RECVERR, noise), (1, kernel.SCM_TIMESTAMPING, noise)], None)
    assert sum(len(data) + 16 for _, _, data in ancillary(noise)) <= len(noise)
    read_line(noise.decode("latin-1"), False)


def test_ip_options_are_skipped():
    header = bytes([0x46]) + bytes(7) + bytes([61]) + bytes(15)
    assert icmp.strip_ipv4_header(header + b"rest") == (b"rest", 61)
    assert icmp.strip_ipv4_header(bytes([0x4F]) + bytes(30)) is None


def test_tcp_info_is_where_this_kernel_has_it():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as sock,
    ):
        info = kernel.tcp_info(sock)
    assert info.state == kernel.TCP_ESTABLISHED and info.retransmits == 0
    assert (500 < info.mss <= 65_535 and info.pmtu == 65_535) or info.pmtu >= 1_280
    assert 0 < info.rtt_us < 1_000_000


def test_an_error_queue_entry_is_read():
    told = struct.pack("=IBBBxII", 113, kernel.ORIGIN_ICMP, 3, 13, 0, 0)
    offender = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton("192.0.2.7"))
    ttl = (socket.IPPROTO_IP, kernel.IP_TTL, struct.pack("=i", 61))
    messages = [ttl, (socket.IPPROTO_IP, kernel.IP_RECVERR, told + offender)]
    entry = kernel.queue_entry(b"x", messages, "192.0.2.9")
    assert (entry.type, entry.code, entry.offender, entry.ttl) == (3, 13, "192.0.2.7", 61)
    assert entry.is_icmp and entry.errno == 113 and entry.destination == "192.0.2.9"


@pytest.mark.parametrize(
    ("line", "ipv6", "expected"),
    [
        (
            "64 bytes from 192.0.2.1: icmp_seq=3 ttl=61 time=0.045 ms",
            False,
            PingReply(3, 61, 0.045, False, "192.0.2.1"),
        ),
        (
            "64 bytes from 192.0.2.1: icmp_seq=1 ttl=61 time=0.1 ms (DUP!)",
            False,
            PingReply(1, 61, 0.1, True, "192.0.2.1"),
        ),
        (
            "64 bytes from 192.0.2.9: icmp_seq=1 ttl=61 time=0.1 ms (DIFFERENT ADDRESS!)",
            False,
            PingReply(1, 61, 0.1, False, "192.0.2.9"),
        ),
        ("12 bytes from 192.0.2.1: icmp_seq=1 ttl=61", False, PingReply(1, 61, None, False, "192.0.2.1")),
        (
            "[1700000000.123456] 64 bytes from ::1: icmp_seq=1 ttl=64 time=0.02 ms",
            True,
            PingReply(1, 64, 0.02, False, "::1"),
        ),
        (
            "From 192.0.2.9 icmp_seq=2 Packet filtered",
            False,
            PingError(2, "192.0.2.9", 3, 13, "Packet filtered"),
        ),
        (
            "From 192.0.2.9: icmp_seq=2 Time to live exceeded",
            False,
            PingError(2, "192.0.2.9", 11, 0, "Time to live exceeded"),
        ),
        (
            "From fd00::1 icmp_seq=1 Destination unreachable: Administratively prohibited",
            True,
            PingError(1, "fd00::1", 1, 1, "Destination unreachable: Administratively prohibited"),
        ),
        (
            "From 192.0.2.9 icmp_seq=1 Something new",
            False,
            PingError(1, "192.0.2.9", None, None, "Something new"),
        ),
        ("no answer yet for icmp_seq=1", False, None),
        ("3 packets transmitted, 2 received, 33% packet loss, time 402ms", False, None),
    ],
)
def test_pings_lines(line, ipv6, expected):
    assert read_line(line, ipv6) == expected


def reading(count: int = 3) -> Reading:
    return Reading(Item(0, "t", "192.0.2.1", None, ("192.0.2.1", 0), False), Options(count=count), False)


def test_a_ping_becomes_samples_and_what_is_missing_is_silence():
    one = reading()
    for line in (
        "64 bytes from 192.0.2.1: icmp_seq=1 ttl=61 time=5.25 ms",
        "64 bytes from 192.0.2.1: icmp_seq=1 ttl=61 time=5.50 ms (DUP!)",
        "From 192.0.2.9 icmp_seq=3 Packet filtered",
        "64 bytes from 192.0.2.1: icmp_seq=999 ttl=61 time=1 ms",
    ):
        one.read(line)
    one.finish("")
    assert [sample.outcome for sample in one.item.samples] == [
        Outcome.OK,
        Outcome.TIMEOUT,
        Outcome.PROHIBITED,
    ]
    assert [sample.rtt_ms for sample in one.item.samples] == [5.25, None, None]
    assert one.item.detail == IcmpDetail("ping-program", 56, 1)


def test_a_ping_that_was_cut_off_tells_only_what_it_saw():
    one = reading()
    one.read("64 bytes from 192.0.2.1: icmp_seq=1 ttl=61 time=5.25 ms")
    one.finish("", is_cut=True)
    assert [sample.outcome for sample in one.item.samples] == [Outcome.OK]


def test_a_ping_that_could_not_run_is_unsupported():
    one = reading()
    one.finish("ping: socktype: SOCK_RAW\nping: socket: Operation not permitted")
    assert one.item.failure is not None and one.item.failure.kind is FailureKind.UNSUPPORTED


def test_the_command_line_of_ping():
    options = Options(count=2, interval_s=0.01, timeout_s=1.5, ttl=9, size=100, dscp=46, dont_fragment=True)
    words = " ".join(arguments("192.0.2.1", options))
    assert words == "ping -n -O -4 -c 2 -i 0.2 -W 1.5 -s 100 -t 9 -Q 184 -M probe -- 192.0.2.1"
