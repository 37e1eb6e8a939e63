"""Single shots laid out in time, each told one by one: the prober's side of a two-ended probe.

:func:`~probemesh_agent.flow.firing.fire` sends them and waits; everything it opens is closed when it returns,
raises or is cancelled. The ``flow`` kind is that in a row of the registry; other kinds of diagnosis stand on
it too. Sockets are this package's own, on the asyncio loop: some hundred shots, not a scan."""

from probemesh_agent.flow.firing import MOST_SHOTS, Orders, fire

__all__ = ["MOST_SHOTS", "Orders", "fire"]
