"""SIGHUP has two meanings: read what you were configured with again, and your terminal has gone."""

import os
from collections.abc import Callable


def on_hangup(reload: Callable[[], object], stop: Callable[[], object], fd: int = 0) -> Callable[[], None]:
    """What to do on SIGHUP: ``stop`` where ``fd`` is a terminal now and no longer is one then, else
    ``reload``."""
    began_on_a_terminal = os.isatty(fd)

    def act() -> None:
        if began_on_a_terminal and not os.isatty(fd):
            stop()
        else:
            reload()

    return act
