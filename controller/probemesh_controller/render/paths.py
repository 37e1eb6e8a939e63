"""The way of a flow, drawn: ends, hops, and the place where it breaks. Pure."""

from collections.abc import Sequence
from itertools import groupby

from probemesh_shared.escape import escape
from probemesh_shared.model import PathHop

from probemesh_controller.pair.paths import BEHIND, WAY_BACK
from probemesh_controller.render.text import clip, ms_text, pad, paint, width_of

END, HOP, BREAK = "●", "○", "✕"
#: More stations than this are no drawing any more.
_MOST = 40
#: More silent hops in a row than this are told together.
_SILENT = 2


def drawing(hops: Sequence[PathHop], width: int, color: bool) -> list[str]:
    """A line where nothing is marked and it fits, else a station a line, broken where it breaks."""
    shown = _without_silent(hops)
    shown = [*shown[: _MOST - 1], *shown[-1:]] if len(shown) > _MOST else shown
    if not any(hop.mark or hop.breaks for hop in shown):
        line = _one_line(shown)
        if width_of(line) <= width - 2:
            return ["  " + line]
    names = [escape(hop.name, 40) for hop in shown]
    addresses = [escape(hop.address or "", 50) for hop in shown]
    times = [ms_text(hop.rtt_ms) for hop in shown]
    wide = [max(map(width_of, texts)) for texts in (names, addresses, times)]
    lines: list[str] = []
    broken = False
    for index, hop in enumerate(shown):
        if index:
            lines.append("  " + ("┊" if broken else "│"))
        broken = broken or hop.breaks
        cells = [
            pad(text, size)
            for text, size in zip((names[index], addresses[index], times[index]), wide, strict=True)
        ]
        text = "  ".join(cell for cell, size in zip(cells, wide, strict=True) if size)
        mark = f"  ◀ {escape(hop.mark, 120)}" if hop.mark else ""
        sign = BREAK if hop.breaks else END if index in (0, _far_end(shown)) else HOP
        line = clip(f"  {sign}  {text}{mark}".rstrip(), width)
        lines.append(paint(line, "bad", color) if hop.breaks else line)
    return lines


def _without_silent(hops: Sequence[PathHop]) -> list[PathHop]:
    """Several in a row of which nothing is known are one station."""
    out: list[PathHop] = []
    for silent, group in groupby(
        hops, lambda hop: hop.hop is not None and hop == PathHop(hop.name, hop=hop.hop)
    ):
        run = list(group)
        if silent and len(run) > _SILENT:
            out.append(PathHop(f"hops {run[0].hop} to {run[-1].hop}, which say nothing"))
        else:
            out += run
    return out


def _far_end(hops: Sequence[PathHop]) -> int:
    """What breaks behind the far end stands after it."""
    last = len(hops) - 1
    return last - 1 if last > 1 and hops[last].name in (WAY_BACK, BEHIND) else last


def _one_line(hops: Sequence[PathHop]) -> str:
    parts = []
    for index, hop in enumerate(hops):
        sign = END if index in (0, len(hops) - 1) else HOP
        address = escape(hop.address or "", 50)
        name = escape(hop.name, 40)
        text = f"{name} {address}".strip() if sign == END else address or name
        parts.append(f"{sign} {text}")
    return " ── ".join(parts)
