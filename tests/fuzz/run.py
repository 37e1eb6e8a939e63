"""``python -m tests.fuzz.run``: hunts through all targets, some at once, and says what broke.

Exit 0: nothing did; 1: something did, and its input is shown; 2: a hunt could not be done, or there is no
atheris here.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from tests.fuzz import ledger, registry
from tests.fuzz.hunt import Hunt, hunt, is_available, keep

#: Of a child, beside the seconds that it hunts: Python, imports, instrumentation.
_START_S = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    if reason := is_available():
        print(f"fuzzing {reason}", file=sys.stderr)
        return 2
    names = asked.names or registry.names()
    seconds = seconds_each(asked.seconds, asked.within, len(names), asked.jobs)
    work: Path | None = asked.keep
    today = datetime.now(UTC).date()
    with ThreadPoolExecutor(asked.jobs) as pool:
        hunts = []
        for done in pool.map(lambda name: hunt(name, seconds, work and work / name), names):
            print(told(done), flush=True)
            hunts.append(done)
    if work is not None:
        for done in hunts:
            print(f"{done.name}: {keep(done.name, work / done.name)} inputs kept", flush=True)
        spent = [ledger.Entry(one.runs, round(one.seconds), one.covered, today) for one in hunts]
        ledger.record(zip((one.name for one in hunts), spent, strict=True))
    if any(one.words and not one.found for one in hunts) or not all(one.runs or one.found for one in hunts):
        return 2
    return 1 if any(one.words for one in hunts) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="TARGET", help="all where none is named")
    parser.add_argument("--seconds", type=int, default=10, help="of each target")
    parser.add_argument("--within", type=int, help="of all together, where that is less")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at once")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work there; keep corpus and ledger")
    return parser


def seconds_each(seconds: int, within: int | None, targets: int, jobs: int) -> int:
    """At least 1."""
    if within is None:
        return seconds
    turns = -(-targets // jobs)
    return max(1, min(seconds, int(within / turns - _START_S)))


def told(done: Hunt) -> str:
    line = f"{done.name}: {done.runs:,} runs in {done.seconds:.0f} s, {done.covered:,} edges"
    if not done.words:
        return line
    inputs = "".join(f"\n  input: {data!r}" for data in done.found)
    return f"{line}: BROKEN{inputs}\n{done.words}"


if __name__ == "__main__":
    sys.exit(main())
