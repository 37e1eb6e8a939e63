"""The file: read strictly, everything that is wrong with it told at once, each with its line. Pure but for
:func:`load`."""

import re
import tomllib
from pathlib import Path as FilePath

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape

from probemesh_controller.meshes.ends import Reader, read_groups
from probemesh_controller.meshes.filetext import load_text
from probemesh_controller.meshes.lines import Lines
from probemesh_controller.meshes.model import Budget, MeshFile, Problem
from probemesh_controller.meshes.readmesh import read_mesh
from probemesh_controller.meshes.readschedule import read_budget, read_schedule
from probemesh_controller.meshes.readwindow import read_window
from probemesh_controller.meshes.shape import BudgetToml, MeshFileToml, MeshToml, ScheduleToml, WindowToml
from probemesh_controller.meshes.table import Report, Table

_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)\Z")
_AT_END = re.compile(r" \(at end of document\)\Z")


class FileProblems(InvalidRequest):
    """A file that cannot be used. The message is the first problem; all of them are ``problems``."""

    def __init__(self, file: str, problems: tuple[Problem, ...]) -> None:
        first, more = problems[0], len(problems) - 1
        hint = f"and {more} more: meshctl controller check-config {file}" if more else first.hint
        super().__init__(Problem(first.line, first.text).at(file), hint)
        self.file = file
        self.problems = problems


def load(path: FilePath) -> MeshFile:
    """Raises :class:`FileProblems`, and :class:`StateError` for what cannot be opened."""
    name, text = load_text(path, FileProblems)
    return read(text, name)


def read(text: str, name: str) -> MeshFile:
    """``name`` stands in what is said about it. Raises :class:`FileProblems`."""
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise FileProblems(name, (_syntax(str(error), text),)) from error
    report = Report(Lines(text))
    made = _read(Table(report, (), tables, MeshFileToml), name)
    if report.problems:
        ordered = sorted(report.problems, key=lambda problem: problem.line or 0)
        raise FileProblems(name, tuple(ordered))
    return made


def _read(table: Table, name: str) -> MeshFile:
    report = table.report
    reader = Reader(report, read_groups(report, table))
    meshes, unread = {}, set[str]()
    for one in table.tables("mesh", MeshToml):
        mesh = read_mesh(one, reader)
        if mesh is None:
            unread.add(one.raw_name)
        elif mesh.name in meshes:
            one.say("name", f"there is another mesh '{mesh.name}'", "give each its own name")
        else:
            meshes[mesh.name] = mesh
    schedules, unread_schedules = {}, set[str]()
    for one in table.tables("schedule", ScheduleToml):
        schedule = read_schedule(one, meshes, unread)
        if schedule is None:
            unread_schedules.add(one.raw_name)
        elif schedule.name in schedules:
            one.say("name", f"there is another schedule '{schedule.name}'", "give each its own name")
        else:
            schedules[schedule.name] = schedule
    known = [*schedules, *unread_schedules]
    windows = [read_window(one, reader, known) for one in table.tables("window", WindowToml)]
    budget = read_budget(table.table("budget", BudgetToml)) if "budget" in table else Budget()
    return MeshFile(
        name,
        tuple(reader.groups.values()),
        tuple(meshes.values()),
        tuple(schedules.values()),
        tuple(window for window in windows if window is not None),
        budget,
    )


def _syntax(said: str, text: str) -> Problem:
    """tomllib's own words, with the line that stands in them."""
    at_line, at_end = _AT_LINE.search(said), _AT_END.search(said)
    line = int(at_line[1]) if at_line else text.count("\n") + 1 if at_end else None
    words = _AT_END.sub("", _AT_LINE.sub("", said))
    return Problem(
        line, f"this is no TOML: {escape(words[:1].lower() + words[1:], 200)}", _toml_hint(text, line)
    )


def _toml_hint(text: str, line: int | None) -> str:
    lines = text.splitlines()
    shown = lines[line - 1] if line is not None and line <= len(lines) else ""
    if re.match(r"\s*[A-Za-z_-]+\s*=\s*[A-Za-z*]", shown) and not re.search(r"=\s*(true|false)\b", shown):
        return "texts stand in quotes"
    if re.match(r"\s*[A-Za-z_-]+\s*:", shown):
        return "write key = value, not key: value"
    return "look for a quote or bracket that is not closed, or a key that stands twice"
