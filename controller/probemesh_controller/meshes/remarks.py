"""What a file says of agents, held against who is there. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from probemesh_shared.escape import escape
from probemesh_shared.model import AgentInfo
from probemesh_shared.names import did_you_mean
from probemesh_shared.selectors import fits
from probemesh_shared.words import AgentState

from probemesh_controller.meshes.expanding import expand
from probemesh_controller.meshes.model import Mesh, MeshFile, Problem, Rule, Who

_GLOB = frozenset("*?[")
_NOBODY_YET = "no agent has joined yet: meshctl token create prints the line that joins a host"


def remarks(file: MeshFile, agents: Iterable[AgentInfo]) -> tuple[Problem, ...]:
    """Selectors that mean nobody, names that nobody bears, schedules without a pair; in the order of the
    lines, each once."""
    there = [agent for agent in agents if agent.state is not AgentState.REVOKED]
    found: dict[Problem, None] = {}
    for who in _everybody_named(file):
        found |= dict.fromkeys(_of(who, there, [group.text for group in file.groups]))
    for schedule in file.schedules:
        if not expand(schedule, there).aims:
            text = f"the schedule '{schedule.name}' has no pair to measure"
            found[Problem(schedule.line, text, f"see the mesh '{schedule.mesh.name}'")] = None
    return tuple(sorted(found, key=lambda problem: problem.line or 0))


def _everybody_named(file: MeshFile) -> Iterator[Who]:
    yield from file.groups
    named = (
        *(who for mesh in file.meshes for who in _in_mesh(mesh)),
        *(who for window in file.windows for who in window.agents),
    )
    groups = {group.text for group in file.groups}
    yield from (who for who in named if who.text not in groups and who.line is not None)


def _in_mesh(mesh: Mesh) -> Iterator[Who]:
    yield from mesh.out
    for rule in (*mesh.rules, *mesh.never):
        yield from _in_rule(rule)


def _in_rule(rule: Rule) -> Iterator[Who]:
    yield from rule.sources
    yield from (end.who for end in rule.ends if end.who is not None)


def _of(who: Who, agents: Sequence[AgentInfo], groups: Sequence[str]) -> Iterator[Problem]:
    terms = [term.strip() for term in re.split("[,+]", who.selector)]
    problems = [said for term in terms if (said := _of_term(term, agents, groups)) is not None]
    for text, hint in problems:
        yield Problem(who.line, text, hint)
    if not problems and not any(fits(who.selector, agent) for agent in agents):
        shown = escape(who.selector, 80)
        of = f"the group '{who.text}' ({shown})" if who.text != who.selector else f"'{shown}'"
        hint = "meshctl agents list shows names, sites and labels" if agents else _NOBODY_YET
        yield Problem(who.line, f"{of} matches no agent", hint)


def _of_term(term: str, agents: Sequence[AgentInfo], groups: Sequence[str]) -> tuple[str, str] | None:
    key, equals, pattern = term.partition("=")
    shown = escape(term, 60)
    if not agents or (not equals and (term == "all" or _GLOB & set(term))):
        return None
    if not equals:
        names = [agent.name for agent in agents]
        if term in names:
            return None
        hint = did_you_mean(term, [*groups, *names]) or "meshctl agents list shows who is there"
        return f"there is no agent or group called '{shown}'", hint
    if key == "site":
        return _of_values(f"no agent is of the site '{escape(pattern, 60)}'", pattern, _sites(agents))
    keys = sorted({label for agent in agents for label in agent.labels})
    if key not in keys:
        hint = did_you_mean(key, ["site", *keys]) or f"known labels: {', '.join(keys[:12]) or 'none'}"
        return f"no agent has a label '{escape(key, 60)}'", hint
    values = sorted({agent.labels[key] for agent in agents if key in agent.labels})
    return _of_values(f"no agent has the label '{shown}'", pattern, values)


def _of_values(text: str, pattern: str, values: Sequence[str]) -> tuple[str, str] | None:
    if any(fnmatchcase(value, pattern) for value in values):
        return None
    return text, did_you_mean(pattern, values) or f"known: {', '.join(values[:12]) or 'none'}"


def _sites(agents: Iterable[AgentInfo]) -> list[str]:
    return sorted({agent.site for agent in agents if agent.site})
