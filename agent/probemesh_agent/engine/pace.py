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
