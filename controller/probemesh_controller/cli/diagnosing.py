"""What ``meshctl diagnose`` does: read, drive, conclude, keep, print, and the exit code."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from probemesh_shared.clock import SystemClock
from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.escape import escape
from probemesh_shared.interrupts import INTERRUPTED, NOTHING_YET
from probemesh_shared.model import AgentInfo, Diagnosis
from probemesh_shared.outcomes import diagnosis_exit_code
from probemesh_shared.selectors import SELF

from probemesh_controller.api import Mesh
from probemesh_controller.cli import connect
from probemesh_controller.cli.flags import note, required_context
from probemesh_controller.cli.output import Shown, print_diagnosis
from probemesh_controller.cli.pairs import OneEnded, PairAsked, check, read
from probemesh_controller.cli.signals import until_interrupted
from probemesh_controller.cli.steps_shown import StepsShown
from probemesh_controller.history.codec import BadRecord
from probemesh_controller.pair import saved
from probemesh_controller.pair.case import Asked, Case
from probemesh_controller.pair.conclude import conclude
from probemesh_controller.pair.drive import Driver
from probemesh_controller.pair.paths import with_paths


async def run_diagnose(asked: PairAsked) -> int:
    """Returns the exit code; raises MeshError where nothing could be asked."""
    check(asked)
    if asked.replay is not None:
        kept = load(Path(asked.replay))
        return _show(asked, kept, _concluded(kept, asked.replay), replayed=True)
    if asked.save is not None:
        _check_writable(Path(asked.save))
    context = required_context()
    case: Case | None = None
    interrupted = False
    try:
        async with connect.opened(context) as mesh:
            agents = tuple(agent for agent in await mesh.agents() if agent.name != SELF)
            connect.remember_names(context, agents)
            pair = read(asked, agents)
            if isinstance(pair, Asked):
                case, interrupted = await _drive(mesh, pair)
    except asyncio.CancelledError:  # before the driver had it: asyncio's own answer to an interrupt
        note(NOTHING_YET)
        return INTERRUPTED
    if isinstance(pair, OneEnded):
        return await _one_ended(asked, pair, agents)
    if case is None or (interrupted and not case.rounds):
        note(NOTHING_YET)
    if case is None:
        return INTERRUPTED
    if asked.save is not None:
        _save(case, Path(asked.save))
    return _show(asked, case, with_paths(case, conclude(case)), interrupted=interrupted)


async def _drive(mesh: Mesh, pair: Asked) -> tuple[Case | None, bool]:
    """The case, and whether it was interrupted; then it is what was known by then, None where that was
    nothing."""
    shown = StepsShown()
    driver = Driver(mesh, pair, SystemClock(), on_progress=shown.take)
    try:
        case, interrupted = await until_interrupted(driver.run())
    finally:
        shown.close()
    return (driver.case if interrupted else case), interrupted


def _show(
    asked: PairAsked,
    case: Case,
    diagnosis: Diagnosis,
    *,
    replayed: bool = False,
    interrupted: bool = False,
) -> int:
    print_diagnosis(Shown(case, diagnosis, replayed, interrupted), asked.output, asked.ticket)
    return diagnosis_exit_code(diagnosis, interrupted)


async def _one_ended(asked: PairAsked, pair: OneEnded, agents: Sequence[AgentInfo]) -> int:
    """All vantage points look at a target that has no agent, FROM among them."""
    from probemesh_controller.cli.probing import ProbeAsked, run_probe
    from probemesh_controller.cli.specs import Asked as Options

    text = pair.target.text
    note(f"note: {escape(text, 80)} is no agent: asked from one end, by {pair.source} and all other agents")
    everybody = f"all,{SELF}" if pair.source == SELF else "all"
    options = Options(ipv4=asked.ipv4, ipv6=asked.ipv6)
    wanted = ProbeAsked(
        (text,), options, everybody if agents else SELF, deadline=asked.deadline, output=asked.output
    )
    return await run_probe(wanted)


# --- kept cases -------------------------------------------------------------------------------------------


def _check_writable(path: Path) -> None:
    """Before anything is sent."""
    folder = path.parent
    if path.is_dir() or not folder.is_dir():
        raise InvalidRequest(f"--save {escape(str(path), 200)}: there is no such folder, or it is one")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise InvalidRequest(f"--save {escape(str(path), 200)}: it cannot be written")


def _save(case: Case, path: Path) -> None:
    from importlib.metadata import version

    try:
        path.write_text(saved.to_text(case, version("probemesh")), "utf-8")
    except OSError as error:
        raise StateError(f"the case could not be saved in {path}: {error.strerror}") from error
    shown = escape(str(path), 200)
    note(f"saved in {shown}; meshctl diagnose --replay {shown} concludes from it again")


def load(path: Path) -> Case:
    """Raises InvalidRequest, with what is wrong with the file."""
    shown = escape(str(path), 200)
    try:
        with path.open("rb") as file:
            data = file.read(saved.LARGEST + 1)
    except OSError as error:
        raise InvalidRequest(f"--replay {shown}: {error.strerror}") from error
    if len(data) > saved.LARGEST:
        raise InvalidRequest(f"--replay {shown}: it is too large to be a saved diagnosis")
    try:
        return saved.from_text(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise InvalidRequest(f"--replay {shown}: it is no text") from None
    except BadRecord as error:
        raise InvalidRequest(f"--replay {shown}: {error}") from None


def _concluded(case: Case, name: str) -> Diagnosis:
    """A file that somebody wrote may hold what no agent would tell."""
    try:
        return with_paths(case, conclude(case))
    except Exception as error:
        raise InvalidRequest(
            f"--replay {escape(name, 200)}: nothing can be concluded from it: {type(error).__name__}"
        ) from error
