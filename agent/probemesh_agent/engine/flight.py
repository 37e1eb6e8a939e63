"""The asyncio end of one run: feed it sources, iterate over batches of finished items, close it.

Batches are handed over by ``call_soon_threadsafe`` every 50 ms or 512 items, whichever is first. Leaving the
iteration early, cancelling it or calling :meth:`Flight.aclose` stops the run's packets and closes its
sockets; when ``aclose`` returns they are closed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from probemesh_shared.model import Options
from probemesh_shared.words import Kind

from probemesh_agent.engine.item import Item, Source
from probemesh_agent.engine.schedule import Driver, Schedule

if TYPE_CHECKING:
    from probemesh_agent.engine.loop import Engine

MAX_BATCH = 512
BATCH_AGE_S = 0.05
#: Delivered and not yet taken: above this a run starts nothing new.
MAX_BACKLOG = 8_192


@dataclass(frozen=True, slots=True)
class Order:
    """What a run is to obey. ``budget_s``: seconds until its deadline, from now. ``rate_per_s``: attempts a
    second to one address over all runs of this agent, None for no limit; the owner's caps for ``kind`` hold
    besides, those on connections where it ``connects``."""

    options: Options
    budget_s: float
    rate_per_s: float | None
    driver: Callable[[Schedule, Engine], Driver]
    kind: Kind | None = None
    connects: bool = False


class Flight:
    """One run. Made by :meth:`Engine.open` on an asyncio loop, used on that loop alone but for
    ``_from_engine``."""

    def __init__(self, engine: Engine, order: Order) -> None:
        self.order = order
        self.is_cancelled = False
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._batches: deque[Sequence[Item]] = deque()
        self._fresh: list[Source] = []
        self._told: deque[Iterator[Item]] = deque()
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._error: BaseException | None = None
        self.delivered = 0  # written by the engine thread alone
        self.taken = 0  # written by the asyncio thread alone

    @property
    def backlog(self) -> int:
        return self.delivered - self.taken

    def feed(self, items: Iterable[Item]) -> None:
        """Items of one target, taken when they are wanted: in the engine's thread, so the iterable must not
        block. They start with the next :meth:`push`."""
        self._fresh.append(Source(iter(items)))
        if len(self._fresh) >= MAX_BATCH:
            self.push()

    def push(self) -> None:
        """Hands over what was fed: one hand-over for many targets, not one each."""
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            self._engine.post(self, fresh)

    def tell(self, items: Iterable[Item]) -> None:
        """Items that are finished before they began (their ``failure`` says why), made when they are
        wanted."""
        self._told.append(iter(items))
        self._news.set()

    def end_feed(self) -> None:
        """Nothing more will come: the iteration ends when all items are finished."""
        self.push()
        self._engine.post(self, None)

    async def batches(self) -> AsyncGenerator[Sequence[Item], None]:
        """Finished items, in the order they finished. Raises what went wrong in the engine: our own fault."""
        try:
            while True:
                while self._batches:
                    batch = self._batches.popleft()
                    self.taken += len(batch)
                    if self.taken + MAX_BACKLOG // 2 < self.delivered:
                        self._engine.wake()
                    yield batch
                if told := self._next_told():
                    yield told
                    continue
                if self._ended.is_set():
                    if self._error is not None:
                        raise self._error
                    return
                self._news.clear()
                self._engine.wake()
                await self._news.wait()
        finally:
            await self.aclose()

    def _next_told(self) -> tuple[Item, ...]:
        """No more than one batch: a scan of what is denied is as long as one of what is not."""
        told: list[Item] = []
        while self._told and len(told) < MAX_BATCH:
            items = tuple(islice(self._told[0], MAX_BATCH - len(told)))
            told += items
            if not items:
                self._told.popleft()
        return tuple(told)

    async def aclose(self) -> None:
        """Stops it; returns when its sockets are closed (well within a second)."""
        if not self._ended.is_set():
            self.is_cancelled = True
            self._engine.wake()
            await self._ended.wait()

    # --- called in the engine's thread ---

    def deliver(self, batch: Sequence[Item]) -> bool:
        """Hands a batch over; False where the loop is gone and nobody will read it."""
        self.delivered += len(batch)
        return self._from_engine(self._receive, batch)

    def end(self, error: BaseException | None) -> None:
        """The last word."""
        self._from_engine(self._finish, error)

    def _from_engine(self, call: Callable[..., None], argument: object) -> bool:
        try:
            self._loop.call_soon_threadsafe(call, argument)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def _receive(self, batch: Sequence[Item]) -> None:
        self._batches.append(batch)
        self._news.set()

    def _finish(self, error: BaseException | None) -> None:
        self._error = error
        self._ended.set()
        self._news.set()
