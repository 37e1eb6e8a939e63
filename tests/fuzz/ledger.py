"""What fuzzing has cost and brought so far: a table in ``LEDGER.md``, which each long hunt adds to."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tests.fuzz.registry import HERE

PATH = HERE / "LEDGER.md"
_HEAD = "| Target | Runs | Seconds | Edges | Last |\n|---|---:|---:|---:|---|\n"
_ROW = re.compile(r"^\| (\w+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| (\d{4}-\d\d-\d\d) \|$", re.MULTILINE)
_TABLE = re.compile(r"^\| Target .*\n\|[-|:]+\|\n(?:\| .*\n)*", re.MULTILINE)
_TOTAL = "**all**"


@dataclass(frozen=True, slots=True)
class Entry:
    """``covered``: edges reached in the last hunt; the rest are sums."""

    runs: int
    seconds: int
    covered: int
    last: date


def read(text: str) -> dict[str, Entry]:
    return {
        name: Entry(*(int(one.replace(",", "")) for one in numbers), date.fromisoformat(last))
        for name, *numbers, last in _ROW.findall(text)
    }


def added(entries: Mapping[str, Entry], name: str, entry: Entry) -> dict[str, Entry]:
    """With one more hunt."""
    before = entries.get(name, Entry(0, 0, 0, entry.last))
    total = Entry(before.runs + entry.runs, before.seconds + entry.seconds, entry.covered, entry.last)
    return {**entries, name: total}


def written(text: str, entries: Mapping[str, Entry]) -> str:
    """``text`` with its table made anew."""
    table = _HEAD + "".join(_row(name, entries[name]) for name in sorted(entries))
    runs, seconds = (sum(getattr(one, key) for one in entries.values()) for key in ("runs", "seconds"))
    table += f"| {_TOTAL} | {runs:,} | {seconds:,} | | |\n"
    return _TABLE.sub(lambda _: table, text, count=1)


def _row(name: str, entry: Entry) -> str:
    return f"| {name} | {entry.runs:,} | {entry.seconds:,} | {entry.covered:,} | {entry.last.isoformat()} |\n"


def record(hunts: Iterable[tuple[str, Entry]], path: Path = PATH) -> None:
    text = path.read_text("utf-8")
    entries = read(text)
    for name, entry in hunts:
        entries = added(entries, name, entry)
    path.write_text(written(text, entries), "utf-8")
