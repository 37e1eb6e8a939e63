"""The way of a flow, drawn: ends, hops, and the place where it breaks. Pure."""

from collections.abc import Sequence

from probemesh_shared.escape import escape
from probemesh_shared.model import Finding, PathHop, Place
from probemesh_shared.words import PlaceKind

from probemesh_controller.render.text import clip, ms_text, pad, paint, width_of

END, HOP, BREAK = "●", "○", "✕"
#: More stations than this are no drawing any more.
_MOST = 40


def stations(path: Sequence[PathHop], finding: Finding | None, near: PathHop, far: PathHop) -> list[PathHop]:
    """What is drawn: the path as concluded; where nothing is known of it, its ends, and the place that a
    finding names."""
    if path:
        return list(path)
    place, mark = (finding.place, str(finding.verdict)) if finding is not None else (None, None)
    if place is None:
        return [near, far]
    return _placed(place, mark, near, far)


def _placed(place: Place, mark: str | None, near: PathHop, far: PathHop) -> list[PathHop]:
    where = PathHop("hop" if place.hop is None else f"hop {place.hop}", place.address, place.hop, mark=mark)
    match place.kind:
        case PlaceKind.SOURCE_HOST:
            return [_marked(near, mark), far]
        case PlaceKind.TARGET_HOST | PlaceKind.TARGET_SERVICE:
            return [near, _marked(far, mark)]
        case PlaceKind.BEHIND_HOST:
            return [near, far, PathHop("behind it", place.address, mark=mark)]
        case PlaceKind.BETWEEN:
            return [near, PathHop("between", place.address, place.hop, mark=mark), far]
        case PlaceKind.HOP:
            return [near, where, far]


def _marked(hop: PathHop, mark: str | None) -> PathHop:
    return PathHop(hop.name, hop.address, hop.hop, hop.rtt_ms, mark)


def drawing(hops: Sequence[PathHop], width: int, color: bool) -> list[str]:
    """A line where nothing is marked and it fits, else a station a line, broken where it breaks."""
    shown = [*hops[: _MOST - 1], *hops[-1:]] if len(hops) > _MOST else list(hops)
    if not any(hop.mark for hop in shown):
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
        broken = broken or bool(hop.mark)
        cells = [
            pad(text, size)
            for text, size in zip((names[index], addresses[index], times[index]), wide, strict=True)
        ]
        text = "  ".join(cell for cell, size in zip(cells, wide, strict=True) if size)
        mark = f"  ◀ {escape(hop.mark, 120)}" if hop.mark else ""
        sign = BREAK if hop.mark else END if index in (0, len(shown) - 1) else HOP
        line = clip(f"  {sign}  {text}{mark}".rstrip(), width)
        lines.append(paint(line, "bad", color) if hop.mark else line)
    return lines


def _one_line(hops: Sequence[PathHop]) -> str:
    parts = []
    for index, hop in enumerate(hops):
        sign = END if index in (0, len(hops) - 1) else HOP
        address = escape(hop.address or "", 50)
        name = escape(hop.name, 40)
        text = f"{name} {address}".strip() if sign == END else address or name
        parts.append(f"{sign} {text}")
    return " ── ".join(parts)
