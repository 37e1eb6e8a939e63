"""Candidates, pacing and merging: what is decided without a network."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from probemesh_controller.candidates import address, usable
from probemesh_controller.merging import merge
from probemesh_controller.pacing import Ledger
from probemesh_shared.model import (
    AgentInfo,
    HttpSpec,
    IcmpSpec,
    LadderSpec,
    Options,
    PortRange,
    Spec,
    Target,
    TcpSpec,
    UdpSpec,
)
from probemesh_shared.session.frames import ADVERTISED
from probemesh_shared.words import FailureKind, Kind


def agent(name: str, *addresses: str) -> AgentInfo:
    return AgentInfo(name, addresses=addresses, id=f"id-{name}")


def target(ports: int = 1, host: str = "db") -> Target:
    return Target(f"{host}:1-{ports}", host, (PortRange(1, ports),))


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (("10.0.0.1",), ("10.0.0.1",)),
        (("172.17.0.1", "10.0.0.1"), ("10.0.0.1",)),  # the prober has docker0 too
        (("192.168.1.5",), ()),  # two sites use the same network
        (("127.0.1.2",), ("127.0.1.2",)),  # only --advertise puts that into a hello
        (("fe80::1", "ff02::1", "0.0.0.0", "::", "x", ""), ()),
        (("::ffff:10.0.0.1", "10.0.0.1"), ("10.0.0.1",)),
        (("FD00:0::1",), ("fd00::1",)),
        (("::ffff:192.168.1.5",), ()),  # the same address in another spelling
    ],
)
def test_only_addresses_that_mean_the_target_alone(
    addresses: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    prober = agent("a", "172.17.0.1", "10.0.0.9")
    other = agent("c", "192.168.1.5", "127.0.1.2")
    named = agent("b", *addresses)
    assert usable(prober, named, (prober, named, other)) == expected


def test_an_address_that_was_configured_is_used_whoever_else_has_it() -> None:
    prober, other = agent("a", "10.0.0.1"), agent("c", "192.168.1.5")
    named = AgentInfo("b", addresses=("10.0.0.1", "192.168.1.5"), capabilities=(ADVERTISED,), id="id-b")
    assert usable(prober, named, (prober, named, other)) == ("10.0.0.1", "192.168.1.5")


def test_an_unknown_agent_is_not_addressable() -> None:
    wanted = Target("agent:x", "x", agent="x")
    ready = address(IcmpSpec(), (wanted,), agent("a"), (agent("a"),), 1)
    (row,) = ready.refused
    assert row.failure is not None and row.failure.kind is FailureKind.NOT_ADDRESSABLE
    assert (row.kind, ready.targets, row.target_index) == (Kind.ICMP, (), 0)


@pytest.mark.parametrize(
    ("spec", "ports", "agents", "note"),
    [
        (TcpSpec(Options(count=3)), 1, 3, None),
        (TcpSpec(Options(count=1)), 1000, 1, "1000 connections to db at 100/s mesh-wide take at least 10 s"),
        (HttpSpec(Options(count=3)), 1, 200, "600 connections"),
        (LadderSpec(Options(count=3)), 1, 200, "connections"),
        (UdpSpec(Options(count=1)), 5000, 1, "5000 packets to db at 500/s mesh-wide take at least 10 s"),
        (IcmpSpec(Options(count=3)), 1, 100, None),
    ],
)
def test_pacing_is_announced_where_it_slows(spec: Spec, ports: int, agents: int, note: str | None) -> None:
    plan = Ledger().claim("r", (spec,), (target(ports),), agents, 60)
    if note is None:
        assert plan.notes == ()
    else:
        assert any(note in text for text in plan.notes)
    assert plan.pacing.packets_per_s is not None and plan.pacing.connects_per_s is not None
    assert plan.pacing.packets_per_s * agents <= 500.0001
    assert plan.pacing.connects_per_s * agents <= 100.0001


def test_a_deadline_that_is_too_short_is_said() -> None:
    plan = Ledger().claim("r", (TcpSpec(Options(count=1)),), (target(1000),), 10, 15)
    assert "the deadline of 15 s leaves 85% unmeasured" in plan.notes[0]


def test_loopback_is_not_announced() -> None:
    plan = Ledger().claim("r", (TcpSpec(),), (target(5000, "127.0.0.1"),), 10, 15)
    assert plan.notes == ()


def test_runs_at_the_same_time_share_the_limit_and_give_it_back() -> None:
    ledger = Ledger()
    scan = (TcpSpec(Options(count=1)),), (target(1000),), 1, 60.0
    first = ledger.claim("r1", *scan).pacing.connects_per_s
    second = ledger.claim("r2", *scan).pacing.connects_per_s
    assert (first, second) == (100.0, pytest.approx(5.0))
    ledger.release("r1")
    assert ledger.claim("r3", *scan).pacing.connects_per_s == pytest.approx(95.0)


async def numbers(start: int, count: int, fail: bool = False) -> AsyncGenerator[int, None]:
    for number in range(start, start + count):
        await asyncio.sleep(0)
        yield number
    if fail:
        raise ValueError("broken")


async def test_merging_yields_all_and_raises_at_the_end() -> None:
    seen = []
    with pytest.raises(ValueError, match="broken"):
        async for number in merge(numbers(0, 3, fail=True), numbers(100, 200)):
            seen.append(number)  # noqa: PERF401
    assert sorted(seen) == [0, 1, 2, *range(100, 300)]


async def test_closing_a_merge_closes_its_sources() -> None:
    closed = []

    async def source(name: str) -> AsyncGenerator[str, None]:
        try:
            while True:
                await asyncio.sleep(0)
                yield name
        finally:
            closed.append(name)

    merged = merge(source("a"), source("b"))
    await anext(merged)
    await merged.aclose()
    assert sorted(closed) == ["a", "b"]
