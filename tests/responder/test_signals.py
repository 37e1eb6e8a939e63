"""What a watch without any privilege sees of faults on the path and at its own host: the signals that
diagnosis leans on, each in a namespace where the fault is real."""

import pickle
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from probemesh_shared.model import PortRange, Target, WatchDetail, WatchSpec
from probemesh_shared.wire.flowtoken import Request, pack_request
from probemesh_shared.words import FailureKind, Transport

from tests.lab.netlab import Host, NetLab
from tests.responder.conftest import TOKEN

pytestmark = [pytest.mark.netns, pytest.mark.tool("/usr/bin/python3")]

HERE = Path(__file__).parent
NOBODY, ROOT = 65534, 0
A, B = ("10.1.0.2", "2001:db8:1::2"), ("10.2.0.2", "2001:db8:2::2")
R_WAN = "10.2.0.1"
PORT = 5001
REQUEST = pack_request(Request(TOKEN, 1)).hex()
families = pytest.mark.parametrize("six", [0, 1], ids=["ipv4", "ipv6"])


class World:
    """A – R – B, with a service on B's port 5001 that accepts nothing by itself."""

    def __init__(self, lab: NetLab) -> None:
        self.a, self.r, self.b = lab.host("a"), lab.router("r"), lab.host("b")
        lab.link(self.a, self.r, "10.1.0.2/24", "10.1.0.1/24", f"{A[1]}/64", "2001:db8:1::1/64")
        lab.link(self.r, self.b, "10.2.0.1/24", "10.2.0.2/24", "2001:db8:2::1/64", f"{B[1]}/64")
        self.a.default_via("10.1.0.1", "2001:db8:1::1")
        self.b.default_via("10.2.0.1", "2001:db8:2::1")

    def probe(self, kind: str, six: int, port: int, count: int = 1, word: str = "", **env: str) -> list[str]:
        """What came of each shot from A to B."""
        return shots(self.a, kind, B[six], port, count, word, **env)


def shots(host: Host, kind: str, address: str, port: int, count: int, word: str, **env: str) -> list[str]:
    script = ("/usr/bin/python3", str(HERE / "prober.py"), kind, address, str(port), str(count), word)
    settings = [f"{name}={value}" for name, value in env.items()]
    return host.run("env", *settings, *script).split()


@pytest.fixture
def world() -> Iterator[World]:
    with NetLab() as lab, ExitStack() as services:
        made = World(lab)
        services.enter_context(service(made.b))
        for six in (0, 1):  # neighbours are found, links are up
            assert made.probe("tcp", six, 5999, WAIT="5") == ["ECONNREFUSED"]
        yield made


@contextmanager
def service(host: Host) -> Iterator[None]:
    code = (
        "import socket; s = socket.create_server(('::', 5001), family=socket.AF_INET6,"
        " dualstack_ipv6=True, backlog=64); print('up', flush=True); input()"
    )
    with (
        host.start(
            *("/usr/bin/python3", "-c", code), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process,
        process,
    ):
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        yield


class Watching:
    """A watch in a namespace; ``account`` is the first."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self.account = self._read()

    def look(self, *, quiet: bool = False) -> WatchDetail:
        assert self._process.stdin is not None
        self._process.stdin.write(b"q" if quiet else b"l")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> WatchDetail:
        out = self._process.stdout
        assert out is not None
        late = threading.Timer(20, self._process.kill)
        late.start()
        try:
            (length,) = struct.unpack("=I", out.read(4))
            row: Any = pickle.loads(out.read(length))
        finally:
            late.cancel()
        assert isinstance(row.detail, WatchDetail), row
        return row.detail


@contextmanager
def watching(host: Host, spec: WatchSpec | None = None, user: int = NOBODY) -> Iterator[Watching]:
    spec = spec or WatchSpec(token=TOKEN, surrogate=True, peers=A)
    target = Target("b", B[0], (PortRange(PORT, PORT),), addresses=B)
    program = (sys.executable, str(HERE / "in_namespace.py"))
    environment = {"PYTHONPATH": ":".join(sys.path)}
    with host.start(
        *program, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None
    ) as process:
        assert process.stdin is not None
        process.stdin.write(pickle.dumps((user, spec, target)))
        process.stdin.flush()
        with process:  # closes the pipes, which ends it
            yield Watching(process)


def deltas(account: WatchDetail) -> Callable[[str], int]:
    return {counter.name: counter.delta for counter in account.counters}.__getitem__


def ip(six: int, name: str) -> str:
    return f"Ip{6 * six or ''}.{name}"


@families
def test_forward_drop_nothing_came(world: World, six: int) -> None:
    world.r.chain("forward", "tcp dport 5001 drop")
    with watching(world.b) as watch:
        watch.look()
        assert world.probe("tcp", six, PORT, 3) == ["silent"] * 3
        account = watch.look()
        delta = deltas(account)
        assert account.half_open == () and account.connections == ()
        assert (delta(ip(six, "InReceives")), delta("Tcp.InSegs")) == (0, 0)
        assert account.blind == ("packets",)
        assert {one.address for one in account.listeners} == {"::", "0.0.0.0"}


@families
def test_return_drop_half_open_sockets_and_answered_datagrams(world: World, six: int) -> None:
    world.r.chain("forward", "tcp sport 5001 drop", "udp sport != 53 ip daddr 10.1.0.2 drop")
    world.r.chain("forward", "udp sport != 53 ip6 daddr 2001:db8:1::2 drop", priority=1)
    with watching(world.b) as watch:
        surrogate = watch.account.surrogate_port
        assert surrogate is not None
        assert world.probe("tcp", six, PORT, 2, WAIT="1.3") == ["silent"] * 2
        assert world.probe("udp", six, surrogate, 3, REQUEST) == ["silent"] * 3
        account = watch.look()
        delta = deltas(account)
        assert len(account.half_open) == 2
        for half in account.half_open:
            assert (half.address, half.local_address, half.local_port) == (A[six], B[six], PORT)
            assert half.last_ms - half.first_ms > 500
        assert max(half.retransmits or 0 for half in account.half_open) >= 1
        assert delta("TcpExt.TCPSynRetrans") >= 2
        assert delta(ip(six, "OutTransmits")) == delta(ip(six, "OutRequests"))
        assert [(one.valid, one.replied, one.sent) for one in account.datagrams] == [(True, True, True)] * 3
        assert {one.ttl for one in account.datagrams} == {63}


@families
def test_input_drop_received_and_not_delivered(world: World, six: int) -> None:
    world.b.chain("input", "tcp dport 5001 drop")
    with watching(world.b) as watch:
        watch.look()
        assert world.probe("tcp", six, PORT, 5) == ["silent"] * 5
        account = watch.look()
        delta = deltas(account)
        received, delivered = delta(ip(six, "InReceives")), delta(ip(six, "InDelivers"))
        assert received >= 5 and received - delivered >= 5 and delta("Tcp.InSegs") == 0
        assert account.half_open == ()


def test_reverse_path_filter_has_a_counter(world: World) -> None:
    world.b.sysctl(net__ipv4__conf__all__rp_filter=1)
    world.b.run("ip", "route", "replace", "10.1.0.0/24", "dev", "lo")
    with watching(world.b) as watch:
        watch.look()
        world.probe("tcp", 0, PORT, 4)
        delta = deltas(watch.look())
        assert delta("TcpExt.IPReversePathFilter") >= 4 and delta("Ip.InDelivers") == 0


@families
def test_output_drop_is_told_by_errno_and_counters(world: World, six: int) -> None:
    world.b.chain("output", "tcp sport 5001 drop", "meta l4proto udp drop")
    with watching(world.b) as watch:
        surrogate = watch.account.surrogate_port
        assert surrogate is not None
        world.probe("tcp", six, PORT, 2)
        world.probe("udp", six, surrogate, 3, REQUEST)
        account = watch.look()
        delta = deltas(account)
        assert len(account.half_open) == 2
        told = [(one.valid, one.replied, one.sent, one.errno) for one in account.datagrams]
        assert told == [(True, False, None, "EPERM")] * 3
        assert delta(ip(six, "OutRequests")) - delta(ip(six, "OutTransmits")) >= 5
        world.b.nft_flush()
        assert world.probe("udp", six, surrogate, 2, REQUEST) == [B[six]] * 2
        assert [(one.replied, one.sent) for one in watch.look().datagrams] == [(True, True)] * 2


def test_egress_drop_is_told_by_errno_and_stamp(world: World) -> None:
    hook = 'type filter hook egress device "eth0" priority 0'
    world.b.nft(f"table netdev e {{ chain out {{ {hook}; udp sport != 53 drop; }}\n}}")
    with watching(world.b) as watch:
        surrogate = watch.account.surrogate_port
        assert surrogate is not None
        world.probe("udp", 0, surrogate, 2, REQUEST)
        told = [(one.valid, one.replied, one.sent, one.errno) for one in watch.look().datagrams]
        assert told == [(True, False, None, "ENOBUFS")] * 2
        world.b.nft_flush()
        assert world.probe("udp", 0, surrogate, 1, REQUEST) == [B[0]]
        assert [(one.replied, one.sent) for one in watch.look().datagrams] == [(True, True)]


@families
def test_return_reject_names_who_rejected(world: World, six: int) -> None:
    world.r.chain("forward", "ip daddr 10.1.0.2 udp sport != 53 reject with icmp type admin-prohibited")
    world.r.chain(
        "forward",
        "ip6 daddr 2001:db8:1::2 udp sport != 53 reject with icmpv6 type admin-prohibited",
        priority=1,
    )
    with watching(world.b) as watch:
        surrogate = watch.account.surrogate_port
        assert surrogate is not None
        assert world.probe("udp", six, surrogate, 3, REQUEST) == ["silent"] * 3
        account = watch.look()
        code, sender = ((3, 13), R_WAN) if not six else ((1, 1), "2001:db8:2::1")
        assert account.errors and {((one.type, one.code), one.sender) for one in account.errors} == {
            (code, sender)
        }
        assert deltas(account)(f"Icmp{6 * six or ''}.InDestUnreachs") >= 3


def test_return_reject_of_tcp_is_counted(world: World) -> None:
    world.r.chain("forward", "tcp sport 5001 reject with icmp type host-unreachable")
    with watching(world.b) as watch:
        world.probe("tcp", 0, PORT, 3)
        assert deltas(watch.look())("Icmp.InDestUnreachs") >= 3


def test_return_reset_ends_half_open_sockets_at_once(world: World) -> None:
    world.r.chain("forward", "tcp sport 5001 reject with tcp reset")
    with watching(world.b) as watch:
        world.probe("tcp", 0, PORT, 4)
        assert deltas(watch.look())("TcpExt.EmbryonicRsts") == 4


@families
def test_a_closed_port_answers_with_resets(world: World, six: int) -> None:
    with watching(world.b, WatchSpec(token=TOKEN, transport=Transport.UDP)) as watch:
        assert world.probe("tcp", six, 5999, 4) == ["ECONNREFUSED"] * 4
        assert deltas(watch.look())("Tcp.OutRsts") == 4


@families
def test_the_saved_syn_and_the_last_ack_tell_of_the_path(world: World, six: int) -> None:
    world.r.chain(
        "forward",
        "tcp flags syn tcp option maxseg size set 1360",
        "reset tcp option sack-perm",
        "ip dscp set 0",
    )
    with watching(world.b) as watch:
        surrogate = watch.account.surrogate_port
        assert surrogate is not None
        assert world.probe("tcp", six, surrogate, 1, REQUEST, TOS="184") == ["ok"]
        (accepted,) = watch.look().accepted
        assert (accepted.address, accepted.local_address, accepted.valid) == (A[six], B[six], True)
        assert (accepted.syn_ttl, accepted.ack_ttl, accepted.syn_source) == (63, 63, A[six])
        assert accepted.syn_mss == 1360 and accepted.syn_dscp == 0
        assert "sack" not in accepted.syn_options and "wscale" in accepted.syn_options


def test_an_odd_segment_size_is_found_behind_a_nat(world: World) -> None:
    world.r.chain("forward", "counter")
    NetLab.masquerade(NetLab(), world.r, "eth1")
    with watching(world.b, WatchSpec(token=TOKEN, peers=A, mss=1111)) as watch:
        assert world.probe("tcp", 0, PORT, 1, MSS="1111") == ["ok"]
        (connection,) = watch.look().connections
        assert (connection.address, connection.mss, connection.accepted) == (R_WAN, 1111, False)


def test_what_is_forwarded_is_counted(world: World) -> None:
    world.b.sysctl(net__ipv4__ip_forward=1)
    world.b.run("ip", "route", "add", "blackhole", "10.9.0.0/24")
    world.b.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    world.b.run("ip", "addr", "add", "10.8.0.1/24", "dev", "v0")
    for name in ("v0", "v1"):
        world.b.run("ip", "link", "set", name, "up")
    world.b.run("ip", "neigh", "add", "10.8.0.2", "lladdr", "02:00:00:00:00:02", "dev", "v0")
    kind = "type nat hook prerouting priority -100"
    world.b.nft(f"table ip n {{ chain pre {{ {kind}; tcp dport 8080 dnat to 10.8.0.2:80; }}\n}}")
    with watching(world.b) as watch:
        world.probe("tcp", 0, 8080, 4)
        assert deltas(watch.look())("Ip.ForwDatagrams") >= 4


def test_a_port_of_the_privileged_is_not_opened_without(world: World) -> None:
    world.b.sysctl(net__ipv4__ip_unprivileged_port_start=6000)
    with watching(world.b, WatchSpec(token=TOKEN, listen=True)) as watch:
        failure = watch.account.listen_failure
        assert failure is not None and failure.kind is FailureKind.DENIED and failure.errno == "EACCES"
    with watching(world.b, WatchSpec(token=TOKEN, listen=True), user=ROOT) as watch:
        failure = watch.account.listen_failure
        assert failure is not None and failure.errno == "EADDRINUSE"


def test_with_privilege_packets_are_seen_before_the_host_s_own_filter(world: World) -> None:
    world.b.chain("input", "tcp dport 5001 drop")
    with watching(world.b, user=ROOT) as watch:
        assert world.probe("tcp", 0, PORT, 3) == ["silent"] * 3
        account = watch.look()
        assert account.blind == ()
        syns = [one for one in account.packets if one.flags == "S" and one.local_port == PORT]
        assert len(syns) == 3 and {(one.outgoing, one.address, one.ttl) for one in syns} == {
            (False, A[0], 63)
        }
        assert {one.mss for one in syns} == {1460}
