"""Ctrl-C while a program is being loaded and while it ends: it ends at once, by 130 and without a traceback.

An exception would not do there. One that is raised in the middle of an import may be swallowed, and is told
as a fault of ours.
"""

import contextlib
import os
import signal
import sys
import warnings
from types import FrameType

INTERRUPTED = 130
NOTHING_YET = "interrupted before anything was measured"


def end_at_once(words: str = "") -> None:
    """From now on, with ``words`` as one line on stderr. Whoever started us with interrupts ignored is left
    alone."""

    def end(_number: int, _frame: FrameType | None) -> None:
        if words:
            tell(words)
        os._exit(INTERRUPTED)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)


def tell(words: str) -> None:
    """One line of our own on stderr, past all buffers."""
    with contextlib.suppress(OSError):  # nobody to tell
        os.write(2, f"{words}\n".encode())


def raise_again() -> None:
    """``KeyboardInterrupt``, as Python has it; undoes :func:`end_at_once`."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def hush() -> None:
    """For a program that ends by ``KeyboardInterrupt``: what was cut off half-made (a loop, a coroutine)
    complains when it is thrown away, and is to blame for nothing."""
    sys.unraisablehook = lambda _: None
    warnings.simplefilter("ignore")
