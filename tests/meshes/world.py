"""Agents and files for tests of meshes."""

from probemesh_controller.meshes.reading import FileProblems, read
from probemesh_shared.model import AgentInfo
from probemesh_shared.words import AgentState

NOW_NS = 1_795_780_800_000_000_000  # 2026-11-27T12:00:00Z
MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS


def agent(name, site=None, state=AgentState.CONNECTED, **labels):
    return AgentInfo(name, site or name.rpartition("-")[0], labels, state, id=f"id-{name}")


FLEET = (
    agent("berlin-1", role="db"),
    agent("berlin-2", role="web"),
    agent("tokyo-1", role="db"),
    agent("tokyo-2", state=AgentState.LOST),
    agent("oslo-1", state=AgentState.REVOKED, role="db"),
)


def file(text):
    return read(text, "meshes.toml")


def schedule(mesh, more='every = "1m"', **groups):
    """One schedule over one mesh."""
    said = "".join(f'{name} = "{selector}"\n' for name, selector in groups.items())
    return file(
        f'[groups]\n{said}[[mesh]]\nname = "m"\n{mesh}\n[[schedule]]\nname = "s"\nmesh = "m"\n{more}\n'
    ).schedules[0]


def problems(text):
    """Each as ``line: text (hint)``."""
    try:
        file(text)
    except FileProblems as error:
        return [problem.at("").removeprefix(":") for problem in error.problems]
    return []
