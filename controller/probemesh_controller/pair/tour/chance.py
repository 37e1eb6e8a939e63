"""What chance does: intervals, and how likely a silence or a pattern of losses is by chance alone. Pure.

The thresholds that lean on this are written down in ``docs/decisions/0024``.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: Two-sided 95 %.
Z95 = 1.959964

#: A claim that a network is at fault may be chance in one of so many: with some ten such claims for each
#: direction, a thousand diagnoses of healthy pairs give one false verdict in fifty.
BY_CHANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Share:
    """``lost`` of ``sent``, with its Wilson 95 % interval."""

    lost: int
    sent: int

    @property
    def value(self) -> float:
        return self.lost / self.sent if self.sent else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.lost, self.sent)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.lost} of {self.sent} ({100 * self.value:.1f} %, {100 * low:.1f}–{100 * high:.1f} %)"


def wilson(hits: int, tries: int, z: float = Z95) -> tuple[float, float]:
    """The Wilson score interval of a share; (0, 1) of nothing."""
    if tries <= 0:
        return 0.0, 1.0
    share = hits / tries
    middle = share + z * z / (2 * tries)
    reach = z * math.sqrt(share * (1 - share) / tries + z * z / (4 * tries * tries))
    scale = 1 + z * z / tries
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def all_lost(loss: float, tries: int, flows: int = 1) -> float:
    """How likely it is that some one of ``flows`` loses all of its ``tries`` where each is lost with
    probability ``loss``."""
    return min(1.0, flows * loss**tries)


@dataclass(frozen=True, slots=True)
class Burst:
    """Packets that one limiter would see, in their order: when each was sent (ms) and whether "
    "it got there."""

    sent: tuple[tuple[float, bool], ...]

    @property
    def lost(self) -> int:
        return sum(not there for _, there in self.sent)

    @property
    def seconds(self) -> float:
        return (self.sent[-1][0] - self.sent[0][0]) / 1000 if self.sent else 0.0

    @property
    def rate(self) -> float:
        """Packets a second; 0 of a single one."""
        return (len(self.sent) - 1) / self.seconds if self.seconds > 0 else 0.0

    @property
    def prefix(self) -> int:
        """Packets before the first that was lost."""
        return next((n for n, (_, there) in enumerate(self.sent) if not there), len(self.sent))


def loss_of(bursts: Iterable[Burst]) -> Share:
    kept = tuple(bursts)
    return Share(sum(burst.lost for burst in kept), sum(len(burst.sent) for burst in kept))


def passing_rate(burst: Burst) -> float:
    """Packets a second that a limiter lets through once its bucket is empty, were one the cause."""
    after = burst.sent[burst.prefix :]
    if len(after) < 2 or after[-1][0] <= after[0][0]:
        return burst.rate
    return sum(there for _, there in after) / ((after[-1][0] - after[0][0]) / 1000)


# --- a limiter, or chance? --------------------------------------------------------------------------------

#: Packets by which a bucket's count may be off where it alone is to explain the losses: instants jitter.
_OFF = 2.0
#: The same for a bucket with some chance beside it, as a share of the packets.
_OFF_SHARE = 0.06
#: A limiter that lets two thirds pass at some rate drops nothing at a third of it.
_SLOWER, _MOST_LOST = 3.0, 0.35
#: As like as that are shares which differ by chance only.
_ALIKE = 0.02
_RATES = tuple(0.5 * 1.09**step for step in range(88))  # packets a second, to 900
_MOST_DEEP = 24

#: Bursts of one step on one clock: a limiter carries its bucket from one to the next, and is full at first.
Timeline = Sequence[Burst]


def policed(steps: Sequence[Timeline]) -> bool | None:
    """Whether a limiter drops these, rather than chance. True where one share of loss cannot explain the
    counts at all rates, and a token bucket does; False where it is the other way round; None where both
    would do. Two rates that lie well apart settle it."""
    kept = tuple(tuple(b for b in step if b.sent) for step in steps)
    bursts = tuple(burst for step in kept for burst in step)
    if not loss_of(bursts).lost:
        return None
    by_chance = _one_share(bursts)
    if not by_chance:
        return True if _some_bucket(kept, loose=True) else None
    return False if _slow_loses_too(bursts) or not _some_bucket(kept, loose=False) else None


def _one_share(bursts: Sequence[Burst], least: float = BY_CHANCE) -> bool:
    """Whether the same loss at all rates would give such counts more often than ``least``."""
    total = loss_of(bursts)
    if total.lost == total.sent:
        return True
    # the likelihood-ratio statistic, which unlike Pearson's bears small counts
    deviance = sum(
        _term(burst.lost, len(burst.sent) * total.value)
        + _term(len(burst.sent) - burst.lost, len(burst.sent) * (1 - total.value))
        for burst in bursts
    )
    return tail(2 * deviance, len(bursts) - 1) > least


def _term(seen: int, expected: float) -> float:
    return seen * math.log(seen / expected) if seen else 0.0


def tail(statistic: float, freedom: int) -> float:
    """Upper tail of chi squared with that many degrees of freedom."""
    if freedom <= 0:
        return 1.0
    x = max(statistic, 0.0) / 2
    half = freedom % 2 / 2  # from a half or from nothing, one at a time
    found = math.erfc(math.sqrt(x)) if half else 0.0
    while half < freedom / 2:
        found += x**half * math.exp(-x) / math.gamma(half + 1)
        half += 1
    return found


def _slow_loses_too(bursts: Sequence[Burst]) -> bool:
    """Losses at a slow rate, and hardly more at one of several times that."""
    long = [burst for burst in bursts if len(burst.sent) >= 2]
    fastest = max(long, key=lambda burst: burst.rate, default=None)
    if fastest is None or wilson(fastest.lost, len(fastest.sent))[1] > _MOST_LOST:
        return False
    slow = [burst for burst in long if burst.rate * _SLOWER <= fastest.rate]
    return any(burst.lost for burst in slow) and _one_share((fastest, *slow), _ALIKE)


def _some_bucket(steps: Sequence[Timeline], loose: bool) -> bool:
    """Whether some token bucket lets just about as many of each burst through."""
    prefixes = [burst.prefix for step in steps for burst in step[:1] if burst.lost]
    depths = range(1, min(min(prefixes, default=1) + 2, _MOST_DEEP) + 1)
    return any(all(_fits(step, rate, depth, loose) for step in steps) for rate in _RATES for depth in depths)


def _fits(step: Timeline, rate: float, depth: int, loose: bool) -> bool:
    tokens, last = float(depth), None
    for burst in step:
        through = 0
        for at_ms, _ in burst.sent:
            if last is not None:
                tokens = min(float(depth), tokens + rate * (at_ms - last) / 1000)
            last = at_ms
            if tokens >= 1.0:
                through, tokens = through + 1, tokens - 1.0
        off = _OFF + (_OFF_SHARE * len(burst.sent) if loose else 0.0)
        if abs(len(burst.sent) - burst.lost - through) > off:
            return False
    return True
