"""What ``meshctl probe`` does: read, choose, run, diagnose, print, and the exit code."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from probemesh_shared.errors import InvalidRequest, NotFound
from probemesh_shared.model import AgentInfo, Spec, Target, TcpSpec
from probemesh_shared.outcomes import exit_code
from probemesh_shared.selectors import SELF, check_agent, check_selection, select
from probemesh_shared.targets import count_ports, expand_ports, parse_target
from probemesh_shared.words import Kind

from probemesh_controller.api import Mesh, RunRequest
from probemesh_controller.cli import connect
from probemesh_controller.cli.flags import chosen_context, note
from probemesh_controller.cli.output import Format, print_results
from probemesh_controller.cli.running import run_shown
from probemesh_controller.cli.specs import LONGEST_S, Asked, build_specs, default_deadline
from probemesh_controller.config import MeshContext
from probemesh_controller.diagnosis import with_findings
from probemesh_controller.render.text import counted
from probemesh_controller.results import Assembly
from probemesh_controller.turned import kept

#: Servers that count a client that connects and leaves as an error, and lock it out in the end.
LOCKS_OUT = {3306: "MySQL", 33060: "MySQL X"}
#: From this many connections on, a scan says beforehand what it comes to.
ANNOUNCE = 100


@dataclass(frozen=True, slots=True)
class ProbeAsked:
    targets: tuple[str, ...]
    options: Asked
    from_: str | None = None
    exclude: str | None = None
    limit: int | None = None
    deadline: float | None = None
    strict: bool = False
    output: Format = Format.TABLE
    ci: bool = False


async def run_probe(asked: ProbeAsked) -> int:
    """Returns the exit code; raises MeshError where nothing could be run."""
    targets = parse_targets(asked.targets)
    specs = build_specs(asked.options, targets)
    check_selection(asked.from_, asked.exclude, asked.limit)
    deadline = default_deadline(asked.options) if asked.deadline is None else asked.deadline
    if not 0.1 <= deadline <= LONGEST_S:
        raise InvalidRequest(f"--deadline {deadline:g} is out of range", f"0.1 to {LONGEST_S} seconds")
    here = connect.self_available()
    context = chosen_context()
    _check_from(asked.from_, context, here)
    async with connect.opened(context, with_self=here) as mesh:
        agents = tuple(agent for agent in await mesh.agents() if agent.name != SELF)
        connect.remember_names(context, agents)
        names = _choose(asked, agents, here)
        for target in targets:
            if target.agent is not None:
                check_agent(target.agent, agents)
        _warn(targets, specs, names)
        request = RunRequest(secrets.token_hex(16), targets, specs, names, deadline)
        return await _measure(asked, mesh, request, agents)


async def _measure(asked: ProbeAsked, mesh: Mesh, request: RunRequest, agents: Sequence[AgentInfo]) -> int:
    must_fail = asked.options.expect_fail
    assembly = Assembly(request, time.time_ns(), expect_fail=must_fail, strict=asked.strict)
    table = asked.output in (Format.TABLE, Format.WIDE)
    interrupted = await run_shown(mesh, request, assembly, table=table, strict=asked.strict, ci=asked.ci)
    results = with_findings(assembly.results(), agents)
    if must_fail:
        results = tuple(replace(result, findings=kept(result.findings)) for result in results)
    print_results(results, asked.output, asked.strict, asked.ci)
    return exit_code(results, asked.strict, interrupted)


def parse_targets(texts: Sequence[str]) -> tuple[Target, ...]:
    """Each TARGET once, in the order given."""
    found = {target.text: target for target in map(parse_target, texts)}
    return tuple(found.values())


def _check_from(selector: str | None, context: MeshContext | None, here: bool) -> None:
    if not here:
        note("note: this is not Linux: self is left out, only agents measure")
    if context is not None:
        return
    if not here:
        raise NotFound("no mesh is configured, and this machine cannot measure by itself", "meshctl init")
    if selector is None:
        note("note: no mesh is configured: only this machine measures (meshctl init, join or demo)")


def _choose(asked: ProbeAsked, agents: Sequence[AgentInfo], here: bool) -> tuple[str, ...]:
    default = f"all,{SELF}" if here else "all"
    return select(default if asked.from_ is None else asked.from_, asked.exclude, asked.limit, agents, here)


def _warn(targets: Sequence[Target], specs: Sequence[Spec], names: Sequence[str]) -> None:
    for target in targets:
        for port in expand_ports(target.ports):
            if port in LOCKS_OUT and target.kind in (None, Kind.TCP):
                server = LOCKS_OUT[port]
                note(
                    f"warning: {server} servers (port {port}) lock out hosts that connect and leave too often"
                )
    ports = sum(count_ports(target.ports) for target in targets if count_ports(target.ports) > 1)
    total = ports * len(names)
    if total >= ANNOUNCE:
        tcp = all(isinstance(spec, TcpSpec) for spec in specs)
        what = "connections" if tcp else "probes or more"
        asked = f"{counted(ports, 'port')} from {counted(len(names), 'vantage point')}"
        note(f"note: {asked}: {total} {what}")
