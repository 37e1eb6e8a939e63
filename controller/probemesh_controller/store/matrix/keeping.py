"""Upkeep of the matrix while a controller runs: small steps, other calls between them."""

import logging

from probemesh_shared.clock import Clock
from probemesh_shared.errors import MeshError

from probemesh_controller.store.matrix.port import Retention
from probemesh_controller.store.worker import AsyncStore

log = logging.getLogger(__name__)

EVERY_S = 5.0
#: After a step that failed (a full disk, most likely).
AGAIN_S = 30.0


async def keep_up(store: AsyncStore, clock: Clock, keep: Retention) -> None:
    """Until it is cancelled. A step that fails is tried again; the log says so once."""
    failing = False
    while True:
        try:
            while await store.call(lambda s: s.upkeep(clock.wall_ns(), keep)):
                pass
        except Exception as error:  # whatever it is: a mesh that runs for years must not stop packing for it
            if not failing:
                unknown = None if isinstance(error, MeshError) else error
                log.error("old slots are neither packed nor forgotten: %s", error, exc_info=unknown)
            failing = True
            await clock.sleep(AGAIN_S)
        else:
            failing = False
            await clock.sleep(EVERY_S)
