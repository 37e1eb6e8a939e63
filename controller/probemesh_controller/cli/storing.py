"""What ``meshctl controller backup``, ``restore``, ``compact`` and ``run --recover`` do and say."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape

from probemesh_controller import config
from probemesh_controller.cli.flags import draw, may_redraw, note, say, undraw
from probemesh_controller.cli.tokens import parse_duration
from probemesh_controller.pki.mesh import CONTROLLER as FOLDER
from probemesh_controller.store import copies
from probemesh_controller.store.matrix.port import Retention
from probemesh_controller.store.recovery import Recovery, recover

_PARTS = ("raw", "minutes", "hours")
#: Tables without which somebody could be let in who was put out.
_OF_TRUST = frozenset({"agent", "certificate", "operator", "token"})
_SHOWN = {
    "tail": "slots as they came",
    "started": "hours begun",
    "raw": "packed hours",
    "latest": "latest slots",
}


def back_up(file: Path, state: Path | None) -> None:
    with _progress("copied") as progress:
        copied = copies.back_up(_folder(state), file, progress)
    say(f"{file} is the store as it was when this began: {_size(copied.bytes)}, schema {copied.schema}")
    note("note: the key of the CA is not in it: meshctl controller ca export")


def restore(file: Path, state: Path | None) -> None:
    folder = _folder(state)
    with _progress("copied") as progress:
        copied = copies.restore(folder, file, time.time_ns(), progress)
    say(f"{file} is the store of {folder.parent} now: {_size(copied.bytes)}, schema {copied.schema}")
    if copied.kept is None:
        return
    say(f"what was there before is {copied.kept}")
    if copied.taken_back is None:
        note(
            "note: what was there cannot be read: whoever was revoked since the backup is let in again; see "
            "meshctl agents, meshctl operator"
        )
    elif copied.taken_back:
        say(f"revoked, and used, since the backup, and still so: {copied.taken_back}")


def compact(state: Path | None) -> None:
    with _progress("written") as progress:
        done = copies.compact(_folder(state), progress)
    freed = max(0, done.before - done.after)
    say(f"{_size(freed)} freed: {_size(done.before)} before, {_size(done.after)} now")


def recovered(state: Path) -> None:
    """Says what could be saved, and what could not."""
    found = recover(state / FOLDER, time.time_ns())
    if found is None:
        say("nothing is wrong with the store: there is nothing to recover")
        return
    for line in recovery_lines(found):
        say(line)


def recovery_lines(found: Recovery) -> Iterator[str]:
    yield f"the store was damaged: {escape(found.damage, 300)}"
    for table in found.tables:
        name = _SHOWN.get(table.table, table.table)
        lost = "whole" if table.whole else "the rest of them is LOST"
        if table.rows or not table.whole:
            yield f"  {name}: {table.rows:,} saved, {lost}"
    if all(table.whole for table in found.tables):
        yield "nothing was lost"
    elif _OF_TRUST & {table.table for table in found.tables if not table.whole}:
        yield (
            "revocations may be among what is lost: revoke again whom you have put out, or change the CA "
            "(meshctl controller ca rotate)"
        )
    yield f"the damaged file is {found.kept}"


def parse_retention(text: str | None) -> Retention:
    """``raw=24h,minutes=7d,hours=400d``; what is not named is as it is by default. Raises InvalidRequest."""
    given: dict[str, int] = {}
    for part in (text or "").split(",") if text else ():
        name, _, length = part.strip().partition("=")
        if name not in _PARTS or name in given:
            raise InvalidRequest(
                f"retention '{escape(part, 40)}' is not one of raw=, minutes=, hours=, each once",
                "for example raw=24h,minutes=7d,hours=400d",
            )
        given[name] = parse_duration(length, f"retention of {name}") * 1_000_000_000
    usual = Retention()
    return Retention(
        given.get("raw", usual.raw_ns),
        given.get("minutes", usual.minutes_ns),
        given.get("hours", usual.hours_ns),
    )


def _folder(state: Path | None) -> Path:
    return config.state_dir(state, os.environ) / FOLDER


def _size(count: int) -> str:
    return f"{count / (1 << 20):,.1f} MiB" if count >= 1 << 20 else f"{count / (1 << 10):,.1f} KiB"


@contextmanager
def _progress(what: str) -> Iterator[Callable[[float], None]]:
    if not may_redraw(sys.stderr):
        yield lambda _share: None
        return
    try:
        yield lambda share: draw(f"{share:4.0%} {what}")
    finally:
        undraw()
