"""What ``meshctl check`` does: read, aim, measure, judge, print, and the exit code."""

import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from probemesh_shared.errors import InvalidRequest, NotFound, StateError
from probemesh_shared.escape import escape
from probemesh_shared.model import AgentInfo, Spec, Target, TargetResult
from probemesh_shared.selectors import SELF

from probemesh_controller.api import Mesh, RunRequest
from probemesh_controller.cli import connect
from probemesh_controller.cli.check import CheckFormat
from probemesh_controller.cli.expansion import confirm, expand
from probemesh_controller.cli.flags import chosen_context, note, use_color
from probemesh_controller.cli.output import Format, print_value, write
from probemesh_controller.cli.probing import parse_targets
from probemesh_controller.cli.running import run_shown
from probemesh_controller.cli.specs import Asked, build_specs, default_deadline
from probemesh_controller.collapse import Explanation
from probemesh_controller.collapse.wording import sentence
from probemesh_controller.contracts import judging, junit, learning, wording
from probemesh_controller.contracts.model import Aimed, Clause, Contract, Held, exit_code
from probemesh_controller.contracts.reading import ContractProblems, load
from probemesh_controller.results import Assembly

Group = tuple[tuple[str, ...], tuple[Spec, ...]]


async def run_check(file: str, learning_options: bool, yes: bool, output: CheckFormat) -> int:
    """Returns the exit code; raises MeshError where nothing could be run."""
    if learning_options:
        raise InvalidRequest(
            "--from and --to belong to --learn", "a contract says itself from where to where"
        )
    try:
        contract = load(Path(file))
    except ContractProblems as refused:
        for problem in refused.problems[1:]:
            note(f"error: {problem}")
        raise
    held, agents, interrupted = await _measure(contract, yes)
    found = judging.causes(held, agents)
    _print(contract.file, held, found, output, interrupted)
    return exit_code(held, interrupted)


async def run_learn(file: str, from_: str | None, to: tuple[str, ...], yes: bool) -> int:
    """Writes the file; 0, or 4 and no file where nothing was measured."""
    if not to:
        raise InvalidRequest("--learn has nobody to ask for", "give --to TARGET, once or more")
    if _is_there(file):
        raise StateError(f"{escape(file, 200)} is there already", "learn into another file, and compare")
    asked = Asked()
    targets = parse_targets(to)
    specs = build_specs(asked, targets)
    clause = Clause("learn", True, from_ or "all", None, targets, None, (), None, specs, None)
    contract = Contract("--learn", (clause,), default_deadline(asked))
    (held,), _, interrupted = await _measure(contract, yes)
    if interrupted:
        return 130
    if not learning.declares(held):
        raise NotFound("nothing was measured that a contract could say", f"meshctl probe {to[0]}")
    _create(file, learning.write(held))
    note(f"{escape(file, 200)} is written: meshctl check {escape(file, 200)}")
    return 0


def _is_there(path: str) -> bool:
    return os.path.lexists(path)


def _create(path: str, text: str) -> None:
    try:
        with Path(path).open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise StateError(f"{escape(path, 200)} cannot be written: {said}") from error


async def _measure(contract: Contract, yes: bool) -> tuple[tuple[Held, ...], tuple[AgentInfo, ...], bool]:
    """Clauses that ask the same of the same agents share a run; runs go one after the other."""
    context = chosen_context()
    here = connect.self_available() and any(SELF in clause.from_ for clause in contract.clauses)
    if context is None and not here:
        raise NotFound("no mesh is configured", "meshctl init, join or demo")
    async with connect.opened(context, with_self=here) as mesh:
        agents = tuple(agent for agent in await mesh.agents() if agent.name != SELF)
        aimed = judging.aim(contract, agents, here)
        results: dict[Group, dict[str, TargetResult]] = {}
        interrupted = False
        groups = _groups(aimed)
        for (sources, specs), targets in groups.items():
            confirm(expand(targets, specs, len(sources)), yes)
        for group, targets in groups.items():
            measured, interrupted = await _run(mesh, group, targets, contract.deadline_s, interrupted)
            results[group] = measured
        held = tuple(judging.hold(one, results[_group(one)]) for one in aimed)
        return held, agents, interrupted


def _group(aimed: Aimed) -> Group:
    return aimed.sources, aimed.clause.specs


def _groups(aimed: Sequence[Aimed]) -> dict[Group, tuple[Target, ...]]:
    found: dict[Group, dict[str, Target]] = {}
    for one in aimed:
        found.setdefault(_group(one), {}).update({target.text: target for target in one.targets})
    return {group: tuple(targets.values()) for group, targets in found.items()}


async def _run(
    mesh: Mesh, group: Group, targets: tuple[Target, ...], deadline_s: float, interrupted: bool
) -> tuple[dict[str, TargetResult], bool]:
    """What was interrupted before is not begun: its results say that nobody measured."""
    sources, specs = group
    request = RunRequest(secrets.token_hex(16), targets, specs, sources, deadline_s)
    assembly = Assembly(request)
    if not interrupted:
        interrupted = await run_shown(mesh, request, assembly, table=False, strict=False, ci=False)
    return {result.target.text: result for result in assembly.results()}, interrupted


def _print(
    file: str, held: tuple[Held, ...], found: Explanation, output: CheckFormat, interrupted: bool
) -> None:
    if output is CheckFormat.TABLE:
        write(wording.render(held, found, use_color(sys.stdout)))
    elif output is CheckFormat.JUNIT:
        write(junit.render(file, held, [sentence(cause) for cause in found.causes]))
    else:
        print_value(wording.check_to_json(file, held, found, interrupted), Format(output.value))
