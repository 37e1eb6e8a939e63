"""Where ``meshctl`` begins: nearly nothing is loaded before an interrupt is answered properly.

Until a command begins one ends it at once; then it is raised (``RootGroup``), and is the command's affair.
"""

import sys

from probemesh_shared.interrupts import INTERRUPTED, NOTHING_YET, end_at_once


def main() -> None:
    end_at_once(NOTHING_YET)
    from probemesh_controller.cli.main import main as begin

    try:
        begin()
    except KeyboardInterrupt:  # in the last words about a command that was over
        sys.exit(INTERRUPTED)
    finally:
        end_at_once()
