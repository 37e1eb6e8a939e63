"""Where ``mesh-agent`` begins: nearly nothing is loaded before an interrupt is answered properly."""

from probemesh_shared.interrupts import INTERRUPTED, end_at_once, raise_again


def main() -> int:
    """Returns the exit code."""
    end_at_once("mesh-agent: interrupted")
    from probemesh_agent.main import main as begin

    raise_again()
    try:
        return begin()
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        end_at_once()
