"""What ``meshctl matrix run`` does: choose, measure, print, and the exit code."""

import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from probemesh_shared.clock import SystemClock
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.model import AgentInfo
from probemesh_shared.selectors import SELF, check_selection
from probemesh_shared.words import Family

from probemesh_controller.api import Mesh
from probemesh_controller.cli import connect
from probemesh_controller.cli.expansion import Expansion, confirm
from probemesh_controller.cli.flags import note, required_context, use_color
from probemesh_controller.cli.output import Format, print_value, terminal_width, write
from probemesh_controller.cli.signals import until_interrupted
from probemesh_controller.cli.specs.values import within
from probemesh_controller.cli.statusline import FIRST_NOTE_S, NEXT_NOTE_S, StatusLine
from probemesh_controller.demand import demand
from probemesh_controller.matrix.batches import Task
from probemesh_controller.matrix.cells import CellSeen, Matrix, matrix_exit_code
from probemesh_controller.matrix.choosing import Wanted, choose
from probemesh_controller.matrix.collapsing import causes
from probemesh_controller.matrix.measuring import Measuring
from probemesh_controller.meshes.aiming import spec_of
from probemesh_controller.meshes.reading import load


@dataclass(frozen=True, slots=True)
class MatrixAsked:
    """The command line."""

    file: Path | None = None
    mesh: str | None = None
    from_: str | None = None
    to: str | None = None
    kinds: tuple[str, ...] = ()
    count: int | None = None
    timeout: float | None = None
    deadline: float | None = None
    ipv4: bool = False
    ipv6: bool = False
    yes: bool = False
    output: Format = Format.TABLE

    @property
    def wanted(self) -> Wanted:
        family = Family.IPV4 if self.ipv4 else Family.IPV6 if self.ipv6 else Family.BOTH
        return Wanted(self.mesh, self.from_, self.to, self.kinds, self.count, self.timeout, family)


async def run_matrix(asked: MatrixAsked) -> int:
    """Returns the exit code; raises MeshError where nothing could be measured."""
    _check(asked)
    file = None if asked.file is None else load(asked.file)
    context = required_context()
    async with connect.opened(context) as mesh:
        agents = tuple(agent for agent in await mesh.agents() if agent.name != SELF)
        connect.remember_names(context, agents)
        tasks = choose(file, asked.wanted, agents)
        confirm(_expansion(tasks), asked.yes)
        began_ns = time.time_ns()
        cells, interrupted = await _measure(mesh, tasks, agents, asked.deadline)
    name = asked.mesh or (", ".join(one.name for one in file.meshes) if file is not None else None)
    matrix = Matrix(cells, began_ns, name, interrupted, causes(cells, agents))
    print_matrix(matrix, asked.output)
    return matrix_exit_code(matrix)


def print_matrix(matrix: Matrix, wanted: Format) -> None:
    """In any format."""
    from probemesh_controller.render import grid, matrixout

    if wanted in (Format.TABLE, Format.WIDE):
        write(grid.render(matrix, terminal_width(), use_color(sys.stdout), wanted is Format.WIDE))
    elif wanted is Format.CSV:
        write(matrixout.csv_of(matrix))
    elif wanted is Format.JSONL:
        for one in matrix.cells:
            print_value(matrixout.cell_to_json(one), wanted)
    else:
        print_value(matrixout.to_json(matrix), wanted)


def _check(asked: MatrixAsked) -> None:
    if asked.ipv4 and asked.ipv6:
        raise InvalidRequest("-4 and -6 exclude each other", "give neither to try both families")
    within("--count", asked.count, 1, 1000)
    within("--timeout", asked.timeout, 0.05, 60)
    within("--deadline", asked.deadline, 0.1, 3600)
    check_selection(asked.from_, None, None)
    if asked.to is not None and ":" not in asked.to:
        check_selection(asked.to, None, None)


def _expansion(tasks: Sequence[Task]) -> Expansion:
    """What it comes to; loopback is not looked for, as agents' addresses are the dispatcher's affair."""
    sources = {task.aim.cell.source for task in tasks}
    targets = {task.aim.cell.target for task in tasks}
    parts = [demand(spec_of(task.aim, task.options), task.aim.target) for task in tasks]
    packets, connects = sum(part.packets for part in parts), sum(part.connects for part in parts)
    return Expansion(len(sources), len(targets), len(targets), packets, connects)


async def _measure(
    mesh: Mesh, tasks: Sequence[Task], agents: Sequence[AgentInfo], deadline: float | None
) -> tuple[tuple[CellSeen, ...], bool]:
    """What was seen, and whether it was interrupted: then it is what was seen by then."""
    shown = _Progress(len(tasks))
    work = Measuring(mesh, SystemClock(), tasks, agents, secrets.token_bytes, deadline, shown.take)
    try:
        _, interrupted = await until_interrupted(work.run())
    finally:
        shown.close()
    return work.seen(), interrupted


class _Progress:
    """On stderr: a line drawn over on a terminal, else notes once it takes longer."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._line = StatusLine()
        self._started = time.monotonic()
        self._next = self._started + FIRST_NOTE_S
        self._step = ""

    def take(self, said: str, cells: int) -> None:
        now = time.monotonic()
        self._step = said or (self._step if not cells else "")
        doing = f", {escape(self._step, 90)}" if self._step else ""
        text = f"{now - self._started:4.1f} s  {min(cells, self._total)} of {self._total} cells{doing}"
        if self._line.live:
            self._line.show(text)
        elif now >= self._next:
            self._next = now + NEXT_NOTE_S
            note(text)

    def close(self) -> None:
        self._line.close()
