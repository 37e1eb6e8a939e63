"""A matrix as a grid for a terminal: rows are sources, columns targets, a grid for each probe. Pure.

Where both ends are agents a cell shows both directions: from the row to the column, then back. A glyph says
what colour only repeats. Where the words do not fit there are glyphs alone, and columns that do not fit stand
in a further block; what fails is told below in either case.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from probemesh_shared.escape import escape
from probemesh_shared.slots import Cell
from probemesh_shared.words import SlotState

from probemesh_controller.collapse.wording import sentence
from probemesh_controller.matrix.cells import CellSeen, Matrix, counts
from probemesh_controller.render.text import clip, counted, ms_text, pad, paint, width_of, wrap

NO_DATA = "·"
STALE = "~"
_LOSSY = ("▲", "warn", "some lost")
#: State → glyph, style, what it means.
LOOKS: Mapping[SlotState, tuple[str, str, str]] = {
    SlotState.OK: ("✓", "good", "reached"),
    SlotState.FAILED: ("✕", "bad", "fails"),
    SlotState.TIMED_OUT: ("!", "bad", "silence"),
    SlotState.DENIED: ("⊘", "dim", "its policy says no"),
    SlotState.MISSED: ("?", "dim", "not measured"),
    SlotState.AGENT_LOST: ("○", "dim", "agent gone"),
}
_NAME_WIDTH = 24
_MOST_BLOCKS = 3
_TOLD = 20
_GAP = "  "


@dataclass(frozen=True, slots=True)
class Part:
    """One direction of a cell."""

    glyph: str
    words: str
    style: str

    @property
    def text(self) -> str:
        return self.glyph + self.words


#: There and back; and those of every place in a grid.
Both = tuple[Part | None, Part | None]
Words = Mapping[tuple[str, str], Both]


def part_of(seen: CellSeen) -> Part:
    """What one direction looks like."""
    if seen.state is None:
        return Part(NO_DATA, "", "dim")
    glyph, style, _ = LOOKS[seen.state]
    words = ""
    if seen.state is SlotState.OK:
        if seen.lost:
            glyph, style, _ = _LOSSY
        loss = f" {100 * seen.lost // max(1, seen.sent)}%" if seen.lost else ""
        words = _rtt(seen.rtt_ms) + loss
    elif seen.failing and seen.outcome is not None:
        words = escape(str(seen.outcome), 20)
    return Part(STALE + glyph, words, "dim") if seen.stale else Part(glyph, words, style)


def _rtt(rtt_ms: float | None) -> str:
    """Milliseconds without their unit; seconds with it."""
    if rtt_ms is not None and rtt_ms < 0.005:
        return "<0.01"
    return ms_text(rtt_ms).removesuffix(" ms").replace(" ", "")


def render(matrix: Matrix, width: int, color: bool, wide: bool = False) -> str:
    """``wide``: words always, however many blocks that makes, and everything that fails is told."""
    by_cell = {seen.cell: seen for seen in matrix.cells}
    lines: list[str] = []
    for probe in matrix.probes:
        lines += [*_Grid(matrix, probe, by_cell, width, color, wide).lines(), ""]
    lines += _legend(matrix, width, color)
    lines += _failing(matrix, width, color, None if wide else _TOLD)
    lines += _causes(matrix, width)
    lines.append(_summary(matrix))
    return "\n".join(lines) + "\n"


class _Grid:
    """That of one probe."""

    def __init__(
        self,
        matrix: Matrix,
        probe: str,
        by_cell: Mapping[Cell, CellSeen],
        width: int,
        color: bool,
        wide: bool,
    ) -> None:
        own = [seen for seen in matrix.cells if seen.cell.probe == probe]
        sources, targets = {seen.cell.source for seen in own}, {seen.cell.target for seen in own}
        self._sources = [name for name in matrix.sources if name in sources]
        self._targets = [name for name in matrix.targets if name in targets]
        self._probe, self._by_cell = probe, by_cell
        self._width, self._color, self._wide = width, color, wide
        self._gap = _GAP

    def lines(self) -> Iterator[str]:
        yield paint(self._probe, "bold", self._color)
        words = {(row, column): self._parts(row, column) for row in self._sources for column in self._targets}
        blocks = list(self._blocks(words, compact=False))
        compact = len(blocks) > _MOST_BLOCKS and not self._wide
        if compact:
            self._gap = " "
            blocks = list(self._blocks(words, compact=True))
        for number, block in enumerate(blocks):
            if number:
                yield ""
            yield from self._block(block, words, compact)

    def _parts(self, row: str, column: str) -> Both:
        """There and back."""
        there = self._by_cell.get(Cell(row, column, self._probe))
        back = self._by_cell.get(Cell(column, row, self._probe))
        return part_of(there) if there else None, part_of(back) if back else None

    def _blocks(self, words: Words, *, compact: bool) -> Iterator[list[tuple[str, int]]]:
        """The columns with their widths, as many as fit beside each other."""
        room = self._width - self._row_width(compact)
        block: list[tuple[str, int]] = []
        used = 0
        for number, column in enumerate(self._targets, 1):
            cells = [_text(words[row, column], compact) for row in self._sources]
            heading = str(number) if compact else clip(escape(column, 200), _NAME_WIDTH)
            wide = max(width_of(heading), *map(width_of, cells))
            if block and used + len(self._gap) + wide > room:
                yield block
                block, used = [], 0
            block.append((column, wide))
            used += len(self._gap) + wide
        yield block

    def _row_width(self, compact: bool) -> int:
        widest = max(width_of(escape(name, 200)) for name in self._sources)
        number = len(str(len(self._targets))) + 1 if compact else 0
        return min(_NAME_WIDTH, widest) + number

    def _block(
        self,
        block: Sequence[tuple[str, int]],
        words: Words,
        compact: bool,
    ) -> Iterator[str]:
        number_of = {name: str(number) for number, name in enumerate(self._targets, 1)}
        row_width = self._row_width(compact)
        headings = [
            pad(number_of[column] if compact else clip(escape(column, 200), _NAME_WIDTH), wide)
            for column, wide in block
        ]
        yield paint((" " * row_width + self._gap + self._gap.join(headings)).rstrip(), "dim", self._color)
        for row in self._sources:
            number = pad(number_of.get(row, ""), len(str(len(self._targets))), right=True) + " "
            name = (number if compact else "") + clip(escape(row, 200), _NAME_WIDTH)
            cells = (self._shown(words[row, column], wide, compact) for column, wide in block)
            yield (pad(name, row_width) + self._gap + self._gap.join(cells)).rstrip()

    def _shown(self, parts: Both, width: int, compact: bool) -> str:
        blank = " " * (width - width_of(_text(parts, compact)))
        return "".join(paint(text, style, self._color) for text, style in _pieces(parts, compact)) + blank


def _text(parts: Both, compact: bool) -> str:
    return "".join(text for text, _ in _pieces(parts, compact))


def _pieces(parts: Both, compact: bool) -> Iterator[tuple[str, str]]:
    """(text, style). An arrow says which way where there are two, or only the way back."""
    there, back = parts
    if compact:
        for part in (there, back):
            if part is not None or back is not None:
                yield (part.glyph if part else " "), (part.style if part else "")
        return
    if there is not None:
        yield ("→" if back is not None else "") + there.text, there.style
    if back is not None:
        yield (" " if there is not None else "") + "←" + back.text, back.style


def _legend(matrix: Matrix, width: int, color: bool) -> list[str]:
    """Of the glyphs that stand in the grid."""
    found = {part_of(seen).glyph.removeprefix(STALE) for seen in matrix.cells}
    looks = [LOOKS[SlotState.OK], _LOSSY, *(LOOKS[state] for state in SlotState if state is not SlotState.OK)]
    items = [f"{glyph} {meaning}" for glyph, _, meaning in looks if glyph in found]
    if NO_DATA in found:
        items.append(f"{NO_DATA} no data")
    if any(seen.stale for seen in matrix.cells):
        items.append(f"{STALE} stale")
    cells = {one.cell for one in matrix.cells}
    both = any(Cell(cell.target, cell.source, cell.probe) in cells for cell in cells)
    ways = "→ row to column, ← back · " if both else ""
    text = f"{ways}ms, median · {', '.join(items)}"
    return [paint(line, "dim", color) for line in wrap(text, width, "")]


def _failing(matrix: Matrix, width: int, color: bool, most: int | None) -> Iterator[str]:
    """What is not well, with its reason: what fails cell by cell, then what was not measured, together where
    that has one reason."""
    told = [(part_of(seen), _fails(seen)) for seen in matrix.cells if seen.failing]
    told += _unmeasured(matrix.cells)
    for part, text in told[:most]:
        yield paint(clip(f"{part.glyph} {text}", width), part.style, color)
    if most is not None and len(told) > most:
        yield f"  and {len(told) - most} more: -o wide, or -o csv"


def _causes(matrix: Matrix, width: int) -> Iterator[str]:
    """Not of a single cell: that is its own."""
    if matrix.causes.failing < 2:
        return
    yield "What fails comes down to:"
    for cause in matrix.causes.causes:
        yield from wrap(sentence(cause), width, "  ")


def _way(cell: Cell) -> str:
    return f"{escape(cell.source, 63)} → {escape(cell.target, 80)} {cell.probe}"


def _fails(seen: CellSeen) -> str:
    reason = f", {escape(seen.reason, 200)}" if seen.reason else ""
    return f"{_way(seen.cell)}: {seen.outcome}{reason}"


def _unmeasured(cells: Sequence[CellSeen]) -> Iterator[tuple[Part, str]]:
    """By source and reason."""
    groups: defaultdict[tuple[str, str, str], list[CellSeen]] = defaultdict(list)
    for seen in cells:
        if seen.state is not None and seen.unmeasured:
            groups[part_of(seen).glyph, seen.cell.source, seen.reason or ""].append(seen)
    for (_, source, why), some in groups.items():
        whose = _way(some[0].cell) if len(some) == 1 else f"{escape(source, 63)}, {len(some)} cells"
        yield part_of(some[0]), f"{whose}: {escape(why, 200) or some[0].outcome or some[0].state}"


def _summary(matrix: Matrix) -> str:
    found = counts(matrix)
    parts = [f"{found.ok} reached"]
    parts += [f"{found.failed} failed"] if found.failed else []
    parts += [f"{found.unmeasured} not measured"] if found.unmeasured else []
    cut = " (interrupted)" if matrix.interrupted else ""
    return f"{counted(found.total, 'cell')}: {', '.join(parts)}{cut}"
