"""How a peer behaves, as far as can be judged without understanding what it wants. Pure.

Two measures. *Calls* of one certificate, over all of its connections: each costs, one that the peer resets
costs more. *Noise* of one connection: bytes that the kernel took in and that no handler was given as
a message, which is what resets, pings, settings and headers without an end have in common. Both drain at
a rate far above what an agent or a command line needs and far below what costs us anything; who overflows is
cut off, and for a while whatever comes with that certificate, or without any from that address, has little
room.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class Limits:
    """Per certificate: calls and resets. Per connection: bytes of noise. Times in seconds.

    Measured without them: one connection that resets streams took a third of a core for as long as it
    liked, one that continues headers a whole one; at the noise that is let pass it is a fiftieth of one.
    """

    calls: float = 2_000.0
    calls_per_s: float = 200.0
    reset_costs: float = 4.0  # beside the call that was reset
    refused_calls: int = 200  # while it has no calls left, before it is cut off
    noise: float = 8 << 20
    noise_per_s: float = 1 << 20
    noise_of_strangers: float = 2 << 20  # one whole message, which may wait while we are busy, and a margin
    noise_in_disgrace: float = 256 << 10
    disgrace_s: float = 60.0


class Leave(Enum):
    """What becomes of a call."""

    TAKE = auto()
    REFUSE = auto()  # in words: the peer may come back to it
    CUT = auto()


@dataclass(slots=True)
class Bucket:
    """Fills by what is added and drains with time. ``level`` is of the time ``at``."""

    level: float = 0.0
    at: float = 0.0

    def add(self, amount: float, drain_per_s: float, now: float) -> float:
        self.level = max(0.0, self.level - max(0.0, now - self.at) * drain_per_s)
        self.level = max(0.0, self.level + amount)
        self.at = now
        return self.level


@dataclass(slots=True)
class _Caller:
    calls: Bucket = field(default_factory=Bucket)
    refused: int = 0


#: Callers, and the disgraced, that are remembered; the oldest are forgotten first.
_MOST = 16_384


class Conduct:
    """``now`` is monotonic, seconds; ``who`` a certificate's serial, ``key`` a connection, ``where`` an
    address without its port."""

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self.limits = limits
        self._now = now
        self._callers: dict[str, _Caller] = {}
        self._noise: dict[Hashable, Bucket] = {}
        self._disgraced: dict[Hashable, float] = {}  # until

    def called(self, who: str) -> Leave:
        """One more call. ``CUT`` is told once: it puts the caller in disgrace."""
        if self.in_disgrace(who):
            return Leave.CUT
        caller = self._callers.setdefault(who, _Caller(Bucket(at=self._now())))
        _make_room(self._callers)
        if caller.calls.add(1.0, self.limits.calls_per_s, self._now()) <= self.limits.calls:
            caller.refused = 0
            return Leave.TAKE
        caller.calls.add(-1.0, self.limits.calls_per_s, self._now())
        caller.refused += 1
        return self._fallen(who) if caller.refused > self.limits.refused_calls else Leave.REFUSE

    def reset(self, who: str) -> Leave:
        """The peer took a call back before it was answered."""
        caller = self._callers.setdefault(who, _Caller(Bucket(at=self._now())))
        level = caller.calls.add(self.limits.reset_costs, self.limits.calls_per_s, self._now())
        return self._fallen(who) if level > self.limits.calls else Leave.TAKE

    def heard(self, key: Hashable, noise: int, where: Hashable | None) -> bool:
        """``noise`` bytes more of a connection (fewer, where messages were read that had waited); False where
        it is to be cut off. ``where`` is given for one that nobody has been recognised on: such ones have
        little room at an address in disgrace, and put it there."""
        bucket = self._noise.setdefault(key, Bucket(at=self._now()))
        level = bucket.add(noise, self.limits.noise_per_s, self._now())
        room = self.limits.noise if where is None else self.limits.noise_of_strangers
        if where is not None and self.in_disgrace(where):
            room = self.limits.noise_in_disgrace
        if level <= room:
            return True
        if where is not None:
            self._fallen(where)
        return False

    def gone(self, key: Hashable) -> None:
        self._noise.pop(key, None)

    def disgrace(self, who: Hashable) -> None:
        """From now on, for a while."""
        self._fallen(who)

    def in_disgrace(self, who: Hashable) -> bool:
        until = self._disgraced.get(who)
        return until is not None and self._now() < until

    def sweep(self) -> None:
        """Forgets what no longer matters."""
        now, limits = self._now(), self.limits
        self._disgraced = {who: until for who, until in self._disgraced.items() if now < until}
        idle = [
            who
            for who, caller in self._callers.items()
            if caller.calls.add(0.0, limits.calls_per_s, now) == 0.0
        ]
        for who in idle:
            del self._callers[who]

    def _fallen(self, who: Hashable) -> Leave:
        self._disgraced[who] = self._now() + self.limits.disgrace_s
        _make_room(self._disgraced)
        return Leave.CUT


def _make_room(held: dict[str, _Caller] | dict[Hashable, float]) -> None:
    while len(held) > _MOST:
        del held[next(iter(held))]  # type: ignore[arg-type]  # a key of the very dict
