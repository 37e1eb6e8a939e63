"""The clocks that are handed in: the machine's, and a virtual one for tests and simulations.

Both have the shape of ``probemesh_agent.env.Clock``: ``monotonic`` for deadlines, ``perf_ns`` for round
trips, ``wall_ns`` only ever as a label, ``sleep``.
"""

import asyncio
import heapq
import itertools
import time
from typing import Protocol


class Clock(Protocol):
    """What code that waits or measures is given."""

    def monotonic(self) -> float:
        """Seconds; the base of every deadline."""

    def perf_ns(self) -> int:
        """Finest monotonic clock, for round trips."""

    def wall_ns(self) -> int:
        """Unix epoch, UTC; only ever a label."""

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def perf_ns(self) -> int:
        return time.perf_counter_ns()

    def wall_ns(self) -> int:
        return time.time_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class VirtualClock:
    """Time that stands still until it is moved.

    ``advance`` wakes sleepers in the order of their instants and lets everything that follows from each
    wake-up settle before the next, so that a test of minutes takes none. ``skew_ns`` is how far the wall
    clock is from the true epoch, for two hosts whose clocks differ over one virtual time.
    """

    #: Turns of the event loop that one wake-up may cause before the next sleeper's instant comes.
    SETTLE = 50

    def __init__(self, start: float = 1000.0, epoch_ns: int = 1_790_000_000_000_000_000) -> None:
        self.now_ns = round(start * 1e9)
        self.skew_ns = 0
        self._epoch_ns = epoch_ns - self.now_ns
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.now_ns / 1e9

    def perf_ns(self) -> int:
        return self.now_ns

    def wall_ns(self) -> int:
        return self._epoch_ns + self.now_ns + self.skew_ns

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now_ns + round(seconds * 1e9), next(self._order), woken))
        await woken

    @property
    def next_wake(self) -> float | None:
        """The instant of the next sleeper that still waits, in seconds; None where nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] / 1e9 if self._sleepers else None

    async def settle(self) -> None:
        """Let all tasks run as far as they get without time."""
        for _ in range(self.SETTLE):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Move time on, waking everyone whose instant comes, one after the other."""
        end = self.now_ns + round(seconds * 1e9)
        await self.settle()
        while self.next_wake is not None and self._sleepers[0][0] <= end:
            instant, _, woken = heapq.heappop(self._sleepers)
            self.now_ns = max(self.now_ns, instant)
            woken.set_result(None)
            await self.settle()
        self.now_ns = end
        await self.settle()
