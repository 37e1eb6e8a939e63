"""The engine's thread: one epoll loop over the sockets of all runs.

Started by the first run, stopped by :meth:`Engine.close`. Work comes in through a queue and an eventfd;
finished items go out in batches. A fault in one run ends that run alone, with the exception at its
consumer."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from probemesh_shared.words import Kind

from probemesh_agent import kernel
from probemesh_agent.engine.flight import BATCH_AGE_S, MAX_BACKLOG, MAX_BATCH, Flight, Order
from probemesh_agent.engine.item import Item, Source
from probemesh_agent.engine.pace import Pace
from probemesh_agent.engine.schedule import Driver, Schedule
from probemesh_agent.engine.sender import Sender
from probemesh_agent.net.allowance import UNLIMITED, Allowance, Rate

_MOST_SOCKETS = 4_096
STALL_PAUSE_S = 0.005
_LOOK_AGAIN_S = 0.05
#: Objects made before the collector looks for cycles, of which samples and rows have none: with the usual
#: 700 it takes an eighth of the time of a large run.
_COLLECT_AFTER = 20_000

Handler = Callable[[int], None]


def socket_budget() -> int:
    """Sockets the engine may hold: half of what the process may open, 4,096 at most."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(_MOST_SOCKETS, soft // 2)) if soft > 0 else _MOST_SOCKETS


def stamp_keeper() -> socket.socket | None:
    """A socket that does nothing but keep the kernel stamping arrivals, which it begins some milliseconds
    after it was first asked to; without it the first packets of each run would have none."""
    try:
        keeper = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        keeper.setsockopt(
            socket.SOL_SOCKET, kernel.SO_TIMESTAMPING, kernel.RX_SOFTWARE | kernel.REPORT_SOFTWARE
        )
    return keeper


class _Run:
    """A flight in the engine: its schedule, its driver, and what is finished and not yet delivered."""

    def __init__(self, flight: Flight, engine: Engine, now: float) -> None:
        order = flight.order
        self.flight = flight
        self.out: list[Item] = []
        self.out_since = 0.0
        self._now = engine.monotonic
        self.schedule = Schedule(
            order.options,
            now + order.budget_s,
            order.budget_s,
            order.rate_per_s,
            engine.pace,
            self._emit,
            lambda: engine.allowance.target(order.connects),
        )
        self.driver: Driver = order.driver(self.schedule, engine)

    def _emit(self, item: Item) -> None:
        if not self.out:
            self.out_since = self._now()
        self.out.append(item)
        if len(self.out) >= MAX_BATCH:
            self.deliver()

    def deliver(self) -> None:
        if self.out:
            batch, self.out = self.out, []
            if not self.flight.deliver(batch):
                self.flight.is_cancelled = True


class Engine:
    """Owns the thread, the epoll descriptor and all sockets of icmp, tcp and udp probes.

    ``open`` and ``close`` are for the thread of the asyncio loop; ``post`` and ``wake`` for any; the rest,
    used by drivers, for the engine's own."""

    def __init__(
        self,
        most_sockets: int | None = None,
        source: str | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self.source = source  # of probes that name none, where it can serve their target
        self.monotonic = time.monotonic
        self.pace = Pace()
        self.sender = Sender(self.wake)
        self.handlers: dict[int, Handler] = {}
        self.sockets = 0  # held by attempts
        self._most_sockets = most_sockets or socket_budget()
        self.allowance = allowance or Allowance(UNLIMITED)  # the host owner's caps
        self._runs: dict[Flight, _Run] = {}
        self._posts: deque[tuple[Flight, Sequence[Source] | None, bool]] = deque()
        self._thread: threading.Thread | None = None
        self._is_closing = False
        self._collecting = gc.get_threshold()
        self._wakeup = -1
        self._stamps: socket.socket | None = None
        self._epoll: select.epoll | None = None

    # --- for callers ---------------------------------------------------------------------------------------

    def open(self, order: Order) -> Flight:
        """A new run on the running asyncio loop; nothing is sent before it is fed."""
        if self._is_closing:
            raise RuntimeError("the packet engine is closed")
        self._ensure_thread()
        flight = Flight(self, order)
        self._posts.append((flight, None, True))
        return flight

    @property
    def most_sockets(self) -> int:
        """By what this process may open, and what the owner allows."""
        return min(self._most_sockets, self.allowance.limits.concurrent)

    def open_of(self, kind: Kind | None) -> int:
        """Attempts of a kind that are under way; None: the sockets of all. For any thread."""
        if kind is None:
            return self.sockets
        return sum(run.schedule.open for flight, run in list(self._runs.items()) if flight.order.kind is kind)

    def post(self, flight: Flight, sources: Sequence[Source] | None) -> None:
        """Sources for a run; None: there will be no more."""
        self._posts.append((flight, sources, False))
        self.wake()

    def wake(self) -> None:
        """Makes the loop look around."""
        if self._wakeup >= 0:
            os.eventfd_write(self._wakeup, 1)

    def close(self) -> None:
        """Ends all runs, closes all sockets, joins the thread. May be called twice."""
        self._is_closing = True
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            self.wake()
            thread.join(5.0)
            self._thread = None
            self.sender.close()
            wakeup, self._wakeup = self._wakeup, -1
            os.close(wakeup)
            if self._stamps is not None:
                self._stamps.close()

    # --- for drivers ---

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Calls ``handler`` with the events of ``fd`` until :meth:`unwatch`."""
        self.handlers[fd] = handler
        assert self._epoll is not None
        self._epoll.register(fd, events)

    def unwatch(self, fd: int) -> None:
        """To be called before ``fd`` is closed; closing it takes it out of epoll."""
        self.handlers.pop(fd, None)

    # --- the thread ---

    def _ensure_thread(self) -> None:
        if self._thread is not None:
            return
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(self._wakeup, select.EPOLLIN)
        self._stamps = stamp_keeper()
        self._thread = threading.Thread(target=self._main, name="probemesh-engine", daemon=True)
        self._thread.start()

    def _main(self) -> None:
        assert self._epoll is not None
        fault: BaseException | None = None
        try:
            while not self._is_closing:
                self._turn(self._epoll)
        except BaseException as error:
            fault, self._is_closing = error, True
            raise
        finally:
            for run in list(self._runs.values()):
                self._end(run, fault)
            for flight, _, is_new in self._posts:
                if is_new:
                    flight.end(fault)
            self._epoll.close()

    def _turn(self, epoll: select.epoll) -> None:
        self._take_posts()
        started = self._start_and_end()
        for fd, events in epoll.poll(0 if started else self._timeout(), 512):
            if fd == self._wakeup:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wakeup)
            elif (handler := self.handlers.get(fd)) is not None:
                self._guarded(handler, events)

    def _guarded(self, handler: Handler, events: int) -> None:
        """A handler's fault ends the run that the handler belongs to."""
        try:
            handler(events)
        except Exception as error:
            owner = getattr(handler, "__self__", None)
            schedule = getattr(getattr(owner, "driver", owner), "schedule", None)
            for run in list(self._runs.values()):
                if schedule is None or run.schedule is schedule:
                    self._end(run, error)

    def _take_posts(self) -> None:
        while self._posts:
            flight, sources, is_new = self._posts.popleft()
            if is_new:
                self._begin(flight)
            elif (run := self._runs.get(flight)) is not None:
                if sources is None:
                    run.schedule.is_fed = True
                else:
                    run.schedule.feed(sources)

    def _begin(self, flight: Flight) -> None:
        if not self._runs:
            self._collect_seldom()
        try:
            self._runs[flight] = _Run(flight, self, self.monotonic())
        except Exception as error:
            flight.end(error)
            if not self._runs:
                gc.set_threshold(*self._collecting)

    def _start_and_end(self) -> int:
        started = 0
        for run in list(self._runs.values()):
            if run.flight.is_cancelled:
                self._end(run, None)
                continue
            try:
                started += self._advance(run)
            except Exception as error:
                self._end(run, error)
        return started

    def _advance(self, run: _Run) -> int:
        """One run's turn; attempts begun."""
        now = self.monotonic()
        schedule = run.schedule
        schedule.expire(now)
        started = 0
        if now >= schedule.deadline:
            schedule.finish(now)
        elif (room := min(self._room(run), run.driver.burst)) > 0:
            rates = self._rates(run)
            for rate in rates:
                room = rate.room(now, room)
            started = schedule.pump(run.driver, now, room) if room else 0
            if started:
                for rate in rates:
                    rate.take(now, started)
        if schedule.is_done or (now >= schedule.deadline and schedule.is_fed):
            self._end(run, None)
        elif run.out and now - run.out_since >= BATCH_AGE_S:
            run.deliver()
        return started

    def _room(self, run: _Run) -> int:
        if run.flight.backlog >= MAX_BACKLOG:
            return 0
        most = run.driver.most_open
        if most is None:
            here = self._most_sockets - self.sockets
            room = min(here, self.allowance.limits.concurrent - self.sockets - self.allowance.streams)
        else:
            room = most - run.schedule.open
        return self.allowance.room(run.flight.order.kind, room)

    def _rates(self, run: _Run) -> tuple[Rate, ...]:
        return self.allowance.rates(run.flight.order.kind, run.flight.order.connects)

    def _timeout(self) -> float:
        """Seconds until something is due, for epoll: -1 for ever."""
        now = self.monotonic()
        wakes: list[float] = []
        for run in self._runs.values():
            pause = max((rate.wait_s(now) for rate in self._rates(run)), default=0.0)
            room = self._room(run)
            wake = run.schedule.next_wake(not pause and room > 0 and run.schedule.room(now) > 0)
            if wake is not None:
                wakes.append(wake)
            if run.out:
                wakes.append(run.out_since + BATCH_AGE_S)
            if run.driver.is_stalled:
                run.driver.flush(now)
                wakes.append(now + STALL_PAUSE_S)
            if pause:
                wakes.append(now + min(pause, _LOOK_AGAIN_S))
            elif room <= 0 and self.allowance.streams:  # what frees those does not tell us
                wakes.append(now + _LOOK_AGAIN_S)
            if run.schedule.room(now) <= 0:
                wakes.append(run.schedule.short_until)
            if not run.schedule.is_fed and run.schedule.deadline > now:
                wakes.append(run.schedule.deadline)
        if not wakes:
            return -1
        return max(0.0, min(wakes) - now)

    def _end(self, run: _Run, error: BaseException | None) -> None:
        if self._runs.pop(run.flight, None) is None:
            return
        run.driver.close()
        run.deliver()
        run.flight.end(error)
        if not self._runs:
            gc.set_threshold(*self._collecting)

    def _collect_seldom(self) -> None:
        """While a run goes on, and no longer: other kinds leave TLS contexts in cycles, a megabyte each."""
        self._collecting = gc.get_threshold()
        if 0 < self._collecting[0] < _COLLECT_AFTER:
            gc.set_threshold(_COLLECT_AFTER, 50, 100)
