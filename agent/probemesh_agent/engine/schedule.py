"""The engine end of one run: what starts when, what has waited long enough, what ends at the deadline.

No clock and no socket in here: the loop says what time it is, the driver sends. Samples of one item are
spaced by the interval, counted from the start of the one before, whether or not that was answered; items of
many targets take turns. Attempts of one run all have the same timeout, so that they expire in the order
they began."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from probemesh_shared import failures
from probemesh_shared.model import Failure, Options, Sample
from probemesh_shared.words import Outcome, Stage

from probemesh_agent.engine.item import Attempt, Item, Source
from probemesh_agent.engine.pace import Pace

#: How long an attempt is tried again when this host runs short of descriptors, ports or buffers.
SHORTAGE_PATIENCE_S = 1.0
_SHORTAGE_PAUSE_S = 0.02


class Shortage(Exception):
    """This host ran short; the attempt was not made and may be tried again."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


class Driver(Protocol):
    """One protocol. Calls :meth:`Schedule.sample` for each attempt's end, at once or later."""

    #: Attempts that may be under way at once, by what the driver can hold (None: sockets set the limit).
    most_open: int | None

    @property
    def is_stalled(self) -> bool:
        """Something was queued that this host had no room to send: :meth:`flush` soon again."""

    def start(self, item: Item, seq: int, now: float) -> None:
        """Begins one attempt. Raises :class:`Shortage`."""

    def flush(self, now: float) -> None:
        """Sends what ``start`` only queued."""

    def close(self) -> None:
        """Closes everything; nothing is reported any more."""


class Schedule:
    """See the module. All methods are for the engine thread, but for the constructor."""

    def __init__(
        self,
        options: Options,
        deadline: float,
        budget_s: float,
        rate_per_s: float | None,
        pace: Pace,
        emit: Callable[[Item], None],
    ) -> None:
        self.options = options
        self.deadline = deadline
        self.waiting: dict[int, Attempt] = {}  # by the driver's key, in order of expiry
        self.open = 0
        self.is_fed = False  # no more sources will come
        self._fair_s = min(options.timeout_s, 1.0, budget_s / 2)
        self._rate = rate_per_s
        self._pace = pace
        self._emit = emit
        self._ready: deque[Source] = deque()
        self._due: list[tuple[float, int, Source | Item]] = []
        self._order = itertools.count()
        self._short_since: dict[int, float] = {}  # id of item: since when
        self._cap: int | None = None  # open attempts that this host turned out to carry
        self.short_until = 0.0

    # --- what the loop calls ---------------------------------------------------------------------------

    def feed(self, sources: Iterable[Source]) -> None:
        """More to measure."""
        self._ready.extend(sources)

    @property
    def is_done(self) -> bool:
        return self.is_fed and not self._ready and not self._due and not self.open

    def next_wake(self, can_start: bool) -> float | None:
        """When :meth:`pump` or :meth:`expire` will have something to do; None: only events can tell.
        ``can_start`` False: there is no room, so that nothing due matters."""
        wake: float | None = self._due[0][0] if self._due and can_start else None
        first = next(iter(self.waiting.values()), None)
        if first is not None and (wake is None or first.expires < wake):
            wake = first.expires
        return wake

    def room(self, now: float) -> int:
        """Attempts that may begin, as far as this run alone knows."""
        if self._cap is None:
            return 1 << 30
        if now >= self.short_until:
            self._cap = None
            return 1 << 30
        return self._cap - self.open

    def pump(self, driver: Driver, now: float, room: int) -> int:
        """Starts what is due, at most ``room`` attempts; how many it was."""
        started = 0
        room = min(room, self.room(now))
        while started < room and self._due and self._due[0][0] <= now:
            entry = heapq.heappop(self._due)[2]
            if isinstance(entry, Item):
                started += self._start(driver, entry, now)
            elif (item := entry.take()) is not None:
                started += self._begin(driver, item, now)
                self._ready.append(entry)
        while started < room and self._ready:
            source = self._ready[0]
            item = source.take()
            if item is None:
                self._ready.popleft()
                continue
            self._ready.rotate(-1)
            slot = self._slot(item, now)
            if slot > now:
                self._ready.pop()
                source.head = item
                self._push(slot, source)
            else:
                started += self._begin(driver, item, now)
        driver.flush(now)
        return started

    def expire(self, now: float) -> None:
        """Ends attempts whose time is up."""
        for key, attempt in list(itertools.takewhile(lambda a: a[1].expires <= now, self.waiting.items())):
            if key in self.waiting:
                waited = self._waited(attempt)
                attempt.expire(waited, waited < self._fair_s)

    def finish(self, now: float) -> None:
        """The deadline: ends what is under way and tells what was never started."""
        while self.waiting:
            attempt = next(iter(self.waiting.values()))
            attempt.expires = min(attempt.expires, now)
            waited = self._waited(attempt)
            attempt.expire(waited, waited < self._fair_s)
        due, self._due = self._due, []
        for _, _, entry in due:
            if isinstance(entry, Source):
                self._ready.append(entry)
            else:
                self._emit(entry)
        self._tell_rest()

    # --- what drivers call ------------------------------------------------------------------------------

    def sample(self, item: Item, sample: Sample) -> None:
        """An attempt ended; the item is delivered when all its samples are in."""
        self.open -= 1
        item.open -= 1
        item.samples.append(sample)
        if not item.open and item.launched >= self.options.count:
            self._emit(item)

    def expiry(self, now: float) -> float:
        """When an attempt that starts now has waited long enough."""
        return min(now + self.options.timeout_s, self.deadline)

    # --- inside ------------------------------------------------------------------------------------------

    def _slot(self, item: Item, now: float) -> float:
        if self._rate is None or item.is_loopback:
            return now
        return self._pace.reserve(item.host, self._rate, now)

    def _push(self, when: float, entry: Source | Item) -> None:
        heapq.heappush(self._due, (when, next(self._order), entry))

    def _begin(self, driver: Driver, item: Item, now: float) -> int:
        item.next_at = now
        return self._start(driver, item, now)

    def _start(self, driver: Driver, item: Item, now: float) -> int:
        seq = item.launched
        item.launched = seq + 1
        item.open += 1
        self.open += 1
        again = item.launched < self.options.count
        if again:
            item.next_at += self.options.interval_s
        try:
            driver.start(item, seq, now)
        except Shortage as shortage:
            self._ran_short(item, seq, shortage.failure, now)
            return 1
        if self._short_since:
            self._short_since.pop(id(item), None)
        if again:
            self._schedule_next(item, now)
        return 1

    def _schedule_next(self, item: Item, now: float) -> None:
        when = item.next_at = max(item.next_at, now)
        if self._rate is not None and not item.is_loopback:
            when = max(when, self._pace.reserve(item.host, self._rate, when))
        heapq.heappush(self._due, (when, next(self._order), item))

    def _ran_short(self, item: Item, seq: int, failure: Failure, now: float) -> None:
        since = self._short_since.setdefault(id(item), now)
        self._cap = max(8, self.open - 1)
        self.short_until = now + _SHORTAGE_PAUSE_S
        if now - since < SHORTAGE_PATIENCE_S:
            item.launched -= 1
            item.open -= 1
            self.open -= 1
            item.next_at = now
            self._push(now + _SHORTAGE_PAUSE_S, item)
            return
        del self._short_since[id(item)]
        if item.launched < self.options.count:
            self._schedule_next(item, now)
        offset = (now - item.next_at) * 1e3 if item.samples else 0.0
        self.sample(item, Sample(seq, max(offset, 0.0), None, Outcome.LOCAL_RESOURCE, failure))

    def _waited(self, attempt: Attempt) -> float:
        return self.options.timeout_s - max(0.0, attempt.full_expiry - attempt.expires)

    def _tell_rest(self) -> None:
        while self._ready:
            source = self._ready.popleft()
            while (item := source.take()) is not None:
                self._emit(item)


def cut_or_silent(stage: Stage, waited_s: float, cut: bool) -> tuple[Outcome, Failure]:
    """The end of an attempt that nothing came back for."""
    if cut:
        words = f"the run's deadline came {waited_s:.3g} s after it was sent"
        return Outcome.UNMEASURED, failures.past_deadline(words)
    return Outcome.TIMEOUT, failures.timed_out(stage, round(waited_s, 3))
