"""Which packet sizes a search for the path MTU sends next, and what it concludes. Pure.

Sizes go out in volleys; a size that was answered passes, one that a router said no to does not, and silence
counts only when it is repeated while a smaller size still passes: a lost packet is no black hole. Sizes are
of whole IP packets, in bytes.
"""

from dataclasses import dataclass, field

#: Silent packets of one size before the search goes on below it, and before it is called a black hole.
TRIES, SURE = 3, 5
#: New sizes in one volley.
WIDTH = 8
#: MTUs of common links: Ethernet, PPPoE, tunnels of many kinds, the least of IPv6.
# fmt: off
USUAL = (
    9000, 1500, 1492, 1480, 1476, 1472, 1462, 1460, 1450, 1446, 1440, 1438, 1434, 1430, 1428, 1420, 1412,
    1400, 1390, 1380, 1376, 1370, 1360, 1350, 1340, 1300, 1280,
)
# fmt: on


@dataclass(slots=True)
class Search:
    """``largest`` is what the own interface takes; nothing above is tried."""

    smallest: int
    largest: int
    low: int = 0  # the largest that was answered
    high: int = 0  # the smallest that does not pass; 0: not known
    told: int | None = None
    told_by: str | None = None
    tries: dict[int, int] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)
    _suspect: int | None = None  # a size that a router named
    _confirmed: bool = False

    def volley(self) -> tuple[int, ...]:
        """Sizes to send now; empty: it is over."""
        if not self.tries:
            return tuple(dict.fromkeys((self.smallest, self.largest)))
        if not self.low:
            return (self.smallest,) if self.tries[self.smallest] < SURE else ()
        if self.low >= self.largest:
            return ()
        if (named := self._named()) is not None:
            return named
        if silent := self._silent():
            return silent
        if self.high - self.low > 1:
            return self._between()
        return self._confirming()

    def sent(self, size: int) -> None:
        self.tries[size] = self.tries.get(size, 0) + 1

    def heard(self, size: int) -> None:
        """The target answered a packet of this size."""
        self.answered.add(size)
        self.low = max(self.low, size)
        if self.high and self.high <= self.low:
            self.high = 0  # it was loss, after all

    def too_big(self, size: int, mtu: int | None, by: str | None) -> None:
        """A router (or this host) said so; ``mtu`` is what it would take, where it says."""
        self._lower(size)
        if mtu is not None and self.smallest <= mtu < size and (self.told is None or mtu < self.told):
            self.told = self._suspect = mtu
        if self.told_by is None or self._suspect == mtu:
            self.told_by = by

    # --- what it came to ----------------------------------------------------------------------------------

    @property
    def mtu(self) -> int | None:
        return self.low or None

    @property
    def failing(self) -> int | None:
        return self.high or None

    @property
    def black_hole(self) -> bool | None:
        """None: not found out."""
        if not self.low:
            return None
        if self.low >= self.largest or self.told_by is not None:
            return False
        return True if self.high and self.tries.get(self.high, 0) >= SURE and self._confirmed else None

    # --- the next volley ------------------------------------------------------------------------------------

    def _named(self) -> tuple[int, ...] | None:
        """The size that a router named, and the one above it."""
        size, self._suspect = self._suspect, None
        if size is None or size <= self.low:
            return None
        above = (size + 1,) if not self.high or size + 1 < self.high else ()
        return (size, *above)

    def _silent(self) -> tuple[int, ...]:
        """The smallest silent sizes above what passes, until they have been silent often enough."""
        open_ = sorted(size for size in self.tries if size > self.low and (not self.high or size < self.high))
        if not open_:
            return ()
        if self.tries[open_[0]] < TRIES:
            return tuple(open_[:2])
        self._lower(open_[0])
        return ()

    def _between(self) -> tuple[int, ...]:
        first, last = self.low + 1, self.high - 1
        step = max(1, (last - first + 1) // WIDTH)
        even = set(range(first, last + 1, step))
        usual = {size for size in USUAL if first <= size <= last}
        chosen = even if step == 1 else even | usual
        return tuple(sorted(size for size in chosen if self.tries.get(size, 0) < TRIES))

    def _confirming(self) -> tuple[int, ...]:
        """A border between silence and an answer is crossed again, from both sides."""
        if self.told_by is not None or self._confirmed:
            return ()
        if self.tries.get(self.high, 0) >= SURE:
            return ()
        if self.high and self.tries.get(self.high, 0) == SURE - 1:
            self._confirmed = True
        return (self.low, self.high)

    def _lower(self, size: int) -> None:
        if size > self.low:
            self.high = size if not self.high else min(self.high, size)


__all__ = ["SURE", "TRIES", "Search"]
