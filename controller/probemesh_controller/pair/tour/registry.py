"""The literal tables of the tour. Their order decides nothing."""

from probemesh_controller.pair.causes import Cause
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Reader
from probemesh_controller.pair.tour import (
    around,
    basis,
    bundle,
    dialled,
    hairpin,
    headers,
    held,
    lasting,
    nat,
    payload,
    pings,
    proxies,
    reading,
    side,
    sizes,
    steady,
)

READERS: tuple[Reader, ...] = (
    basis.READER,
    pings.READER,
    sizes.READER,
    bundle.READER,
    steady.READER,
    held.READER,
    payload.READER,
    headers.READER,
    proxies.READER,
    reading.READER,
    nat.READER,
    dialled.READER,
    hairpin.READER,
    lasting.READER,
    around.READER,
)

CAUSES: tuple[Cause, ...] = (
    *pings.CAUSES,
    *sizes.CAUSES,
    *bundle.CAUSES,
    *steady.CAUSES,
    *held.CAUSES,
    *payload.CAUSES,
    *headers.CAUSES,
    *proxies.CAUSES,
    *reading.CAUSES,
    *nat.CAUSES,
    *dialled.CAUSES,
    hairpin.HAIRPIN_CAUSE,
    *lasting.CAUSES,
    *around.CAUSES,
)

MOVES: tuple[Move, ...] = (
    *pings.MOVES,
    *side.MOVES,
    *sizes.MOVES,
    *bundle.MOVES,
    *steady.MOVES,
    *held.MOVES,
    *payload.MOVES,
    *headers.MOVES,
    *proxies.MOVES,
    *reading.MOVES,
    *nat.MOVES,
    *dialled.MOVES,
    *hairpin.MOVES,
    *lasting.MOVES,
    *around.MOVES,
)
