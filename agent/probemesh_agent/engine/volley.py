"""Echo requests that leave with one system call, and the numbers they have on the wire. No I/O.

All requests of a volley are the same sample of different targets, in consecutive sequence numbers: what they
share is kept once, and a reply finds its place by subtraction."""

import itertools
from collections.abc import Sequence

from probemesh_agent.engine.item import Item

NUMBERS = 1 << 16
FREE, OPEN, ANSWERED, GIVEN_UP = range(4)
_OPEN = bytes((OPEN,))


class Volley:
    """``first`` is the sequence number of ``items[0]``; ``seq`` which sample of each target this is."""

    __slots__ = (
        "begun_ns",
        "expires",
        "first",
        "full_expiry",
        "is_sent",
        "is_timed",
        "items",
        "last",
        "open",
        "sent_ms",
        "seq",
        "stamps",
        "wall_ns",
        "wall_s",
    )

    def __init__(
        self, items: Sequence[Item], seq: int, first: int, expires: float, full_expiry: float
    ) -> None:
        self.items = items
        self.seq = seq
        self.first = first
        self.expires = expires
        self.full_expiry = full_expiry
        self.open = len(items)
        self.is_sent = False
        self.begun_ns = 0  # perf clock before the system call
        self.wall_s = 0  # the wall clock then: whole seconds, and nanoseconds since that
        self.wall_ns = 0
        self.stamps: dict[int, float] = {}  # position: kernel transmit stamp, ms since ``wall``
        self.sent_ms: list[float] = []  # by position, likewise; whole after :meth:`time`, while ``is_timed``
        self.is_timed = False
        self.last = -1  # the last position that has a stamp

    def stamp(self, position: int, wall_ns: int) -> None:
        """The kernel says when a packet left."""
        self.stamps[position] = (wall_ns - self.wall_s * 1_000_000_000 - self.wall_ns) / 1e6
        # what lies before the last stamp is final, what lies behind it was put there by guess
        del self.sent_ms[self.last if position > self.last >= 0 else 0 :]
        self.last = max(position, self.last)
        self.is_timed = False

    def time(self) -> list[float]:
        """When each packet left, in ms since ``wall``: by its stamp, or between the stamped ones evenly, or
        (without any) when the call began."""
        start = len(self.sent_ms)  # a stamped position, or 0
        known = {position - start: ms for position, ms in self.stamps.items() if position >= start}
        self.sent_ms += evenly(known, len(self.items) - start)
        self.is_timed = True
        return self.sent_ms


def evenly(stamps: dict[int, float], count: int) -> list[float]:
    """Instants of ``count`` packets that left one after the other, of which some are known.

    >>> evenly({0: 1.0, 2: 2.0}, 5)
    [1.0, 1.5, 2.0, 2.5, 3.0]
    >>> evenly({}, 2)
    [0.0, 0.0]
    """
    known = sorted(stamps.items())
    if not known:
        return [0.0] * count
    first, instant = known[0]
    instants, step = [instant] * first, 0.0
    for (position, begun), (following, end) in itertools.pairwise(known):
        step = (end - begun) / (following - position)
        instants += [begun + step * number for number in range(following - position)]
    position, begun = known[-1]
    instants += [begun + step * number for number in range(count - position)]
    return instants[:count]


class Numbers:
    """Which sequence numbers are under way, and of which volley each is or last was."""

    def __init__(self) -> None:
        self.states = bytearray(NUMBERS)
        self.volleys: list[Volley | None] = [None] * NUMBERS
        self._next = 0

    def take(self, wanted: int) -> tuple[int, int]:
        """``(first, count)`` of consecutive numbers that nothing under way has, at most ``wanted``.

        Those that rested longest come first. There must be one: fewer may be under way than there are."""
        states, start = self.states, self._next % NUMBERS
        while states[start] == OPEN:
            start = (start + 1) % NUMBERS
        end = min(start + wanted, NUMBERS)
        taken = states.find(_OPEN, start, end)
        count = (end if taken < 0 else taken) - start
        self._next = start + count
        return start, count

    def hold(self, volley: Volley) -> None:
        """The volley's numbers are under way now."""
        first, count = volley.first, len(volley.items)
        self.volleys[first : first + count] = [volley] * count
        self.states[first : first + count] = _OPEN * count

    def open_of(self, volley: Volley) -> list[int]:
        """Positions not ended yet."""
        first, count = volley.first, len(volley.items)
        return [i for i, state in enumerate(self.states[first : first + count]) if state == OPEN]
