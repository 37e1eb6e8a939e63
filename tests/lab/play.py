"""Plays many labs, several at once, and judges what meshctl diagnose says of each.

A worker has one stage with one mesh at a time and plays on it whatever belongs there; between labs only
rules and services change. ::

    python -m tests.lab.play L02 L03 --jobs 2 --keep /tmp/cases      what is said of these, and is it right?
    python -m tests.lab.play --all --runs 3 --transport tcp --family v4 --bare 0

``--keep DIR`` keeps the saved case (``meshctl diagnose --replay``) of every diagnosis found at fault.
"""

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.judge import Judgement, judge
from tests.lab.labs import Case, Lab, library
from tests.lab.mesh import Mesh
from tests.lab.netlab import NetLab
from tests.lab.programs import AgentProgram, for_nobody
from tests.lab.stage import Stage, prove

CHUNK = 24  # cases that one mesh plays before another worker may have the rest


@dataclass(frozen=True)
class Played:
    """``problem`` is why there is no judgement: something of ours broke. ``seconds`` are of the command.
    ``unlike`` is where the lab is not what it says."""

    case: Case
    judgement: Judgement | None
    said: dict[str, Any] | None
    seconds: float
    problem: str | None = None
    saved: str | None = None
    beside: dict[str, Any] | None = None
    unlike: tuple[str, ...] = ()

    @property
    def faults(self) -> tuple[str, ...]:
        if self.judgement is None:
            return (self.problem or "no judgement",)
        return self.judgement.faults

    @property
    def grave(self) -> bool:
        """Said what must never be said, not even once."""
        if self.judgement is None:
            return False
        directions = self.judgement.directions
        return self.judgement.false_alarm or any(one.overclaim or not one.in_set for one in directions)


#: Looks at a lab that holds, after the diagnosis: what other programs say of it.
Beside = Callable[[Mesh, Case], dict[str, Any] | None]


def chunks(cases: Iterable[Case]) -> list[list[Case]]:
    """By what they can share: topology, and what agents may do. In the order of the first of each."""
    groups: dict[tuple[str, bool, bool], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.lab.topology, case.raw, case.masked), []).append(case)
    return [group[i : i + CHUNK] for group in groups.values() for i in range(0, len(group), CHUNK)]


class Player:
    """``keep`` is where the cases of faulty diagnoses go; None: nowhere. ``proving``: every lab is looked at
    with ordinary sockets as well."""

    def __init__(
        self,
        program: AgentProgram,
        keep: Path | None = None,
        beside: Beside | None = None,
        proving: bool = False,
    ) -> None:
        self.program = program
        self.keep = keep
        self.beside = beside
        self.proving = proving

    def play(self, cases: Sequence[Case]) -> Iterator[Played]:
        """All on one stage; they have to belong together."""
        first = cases[0]
        with ExitStack() as held:
            try:
                folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="probemesh-lab-")))
                folder.chmod(0o755)
                stage = Stage(held.enter_context(NetLab()), library().topologies[first.lab.topology])
                held.callback(stage.close)
                mesh = Mesh(stage, folder, self.program, first.raw, first.masked)
                held.enter_context(mesh.running())
            except (AssertionError, OSError) as fault:
                yield from (Played(case, None, None, 0.0, f"no mesh: {fault}") for case in cases)
                return
            for case in cases:
                yield self._one(stage, mesh, case)

    def _one(self, stage: Stage, mesh: Mesh, case: Case) -> Played:
        saved = mesh.folder / "case.json"
        saved.unlink(missing_ok=True)
        told = None
        try:
            with stage.playing(case):
                told = mesh.diagnose(case, "--save", str(saved), "-o", "json")
                beside = self.beside(mesh, case) if self.beside else None
                unlike = tuple(prove(stage, case)) if self.proving else ()
            stage.check_clean()
            said = told.json()
            judgement = judge(case, stage.topology, said)
        except Exception as fault:
            words = "".join(traceback.format_exception_only(fault)).strip()
            return Played(case, None, None, told.seconds if told else 0.0, words, self._kept(case, saved))
        kept = self._kept(case, saved) if judgement.faults else None
        return Played(case, judgement, said, told.seconds, None, kept, beside, unlike)

    def _kept(self, case: Case, saved: Path) -> str | None:
        if self.keep is None or not saved.exists():
            return None
        self.keep.mkdir(parents=True, exist_ok=True)
        name = self.keep / f"{case.name}-{time.time_ns() // 1_000_000_000}.json"
        shutil.copyfile(saved, name)
        return str(name)


def play_all(player: Player, cases: Iterable[Case], jobs: int, told: Callable[[Played], None]) -> None:
    """Every result goes to ``told``, one at a time."""
    waiting = chunks(cases)
    lock, turn = threading.Lock(), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                chunk = waiting.pop(0)
            for played in player.play(chunk):
                with turn:
                    told(played)

    workers = [threading.Thread(target=work) for _ in range(min(jobs, len(waiting)))]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    except BaseException:
        with lock:
            waiting.clear()
        for worker in workers:
            worker.join()
        raise


def line(played: Played) -> str:
    """What is to be said of one, for people."""
    mark = "ok" if not played.faults else "NO"
    took = f"{played.said['elapsed_s']:.1f} s" if played.said else "–"
    words = "; ".join(played.faults)
    if played.said:
        words = words or " / ".join(played.said[d]["verdict"] for d in ("forward", "reverse"))
    kept = f" [{played.saved}]" if played.saved else ""
    return f"{mark} {played.case.name:<26} {took:>7}  {words}{kept}"


def chosen(asked: argparse.Namespace) -> list[Case]:
    """Every case of the labs that were asked for, thinned by the options."""
    labs = library().labs
    wanted: list[Lab] = list(labs.values())
    if asked.labs:
        wanted = [lab for lab in wanted if any(lab.id == one or lab.id.startswith(one) for one in asked.labs)]
    looks = [case for lab in wanted for case in lab.cases()]
    if asked.family == "both":
        looks = list(dict.fromkeys(Case(case.lab, case.transport, "both", case.bare) for case in looks))
    found = [
        Case(case.lab, case.transport, case.family, case.bare, asked.raw, asked.masked)
        for case in looks
        if asked.transport in (None, case.transport)
        and asked.family in (None, case.family)
        and asked.bare in (None, int(case.bare))
    ]
    return [case for case in found for _ in range(asked.runs)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.play")
    parser.add_argument("labs", nargs="*", help="ids, or how they begin")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--transport", choices=("tcp", "udp", "icmp"))
    parser.add_argument("--family", choices=("v4", "v6", "both"))
    parser.add_argument("--bare", type=int, choices=(0, 1))
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--masked", action="store_true")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--said", type=Path, help="folder for what was said, a JSON file for each case")
    asked = parser.parse_args(arguments)
    if not asked.labs and not asked.all:
        parser.error("which labs? (--all)")
    bad = 0

    def told(played: Played) -> None:
        nonlocal bad
        bad += bool(played.faults)
        print(line(played), flush=True)
        if asked.said and played.said:
            asked.said.mkdir(parents=True, exist_ok=True)
            (asked.said / f"{played.case.name}.json").write_text(json.dumps(played.said, indent=1))

    with for_nobody() as program:
        assert program is not None, "no interpreter here that uid 65534 could use"
        play_all(Player(program, asked.keep), chosen(asked), asked.jobs, told)
    print(f"{bad} at fault")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
