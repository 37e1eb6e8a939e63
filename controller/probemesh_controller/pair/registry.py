"""The literal tables of the engine: readers, causes and moves. Their order decides nothing.

How to write such rows stands in :mod:`~probemesh_controller.pair.causes`.
"""

from probemesh_controller.pair.causes import Cause
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Reader

READERS: tuple[Reader, ...] = ()

CAUSES: tuple[Cause, ...] = ()

MOVES: tuple[Move, ...] = ()
