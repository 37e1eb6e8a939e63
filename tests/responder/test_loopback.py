"""A watch on loopback, with real sockets: what it sees of connections and datagrams, what it answers, and
that nothing stays."""

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

import pytest
from probemesh_agent import signals
from probemesh_agent.net.policy import Policy
from probemesh_agent.responder.streams import StreamSide
from probemesh_shared.model import WatchSpec
from probemesh_shared.wire.flowtoken import (
    LEAST,
    REPLY_SIZE,
    Answer,
    Asked,
    Request,
    pack_request,
    read_reply,
)
from probemesh_shared.words import FailureKind, Outcome, Transport

from tests.conftest import wanting
from tests.responder.conftest import TOKEN, Bench, target

SURROGATE = WatchSpec(token=TOKEN, surrogate=True)
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
families = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])


@pytest.fixture
def service() -> Iterator[socket.socket]:
    """A foreign service that accepts nothing by itself."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        yield listener


async def answered(sock: socket.socket, seconds: float = 2.0) -> bytes:
    async with asyncio.timeout(seconds):
        return await asyncio.get_running_loop().sock_recv(sock, 65_535)


@contextlib.contextmanager
def dialled(
    family: socket.AddressFamily, kind: socket.SocketKind, port: int, host: str = ""
) -> Iterator[socket.socket]:
    with socket.socket(family, kind) as sock:
        sock.connect((host or LOOPBACK[family], port))
        sock.setblocking(False)
        yield sock


# --- beside a foreign service ------------------------------------------------------------------------------


async def test_the_first_account_tells_what_there_is(bench: Bench, service: socket.socket) -> None:
    async with bench.armed(service.getsockname()[1]) as watch:
        assert watch.first.outcome is Outcome.OK
        account = watch.account
        assert (account.look, account.surrogate_port, account.listen_failure) == (0, None, None)
        (listener,) = account.listeners
        assert (listener.address, listener.queue, listener.backlog, listener.ours) == (
            "127.0.0.1",
            0,
            5,
            False,
        )
        names = {counter.name for counter in account.counters}
        assert {"Ip.InReceives", "Ip.InDelivers", "Tcp.OutRsts", "TcpExt.EmbryonicRsts"} <= names
        assert len(account.agent) == 16 and bytes.fromhex(account.agent)
        assert "127.0.0.1" in account.addresses


async def test_a_connection_waits_to_be_accepted_then_is_and_holds_unread_bytes(
    bench: Bench, service: socket.socket
) -> None:
    port = service.getsockname()[1]
    async with bench.armed(port, WatchSpec(token=TOKEN, mss=1001)) as watch:
        with socket.socket() as prober:
            prober.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1001)
            prober.connect(("127.0.0.1", port))
            prober.send(b"hello")
            (waiting,) = (await watch.look()).connections
            assert (waiting.port, waiting.accepted) == (prober.getsockname()[1], False)
            assert (waiting.receive_queue, waiting.bytes_received, waiting.mss) == (5, 5, 1001)
            connection, _ = service.accept()
            with connection:
                (taken,) = (await watch.look()).connections
                assert taken.accepted is True


async def test_a_connection_that_lived_between_two_looks_is_told_once(
    bench: Bench, service: socket.socket
) -> None:
    port = service.getsockname()[1]
    async with bench.armed(port) as watch:
        await asyncio.sleep(0.02)
        with socket.socket() as prober:
            prober.connect(("127.0.0.1", port))
            service.accept()[0].close()
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.05)
        assert len((await watch.look()).connections) == 1
        await asyncio.sleep(0.05)
        assert (await watch.look()).connections == ()


async def test_a_half_open_connection_has_its_prober_s_name(bench: Bench) -> None:
    """A listener that wants data with the handshake leaves what says nothing half open."""
    with socket.socket(socket.AF_INET6) as service:
        service.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        service.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 3)
        service.bind(("::", 0))
        service.listen(1)
        port = service.getsockname()[1]
        async with bench.armed(port) as watch:
            assert {one.address for one in watch.account.listeners} == {"::", "0.0.0.0"}
            with socket.socket() as prober:
                prober.connect(("127.0.0.1", port))
                await asyncio.sleep(0.1)
                (half,) = (await watch.look()).half_open
                ours = prober.getsockname()[1]
            assert (half.address, half.port) == ("127.0.0.1", ours)
            assert (half.local_address, half.local_port, half.retransmits) == ("127.0.0.1", port, 0)
            assert half.last_ms - half.first_ms > 50


async def test_an_accept_queue_that_is_full_shows_in_queue_and_counter(bench: Bench) -> None:
    with socket.socket() as service, contextlib.ExitStack() as probers:
        service.bind(("127.0.0.1", 0))
        service.listen(1)
        async with bench.armed(service.getsockname()[1]) as watch:
            for _ in range(4):
                prober = probers.enter_context(socket.socket())
                prober.setblocking(False)
                prober.connect_ex(service.getsockname())
            await asyncio.sleep(0.05)
            account = await watch.look()
            (full,) = account.listeners
            assert (full.queue, full.backlog) == (2, 1)
            assert [one.accepted for one in account.connections] == [False, False]
            deltas = {counter.name: counter.delta for counter in account.counters}
            assert deltas["TcpExt.ListenOverflows"] >= 2


async def test_counters_cover_the_span_since_a_quiet_look(bench: Bench) -> None:
    async with bench.armed(None, WatchSpec(token=TOKEN, transport=Transport.UDP)) as watch:
        await asyncio.sleep(0.8)
        quiet = await watch.look(quiet=True)
        assert quiet.look == 0 and quiet.quiet_ms >= 500
        with socket.socket(type=socket.SOCK_DGRAM) as prober:
            closed = ("127.0.0.1", _closed_udp())
            for _ in range(5):
                prober.sendto(b"x", closed)
        account = await watch.look()
        counters = {counter.name: counter for counter in account.counters}
        assert counters["Udp.NoPorts"].delta >= 5 and counters["Udp.NoPorts"].quiet_mean is not None
        assert counters["Udp.NoPorts"].quiet_deviation is not None
        assert account.look == 1 and 0 < account.span_ms < account.at_ms - 700


def _closed_udp() -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


# --- listeners of its own ----------------------------------------------------------------------------------


@families
async def test_a_datagram_with_the_token_is_answered_from_the_address_it_came_to(
    bench: Bench, family: socket.AddressFamily
) -> None:
    async with bench.armed(None, SURROGATE) as watch:
        other = "127.0.7.7" if family == socket.AF_INET else "::1"
        with socket.socket(family, socket.SOCK_DGRAM) as prober:
            prober.setblocking(False)
            prober.sendto(pack_request(Request(TOKEN, 7, 200)), (other, watch.surrogate))
            async with asyncio.timeout(2):
                data, where = await asyncio.get_running_loop().sock_recvfrom(prober, 9000)
            assert where[:2] == (other, watch.surrogate)
            ours = prober.getsockname()[1]
        answer = read_reply(data, TOKEN)
        seen = "127.0.0.1" if family == socket.AF_INET else "::1"
        assert answer == Answer(7, watch.account.agent, answer.address if answer else "", ours, REPLY_SIZE)
        account = await watch.look()
        (datagram,) = account.datagrams
        assert (datagram.valid, datagram.shot, datagram.size, datagram.ttl) == (True, 7, 200, 64)
        assert (datagram.local_address, datagram.local_port) == (other, watch.surrogate)
        assert (datagram.replied, datagram.sent, datagram.errno) == (True, True, None)
        assert datagram.address == seen and datagram.port == ours and datagram.dscp == 0


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"hello",
        bytes(400),
        pack_request(Request(bytes(16), 1)),
        pack_request(Request(TOKEN, 1, 90))[:-1],
    ],
    ids=["empty", "words", "zeros", "other-token", "cut"],
)
async def test_whoever_has_no_token_is_noted_and_not_answered(bench: Bench, wrong: bytes) -> None:
    async with bench.armed(None, SURROGATE) as watch:
        with dialled(socket.AF_INET, socket.SOCK_DGRAM, watch.surrogate) as prober:
            prober.send(wrong)
            with pytest.raises(TimeoutError):
                await answered(prober, 0.2)
        (datagram,) = (await watch.look()).datagrams
        assert (datagram.valid, datagram.replied, datagram.size) == (False, None, len(wrong))


async def test_an_address_that_the_policy_denies_is_answered_neither_by_udp_nor_by_tcp() -> None:
    """A token that is right may come from a source address that is forged."""
    bench = Bench(Policy(deny=(ip_network("127.0.0.0/8"),)))
    async with bench.armed(None, SURROGATE) as watch:
        with dialled(socket.AF_INET, socket.SOCK_DGRAM, watch.surrogate) as prober:
            prober.send(pack_request(Request(TOKEN, 7, 200)))
            with pytest.raises(TimeoutError):
                await answered(prober, 0.3)
        with dialled(socket.AF_INET, socket.SOCK_STREAM, watch.surrogate) as prober:
            with contextlib.suppress(ConnectionError):
                prober.send(pack_request(Request(TOKEN, 8, 200)))
            with contextlib.suppress(ConnectionError):
                assert await answered(prober, 2.0) == b""
        (datagram,) = (await watch.look()).datagrams
        assert (datagram.valid, datagram.replied, datagram.errno) == (True, False, "EACCES")


async def test_a_reply_is_large_late_or_from_another_port_where_asked_so(bench: Bench) -> None:
    async with bench.armed(None, SURROGATE) as watch:
        with socket.socket(type=socket.SOCK_DGRAM) as prober:
            prober.setblocking(False)
            place = ("127.0.0.1", watch.surrogate)
            loop = asyncio.get_running_loop()
            prober.sendto(pack_request(Request(TOKEN, 1, 3000, Asked.LARGE | Asked.WHOLE)), place)
            assert len(await answered(prober)) == 3000
            prober.sendto(pack_request(Request(TOKEN, 2, LEAST, Asked.OTHER_PORT)), place)
            async with asyncio.timeout(2):
                data, where = await loop.sock_recvfrom(prober, 9000)
            assert read_reply(data, TOKEN) is not None
            assert where[0] == "127.0.0.1" and where[1] != watch.surrogate
            sent_at = loop.time()
            prober.sendto(pack_request(Request(TOKEN, 3, delay_ms=300)), place)
            assert [one.shot for one in (await watch.look()).datagrams] == [1, 2]
            assert len(await answered(prober)) == REPLY_SIZE
            assert loop.time() - sent_at >= 0.29
        assert [(one.shot, one.replied) for one in (await watch.look()).datagrams] == [(3, True)]


async def test_a_flood_is_answered_up_to_the_cap_and_a_stranger_s_hides_nothing(bench: Bench) -> None:
    async with bench.armed(None, SURROGATE) as watch:
        with dialled(socket.AF_INET, socket.SOCK_DGRAM, watch.surrogate) as prober:
            for _ in range(200):
                prober.send(b"stranger")
            prober.send(pack_request(Request(TOKEN, 9)))
            await answered(prober)
            account = await watch.look()
            assert [one.shot for one in account.datagrams if one.valid] == [9]
            assert sum(not one.valid for one in account.datagrams) == 64
            assert any("136 datagrams" in problem for problem in account.problems)


class Short(socket.socket):
    """A listener of a host that has no descriptors left, as long as ``short``."""

    short, asked = True, 0

    def accept(self) -> tuple[socket.socket, object]:
        self.asked += 1
        if self.short:
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


async def test_a_listener_without_descriptors_leaves_the_loop_alone_for_a_while() -> None:
    taken = asyncio.Event()
    side = StreamSide(TOKEN, bytes(8), lambda: taken.set() or 0.0)
    with Short() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        side.serve([listener])
        with dialled(socket.AF_INET, socket.SOCK_STREAM, listener.getsockname()[1]):
            for _ in range(50):
                await asyncio.sleep(0)
            assert listener.asked == 1
            listener.short = False
            async with asyncio.timeout(5):
                await taken.wait()
            assert len(side.look()[0]) == 1
        side.close()


@families
async def test_a_connection_to_it_shows_its_syn_and_is_answered(
    bench: Bench, family: socket.AddressFamily
) -> None:
    async with bench.armed(None, SURROGATE) as watch:
        with dialled(family, socket.SOCK_STREAM, watch.surrogate) as prober:
            request = pack_request(Request(TOKEN, 4, 5000, Asked.LARGE))
            prober.send(request[:10])
            await asyncio.sleep(0.01)
            prober.send(request[10:])
            answer = b""
            while len(answer) < 5000:
                answer += await answered(prober)
            ours = prober.getsockname()[1]
            said = read_reply(answer, TOKEN)
            assert said is not None and (said.shot, said.address, said.port) == (4, LOOPBACK[family], ours)
            (accepted,) = (await watch.look()).accepted
            assert (accepted.valid, accepted.received, accepted.end) == (True, 5000, "open")
            assert (accepted.address, accepted.port) == (LOOPBACK[family], ours)
            assert accepted.syn_source == LOOPBACK[family]
            assert (accepted.syn_ttl, accepted.ack_ttl, accepted.syn_dscp) == (64, 64, 0)
            assert accepted.syn_mss and accepted.syn_window and "mss" in accepted.syn_options
            assert (await watch.look()).accepted == ()
        await asyncio.sleep(0.02)
        (ended,) = (await watch.look()).accepted
        assert ended.end == "fin"


async def test_a_connection_without_the_token_is_not_answered_and_its_reset_is_seen(bench: Bench) -> None:
    async with bench.armed(None, SURROGATE) as watch:
        with dialled(socket.AF_INET, socket.SOCK_STREAM, watch.surrogate) as prober:
            prober.send(b"GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n")
            with pytest.raises(TimeoutError):
                await answered(prober, 0.1)
            (accepted,) = (await watch.look()).accepted
            assert (accepted.valid, accepted.end) == (False, "open")
            prober.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await asyncio.sleep(0.02)
        (ended,) = (await watch.look()).accepted
        assert ended.end == "reset"


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.UDP])
async def test_it_listens_on_the_watched_port_where_asked_and_gives_it_back(
    bench: Bench, transport: Transport
) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    kind = socket.SOCK_STREAM if transport is Transport.TCP else socket.SOCK_DGRAM
    async with bench.armed(port, WatchSpec(token=TOKEN, transport=transport, listen=True)) as watch:
        assert watch.account.listen_failure is None
        assert {(one.address, one.ours) for one in watch.account.listeners} == {
            ("0.0.0.0", True),
            ("::", True),
        }
        with dialled(socket.AF_INET, kind, port) as prober:
            prober.send(pack_request(Request(TOKEN, 1)))
            assert read_reply(await answered(prober), TOKEN) is not None
    with socket.socket(type=kind) as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past TIME_WAIT
        again.bind(("127.0.0.1", port))


async def test_a_port_in_use_is_a_clear_answer_and_the_watch_goes_on(
    bench: Bench, service: socket.socket
) -> None:
    port = service.getsockname()[1]
    async with bench.armed(port, WatchSpec(token=TOKEN, listen=True, surrogate=True)) as watch:
        failure = watch.account.listen_failure
        assert failure is not None and failure.errno == "EADDRINUSE" and "in use" in failure.detail
        assert watch.surrogate >= 1024
        assert [one.ours for one in watch.account.listeners] == [False]


async def test_the_owner_s_policy_keeps_it_from_listening() -> None:
    bench = Bench(replace(Policy.shipped(), listen=False))
    async with bench.armed(5001, WatchSpec(token=TOKEN, listen=True, surrogate=True)) as watch:
        failure = watch.account.listen_failure
        assert failure is not None and failure.kind is FailureKind.DENIED
        assert watch.account.surrogate_port is None and watch.account.problems
    bench.network.close()


async def test_a_prober_of_ours_may_dial_from_the_surrogate_port(bench: Bench) -> None:
    with socket.socket() as far:
        far.bind(("127.0.0.1", 0))
        far.listen()
        async with bench.armed(None, SURROGATE) as watch:
            with socket.socket() as prober:
                prober.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                prober.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                prober.bind(("127.0.0.1", watch.surrogate))
                prober.connect(far.getsockname())
                accepted, peer = far.accept()
                with accepted:
                    assert peer == ("127.0.0.1", watch.surrogate)
                with dialled(socket.AF_INET, socket.SOCK_STREAM, watch.surrogate) as other:
                    other.send(pack_request(Request(TOKEN, 1)))
                    assert read_reply(await answered(other), TOKEN) is not None


async def test_icmp_errors_to_its_replies_are_told(bench: Bench) -> None:
    async with bench.armed(None, SURROGATE) as watch:
        with socket.socket(type=socket.SOCK_DGRAM) as prober:
            prober.sendto(pack_request(Request(TOKEN, 1, delay_ms=100)), ("127.0.0.1", watch.surrogate))
        await asyncio.sleep(0.2)  # the prober is gone when the reply comes
        account = await watch.look()
        assert [(one.type, one.code, one.sender) for one in account.errors] == [(3, 3, "127.0.0.1")]


# --- what there is not -------------------------------------------------------------------------------------


async def test_a_look_at_no_watch_says_so(bench: Bench) -> None:
    (row,) = await bench.rows(WatchSpec(token=TOKEN, look=True), (target(5001),))
    assert row.outcome is Outcome.UNMEASURED and row.failure is not None
    assert row.failure.errno == "ENOENT" and "no such watch" in row.failure.detail


async def test_what_cannot_be_a_watch_is_told(bench: Bench) -> None:
    (row,) = await bench.rows(WatchSpec(token=b"short"), (target(5001),))
    assert row.outcome is Outcome.UNSUPPORTED
    rows = await bench.rows(WatchSpec(token=TOKEN), (target(5001), target(5002)))
    assert [row.outcome for row in rows] == [Outcome.UNSUPPORTED] * 2
    (row,) = await bench.rows(WatchSpec(token=TOKEN), (target(5001),), -1.0)
    assert row.outcome is Outcome.UNMEASURED
    async with bench.armed(5001):
        (row,) = await bench.rows(WatchSpec(token=TOKEN), (target(5001),))
        assert row.outcome is Outcome.LOCAL_RESOURCE


async def test_sixteen_watches_are_kept_and_no_more(bench: Bench) -> None:
    async with contextlib.AsyncExitStack() as watches:
        for number in range(16):
            await watches.enter_async_context(bench.armed(5001, WatchSpec(token=bytes([number]) * 16)))
        (row,) = await bench.rows(WatchSpec(token=TOKEN), (target(5001),))
        assert row.outcome is Outcome.LOCAL_RESOURCE and row.failure and row.failure.errno == "EBUSY"


async def test_masked_signals_are_missing(
    bench: Bench, service: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(signals.MASK, "counter:Ip.OutTransmits, saved-syn,sock-diag,packets")
    port = service.getsockname()[1]
    async with bench.armed(port, SURROGATE) as watch:
        names = {counter.name for counter in watch.account.counters}
        assert "Ip.OutTransmits" not in names and "Ip.OutRequests" in names
        (listener,) = watch.account.listeners  # by /proc
        assert listener.address == "127.0.0.1" and "listeners" not in watch.account.blind
        assert "packets" in watch.account.blind
        with dialled(socket.AF_INET, socket.SOCK_STREAM, watch.surrogate):
            await asyncio.sleep(0.02)
            (accepted,) = (await watch.look()).accepted
            assert accepted.syn_ttl is None and accepted.ack_ttl == 64


async def test_its_budget_ends_it(bench: Bench) -> None:
    began = bench.clock.monotonic()
    rows = await bench.rows(SURROGATE, (target(5001),), 0.3)
    assert len(rows) == 1 and bench.clock.monotonic() - began > 0.25
    (row,) = await bench.rows(replace(SURROGATE, look=True), (target(5001),))
    assert row.outcome is Outcome.UNMEASURED


async def test_packets_on_the_wire_where_that_is_allowed(bench: Bench, service: socket.socket) -> None:
    if "packets" not in set(signals.present()):
        wanting("wants CAP_NET_RAW")
    port = service.getsockname()[1]
    async with bench.armed(port, SURROGATE) as watch:
        assert "packets" not in watch.account.blind
        with dialled(socket.AF_INET, socket.SOCK_STREAM, port) as prober:
            prober.send(b"hello")
            ours = prober.getsockname()[1]
            with dialled(socket.AF_INET6, socket.SOCK_DGRAM, watch.surrogate) as other:
                other.send(pack_request(Request(TOKEN, 1)))
                await answered(other)
                theirs = other.getsockname()[1]
        packets = (await watch.look()).packets
        tcp = {(one.outgoing, one.flags, one.port) for one in packets if one.local_port == port}
        assert {(False, "S", ours), (False, "SA", port), (True, "SA", ours)} <= tcp | {
            (one.outgoing, one.flags, one.port) for one in packets
        }
        assert not [flags for _, flags, _ in tcp if "P" in flags], "data stays in the kernel"
        (syn,) = [one for one in packets if one.flags == "S" and one.local_port == port and not one.outgoing]
        assert (syn.address, syn.ttl, syn.count) == ("127.0.0.1", 64, 1) and syn.mss
        udp = [(one.outgoing, one.address, one.count) for one in packets if one.transport is Transport.UDP]
        assert (False, "::1", 1) in udp and (True, "::1", 1) in udp
        assert any(one.port == theirs for one in packets)
