"""The literal tables of the engine: readers, causes and moves. Their order decides nothing.

How to write such rows stands in :mod:`~probemesh_controller.pair.causes`.
"""

from probemesh_controller.pair.causes import Cause
from probemesh_controller.pair.flow import (
    controls,
    far,
    listeners,
    near,
    out,
    port_shut,
    rows_forward,
    rows_own,
    rows_return,
    rows_service,
    rows_target,
    rungs,
    witness,
)
from probemesh_controller.pair.flow.moves import MOVES as FLOW_MOVES
from probemesh_controller.pair.flow.rows import without_stand_in
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Reader
from probemesh_controller.pair.tour import registry as tour
from probemesh_controller.pair.tour.hairpin import without_hairpin

READERS: tuple[Reader, ...] = (
    near.OURSELVES,
    near.READER,
    out.READER,
    listeners.LISTENERS,
    listeners.SPOKEN,
    listeners.CONNTRACK,
    far.ARRIVAL,
    controls.READER,
    rungs.READER,
    witness.READER,
    port_shut.READER,
    *tour.READERS,
)

_FLOW = (
    *rows_own.CAUSES,
    *rows_own.OWNERS,
    *rows_forward.CAUSES,
    *rows_target.CAUSES,
    *rows_return.CAUSES,
    *rows_service.CAUSES,
)
CAUSES: tuple[Cause, ...] = (*without_hairpin(without_stand_in(_FLOW)), *tour.CAUSES)

MOVES: tuple[Move, ...] = (*FLOW_MOVES, *port_shut.MOVES, *tour.MOVES)
