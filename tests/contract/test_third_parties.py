"""Redirects, proxies and name servers are judged as who was asked for is: name, port and address, by the
owner's policy and by what the mesh narrows."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from probemesh_agent.net.narrowed import narrowed
from probemesh_agent.net.policy import Policy
from probemesh_agent.net.rungs import Rungs
from probemesh_shared.model import (
    DnsSpec,
    HttpSpec,
    Measurement,
    Narrowing,
    PortRange,
    Target,
)
from probemesh_shared.words import DnsTransport, Outcome

from tests.probes_rich.rich_bench import QUICK, Bench, at
from tests.probes_rich.test_http_ways import OK, moved, paths, proxying, untouched

Limit = Callable[[int], tuple[Policy, tuple[Narrowing, ...]]]


def owner(**rungs: object) -> Policy:
    return Policy(loopback=True, rungs=Rungs(**rungs))  # type: ignore[arg-type]


def but(port: int) -> tuple[PortRange, ...]:
    return tuple(PortRange(*span) for span in ((1, port - 1), (port + 1, 65_535)))


PORT: dict[str, Limit] = {
    "denied by the owner": lambda port: (owner(deny_ports=(PortRange(port, port),)), ()),
    "not allowed by the owner": lambda port: (owner(ports=but(port)), ()),
    "outside of what the mesh narrows to": lambda port: (owner(), (Narrowing(ports=but(port)),)),
}
#: ``localhost`` is denied, 127.0.0.1 is not.
NAME: dict[str, Limit] = {
    "denied by the owner": lambda _: (owner(deny_names=("local*",)), ()),
    "outside of what the mesh narrows to": lambda _: (
        owner(),
        (Narrowing(names=("*.example",), networks=("127.0.0.0/8",)),),
    ),
}
LIMITS = [(NAME, "localhost", which) for which in NAME] + [(PORT, "127.0.0.1", which) for which in PORT]
limited = pytest.mark.parametrize(("table", "host", "which"), LIMITS)


async def rows_of(
    limit: tuple[Policy, Sequence[Narrowing]], spec: object, target: Target
) -> list[Measurement]:
    policy, narrowings = limit
    bench = Bench(policy)
    bench.network = narrowed(bench.network, narrowings)  # type: ignore[assignment]
    try:
        return await bench.run(spec, target)  # type: ignore[arg-type]
    finally:
        bench.network.engine.close()


@limited
async def test_a_redirect_leads_nowhere_that_may_not_be_asked(
    table: dict[str, Limit], host: str, which: str
) -> None:
    with untouched() as port:
        async with paths({"/": moved(f"http://{host}:{port}/")}) as (first, heads):
            spec = HttpSpec(QUICK, follow=5)
            (row,) = await rows_of(table[which](port), spec, at(first))
    assert len(heads) == 1 and row.outcome is Outcome.DENIED, row
    assert row.failure is not None and ("localhost" in row.failure.detail or str(port) in row.failure.detail)


@limited
async def test_a_proxy_is_asked_for_nothing_that_may_not_be_asked(
    table: dict[str, Limit], host: str, which: str
) -> None:
    with untouched() as port:
        async with proxying() as (proxy, heads):
            spec = HttpSpec(QUICK, proxy=f"127.0.0.1:{proxy}")
            for target in (at(port, host), at(port, host, secure=True)):
                (row,) = await rows_of(table[which](port), spec, target)
                assert row.outcome is Outcome.DENIED, row
    assert heads == []


@limited
async def test_nor_for_where_a_redirect_leads(table: dict[str, Limit], host: str, which: str) -> None:
    with untouched() as port:
        async with paths({"/": moved(f"http://{host}:{port}/")}) as (first, _), proxying() as (proxy, heads):
            spec = HttpSpec(QUICK, proxy=f"127.0.0.1:{proxy}", follow=5)
            (row,) = await rows_of(table[which](port), spec, at(first))
    assert len(heads) == 1 and row.outcome is Outcome.DENIED, row


@limited
async def test_a_proxy_that_may_not_be_asked_is_not(table: dict[str, Limit], host: str, which: str) -> None:
    with untouched() as port:
        async with paths({"/": OK}) as (first, _):
            spec = HttpSpec(QUICK, proxy=f"{host}:{port}")
            (row,) = await rows_of(table[which](port), spec, at(first))
    assert row.outcome is Outcome.DENIED, row


async def test_of_several_ports_behind_a_proxy_the_others_are_asked_for() -> None:
    with untouched() as port:
        async with paths({"/": OK}) as (good, _), proxying() as (proxy, _):
            target = replace(at(good), ports=tuple(PortRange(one, one) for one in sorted((good, port))))
            spec = HttpSpec(QUICK, proxy=f"127.0.0.1:{proxy}")
            rows = await rows_of(PORT["denied by the owner"](port), spec, target)
    assert {row.port: row.outcome for row in rows} == {good: Outcome.OK, port: Outcome.DENIED}


@pytest.mark.parametrize("transport", DnsTransport)
@limited
async def test_a_name_server_that_may_not_be_asked_is_not(
    table: dict[str, Limit], host: str, which: str, transport: DnsTransport
) -> None:
    with untouched() as port:
        target = Target("x", "a.example", record_type="A", server=f"{host}:{port}")
        rows = await rows_of(table[which](port), DnsSpec(QUICK, transport=transport), target)
    assert [row.outcome for row in rows] == [Outcome.DENIED], rows
