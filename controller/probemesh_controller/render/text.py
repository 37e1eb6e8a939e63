"""Cells, columns and the width of text on a terminal. Colour only repeats what the words already say."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from probemesh_shared.escape import escape

_CODES = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1", "": ""}
GAP = "   "


@dataclass(frozen=True, slots=True)
class Cell:
    """``text`` is shown escaped; ``style`` one of good, bad, warn, dim, bold or nothing."""

    text: str = ""
    style: str = ""
    right: bool = False


def counted(number: int, one: str) -> str:
    """``1 port``, ``2 ports``."""
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def width_of(text: str) -> int:
    """Columns on a terminal: wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def clip(text: str, width: int) -> str:
    """At most ``width`` columns; what was cut is marked by ``…``."""
    if width_of(text) <= width:
        return text
    kept, used = [], 1
    for char in text:
        used += _char_width(char)
        if used > width:
            break
        kept.append(char)
    return "".join(kept) + "…" if width > 0 else ""


def pad(text: str, width: int, right: bool = False) -> str:
    blank = " " * max(0, width - width_of(text))
    return blank + text if right else text + blank


def paint(text: str, style: str, color: bool) -> str:
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if color and style and text else text


def columns(header: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, color: bool) -> list[str]:
    """Aligned lines. Columns that are empty in every row are left out; only the last one is ever cut."""
    texts = [[escape(cell.text, 400) for cell in row] for row in rows]
    kept = [i for i in range(len(header)) if any(row[i] for row in texts)]
    wide = {i: max(width_of(header[i]), *(width_of(row[i]) for row in texts)) for i in kept}
    if not kept:
        return []
    last = kept[-1]
    before = sum(wide[i] + len(GAP) for i in kept[:-1])
    wide[last] = max(min(wide[last], width - before), min(wide[last], 12))
    head = GAP.join(pad(header[i], wide[i], rows[0][i].right) for i in kept).rstrip()
    lines = [paint(head, "dim", color)]
    for row, shown in zip(rows, texts, strict=True):
        cells = (_cell(row[i], shown[i], wide[i], i == last, color) for i in kept)
        lines.append(GAP.join(cells).rstrip())
    return lines


def _cell(cell: Cell, text: str, width: int, last: bool, color: bool) -> str:
    shown = clip(text, width)
    padded = shown if last and not cell.right else pad(shown, width, cell.right)
    return paint(padded, cell.style, color)


def wrap(text: str, width: int, indent: str) -> list[str]:
    """Words of one escaped line in lines of ``width``, each behind ``indent``."""
    lines, current = [], ""
    for word in escape(text, 4000).split(" "):
        if current and width_of(indent) + width_of(current) + 1 + width_of(word) > width:
            lines.append(indent + current)
            current = word
        else:
            current = f"{current} {word}" if current else word
    return [*lines, indent + current] if current else lines


def ms_text(value: float | None) -> str:
    """A duration people read at a glance: ``0.08 ms``, ``12.3 ms``, ``1.25 s``."""
    if value is None:
        return ""
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"
