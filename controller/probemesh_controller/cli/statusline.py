"""One line on stderr that says how far long work is, drawn over as it goes on."""

import shutil
import sys

from probemesh_controller.cli.flags import draw, may_redraw, undraw
from probemesh_controller.render.text import clip

#: Columns where nobody says how many there are.
WIDE = 110
#: Off a terminal nothing is said of what is over sooner than the first, and a word as often as the second.
FIRST_NOTE_S, NEXT_NOTE_S = 3.0, 5.0


class StatusLine:
    """``live``: stderr is a terminal that may be drawn on; else notes have to do."""

    def __init__(self) -> None:
        self.live = may_redraw(sys.stderr)
        self._drawn = False

    def show(self, text: str) -> None:
        """A line that wraps could not be drawn over."""
        self._drawn = True
        draw(clip(text, shutil.get_terminal_size((WIDE, 40)).columns - 1))

    def close(self) -> None:
        if self._drawn:
            undraw()
            self._drawn = False
