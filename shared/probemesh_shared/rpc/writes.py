"""A server's context whose writes are ended before its call is.

grpc sends no status while a message is on its way: a handler that was cancelled in a write and then refused
left its caller hanging, one in sixty. So a write goes on when whoever awaits it is cancelled, and the guard
waits for it.
"""

import asyncio
from typing import Any

#: Seconds for a peer that does not read. Nothing can be told to it after that.
SETTLE_S = 1.0


class Writes:
    """Everything else is the context's own."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._under_way: asyncio.Task[None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def write(self, message: Any) -> None:
        """As the context's; one at a time."""
        self._under_way = asyncio.ensure_future(self._context.write(message))
        self._under_way.add_done_callback(_looked_at)
        await asyncio.shield(self._under_way)

    async def settle(self) -> None:
        """Returns once nothing is being written, or the peer has had its time."""
        if self._under_way is not None:
            await asyncio.wait({self._under_way}, timeout=SETTLE_S)


def _looked_at(written: "asyncio.Task[None]") -> None:
    """Whoever awaited it may be gone, and asyncio would complain of an error that nobody saw."""
    if not written.cancelled():
        written.exception()
