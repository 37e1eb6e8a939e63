"""What ``meshctl trace`` does: read, trace (both ways at once between agents), print, and the exit code."""

import asyncio
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from probemesh_shared.errors import InvalidRequest, NotFound
from probemesh_shared.model import (
    AgentInfo,
    Options,
    PortRange,
    Target,
    TargetResult,
    TraceSpec,
    Vantage,
)
from probemesh_shared.outcomes import exit_code
from probemesh_shared.selectors import SELF
from probemesh_shared.targets import check_family, parse_target, unparse
from probemesh_shared.words import Family, Kind, Outcome, Transport

from probemesh_controller.api import Mesh, RunEnded, RunRequest
from probemesh_controller.cli import connect
from probemesh_controller.cli.flags import chosen_context, note, use_color
from probemesh_controller.cli.output import Format, certificate, print_value, terminal_width, write
from probemesh_controller.cli.pairs import Flow, PairAsked, agent_of, as_agent, check_source, flow_of
from probemesh_controller.cli.running import consume, settle
from probemesh_controller.cli.signals import on_signals
from probemesh_controller.cli.specs.values import within
from probemesh_controller.render import traces
from probemesh_controller.results import Assembly


@dataclass(frozen=True, slots=True)
class TraceAsked:
    """The command line."""

    from_: str
    to: str
    tcp: int | None = None
    udp: int | None = None
    icmp: bool = False
    ipv4: bool = False
    ipv6: bool = False
    max_hops: int = 30
    count: int = 3
    timeout: float = 3.0
    deadline: float = 30.0
    source_port: int | None = None
    output: Format = Format.TABLE

    @property
    def pair(self) -> PairAsked:
        return PairAsked(self.from_, self.to, self.tcp, self.udp, self.icmp, ipv4=self.ipv4, ipv6=self.ipv6)


@dataclass(frozen=True, slots=True)
class Ways:
    """``back`` is from TO to FROM, where TO is an agent and FROM one that it can dial."""

    flow: Flow
    source: str
    target: Target
    back_from: str | None = None
    back_to: Target | None = None


async def run_trace(asked: TraceAsked) -> int:
    """Returns the exit code; raises MeshError where nothing could be run."""
    check(asked)
    here = connect.self_available()
    context = chosen_context()
    if context is None and (as_agent(asked.from_) != SELF or not here):
        raise NotFound("no mesh is configured: only this machine can trace", "meshctl trace self TARGET")
    async with connect.opened(context, with_self=here) as mesh:
        agents = tuple(agent for agent in await mesh.agents() if agent.name != SELF)
        connect.remember_names(context, agents)
        ways = read(asked, agents, here)
        started_ns = time.time_ns()
        results, interrupted = await _run(mesh, _requests(asked, ways), started_ns)
    traced = traces.Traced(
        ways.source,
        ways.target.text,
        ways.flow.transport,
        ways.flow.port,
        started_ns,
        *(_vantage(result) for result in results),
    )
    _print(traced, asked.output)
    return exit_code(results, interrupted=interrupted)


def check(asked: TraceAsked) -> None:
    """What can be said without knowing who exists. Raises InvalidRequest."""
    if asked.ipv4 and asked.ipv6:
        raise InvalidRequest("-4 and -6 exclude each other", "give neither to try both families")
    given = [
        name
        for name, value in (("--tcp", asked.tcp), ("--udp", asked.udp), ("--icmp", asked.icmp or None))
        if value is not None
    ]
    if len(given) > 1:
        raise InvalidRequest(f"{' and '.join(given)} exclude each other", "one at a time")
    within("--tcp", asked.tcp, 1, 65535)
    within("--udp", asked.udp, 1, 65535)
    within("--source-port", asked.source_port, 1, 65535)
    within("--max-hops", asked.max_hops, 1, 255)
    within("--count", asked.count, 1, 100)
    within("--timeout", asked.timeout, 0.05, 60)
    within("--deadline", asked.deadline, 0.1, 3600)
    flow = flow_of(asked.pair, parse_target(asked.to))
    if flow.transport is Transport.ICMP and asked.source_port is not None:
        raise InvalidRequest("ping has no ports: --source-port means nothing here", "give --tcp or --udp")


def read(asked: TraceAsked, agents: Sequence[AgentInfo], here: bool) -> Ways:
    """Who traces what. Raises InvalidRequest and NotFound."""
    source, to = as_agent(asked.from_), parse_target(asked.to)
    if to.kind is Kind.DNS:
        raise InvalidRequest("a question of DNS has no way that could be traced", "trace its server")
    flow = flow_of(asked.pair, to)
    if source != SELF:
        check_source(source, agents)
    elif not here:
        raise NotFound("this machine cannot trace by itself", "name an agent: meshctl agents lists them")
    name, _ = agent_of(to, agents)
    if name is None:
        target = _with_flow(to, flow)
        check_family(asked.pair.family, target)
        return Ways(flow, source, target)
    if name == source:
        raise InvalidRequest(f"{source} is both ends", "give another target")
    target = _of_agent(name, flow)
    if source == SELF:
        note("note: self is no agent that the other end could dial: only the way there is traced")
        return Ways(flow, source, target)
    return Ways(flow, source, target, name, _of_agent(source, flow))


def _with_flow(to: Target, flow: Flow) -> Target:
    ports = () if flow.port is None else (PortRange(flow.port, flow.port),)
    kind = Kind.ICMP if flow.port is None else Kind.UDP if flow.transport is Transport.UDP else None
    made = replace(to, ports=ports, kind=kind, path="", secure=False)
    return replace(made, text=unparse(made))


def _of_agent(name: str, flow: Flow) -> Target:
    ports = () if flow.port is None else (PortRange(flow.port, flow.port),)
    made = Target("", name, ports, agent=name)
    return replace(made, text=unparse(made))


def _requests(asked: TraceAsked, ways: Ways) -> list[RunRequest]:
    port = asked.source_port
    options = Options(
        family=Family.IPV4 if asked.ipv4 else Family.IPV6 if asked.ipv6 else Family.BOTH,
        count=asked.count,
        timeout_s=asked.timeout,
        source_ports=None if port is None else PortRange(port, port),
    )
    # without a port and a word it is ping, and UDP from agents that may not ping
    chosen = None if ways.flow.transport is Transport.ICMP and not asked.icmp else ways.flow.transport
    spec = TraceSpec(options, chosen, max_hops=asked.max_hops)
    pairs = [(ways.source, ways.target)]
    if ways.back_from is not None and ways.back_to is not None:
        pairs.append((ways.back_from, ways.back_to))
    return [
        RunRequest(secrets.token_hex(16), (target,), (spec,), (agent,), asked.deadline)
        for agent, target in pairs
    ]


async def _run(
    mesh: Mesh, requests: Sequence[RunRequest], started_ns: int
) -> tuple[list[TargetResult], bool]:
    """All at once, to the end or to an interrupt; and whether it was one."""
    assemblies = [Assembly(request, started_ns) for request in requests]
    runs = [
        asyncio.ensure_future(consume(mesh, request, assembly.add))
        for request, assembly in zip(requests, assemblies, strict=True)
    ]
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if interrupted:  # asked twice: now
            raise KeyboardInterrupt
        interrupted = True
        for run in runs:
            run.cancel()

    try:
        with on_signals(interrupt):
            await asyncio.wait(runs)
    finally:
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
    for run, assembly in zip(runs, assemblies, strict=True):
        if interrupted:
            assembly.add(RunEnded(cancelled=True))
        else:
            settle(run, assembly)
    return [assembly.results()[0] for assembly in assemblies], interrupted


def _vantage(result: TargetResult) -> Vantage:
    gone = Vantage("", None, Outcome.UNMEASURED, reason="nothing came back")
    return result.vantages[0] if result.vantages else gone


def _print(traced: traces.Traced, wanted: Format) -> None:
    if wanted in (Format.TABLE, Format.WIDE):
        write(traces.render(traced, terminal_width(), use_color(sys.stdout), wanted is Format.WIDE))
    elif wanted is Format.CSV:
        write(traces.to_csv(traced))
    else:
        print_value(traces.to_json(traced, certificate), wanted)
