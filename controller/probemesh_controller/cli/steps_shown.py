"""What a diagnosis is doing, on stderr while it runs: a line drawn over on a terminal, else notes once it
takes longer."""

import time

from probemesh_shared.escape import escape

from probemesh_controller.cli.flags import note
from probemesh_controller.cli.statusline import FIRST_NOTE_S, WIDE, StatusLine
from probemesh_controller.pair.case import Case, Round


class StepsShown:
    def __init__(self) -> None:
        self._line = StatusLine()
        self._started = time.monotonic()

    def take(self, case: Case, wanted: Round | None) -> None:
        if wanted is None:
            return
        elapsed = time.monotonic() - self._started
        text = f"{elapsed:4.1f} s  round {len(case.rounds) + 1}: {said(wanted)}"
        if self._line.live:
            self._line.show(text)
        elif elapsed >= FIRST_NOTE_S:
            note(text)

    def close(self) -> None:
        self._line.close()


def said(wanted: Round) -> str:
    """Why the steps of a round are done, each reason once."""
    reasons = dict.fromkeys(step.why or step.purpose for step in wanted.steps)
    return escape("; ".join(reasons) or "looking", WIDE)
