"""Measurements into batches: one is told after 50 ms, 512 rows or 256 KiB, whichever comes first."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType

from probemesh_shared.model import Measurement
from probemesh_shared.wire.sizes import size_of

from probemesh_agent.env import Clock

FLUSH_S = 0.05
FLUSH_ROWS = 512
FLUSH_BYTES = 256 * 1024

Tell = Callable[[tuple[Measurement, ...]], None]


class Batcher:
    """Use as ``async with``: leaving it, by whatever way, tells what is left and ends the timer."""

    def __init__(self, clock: Clock, tell: Tell) -> None:
        self._clock = clock
        self._tell = tell
        self._rows: list[Measurement] = []
        self._bytes = 0
        self._timer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Batcher":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            with suppress(asyncio.CancelledError):
                await timer
        self.flush()

    def add(self, rows: Sequence[Measurement]) -> None:
        """Takes rows over; tells full batches at once."""
        for row in rows:
            size = size_of(row)
            if self._rows and self._bytes + size > FLUSH_BYTES:
                self.flush()
            self._rows.append(row)
            self._bytes += size
            if len(self._rows) >= FLUSH_ROWS:
                self.flush()
        if self._rows and self._timer is None:
            self._timer = asyncio.create_task(self._later())

    def flush(self) -> None:
        """Tells what is waiting, if anything."""
        if self._rows:
            rows, self._rows, self._bytes = tuple(self._rows), [], 0
            self._tell(rows)

    async def _later(self) -> None:
        await self._clock.sleep(FLUSH_S)
        self._timer = None
        self.flush()
