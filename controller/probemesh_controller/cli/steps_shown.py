"""What a diagnosis is doing, on stderr while it runs: a line drawn over on a terminal, else notes once it
takes longer."""

import shutil
import sys
import time

from probemesh_shared.escape import escape

from probemesh_controller.cli.flags import draw, may_redraw, note, undraw
from probemesh_controller.pair.case import Case, Round
from probemesh_controller.render.text import clip

_WIDE = 110
#: Off a terminal nothing is said of what is over sooner than this.
FIRST_NOTE_S = 3.0


class StepsShown:
    def __init__(self) -> None:
        self._line = may_redraw(sys.stderr)
        self._started = time.monotonic()
        self._drawn = False

    def take(self, case: Case, wanted: Round | None) -> None:
        if wanted is None:
            return
        elapsed = time.monotonic() - self._started
        text = f"{elapsed:4.1f} s  round {len(case.rounds) + 1}: {said(wanted)}"
        if self._line:  # a line that wraps could not be drawn over
            text = clip(text, shutil.get_terminal_size((_WIDE, 40)).columns - 1)
            self._drawn = True
            draw(text)
        elif elapsed >= FIRST_NOTE_S:
            note(text)

    def close(self) -> None:
        if self._drawn:
            undraw()


def said(wanted: Round) -> str:
    """Why the steps of a round are done, each reason once."""
    reasons = dict.fromkeys(step.why or step.purpose for step in wanted.steps)
    return escape("; ".join(reasons) or "looking", _WIDE)
