"""The store off the event loop: one thread owns it, and calls that wait together share one commit.

``await store.call(lambda s: s.add_measurements(…))`` returns what the call returned, after its commit. A
call that raises undoes itself alone; a commit that fails (disk full) fails all calls of its group with
StateError and nothing else: the next group is tried anew, so a disk that has room again heals the
controller without a restart.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from probemesh_shared.errors import StateError

from probemesh_controller.store.port import Store

T = TypeVar("T")
log = logging.getLogger(__name__)

#: Calls that may share one commit, and calls that may wait before callers are held back.
GROUP = 256
WAITING = 1024


class AsyncStore(Protocol):
    """A :class:`Store` for coroutines."""

    async def call(self, work: Callable[[Store], T]) -> T:
        """Raises what ``work`` raises, or StateError where it could not be committed."""

    async def ask(self, work: Callable[[Store], T]) -> T:
        """The same for work that only reads, and may take its time: nothing that is to be stored waits for
        it. It sees what was committed before it began."""

    @property
    def trouble(self) -> str | None:
        """Why the last commit failed, in words for people; None while all is well."""

    async def aclose(self) -> None: ...


class InlineStore:
    """An :class:`AsyncStore` over a store that never blocks (in memory): calls run where they stand."""

    trouble: str | None = None

    def __init__(self, store: Store) -> None:
        self._store = store

    async def call(self, work: Callable[[Store], T]) -> T:
        with self._store.group():
            return work(self._store)

    ask = call

    async def aclose(self) -> None:
        self._store.close()


class _Call:
    """One waiting call: its work, its future, and what came of it."""

    __slots__ = ("error", "future", "result", "work")

    def __init__(self, work: Callable[[Store], Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.result: Any = None
        self.error: Exception | None = None

    def run(self, store: Store) -> None:
        try:
            self.result = self.work(store)
        except Exception as error:
            self.error = error

    def settle(self) -> None:
        if self.future.done():  # whoever waited was cancelled; the work is committed all the same
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class StoreWorker:
    """An :class:`AsyncStore` with a thread of its own, and one for ``reader``, a second store over the same
    data, where there is one. Make it inside the running loop; ``aclose`` commits what waits, closes the
    stores and joins the threads."""

    def __init__(
        self, store: Store, reader: Store | None = None, group: int = GROUP, waiting: int = WAITING
    ) -> None:
        self._store = store
        self._reader = None if reader is None else StoreWorker(reader, group=1)
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(waiting)
        self._calls: deque[_Call] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._work, name="probemesh-store", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str | None:
        return self._trouble

    async def call(self, work: Callable[[Store], T]) -> T:
        async with self._room:
            future: asyncio.Future[T] = self._loop.create_future()
            with self._wake:
                if self._closing:
                    raise StateError("the store is closed")
                self._calls.append(_Call(work, future))
                self._wake.notify()
            return await future

    async def ask(self, work: Callable[[Store], T]) -> T:
        return await (self._reader or self).call(work)

    async def aclose(self) -> None:
        if self._reader is not None:
            await self._reader.aclose()
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)

    # --- the thread

    def _work(self) -> None:
        while calls := self._next():
            self._commit(calls)
            self._loop.call_soon_threadsafe(_settle, calls)
        self._store.close()

    def _next(self) -> list[_Call]:
        with self._wake:
            while not self._calls and not self._closing:
                self._wake.wait()
            return [self._calls.popleft() for _ in range(min(self._group, len(self._calls)))]

    def _commit(self, calls: list[_Call]) -> None:
        try:
            with self._store.group():
                for call in calls:
                    call.run(self._store)
        except Exception as error:
            self._failed(calls, error)
        else:
            if self._trouble is not None:
                log.warning("the store works again")
            self._trouble = None

    def _failed(self, calls: list[_Call], error: Exception) -> None:
        if self._trouble is None:
            log.error("the store is in trouble, results stay with their agents: %s", error)
        self._trouble = str(error)
        for call in calls:
            call.error = call.error or error


def _settle(calls: list[_Call]) -> None:
    for call in calls:
        call.settle()
