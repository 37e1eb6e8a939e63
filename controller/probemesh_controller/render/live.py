"""The live table: frames that take each other's place on a terminal. Pure but for what it remembers."""

from collections.abc import Sequence

from probemesh_shared.escape import escape
from probemesh_shared.model import TargetResult

from probemesh_controller.render.table import table_lines
from probemesh_controller.render.text import paint


class Frames:
    """``draw`` gives the text that turns the frame on screen into the new one; ``clear`` takes it away."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def draw(self, lines: Sequence[str]) -> str:
        if list(lines) == self._lines:
            return ""
        text = self.clear() + "".join(f"{line}\n" for line in lines)
        self._lines = list(lines)
        return text

    def clear(self) -> str:
        back = f"\x1b[{len(self._lines)}F\x1b[J" if self._lines else ""
        self._lines = []
        return back


def frame(
    results: Sequence[TargetResult],
    footer: str,
    width: int,
    height: int,
    color: bool = False,
    strict: bool = False,
) -> list[str]:
    """What is known so far, never taller than the terminal and a column narrower, so that no line wraps."""
    lines: list[str] = []
    for result in results:
        lines += [paint(escape(result.target.text), "bold", color), ""]
        lines += [*table_lines(result, width - 1, color, strict), ""]
    room = max(height - 2, 1)
    if len(lines) > room:
        hidden = len(lines) - room + 1
        lines = [*lines[: room - 1], paint(f"… {hidden} more lines; all are shown at the end", "dim", color)]
    return [*lines, paint(footer, "dim", color)]
