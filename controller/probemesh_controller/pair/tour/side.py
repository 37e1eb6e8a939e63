"""The tour's datagrams to the far watch's own port: a burst of small ones, and all sizes. Pure.

That port needs no ``--listen``, and every datagram to it is told one by one.
"""

from probemesh_shared.model import Shot
from probemesh_shared.words import Transport

from probemesh_controller.pair.case import Round
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Signs
from probemesh_controller.pair.tour import names
from probemesh_controller.pair.tour.basis import Fate, flow, is_v6, ready, round_of, step, surrogate
from probemesh_controller.pair.view import View

PURPOSE, AGAIN = "tour-side", "tour-side-again"
SMALL = 90
#: Payload bytes that fill 1,500 of IP packet.
FULL = {False: 1472, True: 1452}
SEVERAL = 3000
BURST = 20
_EVERY_MS = 10.0
_EACH = 4


def small(at_ms: float, socket: int | None = 0) -> Shot:
    return Shot(at_ms=at_ms, size=SMALL, socket=socket)


def sizes(v6: bool, count: int, from_ms: float = 0.0) -> tuple[Shot, ...]:
    """``count`` of each kind of large datagram, interleaved."""
    full = FULL[v6]
    kinds = [Shot(size=full, dont_fragment=True), Shot(size=SEVERAL)]
    if not v6:  # routers of IPv6 break nothing up
        kinds.append(Shot(size=full))
    shots = [kinds[number % len(kinds)] for number in range(count * len(kinds))]
    return tuple(
        Shot(at_ms=from_ms + _EVERY_MS * number, size=shot.size, dont_fragment=shot.dont_fragment)
        for number, shot in enumerate(shots)
    )


def is_small(fate: Fate) -> bool:
    return fate.plan.size == SMALL and fate.plan.ttl is None


def _build(view: View, signs: Signs) -> Round | None:
    aim = surrogate(view)
    if aim is None:
        return None
    burst = tuple(small(_EVERY_MS * number) for number in range(BURST))
    spec = flow(view, Transport.UDP, (*burst, *sizes(is_v6(view), _EACH, _EVERY_MS / 2)), aim.token)
    return round_of(step(view, PURPOSE, "small and large datagrams, one by one", spec, aim.port))


MOVES = (
    Move(
        PURPOSE,
        frozenset({names.LARGE_LOST, names.CLEAR_LOST, names.FRAGMENTS_LOST, names.LOSES, names.TRANSLATED}),
        _build,
        cost=0.3,
        wants=lambda view, signs: ready(signs),
    ),
)
