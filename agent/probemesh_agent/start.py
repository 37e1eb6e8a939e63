"""Where ``mesh-agent`` begins: nearly nothing is loaded before an interrupt is answered properly."""

from probemesh_shared.interrupts import INTERRUPTED, end_at_once, raise_again, tell

_WORDS = "mesh-agent: interrupted"


def main() -> int:
    """Returns the exit code."""
    end_at_once(_WORDS)
    from probemesh_agent.main import main as begin

    raise_again()
    try:
        return begin()
    except KeyboardInterrupt:  # before a command had begun, or when it was over
        tell(_WORDS)
        return INTERRUPTED
    finally:
        end_at_once()
