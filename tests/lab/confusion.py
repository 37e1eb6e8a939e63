"""``make confusion``: plays all labs many times and writes what was said of which truth.

Results go to a file, a line each, as they come; started again, it goes on where it was. ::

    python -m tests.lab.confusion --runs 20 --jobs 4      plays what is missing, then writes the page
    python -m tests.lab.confusion --page                  the page alone, from what is there
    python -m tests.lab.confusion --runs 1 --only L0      a part, for a look

What is played: ``two-ended``, every lab and transport, unprivileged, RUNS times, IPv4 and IPv6 by turns;
``no-service`` (nothing listens on the port) and ``raw`` (CAP_NET_RAW) as often, and ``masked`` (no counters
of Linux 6.7 and later) a quarter as often; ``healthy`` and ``lossy``, healthy labs again and again, without
loss and with 2 % each way (HEALTHY times each). In the first runs of ``two-ended`` other programs look at the
same lab (:mod:`tests.lab.beside`).
"""

import argparse
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.lab import beside, confusion_page
from tests.lab.judge import judge_direction
from tests.lab.labs import Case, Lab, library
from tests.lab.mesh import Mesh
from tests.lab.play import Played, Player, line, play_all
from tests.lab.programs import TREE, for_nobody

RESULTS = TREE / ".confusion" / "results.jsonl"
PAGE = TREE / "docs" / "reference" / "confusion.md"
#: Runs of two-ended in which other programs look as well, one a family: they do not change their minds.
COMPARED = 2
#: What is played many more times.
AGAIN = ("healthy", "lossy")
#: Runs that are played together: a mesh is started once for all of them, and a file that is interrupted has
#: as many of each lab.
ROUNDS = 4
MODES = ("two-ended", "no-service", "raw", "masked", "healthy", "lossy")


@dataclass(frozen=True)
class Play:
    """One diagnosis that is to be: ``run`` counts within mode and case."""

    mode: str
    case: Case
    run: int

    @property
    def key(self) -> str:
        return f"{self.mode} {self.case.name} {self.run}"


def wanted(labs: Sequence[Lab], runs: int, healthy: int, modes: Sequence[str]) -> list[Play]:
    """In the order in which it is played: whole rounds, so that what is there is of all labs."""
    fewer = max(1, runs // 4)
    found = []
    for run in range(runs):
        for mode in modes:
            if mode not in AGAIN and run < (fewer if mode == "masked" else runs):
                found += [Play(mode, case, run) for lab in labs for case in _cases(lab, mode, run)]
    for mode in (mode for mode in modes if mode in AGAIN):
        well = [lab for lab in labs if lab.healthy and _is_lossy(lab) == (mode == "lossy")]
        cases = list(dict.fromkeys(case for run in (0, 1) for lab in well for case in _cases(lab, mode, run)))
        found += [Play(mode, cases[i % len(cases)], i // len(cases)) for i in range(healthy) if cases]
    return found


def _is_lossy(lab: Lab) -> bool:
    return "loss" in Case(lab, lab.transports[0], lab.families[0]).truth("forward").others


def _cases(lab: Lab, mode: str, run: int) -> Iterable[Case]:
    for transport in lab.transports:
        family = lab.families[run % len(lab.families)]
        if mode == "no-service":
            if lab.bare and transport != "icmp":
                yield Case(lab, transport, family, bare=True)
        else:
            yield Case(lab, transport, family, raw=mode == "raw", masked=mode == "masked")


class Record:
    """The file of results. One process at a time."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        self.rows: dict[str, dict[str, Any]] = {}
        if file.exists():
            for text in file.read_text().splitlines():
                try:
                    row = json.loads(text)
                except ValueError:
                    continue  # cut short when it was interrupted
                self.rows[row["key"]] = row

    def add(self, row: dict[str, Any]) -> None:
        self.rows[row["key"]] = row
        with self.file.open("a") as out:
            out.write(json.dumps(row) + "\n")


def row_of(play: Play, played: Played) -> dict[str, Any]:
    """What is kept of one."""
    row: dict[str, Any] = {
        "key": play.key,
        "mode": play.mode,
        "lab": play.case.lab.id,
        "case": play.case.name,
        "transport": play.case.transport,
        "family": play.case.family,
        "healthy": play.case.lab.healthy,
        "seconds": played.seconds,
        "problem": played.problem,
        "saved": played.saved,
    }
    if played.judgement is not None:
        row |= asdict(played.judgement)
    if played.beside is not None:
        row["beside"] = {name: _judged(play.case, name, said) for name, said in played.beside.items()}
    return row


def _judged(case: Case, name: str, said: dict[str, Any]) -> dict[str, Any]:
    if name in ("nat", "natdiscovery"):
        return said
    judged = judge_direction(case.truth("forward"), said["verdict"], tuple(said["alternatives"]))
    return {**said, **judged}


def run(plays: Sequence[Play], record: Record, jobs: int, keep: Path) -> None:
    """Plays what the record has not."""
    missing = [play for play in plays if play.key not in record.rows]
    left: dict[Case, list[Play]] = {}
    for play in missing:
        left.setdefault(play.case, []).append(play)
    total, lock = len(missing), threading.Lock()

    def compare(mesh: Mesh, case: Case) -> dict[str, Any] | None:
        with lock:
            play = left[case][0]
        return beside.beside(mesh, case) if play.mode == "two-ended" and play.run < COMPARED else None

    def told(played: Played) -> None:
        nonlocal total
        with lock:
            play = left[played.case].pop(0)
        record.add(row_of(play, played))
        total -= 1
        if played.faults:
            print(f"{total:>6} left  {line(played)}", flush=True)
        elif total % 50 == 0:
            print(f"{total:>6} left", flush=True)

    with for_nobody() as program:
        assert program is not None, "no interpreter here that uid 65534 could use"
        parts: dict[tuple[bool, int], list[Play]] = {}
        for play in missing:
            again = play.mode in AGAIN
            parts.setdefault((again, 0 if again else play.run // ROUNDS), []).append(play)
        for part in parts.values():
            play_all(Player(program, keep, compare), [play.case for play in part], jobs, told)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.confusion")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument(
        "--healthy", type=int, default=1000, metavar="N", help="of healthy labs, and as many with loss"
    )
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--only", action="append", default=[], metavar="LAB", help="ids, or how they begin")
    parser.add_argument("--mode", action="append", default=[], choices=MODES)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=PAGE)
    parser.add_argument("--page", action="store_true", help="play nothing")
    asked = parser.parse_args(arguments)
    labs = [lab for lab in library().labs.values() if not asked.only or lab.id.startswith(tuple(asked.only))]
    record = Record(asked.results)
    if not asked.page:
        plays = wanted(labs, asked.runs, asked.healthy, asked.mode or MODES)
        run(plays, record, asked.jobs, asked.results.parent / "cases")
    asked.out.write_text(confusion_page.page(list(record.rows.values())))
    problems = Counter(row["problem"] for row in record.rows.values() if row["problem"])
    for words, times in problems.most_common(5):
        print(f"{times} times: {words}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
