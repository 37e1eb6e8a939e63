"""The engine end of one run: what starts when, what has waited long enough, what ends at the deadline.

No clock and no socket in here: the loop says what time it is, the driver sends. Samples of one item are
spaced by the interval, counted from the start of the one before, whether or not that was answered; items of
many targets take turns. Attempts of one run all have the same timeout, so that they expire in the order
they began."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from probemesh_shared import failures
from probemesh_shared.model import Failure, Options, Sample
from probemesh_shared.words import Outcome, Stage

from probemesh_agent.engine.item import Attempt, Item, Source
from probemesh_agent.engine.pace import Pace
from probemesh_agent.net.allowance import Rate, capped, place

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
    #: Attempts begun by one run before the loop looks at events and at the other runs.
    burst: int

    @property
    def is_stalled(self) -> bool:
        """Something was queued that this host had no room to send: :meth:`flush` soon again."""

    def start(self, items: Sequence[Item], seq: int, now: float) -> Iterable[tuple[Item, Failure]]:
        """Begins one attempt, sample ``seq``, of each item; tells those that this host was short for."""

    def flush(self, now: float) -> None:
        """Sends what ``start`` only queued."""

    def close(self) -> None:
        """Closes everything; nothing is reported any more."""


#: Items whose next attempt is the same sample, due at the same time.
_Cohort = list[Item]


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
        to_one: Callable[[], Rate | None] = lambda: None,
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
        self._to_one = to_one  # the host owner's cap on what goes to one address
        self._capped: Failure | None = None  # it left no room within the run
        self._ready: deque[Source] = deque()
        # when, a number that nothing shares, when it was due before pacing, what
        self._due: list[tuple[float, int, float, Source | _Cohort]] = []
        self._order = itertools.count()
        self._short_since: dict[Item, float] = {}  # since when
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
        fresh: _Cohort = []
        while started + len(fresh) < room and self._due and self._due[0][0] <= now:
            _, _, nominal, entry = heapq.heappop(self._due)
            if isinstance(entry, list):
                left = room - started - len(fresh)
                if len(entry) > left:
                    self._push(nominal, entry[left:])
                    entry = entry[:left]
                if entry := self._let_through(entry, nominal, now):
                    self._start(driver, entry, nominal, now)
                started += len(entry)
            elif (item := entry.take()) is not None and not self._holds(entry, item, now):
                fresh.append(item)
                self._ready.append(entry)
        self._take_ready(fresh, room - started, now)
        if fresh:
            self._start(driver, fresh, now, now)
        driver.flush(now)
        return started + len(fresh)

    def _take_ready(self, fresh: _Cohort, room: int, now: float) -> None:
        """Items of sources that take turns, as far as pacing lets them begin now."""
        ready = self._ready
        while len(fresh) < room and ready:
            source = ready.popleft()
            item = source.take()
            if item is None:
                continue
            slot = self._slot(item, now)
            if slot > now:
                source.head = item
                self._push(slot, source)
            elif not self._holds(source, item, now):
                ready.append(source)
                fresh.append(item)

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
        for _, _, _, entry in due:
            if isinstance(entry, Source):
                self._ready.append(entry)
            else:
                for item in entry:
                    self._give_up(item)
        self._tell_rest()

    # --- what drivers call ------------------------------------------------------------------------------

    def sample(self, item: Item, sample: Sample) -> None:
        """An attempt ended; the item is delivered when all its samples are in."""
        self.open -= 1
        item.open -= 1
        item.samples.append(sample)
        if not item.open and item.launched >= self.options.count:
            self._emit(item)

    def answered(self, items: Sequence[Item], samples: Sequence[Sample]) -> None:
        """The same for many attempts at once."""
        self.open -= len(items)
        count = self.options.count
        for item, sample in zip(items, samples, strict=True):
            item.samples.append(sample)
            item.open -= 1
            if not item.open and item.launched >= count:
                self._emit(item)

    def expiry(self, now: float) -> float:
        """When an attempt that starts now has waited long enough."""
        return min(now + self.options.timeout_s, self.deadline)

    # --- inside ------------------------------------------------------------------------------------------

    def _slot(self, item: Item, now: float) -> float:
        if self._rate is None or item.is_loopback:
            return now
        return self._pace.reserve(item.host, self._rate, now)

    def _holds(self, source: Source, item: Item, now: float) -> bool:
        """Puts the source off until the owner's cap lets its next item leave."""
        slot = self._cleared(item, now)
        if slot <= now:
            return False
        source.head = item
        self._push(slot, source)
        return True

    def _let_through(self, items: _Cohort, nominal: float, now: float) -> _Cohort:
        """Those that may leave now; the others are put off."""
        if self._to_one() is None:
            return items
        through = []
        for item in items:
            slot = self._cleared(item, now)
            if slot <= now:
                through.append(item)
            else:
                self._push(slot, [item], nominal)
        return through

    def _cleared(self, item: Item, now: float) -> float:
        """When the owner's cap lets the item's next attempt leave, which is booked by that; after the
        deadline where it does not."""
        rate = self._to_one()
        if rate is None or item.cleared or (key := place(item.host)) is None:
            return now
        slot = rate.book(now, self.deadline - 0.001, key)
        if slot is None:
            self._capped = capped(f"{rate.words} are allowed, and no more")
            return self.deadline + 1.0
        item.cleared = True
        return slot

    def _push(self, when: float, entry: Source | _Cohort, nominal: float | None = None) -> None:
        heapq.heappush(self._due, (when, next(self._order), when if nominal is None else nominal, entry))

    def _start(self, driver: Driver, items: _Cohort, due: float, now: float) -> None:
        """Begins the next attempt of items that have begun equally many."""
        seq = items[0].launched
        for item in items:
            item.launched = seq + 1
            item.cleared = False
            item.open += 1
        self.open += len(items)
        short = dict(driver.start(items, seq, now))
        if short:
            for item, failure in short.items():
                self._ran_short(item, seq, failure, due, now)
            items = [item for item in items if item not in short]
        if self._short_since:
            for item in items:
                self._short_since.pop(item, None)
        if seq + 1 < self.options.count and items:
            self._schedule_next(items, due, now)

    def _schedule_next(self, items: _Cohort, due: float, now: float) -> None:
        due = max(due + self.options.interval_s, now)
        if self._rate is None:
            self._push(due, items)
            return
        at_once: _Cohort = []
        for item in items:
            slot = self._slot(item, due)
            if slot > due:
                self._push(slot, [item], due)
            else:
                at_once.append(item)
        if at_once:
            self._push(due, at_once)

    def _ran_short(self, item: Item, seq: int, failure: Failure, due: float, now: float) -> None:
        since = self._short_since.setdefault(item, now)
        self._cap = max(8, self.open - 1)
        self.short_until = now + _SHORTAGE_PAUSE_S
        if now - since < SHORTAGE_PATIENCE_S:
            item.launched -= 1
            item.open -= 1
            self.open -= 1
            self._push(now + _SHORTAGE_PAUSE_S, [item], now)
            return
        del self._short_since[item]
        if item.launched < self.options.count:
            self._schedule_next([item], due, now)
        offset_ms = seq * self.options.interval_s * 1e3
        self.sample(item, Sample(seq, offset_ms, None, Outcome.LOCAL_RESOURCE, failure))

    def _waited(self, attempt: Attempt) -> float:
        return self.options.timeout_s - max(0.0, attempt.full_expiry - attempt.expires)

    def _tell_rest(self) -> None:
        while self._ready:
            source = self._ready.popleft()
            while (item := source.take()) is not None:
                self._give_up(item)

    def _give_up(self, item: Item) -> None:
        if not item.launched:
            item.failure = item.failure or self._capped
        self._emit(item)


def cut_or_silent(stage: Stage, waited_s: float, cut: bool) -> tuple[Outcome, Failure]:
    """The end of an attempt that nothing came back for."""
    if cut:
        words = f"the run's deadline came {waited_s:.3g} s after it was sent"
        return Outcome.UNMEASURED, failures.past_deadline(words)
    return Outcome.TIMEOUT, failures.timed_out(stage, round(waited_s, 3))
