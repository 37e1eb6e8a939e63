"""What comes from the network and the kernel is read without faith: hostile bytes, cut ones, strange ones."""

import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_agent import signals
from probemesh_agent.responder import (
    bpf,
    control,
    datagrams,
    frames,
    packets,
    procnet,
    savedsyn,
    sockdiag,
    streams,
)
from probemesh_agent.responder.counters import CounterTrack
from probemesh_agent.responder.fitting import fitted
from probemesh_agent.responder.flows import MOST, Flows, listeners
from probemesh_agent.responder.packets import attach
from probemesh_agent.responder.sockdiag import SocketSeen
from probemesh_shared.convert import pack_agent_frame, unpack_agent_frame
from probemesh_shared.model import (
    Accepted,
    Connection,
    Counter,
    Datagram,
    HalfOpen,
    IcmpError,
    Listener,
    Measurement,
    PacketSeen,
    WatchDetail,
)
from probemesh_shared.session.frames import ResultBatch
from probemesh_shared.session.outbox import Outbox
from probemesh_shared.wire.framing import PREFIX_SIZE
from probemesh_shared.words import Family, Kind, Outcome, Transport

V4 = struct.Struct(">BBHHHBBH4s4s")
V6 = struct.Struct(">IHBB16s16s")
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58


def v4(protocol: int, payload: bytes, *, fragment: int = 0, words: int = 5, ttl: int = 61) -> bytes:
    near, far = socket.inet_aton("192.0.2.1"), socket.inet_aton("192.0.2.2")
    length = words * 4 + len(payload)
    head = V4.pack(0x40 | words, 0xB8, length, 7, fragment, ttl, protocol, 0, near, far)
    return head + bytes(words * 4 - 20) + payload


def v6(protocol: int, payload: bytes) -> bytes:
    near, far = (socket.inet_pton(socket.AF_INET6, one) for one in ("2001:db8::1", "2001:db8::2"))
    return V6.pack(0x6B800000, len(payload), protocol, 61, near, far) + payload


def tcp(sport: int, dport: int, flags: int, options: bytes = b"") -> bytes:
    offset = (20 + len(options)) // 4 << 4
    return struct.pack(">HHIIBBHHH", sport, dport, 1, 2, offset, flags, 4096, 0, 0) + options


def udp(sport: int, dport: int) -> bytes:
    return struct.pack(">HHHH", sport, dport, 12, 0) + b"data"


MSS = b"\x02\x04\x05\x50\x01\x03\x03\x07\x04\x02\x00\x00"  # mss 1360, nop, wscale, sack, end


# --- the saved SYN -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("packet", [v4(TCP, tcp(4000, 80, 2, MSS)), v6(TCP, tcp(4000, 80, 2, MSS))])
def test_a_saved_syn_is_read(packet: bytes) -> None:
    syn = savedsyn.parse(packet)
    assert syn is not None
    assert (syn.ttl, syn.dscp, syn.window, syn.mss) == (61, 46, 4096, 1360)
    assert syn.options == ("mss", "nop", "wscale", "sack")
    assert (syn.source, syn.id) in {("192.0.2.1", 7), ("2001:db8::1", None)}


@given(st.binary(max_size=120))
def test_any_bytes_are_read_without_a_fault(data: bytes) -> None:
    for prefix in (b"", b"\x45", b"\x60", v4(TCP, b"")[:20], v6(TCP, b"")):
        savedsyn.parse(prefix + data)
        frames.parse(prefix + data)
    for level, kind in ((0, 8), (41, 50), (0, 1), (41, 67), (0, 2), (1, 37)):
        control.read([(level, kind, data)])
    list(savedsyn.options(data))
    list(savedsyn.control(data))
    sockdiag.parse(data, TCP)
    sockdiag.parse(bytes([10, 1]) + bytes(70) + data, TCP)


@given(st.text(max_size=200))
def test_any_line_is_read_without_a_fault(line: str) -> None:
    procnet.parse(line, socket.AF_INET)
    procnet.parse(line, socket.AF_INET6)
    signals.counters([line])


# --- packets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "kind", "ports", "mss"),
    [
        (v4(TCP, tcp(4000, 80, 0x12, MSS), words=6), "SA", (4000, 80), 1360),
        (v6(TCP, tcp(4000, 80, 0x14)), "AR", (4000, 80), None),
        (v4(UDP, udp(4000, 53)), "", (4000, 53), None),
        (v4(UDP, udp(4000, 53), fragment=0x2000), "", (4000, 53), None),
        (v4(UDP, b"rest", fragment=100), "fragment", (None, None), None),
        (v6(44, bytes([UDP, 0]) + struct.pack(">HI", 100 << 3, 9) + b"rest"), "fragment", (None, None), None),
        (v4(ICMP, b"\x08\0\0\0"), "echo-request", (None, None), None),
        (v6(ICMP6, b"\x81\0\0\0"), "echo-reply", (None, None), None),
        (v4(ICMP, b"\x03\x0d\0\0"), "unreachable/13", (None, None), None),
        (v6(ICMP6, b"\x02\0\0\0"), "packet-too-big/0", (None, None), None),
    ],
)
def test_a_packet_is_told_by_its_kind(
    packet: bytes, kind: str, ports: tuple[int | None, int | None], mss: int | None
) -> None:
    seen = frames.parse(packet)
    assert seen is not None
    assert (seen.kind, (seen.source_port, seen.destination_port), seen.mss) == (kind, ports, mss)
    assert seen.ttl == 61


def test_what_is_not_of_a_flow_is_left_out() -> None:
    neighbour, other = v6(ICMP6, b"\x87\0\0\0"), v4(47, b"gre")
    assert [frames.parse(one) for one in (neighbour, other, b"", b"\x45")] == [None] * 4


@pytest.fixture
def filtered() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The kernel runs the same filter over any datagram socket: ports 443 (ends only) and 7000 (all)."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        attach(far, bpf.program((443,), (7000,)))
        far.setblocking(False)
        yield near, far


SYN, RST, DATA = 0x02, 0x14, 0x18
PASSING = {
    "syn-4": v4(TCP, tcp(4000, 443, SYN)),
    "syn-4-with-ip-options": v4(TCP, tcp(4000, 443, SYN), words=7),
    "rst-out-4": v4(TCP, tcp(443, 4000, RST)),
    "syn-6": v6(TCP, tcp(4000, 443, SYN)),
    "data-to-the-surrogate": v4(TCP, tcp(4000, 7000, DATA)),
    "data-from-the-surrogate-6": v6(TCP, tcp(7000, 4000, DATA)),
    "udp": v4(UDP, udp(4000, 443)),
    "udp-6": v6(UDP, udp(7000, 4000)),
    "udp-fragment": v4(UDP, b"rest", fragment=100),
    "fragment-6": v6(44, bytes(8)),
    "icmp": v4(ICMP, bytes(8)),
    "icmp-6": v6(ICMP6, bytes(8)),
}
KEPT_OUT = {
    "data": v4(TCP, tcp(4000, 443, DATA)),
    "data-6": v6(TCP, tcp(443, 4000, DATA)),
    "other-port": v4(TCP, tcp(4000, 80, SYN)),
    "other-port-6": v6(TCP, tcp(4000, 80, SYN)),
    "other-udp": v4(UDP, udp(4000, 53)),
    "tcp-fragment": v4(TCP, b"rest" * 9, fragment=100),
    "gre": v4(47, bytes(40)),
    "gre-6": v6(47, bytes(40)),
    "arp": bytes(28),
}


@pytest.mark.parametrize("name", [*PASSING, *KEPT_OUT])
def test_the_kernel_s_filter(filtered: tuple[socket.socket, socket.socket], name: str) -> None:
    near, far = filtered
    packet = PASSING.get(name) or KEPT_OUT[name]
    near.send(packet)
    if name in PASSING:
        assert far.recv(9000) == packet
    else:
        with pytest.raises(BlockingIOError):
            far.recv(9000)


# --- sockets -----------------------------------------------------------------------------------------------


def seen(port: int, state: int = 1, address: str = "192.0.2.9", **more: object) -> SocketSeen:
    return SocketSeen(state, address, port, "192.0.2.1", 443, inode=5, **more)  # type: ignore[arg-type]


def test_the_prober_s_connections_are_told_first_where_there_are_too_many() -> None:
    flows = Flows(peers=("192.0.2.7",), mss=1111)
    flows.begin([seen(port) for port in range(1, 500)])
    crowd = [seen(port) for port in range(1, 3000)]
    flows.poll([*crowd, seen(40000, address="192.0.2.7"), seen(40001, mss=1111)], 5.0)
    told = flows.connections()
    assert len(told) == MOST and flows.cut
    assert {one.port for one in told[:2]} == {40000, 40001}
    assert all(one.port >= 500 for one in told), "what was there before comes last"


def test_half_open_sockets_keep_their_first_and_last_sight() -> None:
    flows = Flows(peers=("192.0.2.7",))
    for at in (10.0, 22.0, 34.0):
        flows.poll([seen(1, 3, retransmits=int(at > 30))], at)
    flows.poll([], 46.0)
    (half,) = flows.half_open()
    assert (half.first_ms, half.last_ms, half.retransmits) == (10.0, 34.0, 1)
    assert flows.half_open() == () and not flows.busy
    flows.poll([seen(port, 3) for port in range(1, 400)] + [seen(9, 3, address="192.0.2.7")], 50.0)
    many = flows.half_open()
    assert len(many) == MOST and many[0].address == "192.0.2.7" and flows.cut


def test_an_incomplete_poll_makes_nobody_gone() -> None:
    flows = Flows()
    flows.poll([seen(1)], 1.0)
    flows.poll([], 2.0, complete=False)
    assert len(flows.connections()) == 1 and len(flows.connections()) == 1
    flows.poll([], 3.0)
    assert len(flows.connections()) == 1 and flows.connections() == ()


def test_a_listener_of_both_families_is_told_as_two() -> None:
    both = SocketSeen(10, "::", 0, "::", 80, 1, 128, inode=4, dual=True)
    six = SocketSeen(7, "::", 0, "::", 80, 1, 0, inode=4, drops=3)
    told = listeners([both], False, {4}.__contains__)
    assert [(one.address, one.queue, one.backlog, one.ours) for one in told] == [
        ("::", 1, 128, True),
        ("0.0.0.0", 1, 128, True),
    ]
    (udp_socket,) = listeners([six], True, lambda inode: False)
    assert (udp_socket.address, udp_socket.queue, udp_socket.backlog) == ("::", 1, None)
    assert (udp_socket.drops, udp_socket.ours) == (3, False)


# --- counters ----------------------------------------------------------------------------------------------


class Files:
    """Counters that rise as they are told."""

    names = ("Ip.InReceives", "Tcp.InSegs")

    def __init__(self) -> None:
        self.values = [1000, 50]

    def read(self) -> list[int]:
        return list(self.values)

    def close(self) -> None:
        pass


def run(samples: list[int], *, quiet: bool) -> CounterTrack:
    files = Files()
    track = CounterTrack(files, 0.0)  # type: ignore[arg-type]
    for number, rise in enumerate(samples, 1):
        files.values[0] += rise
        track.sample(number * 0.05)
    if quiet:
        track.quiet(len(samples) * 0.05)
    files.values[0] += 40
    return track


def test_the_baseline_is_of_quiet_time_only_and_rises_count_from_then() -> None:
    track = run([2, 4] * 6, quiet=True)
    first, other = track.look(1.6)
    assert (first.name, first.delta, first.quiet_mean) == ("Ip.InReceives", 40, pytest.approx(3.0))
    assert first.quiet_deviation == pytest.approx(1.0445, abs=1e-3)
    assert (other.delta, other.quiet_mean, other.quiet_deviation) == (0, 0.0, 0.0)
    assert track.quiet_ms == pytest.approx(600) and track.span_ms == pytest.approx(1000)


def test_without_a_word_that_it_was_quiet_there_is_no_baseline() -> None:
    first, _ = run([2, 4] * 6, quiet=False).look(1.6)
    assert (first.delta, first.quiet_mean, first.quiet_deviation) == (76, None, None)


def test_nine_samples_are_too_few() -> None:
    first, _ = run([1] * 9, quiet=True).look(1.6)
    assert (first.delta, first.quiet_mean) == (40, None)


def test_counters_are_found_by_name_in_both_kinds_of_files() -> None:
    paired = (
        "Ip: Forwarding InReceives\nIp: 1 5\nIcmpMsg: InType3\nIcmpMsg: 1\nTcpExt: ListenDrops\nTcpExt: 0\n"
    )
    listed = "Ip6InReceives   \t7\nIcmp6InEchos\t1\nUdpLite6InDatagrams\t0\n"
    assert signals.counters([paired, listed]) == [
        "Ip.InReceives",
        "TcpExt.ListenDrops",
        "Ip6.InReceives",
        "Icmp6.InEchos",
    ]


def test_a_line_of_proc_is_read_as_the_socket_it_is() -> None:
    line = (
        "   1: 0100007F:1389 0200000A:C350 03 00000000:00000000 01:00000064 00000002     0        0 0 "
        "2 0000000000000000"
    )
    half = procnet.parse(line, socket.AF_INET)
    assert half is not None
    assert (half.state, half.address, half.port) == (3, "10.0.0.2", 50000)
    assert (half.local_address, half.local_port, half.retransmits) == ("127.0.0.1", 5001, 2)
    mapped = "0000000000000000FFFF00000100007F:1389"
    six = f"   1: {mapped} {mapped} 01 00000001:00000005 00:00000000 00000000 0 0 77 1 0"
    open_ = procnet.parse(six, socket.AF_INET6)
    assert open_ is not None and open_.local_address == "127.0.0.1"
    assert (open_.receive_queue, open_.send_queue, open_.inode) == (5, 1, 77)


def test_this_host_s_signals_are_found_and_can_be_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    found = set(signals.present())
    assert {"counter:Ip.InReceives", "counter:TcpExt.ListenDrops", "sock-diag", "saved-syn"} <= found
    monkeypatch.setenv(signals.MASK, "counter:Ip.InReceives, saved-syn")
    assert set(signals.present()) == found - {"counter:Ip.InReceives", "saved-syn"}


# --- what goes to the controller ---------------------------------------------------------------------------


def test_the_largest_account_is_cut_to_what_the_controller_gets() -> None:
    six = "2001:db8:1234:5678:9abc:def0:1234:5678"
    names = [f"{group}.{name}" for group, names in signals.WANTED.items() for name in names]
    many = 2**31
    account = WatchDetail(
        look=1000,
        agent="0" * 16,
        addresses=(six,) * 256,
        listeners=(Listener(six, 65535, many, many, many, True),) * MOST,
        counters=tuple(Counter(name, many, 1.5, 1.5) for name in names),
        half_open=(HalfOpen(six, 65535, six, 65535, 1e6, 1e6, 5),) * MOST,
        connections=(Connection(1, six, 65535, six, 65535, True, many, many, 65535, 9, many),) * MOST,
        accepted=(
            Accepted(
                *(1e6, six, 65535, six, 65535, six, 255, 65535, 63, 65535, 65535),
                ("fastopen",) * 20,
                *(255, True, many, "reset"),
            ),
        )
        * streams.MOST_TOLD,
        datagrams=(Datagram(1e6, six, 65535, six, 65535, 65535, 255, 63, True, many, True, True, "ENOBUFS"),)
        * (datagrams.MOST + datagrams.MOST_STRANGERS),
        errors=(IcmpError(Family.IPV6, 255, 255, six, 255, many),) * datagrams.MOST_ERRORS,
        packets=(
            PacketSeen(Transport.TCP, True, six, 65535, six, 65535, "unreachable/255", 255, many, 1e6, 9),
        )
        * packets.MOST,
    )
    told = fitted(account)
    assert (told.datagrams, told.half_open) == (account.datagrams, account.half_open)
    assert told.counters == account.counters
    assert "packets more did not fit" in told.problems[0]
    row = Measurement(Kind.WATCH, 0, six, six, 65535, Outcome.OK, 1, detail=told)
    outbox = Outbox()
    outbox.open("j")
    outbox.add("j", [row])
    (batch,) = (frame for frame in outbox.take() if isinstance(frame, ResultBatch))
    assert batch.measurements == (row,), "the outbox leaves out what is too large"
    assert unpack_agent_frame(pack_agent_frame(batch)[PREFIX_SIZE:]) == batch
    small = WatchDetail(agent="0" * 16)
    assert fitted(small) is small


def test_a_flow_from_port_0_is_not_told_since_nobody_could_read_it() -> None:
    flows = Flows()
    flows.poll([seen(0, 3), seen(0)], 1.0)
    assert flows.half_open() == () and flows.connections() == ()
