"""The packet kinds against real sockets on loopback: answers, evidence, limits, and what is left behind."""

import asyncio
import errno
import socket
import time
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from probemesh_agent.engine.echo import EchoSocket
from probemesh_agent.engine.loop import Engine
from probemesh_agent.net.allowance import UNLIMITED, Allowance
from probemesh_agent.net.policy import KindLimits, Limits
from probemesh_shared import stats
from probemesh_shared.expectations import parse_expectations
from probemesh_shared.model import (
    IcmpSpec,
    Options,
    Pacing,
    PortRange,
    Target,
    TcpDetail,
    TcpSpec,
    UdpDetail,
    UdpSpec,
)
from probemesh_shared.words import FailureKind, Kind, Outcome, Timing

from tests.probes_packet.world import KINDS, env_of, run_kind, target

TWICE = Options(count=2, interval_s=0.01, timeout_s=1.0)
FAMILIES = pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)], ids=["v4", "v6"]
)


def sockets_open() -> int:
    links = [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return sum(link.startswith("socket:") for link in links)


async def sockets_at_rest(engine: Engine) -> int:
    """Sockets of this process after a first run: the engine's own are among them."""
    await run_kind(Kind.TCP, TcpSpec(Options(count=1)), [target("127.0.0.1", 1)], env_of(engine))
    return sockets_open()


def listener(host: str = "127.0.0.1", family: int = socket.AF_INET, backlog: int = 64) -> socket.socket:
    return socket.create_server((host, 0), family=family, backlog=backlog)


def silent_listener() -> tuple[socket.socket, list[socket.socket]]:
    """A port whose accept queue is full: SYNs to it are dropped without a word."""
    full = listener(backlog=0)
    fillers = []
    for _ in range(3):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
        fillers.append(filler)
    return full, fillers


@FAMILIES
async def test_a_listening_port_answers_with_the_kernels_round_trip(engine: Engine, host: str, family: int):
    with listener(host, family) as server:
        port = server.getsockname()[1]
        (row,) = await run_kind(Kind.TCP, TcpSpec(TWICE), [target(host, port)], env_of(engine))
    assert (row.outcome, row.failure, row.address, row.port) == (Outcome.OK, None, host, port)
    assert [sample.timing for sample in row.samples] == [Timing.TCP_INFO] * 2
    assert all(sample.rtt_ms and 0 < sample.rtt_ms < 100 for sample in row.samples)
    assert row.samples[1].offset_ms >= 10
    assert isinstance(row.detail, TcpDetail) and row.detail.local_address == host and not row.detail.scan


@FAMILIES
@pytest.mark.usefixtures("stamping")
async def test_a_datagram_is_answered_and_stamped_by_the_kernel(engine: Engine, host: str, family: int):
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM) as echo:
        echo.bind((host, 0))
        echo.setblocking(False)
        loop.add_reader(echo, lambda: echo.sendto(*(lambda got: (got[0] + b"!", got[1]))(echo.recvfrom(100))))
        try:
            port = echo.getsockname()[1]
            spec = UdpSpec(replace(TWICE, expect=parse_expectations(["answer=ping!", "answer=in"])), b"ping")
            (row,) = await run_kind(Kind.UDP, spec, [target(host, port)], env_of(engine))
            other = UdpSpec(replace(TWICE, expect=parse_expectations(["answer=pong"])), b"ping")
            (wrong,) = await run_kind(Kind.UDP, other, [target(host, port)], env_of(engine))
        finally:
            loop.remove_reader(echo)
    assert row.outcome is Outcome.OK and row.detail == UdpDetail("open", b"ping!", 5, reason="udp-response")
    assert [(sample.timing, sample.ttl) for sample in row.samples] == [(Timing.KERNEL, 64)] * 2
    assert wrong.outcome is Outcome.ANSWER_UNEXPECTED and wrong.failure is not None
    assert wrong.detail == UdpDetail("open", b"ping!", 5, reason="udp-response")


@pytest.mark.netns
@FAMILIES
@pytest.mark.usefixtures("stamping")
async def test_ping_is_answered_with_kernel_stamps_and_ttl(engine: Engine, host: str, family: int):
    for size in (0, 4, 56, 1400):
        spec = IcmpSpec(Options(count=3, interval_s=0.01, timeout_s=1, size=size))
        (row,) = await run_kind(Kind.ICMP, spec, [target(host)], env_of(engine))
        assert row.outcome is Outcome.OK, size
        assert [(s.seq, s.timing, s.ttl) for s in row.samples] == [
            (i, Timing.KERNEL, 64) for i in range(3)
        ], size
        assert stats.of(row.samples).loss_ratio == 0
        assert row.detail is not None and row.detail.size == size  # type: ignore[union-attr]


@pytest.mark.netns
async def test_pings_to_many_targets_are_not_mixed_up(engine: Engine):
    hosts = [f"127.0.{a}.{b}" for a in range(4) for b in range(1, 250)]
    spec = IcmpSpec(Options(count=2, interval_s=0.0, timeout_s=2))
    rows = await run_kind(Kind.ICMP, spec, [target(host) for host in hosts], env_of(engine))
    assert [row.address for row in rows] == hosts
    assert {row.outcome for row in rows} == {Outcome.OK}
    assert {len(row.samples) for row in rows} == {2}


async def test_silence_is_a_timeout_and_lost(engine: Engine):
    server, fillers = silent_listener()
    try:
        port = server.getsockname()[1]
        spec = TcpSpec(Options(count=2, interval_s=0.01, timeout_s=0.2))
        (row,) = await run_kind(Kind.TCP, spec, [target("127.0.0.1", port)], env_of(engine))
    finally:
        for each in (*fillers, server):
            each.close()
    assert row.outcome is Outcome.TIMEOUT and row.failure is not None
    assert row.failure.kind is FailureKind.TIMEOUT
    assert stats.of(row.samples) == stats.Stats(2, 2, 1.0, None)


async def test_the_deadline_ends_everything_and_tells_the_rest_as_unmeasured(engine: Engine):
    server, fillers = silent_listener()
    try:
        port = server.getsockname()[1]
        spec = TcpSpec(Options(count=3, interval_s=0.5, timeout_s=30))
        began = time.monotonic()
        rows = await run_kind(Kind.TCP, spec, [target("127.0.0.1", port)], env_of(engine, 0.3))
        assert time.monotonic() - began < 5.0, "not its 30 s"
        late = await run_kind(Kind.TCP, spec, [target("127.0.0.1", 7, 8)], env_of(engine, -1.0))
    finally:
        for each in (*fillers, server):
            each.close()
    assert [row.outcome for row in rows] == [Outcome.TIMEOUT]
    assert len(rows[0].samples) == 1
    assert [(row.outcome, row.failure and row.failure.kind) for row in late] == [
        (Outcome.UNMEASURED, FailureKind.DEADLINE)
    ] * 2


async def test_closing_early_closes_every_socket(engine: Engine):
    before = await sockets_at_rest(engine)
    server, fillers = silent_listener()
    try:
        port = server.getsockname()[1]
        spec = TcpSpec(Options(count=1, timeout_s=30))
        with listener() as answering:
            targets = [target("127.0.0.1", answering.getsockname()[1])]
            targets += [target("127.0.0.1", port)] * 50
            async with aclosing(KINDS[Kind.TCP]().run(spec, targets, env_of(engine, 60))) as batches:  # type: ignore[type-var]
                first = await anext(batches)
                assert first[0].outcome is Outcome.OK
                assert engine.sockets == 50
            assert engine.sockets == 0
            task = asyncio.create_task(run_kind(Kind.TCP, spec, targets, env_of(engine, 60)))
            while engine.sockets < 50:  # noqa: ASYNC110  (the engine thread tells nobody)
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert engine.sockets == 0
    finally:
        for each in (*fillers, server):
            each.close()
    assert sockets_open() == before


async def test_a_scan_tells_each_port_and_ends_by_reset(engine: Engine):
    before = await sockets_at_rest(engine)
    with listener() as server:
        port = server.getsockname()[1]
        low = max(1, min(port - 500, 64_000))
        scanned = Target(f"127.0.0.1:{low}-{low + 1000}", "127.0.0.1", (PortRange(low, low + 1000),))
        rows = await run_kind(Kind.TCP, TcpSpec(Options(count=1)), [scanned], env_of(engine))
        peer, _ = server.accept()
        with peer, pytest.raises(ConnectionResetError):
            peer.recv(1)
    assert [row.port for row in rows] == list(range(low, low + 1001))
    found = next(row for row in rows if row.port == port)
    assert found.outcome is Outcome.OK and found.target == f"127.0.0.1:{port}"
    assert found.detail == TcpDetail(scan=True, state="open", reason="syn-ack")
    others = {row.detail for row in rows if row.outcome is Outcome.REFUSED}
    assert others == {TcpDetail(scan=True, state="closed", reason="conn-refused")}
    assert sockets_open() == before


async def test_one_port_ends_by_fin(engine: Engine):
    with listener() as server:
        port = server.getsockname()[1]
        await run_kind(Kind.TCP, TcpSpec(Options(count=1)), [target("127.0.0.1", port)], env_of(engine))
        peer, _ = server.accept()
        with peer:
            assert peer.recv(1) == b""


async def test_a_shortage_is_our_own_and_never_the_targets(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    def exhausted(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr("probemesh_agent.engine.sockets.socket.socket", exhausted)
    monkeypatch.setattr("probemesh_agent.engine.schedule.SHORTAGE_PATIENCE_S", 0.1)
    (row,) = await run_kind(Kind.TCP, TcpSpec(TWICE), [target("127.0.0.1", 7)], env_of(engine))
    assert row.outcome is Outcome.LOCAL_RESOURCE and row.failure is not None
    assert row.failure.errno == "EMFILE"
    assert stats.of(row.samples).sent == 0


async def test_more_targets_than_sockets_are_all_measured():
    engine = Engine(most_sockets=16)
    try:
        server, fillers = silent_listener()
        port = server.getsockname()[1]
        spec = TcpSpec(Options(count=1, timeout_s=0.1))
        rows = await run_kind(Kind.TCP, spec, [target("127.0.0.1", port)] * 64, env_of(engine))
    finally:
        engine.close()
        for each in (*fillers, server):
            each.close()
    assert [row.outcome for row in rows] == [Outcome.TIMEOUT] * 64


async def test_names_literals_and_refusals(engine: Engine):
    with listener() as server:
        port = server.getsockname()[1]
        env = env_of(engine)
        hosts = ["hangs.test", "nowhere.test", "denied.test", "own.test", "127.0.0.1"]
        targets = [target(host, port) for host in hosts] + [target("127.0.0.1")]
        got = {}
        async with aclosing(KINDS[Kind.TCP]().run(TcpSpec(TWICE), targets, env)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                got |= {row.target_index: row for row in batch}
                if len(got) == 5:
                    assert 0 not in got
                    env.network.released.set()  # type: ignore[attr-defined]
    outcomes = [got[index].outcome for index in range(6)]
    assert outcomes == ["name-fails", "name-fails", "denied", "unmeasured", "ok", "unsupported"]
    assert got[2].address == "192.0.2.1" and got[2].port == port
    assert got[3].failure is not None and got[3].failure.kind is FailureKind.OWN_ADDRESS


async def test_a_source_that_is_not_ours_is_unsupported(engine: Engine):
    for source in ("192.0.2.77", "2001:db8::1", "no-such-dev"):
        spec = TcpSpec(Options(count=1, source=source))
        (row,) = await run_kind(Kind.TCP, spec, [target("127.0.0.1", 7)], env_of(engine))
        assert row.outcome is Outcome.UNSUPPORTED, source


async def test_a_source_address_is_used(engine: Engine):
    with listener() as server:
        spec = TcpSpec(Options(count=1, source="127.0.0.9"))
        await run_kind(Kind.TCP, spec, [target("127.0.0.1", server.getsockname()[1])], env_of(engine))
        peer, where = server.accept()
        peer.close()
    assert where[0] == "127.0.0.9"


@pytest.mark.netns
async def test_pings_leave_from_the_agents_own_source_where_it_can_serve_them():
    """A reply to a loopback source comes back to it; one of the network would be unsupported on loopback."""
    spec = IcmpSpec(Options(count=1, timeout_s=1))
    for source, outcome in (("127.0.0.9", Outcome.OK), ("192.0.2.77", Outcome.OK), (None, Outcome.OK)):
        engine = Engine(source=source)
        bound: list[str] = []
        original = EchoSocket.__init__

        def noted(self, family, options, size, bound=bound, original=original):
            original(self, family, options, size)
            bound.append(self.sock.getsockname()[0])

        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(EchoSocket, "__init__", noted)
                rows = await run_kind(Kind.ICMP, spec, [target("127.0.0.1")], env_of(engine))
        finally:
            engine.close()
        assert [row.outcome for row in rows] == [outcome], source
        assert bound == ["127.0.0.9" if source == "127.0.0.9" else "0.0.0.0"]


async def test_loopback_is_exempt_from_pacing(engine: Engine):
    spec = TcpSpec(Options(count=1))
    ports = Target("127.0.0.1:1-20", "127.0.0.1", (PortRange(1, 20),))
    rows = await run_kind(Kind.TCP, spec, [ports], env_of(engine, 2.0, Pacing(0.5, 0.5)))
    assert len(rows) == 20 and Outcome.UNMEASURED not in {row.outcome for row in rows}


@pytest.mark.parametrize(
    "limits",
    [
        replace(UNLIMITED, packets_per_s=100.0),
        replace(UNLIMITED, connections_per_s=100.0),
        replace(UNLIMITED, kinds={Kind.TCP: KindLimits(packets_per_s=100.0)}),
        replace(UNLIMITED, kinds={Kind.TCP: KindLimits(connections_per_s=100.0)}),
    ],
    ids=["packets", "connections", "packets of the kind", "connections of the kind"],
)
async def test_the_host_owners_cap_slows_every_run(limits: Limits):
    engine = Engine(allowance=Allowance(limits))
    ports = Target("127.0.0.1:1-40", "127.0.0.1", (PortRange(1, 40),))
    try:
        began = time.monotonic()
        rows = await run_kind(Kind.TCP, TcpSpec(Options(count=1)), [ports], env_of(engine))
        assert time.monotonic() - began >= 0.3
    finally:
        engine.close()
    assert len(rows) == 40


@pytest.mark.parametrize(
    "limits",
    [replace(UNLIMITED, concurrent=3), replace(UNLIMITED, kinds={Kind.TCP: KindLimits(concurrent=3)})],
    ids=["in all", "of the kind"],
)
async def test_sockets_that_others_hold_are_not_to_be_had(limits: Limits):
    allowance = Allowance(limits)
    engine = Engine(allowance=allowance)
    allowance.engine_open = engine.open_of
    for _ in range(3):
        allowance.opened(Kind.TCP)
    spec, here = TcpSpec(Options(count=1)), Target("127.0.0.1:1", "127.0.0.1", (PortRange(1, 1),))
    try:
        (row,) = await run_kind(Kind.TCP, spec, [here], env_of(engine, 0.3))
        assert row.outcome is Outcome.UNMEASURED
        running = asyncio.create_task(run_kind(Kind.TCP, spec, [here], env_of(engine, 20.0)))
        await asyncio.sleep(0)
        allowance.closed(Kind.TCP)
        (row,) = await running
        assert row.outcome is Outcome.REFUSED
    finally:
        engine.close()
