"""What many slots were like, in a few bytes, so that two of them can be one. Pure.

Round trips are counted in buckets whose bounds grow by a fixed factor, as in DDSketch (Masson, Rim, Lee,
VLDB 2019): any quantile is within ALPHA of the value at that rank, however many were merged. Merging is
associative and commutative, and :data:`EMPTY` changes nothing.

    bytes    zlib of unsigned varints, like beside like: how many, their places; states that occur (bits), a
             count for each; sent; lost; bucket counts; min (difference to the one before, folded), max - min,
             gaps between buckets, of which the first is that of min; their counts
"""

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from types import MappingProxyType

from probemesh_shared.errors import StateError

from probemesh_controller.store.matrix.codes import SILENT, STATE, STATES
from probemesh_controller.store.matrix.columns import Columns

#: Relative error of a quantile.
ALPHA = 0.02
_GAMMA = (1 + ALPHA) / (1 - ALPHA)
_PER_LOG = 1 / math.log(_GAMMA)
_NONE: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Rollup:
    """``states`` has one count for each of STATES. ``buckets``: index to count; 0 µs is bucket 0, 1 µs
    bucket 1. ``low_us`` and ``high_us`` are 0 where there is no round trip."""

    states: tuple[int, ...] = (0,) * len(STATES)
    sent: int = 0
    lost: int = 0
    low_us: int = 0
    high_us: int = 0
    buckets: Mapping[int, int] = field(default_factory=lambda: _NONE)

    @property
    def slots(self) -> int:
        return sum(self.states)

    def quantile_us(self, share: float) -> float | None:
        """Of the value at rank ``share`` × (n - 1), rounded down; None where nothing came back."""
        total = sum(self.buckets.values())
        if not total:
            return None
        rank, seen = math.floor(share * (total - 1)), 0
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            if seen > rank:
                return min(max(_middle(index), float(self.low_us)), float(self.high_us))
        raise AssertionError("a rank lies within the total")


EMPTY = Rollup()


def bucket(rtt_us: int) -> int:
    return 1 + math.ceil(math.log(rtt_us) * _PER_LOG) if rtt_us > 0 else 0


def _middle(index: int) -> float:
    """The value that is no further than ALPHA from any in the bucket."""
    return float(2 * _GAMMA ** (index - 1) / (_GAMMA + 1)) if index else 0.0


def merge(one: Rollup, other: Rollup) -> Rollup:
    if not one.buckets:
        low, high, buckets = other.low_us, other.high_us, other.buckets
    elif not other.buckets:
        low, high, buckets = one.low_us, one.high_us, one.buckets
    else:
        low, high = min(one.low_us, other.low_us), max(one.high_us, other.high_us)
        buckets = Counter(one.buckets)
        buckets.update(other.buckets)
    states = tuple(map(sum, zip(one.states, other.states, strict=True)))
    return Rollup(states, one.sent + other.sent, one.lost + other.lost, low, high, buckets)


def merge_all(many: Iterable[Rollup]) -> Rollup:
    total = EMPTY
    for one in many:
        total = merge(total, one)
    return total


def roll_up(columns: Columns, first: int, end: int) -> Rollup:
    """Of the rows ``first`` … ``end``, the end left out."""
    flags = columns.flags[first:end]
    states = [0] * len(STATES)
    for flag, count in Counter(flags).items():
        states[flag & STATE] += count
    times = [rtt for rtt, flag in zip(columns.rtt_us[first:end], flags, strict=True) if not flag & SILENT]
    buckets: Counter[int] = Counter()
    for rtt, count in Counter(times).items():
        buckets[bucket(rtt)] += count
    return Rollup(
        tuple(states),
        sum(columns.sent[first:end]),
        sum(columns.lost[first:end]),
        min(times, default=0),
        max(times, default=0),
        buckets,
    )


# --- bytes ----------------------------------------------------------------------------------------------


def encode(rollups: Mapping[int, Rollup]) -> bytes:
    """Several, each with its place in the hour or day."""
    places = sorted(rollups)
    some = [rollups[place] for place in places]
    numbers = [len(places), *places]
    numbers += [sum(1 << code for code, count in enumerate(one.states) if count) for one in some]
    numbers += [count for one in some for count in one.states if count]
    numbers += [one.sent for one in some]
    numbers += [one.lost for one in some]
    numbers += [len(one.buckets) for one in some]
    answered = [one for one in some if one.buckets]
    lows = [one.low_us for one in answered]
    numbers += [_folded(low - before) for before, low in pairwise([0, *lows])]
    numbers += [one.high_us - one.low_us for one in answered]
    ordered = [sorted(one.buckets) for one in answered]
    numbers += [index - before for indexes in ordered for before, index in pairwise(indexes)]
    numbers += [
        one.buckets[index] for one, indexes in zip(answered, ordered, strict=True) for index in indexes
    ]
    return zlib.compress(b"".join(map(_varint, numbers)), 6)


def decode(body: bytes) -> dict[int, Rollup]:
    """Raises StateError for what :func:`encode` did not write."""
    try:
        read = _Reader(zlib.decompress(body))
        places = read.take(read.one())
        bits = read.take(len(places))
        states = [
            tuple([read.one() if bit >> code & 1 else 0 for code in range(len(STATES))]) for bit in bits
        ]
        sent, lost, lengths = (read.take(len(places)) for _ in range(3))
        answered = [length for length in lengths if length]
        lows = list(accumulate(map(_unfolded, read.take(len(answered)))))
        spans = read.take(len(answered))
        indexes = [
            list(accumulate(read.take(length - 1), initial=bucket(low)))
            for length, low in zip(answered, lows, strict=True)
        ]
        buckets = [dict(zip(some, read.take(len(some)), strict=True)) for some in indexes]
    except (zlib.error, IndexError, ValueError) as error:
        raise StateError(f"stored roll-ups cannot be read: {error}") from error
    times = iter(zip(lows, spans, buckets, strict=True))
    found = {}
    for number, place in enumerate(places):
        low, width, some = next(times) if lengths[number] else (0, 0, _NONE)
        found[place] = Rollup(states[number], sent[number], lost[number], low, low + width, some)
    return found


def _folded(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _unfolded(value: int) -> int:
    return -(value + 1 >> 1) if value & 1 else value >> 1


def _varint(value: int) -> bytes:
    if value < 128:
        return bytes((value,))
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


class _Reader:
    """Varints, one after the other. Raises IndexError at the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def one(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self._place]
            self._place += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def take(self, count: int) -> list[int]:
        return [self.one() for _ in range(count)]
