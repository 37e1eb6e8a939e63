"""What ``meshctl probe`` does: read, choose, run, diagnose, print, and the exit code."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from probemesh_shared.clock import Clock, SystemClock
from probemesh_shared.errors import InvalidRequest, NotFound
from probemesh_shared.model import AgentInfo, HttpSpec, Spec, Target, TargetResult, TcpSpec, TlsSpec
from probemesh_shared.outcomes import exit_code
from probemesh_shared.selectors import LAST, SELF, check_agent, check_selection, needs_last_run, select
from probemesh_shared.targets import count_ports, expand_ports, parse_target
from probemesh_shared.words import Kind

from probemesh_controller.api import Mesh, RunRequest
from probemesh_controller.cli import connect
from probemesh_controller.cli.again import ONCE, Again, Plan, plan_of
from probemesh_controller.cli.expansion import confirm, expand
from probemesh_controller.cli.flags import chosen_context, load_config, note
from probemesh_controller.cli.following import follow
from probemesh_controller.cli.keeping import Done, header_of, keep, last_run, required_history
from probemesh_controller.cli.output import Format, print_results, print_share
from probemesh_controller.cli.running import run_shown
from probemesh_controller.cli.specs import LONGEST_S, Asked, build_specs, default_deadline, fields, saved
from probemesh_controller.cli.specs.http import sends_in_the_clear
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
    again: Again = ONCE
    share: bool = False
    module: str | None = None
    no_trace: bool = False  # else it is traced afterwards where it fails
    yes: bool = False  # large as it may be


def with_module(asked: ProbeAsked, name: str, typed: frozenset[str]) -> ProbeAsked:
    """What was asked for, with the options of a module where the command line (``typed``) says nothing."""
    config = load_config()
    module = saved.find(name, saved.tables(config, chosen_context()), config.path)
    of_the_run = {key: value for key, value in module.options.items() if key in fields.OF_THE_RUN}
    wins = {key: value for key, value in of_the_run.items() if fields.option(key) not in typed}
    return replace(asked, options=saved.applied(asked.options, module, typed), module=module.name, **wins)


async def run_probe(asked: ProbeAsked) -> int:
    """Returns the exit code; raises MeshError where nothing could be run."""
    plan = plan_of(asked.again, asked.output, asked.share)
    if plan is not None and plan.until is not None and asked.options.expect_fail:
        raise InvalidRequest("--until and --expect-fail exclude each other", "--until unreachable says it")
    targets = parse_targets(with_last(asked.targets))
    specs = _specs(asked, targets)
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
        names = _choose(asked, agents, here, context)
        for target in targets:
            if target.agent is not None:
                check_agent(target.agent, agents)
        _warn(targets, specs, names)
        confirm(expand(targets, specs, len(names)), asked.yes)
        _warn_of_credentials(targets, specs)
        request = RunRequest(secrets.token_hex(16), targets, specs, names, deadline)
        run = _Run(asked, mesh, request, agents, context)
        return await (run.once() if plan is None else run.again(plan, SystemClock()))


def _specs(asked: ProbeAsked, targets: Sequence[Target]) -> tuple[Spec, ...]:
    """A refusal that a module has its part in names it."""
    try:
        return build_specs(asked.options, targets)
    except InvalidRequest as refused:
        if asked.module is None:
            raise
        raise InvalidRequest(f"{refused} (with module {asked.module})", refused.hint) from None


@dataclass(frozen=True, slots=True)
class _Run:
    """All that is known before the first packet."""

    asked: ProbeAsked
    mesh: Mesh
    request: RunRequest
    agents: Sequence[AgentInfo]
    context: MeshContext | None

    def begin(self, request: RunRequest, started_ns: int) -> Assembly:
        must_fail = self.asked.options.expect_fail
        return Assembly(request, started_ns, expect_fail=must_fail, strict=self.asked.strict)

    def conclude(
        self, assembly: Assembly, measured: tuple[TargetResult, ...] | None = None
    ) -> tuple[TargetResult, ...]:
        results = with_findings(assembly.results() if measured is None else measured, self.agents)
        if self.asked.options.expect_fail:
            results = tuple(replace(result, findings=kept(result.findings)) for result in results)
        return results

    async def once(self) -> int:
        asked, assembly = self.asked, self.begin(self.request, time.time_ns())
        began = time.monotonic()
        table = asked.output in (Format.TABLE, Format.WIDE)
        interrupted = await run_shown(
            self.mesh, self.request, assembly, table=table, strict=asked.strict, ci=asked.ci
        )
        measured = assembly.results()
        if not asked.no_trace and not interrupted:
            left_s = self.request.deadline_s - (time.monotonic() - began)
            after = await follow(self.mesh, measured, self.agents, self.context, left_s)
            measured, interrupted = after.results, after.interrupted
        results = self.conclude(assembly, measured)
        code = exit_code(results, asked.strict, interrupted)
        return self._finish(Done(self.request.run_id, results, code, interrupted))

    async def again(self, plan: Plan, clock: Clock) -> int:
        """Rounds until the plan is fulfilled; the last whole one is kept, however the end came."""
        from probemesh_controller.cli.repeating import Repetition, Rounds, interruptible, repeat
        from probemesh_controller.cli.screens import ending_text, screen_for

        asked, done = self.asked, Repetition()
        screen = screen_for(plan, asked.output, asked.strict, asked.ci)
        try:
            async with interruptible() as stop:
                measure = Rounds(
                    self.mesh, self.request, self.agents, clock, stop, screen, self.begin, self.conclude
                )
                await repeat(plan, measure, clock, stop, screen, asked.strict, done)
        finally:
            screen.close()
            if done.results is not None:
                last = Done(done.run_id, done.results, done.code, done.cut, done.rounds)
                self._finish(last, show=plan.until is not None)
        if plan.until is not None and done.code != 130:
            note(ending_text(plan, done.code, done.rounds))
        return done.code

    def _finish(self, done: Done, show: bool = True) -> int:
        """Prints, and keeps what was printed even where nobody read it to its end."""
        header = header_of(done, self.context.name if self.context is not None else None, self.asked.strict)
        try:
            if show and self.asked.share:
                print_share(header, done.results)
            elif show:
                print_results(done.results, self.asked.output, self.asked.strict, self.asked.ci)
        finally:
            keep(header, done.results)
        return done.code


def with_last(texts: Sequence[str]) -> tuple[str, ...]:
    """``@last`` becomes the TARGETs of the last run. Raises NotFound where there is none."""
    if LAST not in texts:
        return tuple(texts)
    before = required_history().last().targets
    return tuple(word for text in texts for word in (before if text == LAST else (text,)))


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


def _choose(
    asked: ProbeAsked, agents: Sequence[AgentInfo], here: bool, context: MeshContext | None
) -> tuple[str, ...]:
    selector = asked.from_ if asked.from_ is not None else f"all,{SELF}" if here else "all"
    last = last_run(context) if needs_last_run(selector, asked.exclude) else None
    return select(selector, asked.exclude, asked.limit, agents, here, last)


def _warn_of_credentials(targets: Sequence[Target], specs: Sequence[Spec]) -> None:
    for spec in specs:
        for text in sends_in_the_clear(spec, targets) if isinstance(spec, HttpSpec) else ():
            note(f"warning: credentials go to {text} in the clear, for everybody on the way to read")


def _warn(targets: Sequence[Target], specs: Sequence[Spec], names: Sequence[str]) -> None:
    for target in targets:
        for port in expand_ports(target.ports):
            if port in LOCKS_OUT and target.kind in (None, Kind.TCP):
                server = LOCKS_OUT[port]
                note(
                    f"warning: {server} servers (port {port}) lock out hosts that connect and leave too often"
                )
    if any(isinstance(spec, TlsSpec) and spec.enumerate for spec in specs):
        each = f"to each address and port, from {counted(len(names), 'vantage point')}"
        note(f"note: --enumerate opens some 20 to 150 connections, one after the other, {each}")
    ports = sum(count_ports(target.ports) for target in targets if count_ports(target.ports) > 1)
    total = ports * len(names)
    if total >= ANNOUNCE:
        tcp = all(isinstance(spec, TcpSpec) for spec in specs)
        what = "connections" if tcp else "probes or more"
        asked = f"{counted(ports, 'port')} from {counted(len(names), 'vantage point')}"
        note(f"note: {asked}: {total} {what}")
