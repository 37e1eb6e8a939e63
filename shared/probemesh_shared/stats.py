"""Loss and round-trip statistics of samples. Pure; never NaN, and never 0 where nothing was measured.

``sent`` counts the attempts that were really made: void, cancelled, unmeasured, denied, unsupported and
local-resource samples are in neither ``sent`` nor ``lost``. ``lost`` counts those that the target did not
answer: silence, or an ICMP error in its place. A refusal or a wrong answer is an answer. Round trips are
those of ``ok`` samples only: the time of a refusal may stand in its sample, and is no latency of the service.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from probemesh_shared.model import Sample
from probemesh_shared.words import NOT_MEASURED, Outcome

_LOST = frozenset({Outcome.TIMEOUT, Outcome.UNREACHABLE, Outcome.PROHIBITED})
_MOST_MS = 1e9


@dataclass(frozen=True, slots=True)
class Rtt:
    """Milliseconds. ``stddev_ms`` is that of the population; ``jitter_ms`` the mean difference between
    neighbouring answered samples (as RFC 3550 §6.4.1, without its smoothing). Both None below two samples."""

    min_ms: float
    median_ms: float
    mean_ms: float
    max_ms: float
    stddev_ms: float | None
    jitter_ms: float | None


@dataclass(frozen=True, slots=True)
class Stats:
    """``loss_ratio`` is in 0 … 1, None where nothing was sent; ``rtt`` None where no round trip is known."""

    sent: int
    lost: int
    loss_ratio: float | None
    rtt: Rtt | None

    @property
    def rtt_ms(self) -> float | None:
        """The median, which stands for all of them."""
        return self.rtt.median_ms if self.rtt else None


def round_trips(values: Sequence[float]) -> Rtt | None:
    """Statistics of round trips in the order they were sent, in ms; None for none.

    Values below 0, above eleven days or not finite are left out: they are not round trips.
    """
    times = [value for value in values if 0 <= value <= _MOST_MS]
    if not times:
        return None
    ordered = sorted(times)
    count = len(ordered)
    middle = count // 2
    median = ordered[middle] if count % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    mean = math.fsum(times) / count
    stddev = jitter = None
    if count > 1:
        stddev = math.sqrt(math.fsum((value - mean) ** 2 for value in times) / count)
        jitter = math.fsum(abs(b - a) for a, b in itertools.pairwise(times)) / (count - 1)
    return Rtt(ordered[0], median, mean, ordered[-1], stddev, jitter)


def of(samples: Iterable[Sample]) -> Stats:
    """Statistics of one measurement's samples."""
    counted = [sample for sample in samples if sample.outcome not in NOT_MEASURED]
    sent = len(counted)
    lost = sum(sample.outcome in _LOST for sample in counted)
    times = [s.rtt_ms for s in counted if s.outcome is Outcome.OK and s.rtt_ms is not None]
    return Stats(sent, lost, lost / sent if sent else None, round_trips(times))


__all__ = ["Rtt", "Stats", "of", "round_trips"]
