"""What is shown of a repetition, round by round: a frame that is redrawn, blocks, JSON lines, or notes."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from probemesh_shared.escape import escape
from probemesh_shared.model import TargetResult
from probemesh_shared.moments import time_text
from probemesh_shared.outcomes import summarise

from probemesh_controller.cli.again import Plan
from probemesh_controller.cli.changes import Change, changes, changes_text, states
from probemesh_controller.cli.flags import draw, may_redraw, note, undraw, use_color
from probemesh_controller.cli.output import Format, print_results, terminal_width, write
from probemesh_controller.render import table
from probemesh_controller.render.findings import findings_lines
from probemesh_controller.render.live import Frames
from probemesh_controller.render.text import clip, counted, paint, wrap

Results = Sequence[TargetResult]


class Screen(Protocol):
    def begin(self) -> None:
        """The first round is about to be measured."""

    def round(self, number: int, wall_ns: int, results: Results) -> None:
        """One round is over."""

    def say(self, text: str) -> None:
        """A line for people, already escaped."""

    def close(self) -> None: ...


def screen_for(plan: Plan, output: Format, strict: bool, ci: bool) -> Screen:
    if plan.until is not None:
        return Notes(may_redraw(sys.stderr, ci), strict)
    if output is Format.JSONL:
        return Lines(strict)
    return Redrawn(plan, strict, ci) if may_redraw(sys.stdout, ci) else Blocks(strict, ci)


def clock_text(wall_ns: int) -> str:
    return time_text(wall_ns)[11:19] + "Z"


class Lines:
    """``-o jsonl``: every round, an object a TARGET."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict

    def begin(self) -> None:
        pass

    def round(self, number: int, wall_ns: int, results: Results) -> None:
        print_results(results, Format.JSONL, self._strict)

    def say(self, text: str) -> None:
        note(text)

    def close(self) -> None:
        pass


class Blocks:
    """Off a terminal: the first round, then those in which something changed, each with its instant."""

    def __init__(self, strict: bool, ci: bool) -> None:
        self._strict, self._ci = strict, ci
        self._news = News(strict)

    def begin(self) -> None:
        pass

    def round(self, number: int, wall_ns: int, results: Results) -> None:
        found = self._news.take(number, wall_ns, results)
        if number > 1 and not found:
            return
        head = f"{time_text(wall_ns)[:19]}Z  round {number}"
        if found:
            head += f"  changed: {escape(changes_text(found), 2000)}"
        write(("\n" if number > 1 else "") + head + "\n\n")
        print_results(results, Format.TABLE, self._strict, self._ci)

    def say(self, text: str) -> None:
        note(text)

    def close(self) -> None:
        pass


class Redrawn:
    """On a terminal: one frame in place, changed rows marked, and since when it has been so."""

    def __init__(self, plan: Plan, strict: bool, ci: bool) -> None:
        self._plan, self._strict = plan, strict
        self._color = use_color(sys.stdout, ci)
        self._news = News(strict)
        self._frames = Frames()

    def begin(self) -> None:
        write(self._frames.draw([paint("round 1 … · Ctrl-C stops", "dim", self._color)]))

    def round(self, number: int, wall_ns: int, results: Results) -> None:
        found = self._news.take(number, wall_ns, results)
        size = shutil.get_terminal_size((100, 40))
        head = f"round {number} · {clock_text(wall_ns)} · every {self._plan.every_s:g} s"
        lines = watch_frame(results, head, self._news, found, terminal_width(), self._color, self._strict)
        room = max(size.lines - 2, 1)
        if len(lines) > room:
            cut = f"… {len(lines) - room + 1} more lines; -o jsonl has all"
            lines = [*lines[: room - 1], paint(cut, "dim", self._color)]
        write(self._frames.draw(lines))

    def say(self, text: str) -> None:
        write(self._frames.clear())
        note(text)

    def close(self) -> None:
        """The last frame stays where it is."""


class Notes:
    """``--until``: how far it is, on stderr; the results come at the end."""

    def __init__(self, redraw: bool, strict: bool) -> None:
        self._redraw, self._strict = redraw, strict
        self._said = ""

    def begin(self) -> None:
        if self._redraw:
            draw("round 1 … · Ctrl-C stops")

    def round(self, number: int, wall_ns: int, results: Results) -> None:
        text = tally_text(results, self._strict)
        if self._redraw:
            draw(f"{clock_text(wall_ns)} round {number}: {text}")
        elif text != self._said:
            note(f"{clock_text(wall_ns)} round {number}: {text}")
        self._said = text

    def say(self, text: str) -> None:
        self.close()
        note(text)

    def close(self) -> None:
        if self._redraw:
            undraw()


@dataclass(frozen=True, slots=True)
class Since:
    """When the present state began, and by what change; no text: with the first round."""

    number: int
    wall_ns: int
    text: str


class News:
    """What a round changed, and since when it has been as it is."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._before = states(())
        self.since = Since(0, 0, "")

    def take(self, number: int, wall_ns: int, results: Results) -> list[Change]:
        after = states(results, self._strict)
        found = changes(self._before, after)
        if found or not self._before:
            self.since = Since(number, wall_ns, changes_text(found))
        self._before = after
        return found


def watch_frame(
    results: Results, head: str, news: News, found: Sequence[Change], width: int, color: bool, strict: bool
) -> list[str]:
    """No line is as wide as the terminal. Row by row the table has the vantage points in their order."""
    since = news.since
    so = f"so since {clock_text(since.wall_ns)} (round {since.number})"
    lines = [clip(f"{head} · {so}", width - 1), ""]
    changed = {(change.target, change.agent) for change in found}
    for result in results:
        first, *rows = table.table_lines(result, width - 3, color, strict)
        lines += [paint(escape(result.target.text, width - 1), "bold", color), "", f"  {first}"]
        for vantage, row in zip(result.vantages, rows, strict=False):
            is_new = (result.target.text, vantage.agent) in changed
            lines.append((paint("» ", "warn", color) if is_new else "  ") + row)
        lines += ["", table.summary_line(result, color, strict), ""]
        if result.findings:
            lines += [*findings_lines(result.findings, width - 1, color), ""]
    if since.text:
        label = "changed now" if found else f"last change, round {since.number}"
        lines += wrap(f"{label}: {since.text}", width - 1, "")
    return lines


def tally_text(results: Results, strict: bool) -> str:
    counts = summarise((vantage for result in results for vantage in result.vantages), strict)
    parts = [f"{counts.reached} of {counts.total} reached"]
    if counts.failed:
        parts.append(f"{counts.failed} failed")
    if counts.unmeasured:
        parts.append(f"{counts.unmeasured} not measured")
    return ", ".join(parts)


def ending_text(plan: Plan, code: int, rounds: int) -> str:
    """How ``--until`` came out."""
    if code == 0:
        return f"{plan.until} after {counted(rounds, 'round')}"
    return f"not {plan.until} within {plan.within_s:g} s, {counted(rounds, 'round')}"
