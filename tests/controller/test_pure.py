"""Candidates, pacing and merging: what is decided without a network."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from probemesh_controller.candidates import address, usable
from probemesh_controller.merging import merge
from probemesh_shared.model import (
    AgentInfo,
    IcmpSpec,
    Options,
    PortRange,
    Target,
    TraceSpec,
)
from probemesh_shared.session.frames import ADVERTISED
from probemesh_shared.words import FailureKind, Family, Kind, Outcome


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
    ("family", "refused"), [(Family.IPV6, True), (Family.IPV4, False), (Family.BOTH, False)]
)
def test_an_agent_without_an_address_of_the_family_is_not_addressable(family: Family, refused: bool) -> None:
    b = agent("b", "10.0.0.2")
    wanted = Target("agent:b", "b", agent="b")
    ready = address(TraceSpec(Options(family=family)), (wanted,), agent("a"), (agent("a"), b), 1)
    assert [row.outcome for row in ready.refused] == [Outcome.UNMEASURED] * refused
    assert len(ready.targets) == (not refused)
    for row in ready.refused:
        assert row.failure is not None and row.failure.kind is FailureKind.NOT_ADDRESSABLE
        assert "no usable IPv6 address" in row.failure.detail


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
