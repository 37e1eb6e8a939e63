"""What ``meshctl controller check-config`` does: read, ask who is there, explain, and the exit code."""

import sys
import time
from pathlib import Path

from probemesh_shared.errors import MeshError
from probemesh_shared.escape import escape
from probemesh_shared.model import AgentInfo

from probemesh_controller.cli import connect
from probemesh_controller.cli.flags import chosen_context, note, use_color
from probemesh_controller.cli.output import Format, print_value, write
from probemesh_controller.meshes.explaining import Explained, explain
from probemesh_controller.meshes.model import Problem
from probemesh_controller.meshes.reading import FileProblems, load
from probemesh_controller.render import checkconfig


async def check_config(path: Path, offline: bool, wanted: Format) -> int:
    """0: good; 1: it can be read, but means somebody who is not there or exceeds a budget; 2: it cannot be
    read."""
    try:
        file = load(path)
    except FileProblems as error:
        _print_problems(error.file, error.problems, wanted)
        return 2
    explained = explain(file, None if offline else await _agents(), time.time_ns())
    _print(explained, wanted)
    return 1 if explained.warnings or explained.over else 0


async def _agents() -> tuple[AgentInfo, ...] | None:
    context = chosen_context()
    if context is None:
        note("note: no mesh is configured here: what the file says of agents is not checked")
        return None
    try:
        async with connect.opened(context) as mesh:
            return await mesh.agents()
    except MeshError as error:
        said = f"{escape(str(error), 300)}: what the file says of agents is not checked"
        note(f"note: {said}")
        return None


def _print(explained: Explained, wanted: Format) -> None:
    if wanted in (Format.TABLE, Format.WIDE):
        write(checkconfig.render(explained, use_color(sys.stdout)))
    else:
        print_value(checkconfig.to_json(explained), wanted)


def _print_problems(file: str, problems: tuple[Problem, ...], wanted: Format) -> None:
    if wanted in (Format.TABLE, Format.WIDE):
        write(checkconfig.problems_text(file, problems, use_color(sys.stdout)))
    else:
        print_value(checkconfig.problems_json(file, problems), wanted)
