"""What is under way on one ICMP socket: volleys out, answers matched by sequence number and source.

The round trip is from the kernel's transmit stamp to its receive stamp. In a crowd, where every sixteenth
packet has a transmit stamp, the others' instants are put evenly between those: then the sample says
``user``. Where stamps are missing, or the wall clock was set meanwhile, it is by our own clock."""

from __future__ import annotations

import errno
import select
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from probemesh_shared import failures
from probemesh_shared.model import Failure, IcmpDetail, Sample
from probemesh_shared.words import Outcome, Stage, Timing

from probemesh_agent import kernel
from probemesh_agent.engine.echo import CROWD, FEW, EchoSocket, Reply
from probemesh_agent.engine.item import Item
from probemesh_agent.engine.mmsg import Outgoing
from probemesh_agent.engine.outcomes import quick_sample
from probemesh_agent.engine.schedule import Schedule, cut_or_silent
from probemesh_agent.engine.sender import Sender, Sending
from probemesh_agent.engine.sockets import icmp_error, own_addresses
from probemesh_agent.engine.volley import ANSWERED, GIVEN_UP, NUMBERS, OPEN, Numbers, Volley

_SENDINGS = 2  # crowds handed to the sender at once
_BATCHES = 16  # read at one go, before others have a turn
_TRY_AGAIN = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
_MOST_STRANGERS = 8  # addresses kept that answered in the target's place
_CLOCK_SLACK_MS = 1.0  # a round trip by stamps that is longer than by our clock means that a clock was set
# Python 3.11 looks an enumeration's member up in a quarter of a microsecond
_OK, _KERNEL, _USER = Outcome.OK, Timing.KERNEL, Timing.USER
_perf_ns = time.perf_counter_ns


class Line:
    """One socket of one run. ``number`` tells its keys in ``schedule.waiting`` from those of others."""

    def __init__(
        self, schedule: Schedule, echo: EchoSocket, detail: IcmpDetail, number: int, sender: Sender
    ) -> None:
        self.schedule = schedule
        self.fd = echo.fd
        self._echo = echo
        self._detail = detail
        self._keys = number * NUMBERS
        self._numbers = Numbers()
        self._queue: deque[LineVolley] = deque()
        self._sender = sender
        self._crowds: list[Outgoing] = []  # buffers that nothing is sent from now
        self._sendings: deque[Sending] = deque()
        self._own: frozenset[str] | None = None
        self._forget = schedule.options.count == 1

    @property
    def is_stalled(self) -> bool:
        return bool(self._queue) and not self._sendings

    def address(self, items: Sequence[Item]) -> None:
        """What every target has once."""
        for item in items:
            item.name, item.packed = self._echo.sockaddr(item.address)
            item.detail = self._detail

    def add(self, items: Sequence[Item], seq: int, now: float) -> None:
        """Queues one request to each; sent by the next :meth:`flush`."""
        while items:
            first, count = self._numbers.take(min(len(items), CROWD))
            self._hold(LineVolley(self, items[:count], seq, first, now))
            items = items[count:]

    def flush(self) -> None:
        """Sends what is queued; what our own host refuses ends at once, what it has no room for stays."""
        self._settle()
        while self._queue and len(self._sendings) < _SENDINGS:
            volley = self._queue.popleft()
            if len(volley.items) > FEW:
                self._send_crowd(volley)
            elif volley.open and not self._send(volley):
                return

    def on_event(self, events: int) -> None:
        """Stamps before replies, so that a reply finds its stamp."""
        if self._sendings:
            self.flush()
        if events & (select.EPOLLERR | select.EPOLLHUP):
            self._read_errors()
        if events & select.EPOLLIN:
            self._read_replies()

    def catch_up(self) -> None:
        """Reads what has arrived: before an attempt is called silent."""
        self._read_errors()
        self._read_replies()

    def close(self) -> None:
        """Waits for what is being sent: some milliseconds at most."""
        for sending in self._sendings:
            sending.done.wait()
        self._echo.close()
        self._queue.clear()

    def end(self, volley: Volley, positions: Sequence[int], outcome: Outcome, failure: Failure) -> None:
        """Ends requests that were not answered."""
        states, offset_ns = self._numbers.states, volley.begun_ns
        for position in positions:
            states[volley.first + position] = GIVEN_UP
            item = volley.items[position]
            offset_ms = max((offset_ns - item.base_ns) / 1e6, 0.0)
            self.schedule.sample(item, Sample(volley.seq, offset_ms, None, outcome, failure))
        self._ended(volley, len(positions))

    def drop(self, volley: Volley) -> None:
        for position in self._numbers.open_of(volley):
            self._numbers.states[volley.first + position] = GIVEN_UP
        self._ended(volley, volley.open)

    def expire(self, volley: Volley, waited_s: float, cut: bool) -> None:
        self.catch_up()
        positions = self._numbers.open_of(volley)
        if not positions:
            return
        if volley.is_sent:
            self.end(volley, positions, *cut_or_silent(Stage.RECEIVE, waited_s, cut))
        else:
            failure = failures.from_errno(Stage.SEND, errno.ENOBUFS)
            self.end(volley, positions, failures.outcome_of(failure), failure)

    # --- out ---

    def _hold(self, volley: LineVolley) -> None:
        self._numbers.hold(volley)
        self.schedule.waiting[self._keys + volley.first] = volley
        self._queue.append(volley)

    def _ended(self, volley: Volley, count: int) -> None:
        volley.open -= count
        if not volley.open:
            self.schedule.waiting.pop(self._keys + volley.first, None)
            if self._forget:
                volley.items = ()

    def _send(self, volley: LineVolley) -> bool:
        """A few at once. False: this host has no room now; they are queued again, first."""
        echo = self._echo
        echo.load(echo.few, volley.items, volley.first)
        volley.begin()
        try:
            sent = echo.send(echo.few, 0, len(volley.items))
        except OSError as error:
            return self._not_sent(volley, error.errno or 0)
        self._sent(volley, sent)
        return True

    def _send_crowd(self, volley: LineVolley) -> None:
        out = self._crowds.pop() if self._crowds else self._echo.crowd()
        self._echo.load(out, volley.items, volley.first)
        volley.begin()
        volley.is_sent = True  # answers may come before the call returns
        sending = Sending(self._echo, out, volley)
        self._sendings.append(sending)
        self._sender.put(sending)

    def _settle(self) -> None:
        """What the sender came to."""
        while self._sendings and self._sendings[0].done.is_set():
            sending = self._sendings.popleft()
            self._crowds.append(sending.out)
            volley = sending.volley
            assert isinstance(volley, LineVolley)
            if isinstance(sending.error, OSError):
                volley.is_sent = False
                self._not_sent(volley, sending.error.errno or 0)
            elif sending.error is not None:
                raise sending.error
            elif volley.items:
                self._sent(volley, sending.sent)

    def _sent(self, volley: LineVolley, count: int) -> None:
        volley.is_sent = True
        rest = self._split(volley, count)
        if rest is not None:
            self._queue.appendleft(rest)

    def _not_sent(self, volley: LineVolley, number: int) -> bool:
        """Nothing of it went. Where trying again would not help, the first is to blame."""
        if number in _TRY_AGAIN:
            rest = self._split(volley, FEW)  # a few are tried again here, after a pause
            self._queue.extendleft([volley] if rest is None else [rest, volley])
            return False
        rest = self._split(volley, 1)
        failure = failures.from_errno(Stage.SEND, number, at_once=True)
        self.end(volley, self._numbers.open_of(volley), failures.outcome_of(failure), failure)
        if rest is not None:
            self._queue.appendleft(rest)
        return True

    def _split(self, volley: LineVolley, count: int) -> LineVolley | None:
        """Makes a volley of its own of what lies behind ``count`` requests."""
        if count >= len(volley.items):
            return None
        rest = LineVolley(self, volley.items[count:], volley.seq, volley.first + count, 0.0)
        rest.expires, rest.full_expiry = volley.expires, volley.full_expiry
        volley.items = volley.items[:count]
        volleys, first = self._numbers.volleys, rest.first
        volleys[first : first + len(rest.items)] = [rest] * len(rest.items)
        rest.open = len(self._numbers.open_of(rest))
        volley.open -= rest.open
        if rest.open:
            self.schedule.waiting[self._keys + first] = rest
        return rest

    # --- in ---

    def _read_replies(self) -> None:
        for _ in range(_BATCHES):
            replies, is_full = self._echo.replies()
            if replies:
                self._answered(replies, _perf_ns())
            if not is_full:
                return

    def _answered(self, replies: Sequence[Reply], now_ns: int) -> None:
        """The busiest loop of the agent: one turn for every echo that came back."""
        states, volleys = self._numbers.states, self._numbers.volleys
        items: list[Item] = []
        samples: list[Sample] = []
        volley: Volley | None = None
        for sequence, source, stamp_s, stamp_ns, ttl in replies:
            if (found := volleys[sequence]) is not volley:
                volley = found
                if found is not None:
                    first, its, seq, begun_ns, stamps = (
                        found.first,
                        found.items,
                        found.seq,
                        found.begun_ns,
                        found.stamps,
                    )
                    whole_ms = (now_ns - begun_ns) / 1e6
                    is_crowd = len(its) > FEW
            if volley is None or not volley.is_sent or not its:
                continue
            position = sequence - first
            item = its[position]
            if item.packed != source:
                self._stranger(item, source)
                continue
            if states[sequence] != OPEN:
                self._too_many(item, states[sequence] == ANSWERED)
                continue
            if position in stamps:
                timing = _KERNEL
            elif stamps and is_crowd:
                timing = _USER
            else:
                timing = self._without_stamp(volley, position)
            sent_ms = volley.sent_ms if volley.is_timed else volley.time()
            rtt_ms = whole_ms
            if stamp_s is not None:
                rtt_ms = (
                    (stamp_s - volley.wall_s) * 1e3 + (stamp_ns - volley.wall_ns) / 1e6 - sent_ms[position]
                )
            if stamp_s is None or not 0 <= rtt_ms <= whole_ms + _CLOCK_SLACK_MS:
                rtt_ms, timing = whole_ms, _USER
            states[sequence] = ANSWERED
            items.append(item)
            offset_ms = (begun_ns - item.base_ns) / 1e6
            samples.append(quick_sample(seq, offset_ms, rtt_ms, _OK, None, timing, ttl))
            volley.open -= 1
            if not volley.open:
                self._ended(volley, 0)
        self.schedule.answered(items, samples)

    def _without_stamp(self, volley: Volley, position: int) -> Timing:
        """Where every packet is stamped, its stamp may have come since the error queue was read."""
        if not volley.stamps or len(volley.items) <= FEW:
            self._read_errors()
        return _KERNEL if position in volley.stamps else _USER

    def _read_errors(self) -> None:
        volleys = self._numbers.volleys
        for _ in range(_BATCHES):
            queued = self._echo.stamps_and_errors()
            for sequence, stamp_ns in queued.stamps:
                volley = volleys[sequence]
                if volley is not None:
                    volley.stamp(sequence - volley.first, stamp_ns)
            for sequence, entry in queued.errors:
                volley = volleys[sequence]
                if volley is not None and self._numbers.states[sequence] == OPEN:
                    self._error(volley, sequence - volley.first, entry)
            if not queued.is_full:
                return

    def _error(self, volley: Volley, position: int, entry: kernel.QueueEntry) -> None:
        failure: Failure | None = None
        if entry.is_icmp:
            self._own = own_addresses() if self._own is None else self._own
            target = volley.items[position].host
            failure = failures.from_icmp(
                Stage.RECEIVE, icmp_error(entry), target=target, own=self._own, number=entry.errno
            )
        elif entry.errno:
            failure = failures.from_errno(Stage.SEND, entry.errno, at_once=True)
        if failure is not None:
            self.end(volley, [position], failures.outcome_of(failure), failure)

    def _stranger(self, item: Item, source: bytes) -> None:
        """Who answered our very packet, and is not who was asked."""
        detail, host = item.detail, self._echo.host_of(source)
        if isinstance(detail, IcmpDetail) and host not in detail.answered_by:
            item.detail = replace(detail, answered_by=(*detail.answered_by, host)[:_MOST_STRANGERS])

    @staticmethod
    def _too_many(item: Item, is_answered: bool) -> None:
        """A reply to what was answered already, or given up; told while the measurement is not delivered
        yet."""
        detail = item.detail
        if isinstance(detail, IcmpDetail):
            if is_answered:
                item.detail = replace(detail, duplicates=detail.duplicates + 1)
            else:
                item.detail = replace(detail, late=detail.late + 1)


class LineVolley(Volley):
    """A volley as the schedule sees it: an attempt that may expire."""

    __slots__ = ("_line",)

    def __init__(self, line: Line, items: Sequence[Item], seq: int, first: int, now: float) -> None:
        schedule = line.schedule
        super().__init__(items, seq, first, schedule.expiry(now), now + schedule.options.timeout_s)
        self._line = line

    def begin(self) -> None:
        """The system call that sends it comes next."""
        self.wall_s, self.wall_ns = divmod(time.time_ns(), 1_000_000_000)
        self.begun_ns = _perf_ns()

    def expire(self, waited_s: float, cut: bool) -> None:
        self._line.expire(self, waited_s, cut)

    def drop(self) -> None:
        self._line.drop(self)
