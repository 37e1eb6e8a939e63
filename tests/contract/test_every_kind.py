"""What every row of the registry promises, whatever it measures (DESIGN §4)."""

import asyncio
import importlib.util
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest
from probemesh_agent.env import Address, ProbeEnv
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.probes.registry import TABLE, Registry
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import (
    DnsSpec,
    FlowSpec,
    HttpSpec,
    IcmpSpec,
    Measurement,
    MtuSpec,
    Options,
    PortRange,
    Spec,
    Target,
    TcpSpec,
    TlsSpec,
    TraceDetail,
    TraceSpec,
    UdpSpec,
    WatchSpec,
)
from probemesh_shared.words import NOT_MEASURED, FailureKind, Kind, Outcome


def watch_spec(options: Options) -> WatchSpec:
    return WatchSpec(options, bytes(16), surrogate=True)


SPECS: dict[Kind, Callable[[Options], Spec]] = {
    Kind.ICMP: IcmpSpec,
    Kind.DNS: DnsSpec,
    Kind.TCP: TcpSpec,
    Kind.UDP: UdpSpec,
    Kind.TLS: TlsSpec,
    Kind.HTTP: HttpSpec,
    Kind.FLOW: FlowSpec,
    Kind.WATCH: watch_spec,
    Kind.TRACE: TraceSpec,
    Kind.MTU: MtuSpec,
}
KINDS = sorted(TABLE)
#: A watch sends nothing by itself: whatever its target is like, it is well.
SENDING = [kind for kind in KINDS if kind is not Kind.WATCH]
PINGING = (Kind.ICMP, Kind.MTU)  # what they ask has no port, and this host answers

SPELLINGS = (
    "127.0.0.1",
    "0x7f.1",
    "2130706433",
    "::ffff:127.0.0.1",
    "169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "::1",
    "0",
    "224.0.0.1",
)


class Home:
    """A network, its registry and a clock."""

    def __init__(self, policy: Policy) -> None:
        self.clock = SystemClock()
        self.network = SystemNetwork(self.clock, policy)
        self.registry = Registry()

    def env(self, seconds: float) -> ProbeEnv:
        return ProbeEnv(self.network, self.clock, self.clock.monotonic() + seconds)

    def run(self, kind: Kind, options: Options, targets: Sequence[Target], seconds: float):
        spec: Spec = SPECS[kind](options)
        return self.registry[kind].run(spec, targets, self.env(seconds))

    async def rows(self, kind: Kind, options: Options, target: Target, seconds: float) -> list[Measurement]:
        found: list[Measurement] = []
        async for batch in self.run(kind, options, (target,), seconds):
            found.extend(batch)
        return found


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    made = Home(Policy.typed_by_user())
    yield made
    made.network.close()


@pytest.fixture
def mute_port() -> Iterator[int]:
    """TCP whose handshakes are never answered (its backlog is full), and UDP that is never read, on one
    port."""
    with socket.socket() as listener, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        listener.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        yield port
        for filler in fillers:
            filler.close()


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as held, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        held.bind(("127.0.0.1", 0))
        datagrams.bind(("127.0.0.1", held.getsockname()[1]))
        return int(held.getsockname()[1])


def target_of(kind: Kind, port: int, host: str = "127.0.0.1") -> Target:
    if kind is Kind.DNS:
        bracketed = f"[{host}]" if ":" in host else host
        return Target(f"dns:a@{host}", "a.example", record_type="TXT", server=f"{bracketed}:{port}")
    ports = () if kind in PINGING else (PortRange(port, port),)
    return Target(f"{host}:{port}", host, ports)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def patient(seconds: float) -> Options:
    return Options(count=2, interval_s=0.05, timeout_s=seconds)


async def settled(home: Home, before: int) -> None:
    """The engine closes its sockets in its own thread: it has a moment to do so."""
    for _ in range(200):
        if descriptors() <= before:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{descriptors() - before} descriptors stay open")


async def warmed(home: Home, kind: Kind, port: int) -> int:
    """Descriptors after the kind has run once: its engine, if it has one, stays."""
    await home.rows(kind, Options(count=1, timeout_s=0.1), target_of(kind, port), 0.5)
    await asyncio.sleep(0.05)
    return descriptors()


@pytest.mark.parametrize("kind", KINDS)
def test_the_row_names_a_module_and_a_kind(kind: Kind) -> None:
    module, _ = TABLE[kind]
    assert importlib.util.find_spec(f"probemesh_agent.probes.{module}") is not None
    probe = Registry()[kind]
    assert probe.kind is kind and Registry()[kind] is not None


def test_every_kind_but_the_ladder_has_a_row() -> None:
    assert set(TABLE) == set(Kind) - {Kind.LADDER} == set(SPECS)


@pytest.mark.parametrize("kind", [kind for kind in SENDING if kind not in PINGING])
async def test_silence_is_a_result_that_explains_itself(home: Home, kind: Kind, mute_port: int) -> None:
    (row,) = await home.rows(kind, Options(count=1, timeout_s=0.3), target_of(kind, mute_port), 5.0)
    assert row.kind is kind and row.target_index == 0
    assert row.failure is not None and row.failure.detail and row.log
    assert row.failure.kind is FailureKind.TIMEOUT
    assert row.outcome is Outcome.TIMEOUT
    assert [sample.rtt_ms for sample in row.samples] == [None]


@pytest.mark.parametrize("kind", [kind for kind in SENDING if kind not in (*PINGING, Kind.TRACE)])
async def test_refusal_is_a_result_that_explains_itself(home: Home, kind: Kind, closed_port: int) -> None:
    (row,) = await home.rows(kind, Options(count=1, timeout_s=1.0), target_of(kind, closed_port), 5.0)
    assert row.outcome is Outcome.REFUSED and row.failure is not None
    assert row.failure.kind is FailureKind.REFUSED and row.failure.detail and row.log


async def test_a_trace_that_is_refused_has_reached_its_target(home: Home, closed_port: int) -> None:
    (row,) = await home.rows(Kind.TRACE, Options(count=1), target_of(Kind.TRACE, closed_port), 5.0)
    assert row.outcome is Outcome.OK and isinstance(row.detail, TraceDetail)
    assert (row.detail.distance, row.detail.hops[0].answers[0].how) == (1, "reset")


@pytest.mark.parametrize("kind", KINDS)
async def test_the_deadline_holds(home: Home, kind: Kind, mute_port: int) -> None:
    before = await warmed(home, kind, mute_port)
    began = home.clock.monotonic()
    rows = await home.rows(
        kind, Options(count=50, interval_s=0.1, timeout_s=5.0), target_of(kind, mute_port), 0.5
    )
    assert home.clock.monotonic() - began < 3.0, "not its 5 s"
    assert len(rows) == 1
    await settled(home, before)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_could_not_be_begun_is_told(home: Home, kind: Kind, mute_port: int) -> None:
    rows = await home.rows(kind, patient(1.0), target_of(kind, mute_port), -1.0)
    assert rows and all(row.outcome in NOT_MEASURED for row in rows), rows
    assert all(row.failure is not None and row.failure.kind is FailureKind.DEADLINE for row in rows)
    assert all(row.failure and row.failure.detail for row in rows)


@pytest.mark.parametrize("kind", [kind for kind in SENDING if kind is not Kind.DNS])
async def test_names_that_came_too_late_are_not_the_resolver_s_fault(home: Home, kind: Kind) -> None:
    ports = () if kind in PINGING else (PortRange(9, 9),)
    rows = await home.rows(kind, patient(1.0), Target("x", "localhost", ports), -1.0)
    assert [(row.outcome, row.failure and row.failure.kind) for row in rows] == [
        (Outcome.UNMEASURED, FailureKind.DEADLINE)
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_stays_open_after_failures(home: Home, kind: Kind, closed_port: int) -> None:
    before = await warmed(home, kind, closed_port)
    for _ in range(5):
        await home.rows(kind, patient(0.2), target_of(kind, closed_port), 2.0)
    await settled(home, before)


@pytest.mark.parametrize("kind", KINDS)
async def test_closing_early_leaves_nothing(home: Home, kind: Kind, mute_port: int, closed_port: int) -> None:
    before = await warmed(home, kind, closed_port)
    tasks = len(asyncio.all_tasks())
    more = 0 if kind is Kind.WATCH else 20
    targets = [target_of(kind, closed_port), *(target_of(kind, mute_port) for _ in range(more))]
    batches = home.run(kind, Options(count=1, timeout_s=5.0), targets, 10.0)
    async for batch in batches:
        assert batch
        break
    await batches.aclose()
    assert len(asyncio.all_tasks()) == tasks
    await settled(home, before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 30])
async def test_cancelling_in_the_middle_leaves_nothing(
    home: Home, kind: Kind, turns: int, mute_port: int
) -> None:
    before = await warmed(home, kind, mute_port)
    tasks = len(asyncio.all_tasks())

    async def consume() -> None:
        targets = [target_of(kind, mute_port) for _ in range(1 if kind is Kind.WATCH else 20)]
        async for _ in home.run(kind, Options(count=9, timeout_s=5.0), targets, 10.0):
            pass

    running = asyncio.create_task(consume())
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == tasks
    await settled(home, before)


class Sealed(SystemNetwork):
    """Whoever gets as far as asking for a socket has passed the policy."""

    async def connect(self, address: Address, *_: object) -> None:  # type: ignore[override]
        raise AssertionError(f"dialled {address}")

    async def datagrams(self, address: Address, *_: object) -> None:  # type: ignore[override]
        raise AssertionError(f"dialled {address}")

    @property
    def engine(self) -> None:
        raise AssertionError("the packet engine was asked for")


@pytest.mark.parametrize("kind", SENDING)
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_denied_addresses_are_told_and_nothing_is_sent(kind: Kind, spelling: str) -> None:
    home = Home(Policy.shipped())
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        port = listener.getsockname()[1]
        rows = await home.rows(kind, patient(0.3), target_of(kind, port, spelling), 2.0)
        with pytest.raises(BlockingIOError):
            listener.accept()
    home.network.close()
    assert rows
    for row in rows:
        assert row.outcome is Outcome.DENIED and row.failure is not None
        assert row.failure.kind is FailureKind.DENIED and row.failure.detail
        assert not row.samples


@pytest.mark.parametrize("kind", [Kind.DNS, Kind.TLS, Kind.HTTP])
async def test_denied_addresses_reach_no_socket(kind: Kind) -> None:
    home = Home(Policy.shipped())
    home.network = Sealed(home.clock, Policy.shipped())
    rows = await home.rows(kind, patient(0.3), target_of(kind, 9, "0x7f.1"), 2.0)
    assert [row.outcome for row in rows] == [Outcome.DENIED]


@pytest.mark.parametrize("kind", [kind for kind in SENDING if kind is not Kind.DNS])
async def test_names_that_do_not_exist_are_a_result(home: Home, kind: Kind) -> None:
    ports = () if kind in PINGING else (PortRange(9, 9),)
    (row,) = await home.rows(kind, patient(0.3), Target("x", "no..name", ports), 2.0)
    assert row.outcome is Outcome.NAME_FAILS and row.failure is not None
    assert row.failure.kind is FailureKind.NO_SUCH_NAME and row.log and not row.samples


@pytest.mark.parametrize("kind", SENDING)
async def test_many_targets_keep_their_index(home: Home, kind: Kind, closed_port: int) -> None:
    seen = []
    targets = [target_of(kind, closed_port) for _ in range(30)]
    async for batch in home.run(kind, Options(count=1, timeout_s=0.5), targets, 8.0):
        seen.extend(row.target_index for row in batch)
    assert sorted(seen) == list(range(30))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not Kind.ICMP])
async def test_without_descriptors_it_is_this_host_s_want(home: Home, kind: Kind, closed_port: int) -> None:
    await warmed(home, kind, closed_port)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(descriptors() + 8, 64), hard))
    try:
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        rows = await home.rows(kind, Options(count=1, timeout_s=0.5), target_of(kind, closed_port), 4.0)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert rows[0].outcome is Outcome.LOCAL_RESOURCE, "nobody may blame the target"
    assert rows[0].failure is not None and rows[0].failure.kind is not FailureKind.INTERNAL and rows[0].log
