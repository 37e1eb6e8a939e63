"""Where ``meshctl`` begins: nearly nothing is loaded before an interrupt is answered properly."""

import sys

from probemesh_shared.interrupts import INTERRUPTED, NOTHING_YET, end_at_once, raise_again


def main() -> None:
    end_at_once(NOTHING_YET)
    from probemesh_controller.cli.main import main as begin

    raise_again()
    try:
        begin()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        end_at_once()
