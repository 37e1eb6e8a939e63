"""What ``meshctl history`` does with saved runs, and how it says so."""

import csv
import io
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import csv_text, escape
from probemesh_shared.jsonshape import HistoryJson, RunJson
from probemesh_shared.moments import time_text

from probemesh_controller.cli.flags import note, use_color
from probemesh_controller.cli.keeping import required_history
from probemesh_controller.cli.output import (
    Format,
    print_results,
    print_share,
    print_value,
    terminal_width,
    write,
)
from probemesh_controller.history.record import Header
from probemesh_controller.history.store import History
from probemesh_controller.render.share import command_text
from probemesh_controller.render.text import Cell, columns, counted

#: Files that are named in the note about what was passed over.
_NAMED = 3
_NO_END = 10_000


def print_list(limit: int, target: str | None, wanted: Format) -> None:
    if limit < 1:
        raise InvalidRequest(f"--limit {limit} leaves none", "give 1 or more")
    store = required_history()
    listing = store.listing(None if target is not None else limit)
    runs = [run for run in listing.runs if target is None or _has_target(run, target)][:limit]
    _say_passed_over(store, listing.passed_over)
    if wanted is Format.CSV:
        write(runs_csv(runs))
    elif wanted in (Format.TABLE, Format.WIDE):
        if not runs:
            note(
                "no saved runs" + (" of such a target" if target else " yet: meshctl probe TARGET makes one")
            )
        write(runs_table(runs, wanted is Format.WIDE))
    elif wanted is Format.JSONL:
        for run in runs:
            print_value(run_to_json(run), wanted)
    else:
        value: HistoryJson = {"schema": 1, "runs": [run_to_json(run) for run in runs]}
        print_value(value, wanted)


def show(wanted: str, share: bool, output: Format) -> None:
    if share and output not in (Format.TABLE, Format.WIDE):
        raise InvalidRequest("--share is a text of its own", "leave -o out")
    header, results = required_history().load(wanted)
    if share:
        print_share(header, results)
        return
    note(f"run {header.id}, {_when(header)}: {command_text(header.command)}{_remark(header)}")
    print_results(results, output, header.strict)


def _has_target(run: Header, glob: str) -> bool:
    return any(fnmatchcase(target, glob) for target in run.targets)


def _say_passed_over(store: History, names: Sequence[str]) -> None:
    if names:
        named = ", ".join(escape(name, 60) for name in names[:_NAMED]) + ("…" if len(names) > _NAMED else "")
        note(f"note: {counted(len(names), 'file')} in {store.folder} passed over, no saved run: {named}")


def _when(run: Header) -> str:
    return time_text(run.saved_ns)[:19].replace("T", " ") + "Z"


def _remark(run: Header) -> str:
    said = f", {run.rounds} rounds" if run.rounds > 1 else ""
    return said + (", interrupted" if run.interrupted else "") + ("" if run.whole else ", summary only")


def run_to_json(run: Header) -> RunJson:
    return {
        "id": run.id,
        "saved_at": time_text(run.saved_ns),
        "command": ["meshctl", *run.command],
        "context": run.context,
        "targets": list(run.targets),
        "vantages": len(run.vantages),
        "summary": {
            "reached": run.reached,
            "failed": run.failed,
            "unmeasured": run.unmeasured,
            "total": run.total,
        },
        "exit_code": run.exit_code,
        "interrupted": run.interrupted,
        "rounds": run.rounds,
        "whole": run.whole,
        "version": run.version,
    }


def runs_table(runs: Sequence[Header], wide: bool) -> str:
    if not runs:
        return ""
    header = ["ID", "WHEN", "FROM", "REACHED", "FAILED", "UNMEASURED", "EXIT", "TARGETS", "NOTE", "COMMAND"]
    rows = [_row(run, wide) for run in runs]
    width = _NO_END if wide else terminal_width()
    return "\n".join(columns(header, rows, width, use_color(sys.stdout))) + "\n"


def _row(run: Header, wide: bool) -> list[Cell]:
    shown = run.targets if wide else run.targets[:2]
    more = f" +{len(run.targets) - len(shown)}" if len(shown) < len(run.targets) else ""
    return [
        Cell(run.id),
        Cell(_when(run)),
        Cell(str(len(run.vantages)), right=True),
        Cell(str(run.reached), "good" if run.reached else "", right=True),
        Cell(str(run.failed), "bad" if run.failed else "", right=True),
        Cell(str(run.unmeasured), "warn" if run.unmeasured else "", right=True),
        Cell(str(run.exit_code), right=True),
        Cell(" ".join(shown) + more),
        Cell(_remark(run).removeprefix(", "), "dim"),
        Cell(command_text(run.command) if wide else "", "dim"),
    ]


_COUNTS = ("reached", "failed", "unmeasured")
_COLUMNS = (
    "id",
    "saved_at",
    "targets",
    "vantages",
    *_COUNTS,
    "exit_code",
    "interrupted",
    "rounds",
    "command",
)


def runs_csv(runs: Sequence[Header]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for run in runs:
        texts = [csv_text(run.id), time_text(run.saved_ns), csv_text(" ".join(run.targets))]
        counts = [len(run.vantages), run.reached, run.failed, run.unmeasured, run.exit_code]
        interrupted = "true" if run.interrupted else "false"
        writer.writerow([*texts, *counts, interrupted, run.rounds, csv_text(command_text(run.command))])
    return out.getvalue()
