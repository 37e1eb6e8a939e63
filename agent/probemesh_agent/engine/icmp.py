"""ICMP echo: one socket a family for all targets of a run, replies matched by identifier, sequence, nonce
and source.

The round trip is between the kernel's transmit and receive stamps; where one is missing, or the wall clock
was set meanwhile, between our own clock readings."""

from __future__ import annotations

import errno
import select
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from probemesh_shared import failures
from probemesh_shared.model import Failure, IcmpDetail, Options, Sample
from probemesh_shared.words import Family, Outcome, Stage, Timing

from probemesh_agent import kernel
from probemesh_agent.engine.echo import BATCH, EchoSocket, Reply
from probemesh_agent.engine.item import Item
from probemesh_agent.engine.schedule import Schedule, cut_or_silent
from probemesh_agent.engine.sockets import CannotOpen, icmp_error, own_addresses

if TYPE_CHECKING:
    from probemesh_agent.engine.loop import Engine

DEFAULT_SIZE = 56
_MOST_OPEN = 16_384
_BATCHES = 16  # read at one go, before others have a turn
_TRY_AGAIN = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
_perf_ns = time.perf_counter_ns


class IcmpDriver:
    """Pings for one run."""

    most_open: int | None = _MOST_OPEN

    def __init__(self, schedule: Schedule, engine: Engine, options: Options) -> None:
        self.schedule = schedule
        self.engine = engine
        self._options = options
        self._size = DEFAULT_SIZE if options.size is None else options.size
        self._lines: dict[bool, _Line] = {}
        self.is_single = options.count == 1
        self._failures: dict[bool, Failure] = {}

    @property
    def is_stalled(self) -> bool:
        return any(line.queue for line in self._lines.values())

    def start(self, item: Item, seq: int, now: float) -> None:
        """Queues a request; sent at the end of the burst or when a batch is full."""
        if seq == 0:
            item.started_ns = time.time_ns()
            item.base_ns = _perf_ns()
        ipv6 = len(item.address) == 4
        line = self._lines.get(ipv6) or self._line(ipv6)
        if line is None:
            failure = self._failures[ipv6]
            offset = (_perf_ns() - item.base_ns) / 1e6
            outcome = failures.outcome_of(failure)
            self.schedule.sample(item, Sample(seq, offset, None, outcome, failure))
            return
        if seq == 0:
            item.detail = line.detail
            item.name = line.sockaddr(item.address)
        attempt = EchoAttempt(line, item, seq)
        attempt.full_expiry = now + self._options.timeout_s
        attempt.expires = self.schedule.expiry(now)
        line.add(attempt)

    def flush(self, now: float) -> None:
        for line in self._lines.values():
            line.flush()

    def close(self) -> None:
        for line in self._lines.values():
            line.close()
        self._lines.clear()

    def _line(self, ipv6: bool) -> _Line | None:
        if ipv6 in self._failures:
            return None
        try:
            echo = EchoSocket(Family.IPV6 if ipv6 else Family.IPV4, self._options, self._size)
        except CannotOpen as error:
            self._failures[ipv6] = error.failure
            return None
        line = self._lines[ipv6] = _Line(self, echo, IcmpDetail(echo.method, self._size))
        self.engine.watch(echo.fd, select.EPOLLIN | select.EPOLLERR, line.on_event)
        return line


class _Line:
    """One socket and what is under way on it, by sequence number."""

    def __init__(self, driver: IcmpDriver, echo: EchoSocket, detail: IcmpDetail) -> None:
        self.driver = driver
        self.schedule = driver.schedule
        self.detail = detail
        self.queue: list[EchoAttempt] = []
        self._echo = echo
        self._by_sequence: dict[int, EchoAttempt] = {}
        self._sequence = -1
        self._key = 1 << 16 if echo.ipv6 else 0
        self._own: frozenset[str] | None = None
        self.sockaddr = echo.sockaddr
        self._forget = driver.is_single

    def add(self, attempt: EchoAttempt) -> None:
        sequence = (self._sequence + 1) & 0xFFFF
        if sequence in self._by_sequence:
            sequence = self._free(sequence)
        self._sequence = attempt.sequence = sequence
        self._by_sequence[sequence] = attempt
        self.schedule.waiting[self._key + sequence] = attempt
        self.queue.append(attempt)
        if len(self.queue) >= BATCH:
            self.flush()

    def _free(self, sequence: int) -> int:
        """The next number that no attempt under way has; there is one, as fewer may be under way."""
        while (old := self._by_sequence.get(sequence)) is not None and not old.ended:
            sequence = (sequence + 1) & 0xFFFF
        return sequence

    def flush(self) -> None:
        """Sends what is queued; what our own host refuses ends at once, what it has no room for stays."""
        while self.queue:
            batch, self.queue = self.queue[:BATCH], self.queue[BATCH:]
            if batch[0].ended or batch[-1].ended:  # given up while they waited here
                batch = [attempt for attempt in batch if not attempt.ended]
            if not self._send(batch):
                return

    def _send(self, batch: list[EchoAttempt]) -> bool:
        echo = self._echo
        for slot, attempt in enumerate(batch):
            echo.fill(slot, attempt.item.name, attempt.sequence)
        first, end = 0, len(batch)
        while first < end:
            begun = _perf_ns()
            try:
                count = echo.send(first, end)
            except OSError as error:
                if error.errno in _TRY_AGAIN:
                    self.queue = batch[first:] + self.queue
                    return False
                batch[first].fail(failures.from_errno(Stage.SEND, error.errno or 0, at_once=True))
                first += 1
                continue
            for attempt in batch[first : first + count]:
                attempt.begun_ns = begun
                attempt.is_sent = True
            first += count
        return True

    def on_event(self, events: int) -> None:
        """Stamps before replies, so that a reply finds its stamp."""
        if events & (select.EPOLLERR | select.EPOLLHUP):
            self._read_errors()
        if events & select.EPOLLIN:
            self._read_replies()

    def end(self, attempt: EchoAttempt, sample: Sample) -> None:
        attempt.ended = True
        self.schedule.waiting.pop(self._key + attempt.sequence, None)
        if self._forget:
            self._by_sequence.pop(attempt.sequence, None)
        self.schedule.sample(attempt.item, sample)

    def drop(self, attempt: EchoAttempt) -> None:
        attempt.ended = True
        self.schedule.waiting.pop(self._key + attempt.sequence, None)

    def close(self) -> None:
        self.driver.engine.unwatch(self._echo.fd)
        self._echo.close()
        self._by_sequence.clear()
        self.queue.clear()

    def catch_up(self) -> None:
        """Reads what has arrived: before an attempt is called silent."""
        self._read_errors()
        self._read_replies()

    def _read_replies(self) -> None:
        for _ in range(_BATCHES):
            replies, is_full = self._echo.replies()
            now_ns = _perf_ns()
            for reply in replies:
                self._answered(reply, now_ns)
            if not is_full:
                return

    def _read_errors(self) -> None:
        for _ in range(_BATCHES):
            queued = self._echo.stamps_and_errors()
            for sequence, stamp in queued.stamps:
                attempt = self._by_sequence.get(sequence)
                if attempt is not None:
                    attempt.sent_ns = stamp
            for sequence, entry in queued.errors:
                attempt = self._by_sequence.get(sequence)
                if attempt is not None and not attempt.ended:
                    self._error(attempt, entry)
            if not queued.is_full:
                return

    def _error(self, attempt: EchoAttempt, entry: kernel.QueueEntry) -> None:
        if not entry.is_icmp:
            if entry.errno:
                attempt.fail(failures.from_errno(Stage.SEND, entry.errno, at_once=True))
            return
        if self._own is None:
            self._own = own_addresses()
        failure = failures.from_icmp(
            Stage.RECEIVE, icmp_error(entry), target=attempt.item.host, own=self._own, number=entry.errno
        )
        if failure is not None:
            attempt.fail(failure)

    def _answered(self, reply: Reply, now_ns: int) -> None:
        sequence, source, stamp_ns, ttl = reply
        attempt = self._by_sequence.get(sequence)
        if attempt is None or not attempt.is_sent or source not in attempt.item.name:
            return
        if attempt.ended:
            self._too_many(attempt)
            return
        if attempt.sent_ns is None:
            self._read_errors()
        attempt.is_answered = True
        rtt_ns, timing = now_ns - attempt.begun_ns, Timing.USER
        if attempt.sent_ns is not None and stamp_ns is not None:
            between = stamp_ns - attempt.sent_ns
            if 0 <= between <= rtt_ns + 1_000_000:  # else the wall clock was set meanwhile
                rtt_ns, timing = between, Timing.KERNEL
        offset_ms = max((attempt.begun_ns - attempt.item.base_ns) / 1e6, 0.0)
        self.end(attempt, Sample(attempt.seq, offset_ms, rtt_ns / 1e6, Outcome.OK, None, timing, ttl))

    @staticmethod
    def _too_many(attempt: EchoAttempt) -> None:
        """A reply to what was answered already, or given up; told while the measurement is not delivered
        yet."""
        item = attempt.item
        if isinstance(item.detail, IcmpDetail):
            if attempt.is_answered:
                item.detail = replace(item.detail, duplicates=item.detail.duplicates + 1)
            else:
                item.detail = replace(item.detail, late=item.detail.late + 1)


class EchoAttempt:
    """One echo request."""

    __slots__ = (
        "begun_ns",
        "ended",
        "expires",
        "full_expiry",
        "is_answered",
        "is_sent",
        "item",
        "line",
        "sent_ns",
        "seq",
        "sequence",
    )

    def __init__(self, line: _Line, item: Item, seq: int) -> None:
        self.line = line
        self.item = item
        self.seq = seq
        self.begun_ns = item.base_ns  # until it is sent
        self.sent_ns: int | None = None
        self.sequence = 0
        self.ended = self.is_answered = self.is_sent = False
        self.expires = 0.0
        self.full_expiry = 0.0

    def fail(self, failure: Failure) -> None:
        offset = max((self.begun_ns - self.item.base_ns) / 1e6, 0.0)
        self.line.end(self, Sample(self.seq, offset, None, failures.outcome_of(failure), failure))

    def expire(self, waited_s: float, cut: bool) -> None:
        self.line.catch_up()
        if self.ended:
            return
        if not self.is_sent:
            self.fail(failures.from_errno(Stage.SEND, errno.ENOBUFS))
            return
        outcome, failure = cut_or_silent(Stage.RECEIVE, waited_s, cut)
        offset = max((self.begun_ns - self.item.base_ns) / 1e6, 0.0)
        self.line.end(self, Sample(self.seq, offset, None, outcome, failure))

    def drop(self) -> None:
        self.line.drop(self)
