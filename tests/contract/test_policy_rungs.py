"""Every kind of the registry keeps to what its host and the mesh say of kinds, names and ports."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence

import pytest
from probemesh_agent.env import Network, ProbeEnv
from probemesh_agent.net.narrowed import narrowed
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.net.resolver import SystemResolver
from probemesh_agent.net.rungs import Rungs
from probemesh_agent.probes.registry import Registry
from probemesh_agent.runner import Runner
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import Job, LadderSpec, Measurement, Narrowing, Options, PortRange, Spec, Target
from probemesh_shared.specs import KINDS as KIND_OF
from probemesh_shared.words import FailureKind, Kind, Outcome

from tests.agent.fakes import FakeLane
from tests.contract.test_every_kind import KINDS, PINGING, SPECS, target_of
from tests.net.names import Names

WITH_PORTS = [kind for kind in KINDS if kind not in PINGING]
QUICK = Options(count=1, timeout_s=0.3)
Limit = Callable[[int], tuple[Policy, tuple[Narrowing, ...]]]


def here(rungs: Rungs = Rungs()) -> Policy:  # noqa: B008 - immutable
    return Policy(loopback=True, rungs=rungs)


@pytest.fixture
def port() -> Iterator[int]:
    """TCP and UDP that nobody may reach: the test fails where anything came."""
    with socket.socket() as listener, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        number = listener.getsockname()[1]
        datagrams.bind(("127.0.0.1", number))
        listener.setblocking(False)
        datagrams.setblocking(False)
        yield number
        for arrived in (listener.accept, lambda: datagrams.recv(10)):
            with pytest.raises(BlockingIOError):
                arrived()


async def rows_of(network: Network, kind: Kind, targets: Sequence[Target]) -> list[Measurement]:
    clock = SystemClock()
    env = ProbeEnv(network, clock, clock.monotonic() + 3.0)
    return [row async for batch in Registry()[kind].run(SPECS[kind](QUICK), targets, env) for row in batch]


PORT_LIMITS: dict[str, Limit] = {
    "the owner denies it": lambda port: (here(Rungs(deny_ports=(PortRange(port, port),))), ()),
    "the owner allows others": lambda port: (here(Rungs(ports=(PortRange(1, 1),))), ()),
    "the mesh narrows to others": lambda port: (here(), (Narrowing(ports=(PortRange(1, 1),)),)),
}


@pytest.mark.parametrize("limit", PORT_LIMITS)
@pytest.mark.parametrize("kind", WITH_PORTS)
async def test_a_port_that_is_not_allowed_gets_no_packet(kind: Kind, limit: str, port: int) -> None:
    policy, narrowings = PORT_LIMITS[limit](port)
    network = SystemNetwork(SystemClock(), policy)
    rows = await rows_of(narrowed(network, narrowings), kind, (target_of(kind, port),))
    network.close()
    assert rows
    for row in rows:
        assert row.outcome is Outcome.DENIED and row.failure is not None
        assert row.failure.kind is FailureKind.DENIED and str(port) in row.failure.detail


async def test_of_a_list_of_ports_the_others_are_probed(port: int) -> None:
    with socket.socket() as open_:
        open_.bind(("127.0.0.1", 0))
        open_.listen()
        good = open_.getsockname()[1]
        network = SystemNetwork(SystemClock(), here(Rungs(deny_ports=(PortRange(port, port),))))
        ports = tuple(PortRange(one, one) for one in sorted((good, port)))
        rows = await rows_of(network, Kind.TCP, (Target("127.0.0.1", "127.0.0.1", ports),))
        network.close()
    assert {row.port: row.outcome for row in rows} == {good: Outcome.OK, port: Outcome.DENIED}


NAME_LIMITS: dict[str, tuple[Policy, tuple[Narrowing, ...]]] = {
    "the owner denies it": (here(Rungs(deny_names=("*.internal",))), ()),
    "the owner allows others": (here(Rungs(names=("*.example",))), ()),
    "the mesh narrows to others": (here(), (Narrowing(names=("*.example",)),)),
}


@pytest.mark.parametrize("limit", NAME_LIMITS)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not Kind.WATCH])
async def test_a_name_that_is_not_allowed_is_not_even_looked_up(kind: Kind, limit: str, port: int) -> None:
    policy, narrowings = NAME_LIMITS[limit]
    names = Names({"DB.internal.": ("127.0.0.1",), "db.internal": ("127.0.0.1",)})
    network = SystemNetwork(SystemClock(), policy, resolver=SystemResolver(lookup=names))
    target = Target("x", "DB.internal.", target_of(kind, port).ports, server=f"127.0.0.1:{port}")
    rows = await rows_of(narrowed(network, narrowings), kind, (target,))
    network.close()
    assert [row.outcome for row in rows] == [Outcome.DENIED] and names.asked == []


class Ending(FakeLane):
    def __init__(self) -> None:
        super().__init__()
        self.over = asyncio.Event()

    def end(self, job_id: str, status: str, detail: str) -> None:
        super().end(job_id, status, detail)
        self.over.set()


async def ran(policy: Policy, spec: Spec, target: Target, *narrow: Narrowing) -> list[Measurement]:
    """As a job of somebody."""
    clock, lane = SystemClock(), Ending()
    network = SystemNetwork(clock, policy)
    runner = Runner(dict.fromkeys(Kind) | {**Registry()} | _ladder(), network, clock)
    runner.start(Job("j", "r", spec, (target,), 3_000, narrow=narrow), lane)
    async with asyncio.timeout(10):
        await lane.over.wait()
    await runner.finish(0, "the test is over")
    network.close()
    return lane.rows["j"]


def _ladder() -> dict:
    from probemesh_agent.ladder import LadderProbe

    return {Kind.LADDER: LadderProbe(Registry())}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_kind_that_is_not_allowed_does_nothing(kind: Kind, port: int) -> None:
    other = Kind.ICMP if kind is not Kind.ICMP else Kind.TCP
    spec, target = SPECS[kind](QUICK), target_of(kind, port)
    for policy, narrow in (
        (here(Rungs(deny_kinds=(kind,))), ()),
        (here(Rungs(kinds=(other,))), ()),
        (here(), (Narrowing(kinds=(other,)),)),
    ):
        rows = await ran(policy, spec, target, *narrow)
        assert [(row.kind, row.outcome) for row in rows] == [(kind, Outcome.DENIED)]


async def test_a_climb_is_judged_rung_by_rung(port: int) -> None:
    target = Target(f"127.0.0.1:{port}", "127.0.0.1", (PortRange(port, port),))
    rows = await ran(here(Rungs(kinds=(Kind.ICMP,))), LadderSpec(QUICK), target)
    assert {row.kind: row.outcome is Outcome.DENIED for row in rows} == {Kind.ICMP: False, Kind.TCP: True}


async def test_a_narrowing_that_cannot_be_read_lets_nothing_through(port: int) -> None:
    target = Target(f"127.0.0.1:{port}", "127.0.0.1", (PortRange(port, port),))
    broken = Narrowing(networks=("everything",))
    for spec in (LadderSpec(QUICK), SPECS[Kind.TCP](QUICK)):
        rows = await ran(here(), spec, target, broken)
        assert rows and all(row.outcome is Outcome.DENIED for row in rows)


def test_every_kind_is_played_here() -> None:
    assert set(KIND_OF.values()) == {*KINDS, Kind.LADDER}
