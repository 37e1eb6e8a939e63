"""Ctrl-C while a program is being loaded and while it ends: it ends at once, by 130 and without a traceback.

An exception would not do there. One that is raised in the middle of an import may be swallowed, and is told
as a fault of ours.
"""

import os
import signal
from types import FrameType

INTERRUPTED = 130
NOTHING_YET = "interrupted before anything was measured"


def end_at_once(words: str = "") -> None:
    """From now on, with ``words`` as one line on stderr. Whoever started us with interrupts ignored is left
    alone."""

    def end(_number: int, _frame: FrameType | None) -> None:
        try:
            if words:
                os.write(2, f"{words}\n".encode())
        except OSError:
            pass  # nobody to tell
        os._exit(INTERRUPTED)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)


def raise_again() -> None:
    """``KeyboardInterrupt``, as Python has it; undoes :func:`end_at_once`."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
