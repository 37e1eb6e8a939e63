"""Which hop a trace asks next, how long it waits, and when it is over. Pure: instants come from outside.

One packet with a full TTL is sent first (the knock): where the target answers that, silent hops on the way
end nothing. Then the hops, upward; each is asked ``count`` times in all, and what never answered twice more,
slowly: routers answer about once a second to one host after a burst of six (Linux: icmp_ratelimit), so that
quick questions would make silent hops of talkative ones. After ``SILENT`` hops in a row without an answer a
trace that the target has not answered ends.
"""

from dataclasses import dataclass, field
from enum import Enum

#: Silent hops in a row after which there is no more to be found, unless the target itself answers.
SILENT = 4
#: Further questions to a hop that never answered, and seconds between them.
RETRIES, RETRY_GAP_S = 2, 1.1
#: Of the silent hops at the upper end so many are asked again: behind a silent one there is little to learn.
TAIL_RETRIED = 2
#: Seconds between two questions to one hop that answers, at least.
HOP_GAP_S = 0.2
#: How long an answer is waited for before the next hop is asked: at least, at first, and by round trips.
LEAST_WAIT_S, FIRST_WAIT_S, TRIPS = 0.5, 1.0, 3.0
#: Packets of one trace, at most: their answers have to fit into one message.
MOST = 2000
FULL = 0  # the knock's place among the hops


class Heard(Enum):
    """What an answer is to the trace."""

    HOP = "hop"  # the packet's hops ran out there
    TARGET = "target"  # the target itself
    REFUSAL = "refusal"  # somebody on the way says that it goes no further


class Over(Enum):
    """Why no further hop is asked."""

    TARGET = "target"
    ERROR = "error"
    SILENCE = "silence"
    HOPS = "hops"


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a packet with this TTL now; ``FULL`` means the system's own."""

    hop: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to send before this instant, unless something is heard."""

    until: float


@dataclass(slots=True)
class _Hop:
    sent: int = 0
    last: float = 0.0
    answers: int = 0


@dataclass(slots=True)
class Walk:
    """``window`` packets may be on their way at once; ``timeout_s`` is the longest wait for one."""

    first: int
    most: int
    count: int
    timeout_s: float
    interval_s: float = HOP_GAP_S
    window: int = 1
    hops: dict[int, _Hop] = field(default_factory=dict)
    end: int | None = None  # the first hop at which the target answered, or a refusal came
    ended_by: Heard | None = None
    knocked: Heard | None = None
    _pending: dict[int, tuple[int, float]] = field(default_factory=dict)  # number → hop, expiry
    _numbers: int = 0
    _trip_s: float | None = None

    # --- what comes next ----------------------------------------------------------------------------------

    def step(self, now: float) -> Ask | Wait | None:
        """None: it is over."""
        self._expire(now)
        if len(self._pending) >= self.window:
            return Wait(self._pending_until())
        if FULL not in self.hops:
            return Ask(FULL)
        if self._may_ascend():
            return Ask(self._top() + 1)
        due = min(((at, hop) for hop in self.hops if (at := self._due(hop)) is not None), default=None)
        if due is not None and due[0] <= now:
            return Ask(due[1])
        ends = [due[0]] if due else []
        if self._pending:
            ends.append(self._pending_until())
        return Wait(min(ends)) if ends else None

    def sent(self, hop: int, now: float) -> int:
        """The number of the packet that just left, for :meth:`heard`."""
        one = self.hops.setdefault(hop, _Hop())
        one.sent += 1
        one.last = now
        number = self._numbers
        self._pending[number] = (hop, now + self.wait_s)
        self._numbers += 1
        return number

    def heard(self, number: int, hop: int, what: Heard, trip_s: float | None) -> None:
        """An answer to a packet, in time or late."""
        waited_for = self._pending.pop(number, None) is not None
        if trip_s is not None and waited_for:
            self._trip_s = max(self._trip_s or 0.0, trip_s)
        self.hops[hop].answers += 1
        if hop == FULL:
            self.knocked = self.knocked or what
        elif what is not Heard.HOP and (self.end is None or hop < self.end):
            self.end, self.ended_by = hop, what

    def too_big(self, number: int) -> None:
        """The packet was too large for some link: it is asked again, smaller."""
        hop, _ = self._pending.pop(number, (None, 0.0))
        if hop is not None:
            self.hops[hop].sent -= 1
            self.hops[hop].last -= RETRY_GAP_S

    @property
    def wait_s(self) -> float:
        """Of the packet that is sent now: by the longest round trip so far."""
        least = LEAST_WAIT_S if self._numbers else FIRST_WAIT_S
        return min(self.timeout_s, max(least, TRIPS * (self._trip_s or 0.0)))

    # --- how it stands ------------------------------------------------------------------------------------

    @property
    def over(self) -> Over:
        if self.end is not None:
            return Over.TARGET if self.ended_by is Heard.TARGET else Over.ERROR
        return Over.HOPS if self._top() >= self.most else Over.SILENCE

    @property
    def silent_tail(self) -> int:
        """Hops at the upper end that never answered; those still waited for count as well."""
        tail = 0
        for hop in range(self._top(), self.first - 1, -1):
            if self.hops[hop].answers:
                break
            tail += 1
        return tail

    def _may_ascend(self) -> bool:
        top = self._top()
        if self.end is not None or top >= self.most:
            return False
        return self.knocked is Heard.TARGET or self.silent_tail < SILENT or top < self.first

    def _due(self, hop: int) -> float | None:
        """When this hop is asked again; None: never."""
        one = self.hops[hop]
        if self._numbers >= MOST:
            return None
        if any(pending == hop for pending, _ in self._pending.values()):
            return None
        if hop == FULL:
            return self._knock_again(one)
        if self.end is not None and hop > self.end:
            return None
        if one.answers:
            return one.last + max(self.interval_s, HOP_GAP_S) if one.sent < self.count else None
        if one.sent > RETRIES or hop >= self._top() - self.silent_tail + 1 + TAIL_RETRIED:
            return None
        return one.last + RETRY_GAP_S

    def _knock_again(self, one: _Hop) -> float | None:
        """While no hop is known to be the target's, its samples come from packets with a full TTL."""
        if self.end is not None and self.ended_by is Heard.TARGET:
            return None
        return one.last + RETRY_GAP_S if one.sent < self.count else None

    def _pending_until(self) -> float:
        return min(expiry for _, expiry in self._pending.values())

    def _top(self) -> int:
        return max((hop for hop in self.hops if hop != FULL), default=self.first - 1)

    def _expire(self, now: float) -> None:
        self._pending = {n: (hop, end) for n, (hop, end) in self._pending.items() if end > now}
