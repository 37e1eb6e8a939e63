"""Slots per target address, so that all runs of this agent together keep to its share of the mesh-wide
limit."""


class Pace:
    """Evenly spaced slots for each key; every run asks the same object, whatever rate it was given.

    A slot that was given counts, used or not. Keys without a slot in the future are forgotten now and then.
    """

    def __init__(self, most_keys: int = 16_384) -> None:
        self._next: dict[str, float] = {}
        self._most_keys = most_keys

    def reserve(self, key: str, rate_per_s: float, now: float) -> float:
        """The instant (≥ ``now``, seconds) at which the next packet to ``key`` may leave."""
        slot = max(self._next.get(key, now), now)
        self._next[key] = slot + 1.0 / rate_per_s
        if len(self._next) > self._most_keys:
            self._next = {key: free for key, free in self._next.items() if free > now}
            self._most_keys = max(self._most_keys, 2 * len(self._next))
        return slot

    def __len__(self) -> int:
        return len(self._next)


class Cap:
    """This host owner's limit on everything the agent sends: a bucket of ``rate_per_s``, filled for 50 ms at
    most."""

    def __init__(self, rate_per_s: float) -> None:
        self._rate = rate_per_s
        self._most = max(1.0, rate_per_s / 20)
        self._tokens = self._most
        self._then: float | None = None

    @property
    def pause_s(self) -> float:
        """How long to wait for the next token, at most 50 ms."""
        return min(0.05, max(1.0 - self._tokens, 0.0) / self._rate)

    def room(self, now: float, wanted: int) -> int:
        """How many of ``wanted`` may be sent now."""
        if self._then is not None:
            self._tokens = min(self._most, self._tokens + (now - self._then) * self._rate)
        self._then = now
        return min(wanted, int(self._tokens))

    def take(self, count: int) -> None:
        """``count`` were sent."""
        self._tokens -= count
