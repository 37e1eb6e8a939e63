"""Connections that the far end's own listener had no room for: its host counts them, and what became of them
says nothing of the path. Pure.

A service with a short queue (five, for many small servers) drops what comes faster than it accepts, and the
tour comes fast.
"""

from collections.abc import Iterable

from probemesh_shared.words import Transport

from probemesh_controller.pair.flow.counts import counts_of
from probemesh_controller.pair.tour.basis import Fate, transport_of
from probemesh_controller.pair.view import Probed, View

_COUNTER = "TcpExt.ListenOverflows"
#: Of what got no answer at once, the share from which the full queue explains it.
_MOST = 0.5


def turned_away(view: View, probed: Probed) -> int:
    """SYNs that found the queue full in this step's round."""
    counts = counts_of(view.far_account(probed), probed, len(probed.shots))
    excess = counts.excess(_COUNTER) if counts is not None else None
    return max(0, round(excess)) if excess is not None else 0


def of_the_path(view: View, probed: Probed, every: Iterable[Fate]) -> tuple[Fate, ...]:
    """Those shots that tell of the path: where the queue was full, only the ones that it had room for."""
    kept = tuple(every)
    if transport_of(probed) is not Transport.TCP:
        return kept
    lost = sum(fate.first_lost for fate in kept)
    if not lost or turned_away(view, probed) < _MOST * lost:
        return kept
    return tuple(fate for fate in kept if not fate.first_lost)
