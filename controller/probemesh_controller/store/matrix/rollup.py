"""What many slots were like, in a few bytes, so that two of them can be one. Pure.

Round trips are counted in buckets whose bounds grow by a fixed factor, as in DDSketch (Masson, Rim, Lee,
VLDB 2019): any quantile is within ALPHA of the value at that rank, however many were merged. Merging is
associative and commutative, and :data:`EMPTY` changes nothing.

    rollup   states that occur (bits), a count for each; sent; lost; bucket count; if not 0: min, max - min,
             first bucket, its count, then gap and count of each further one             all unsigned varints
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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


def encode(rollup: Rollup) -> bytes:
    numbers = [sum(1 << code for code, count in enumerate(rollup.states) if count)]
    numbers += [count for count in rollup.states if count]
    numbers += [rollup.sent, rollup.lost, len(rollup.buckets)]
    if rollup.buckets:
        numbers += [rollup.low_us, rollup.high_us - rollup.low_us]
        before = 0
        for index in sorted(rollup.buckets):
            numbers += [index - before, rollup.buckets[index]]
            before = index
    return b"".join(map(_varint, numbers))


def decode(data: bytes) -> Rollup:
    """Raises StateError for what :func:`encode` did not write."""
    numbers = _numbers(data)
    try:
        bits = next(numbers)
        states = tuple([next(numbers) if bits >> code & 1 else 0 for code in range(len(STATES))])
        sent, lost, count = next(numbers), next(numbers), next(numbers)
        low = high = index = 0
        buckets = {}
        if count:
            low = next(numbers)
            high = low + next(numbers)
        for _ in range(count):
            index += next(numbers)
            buckets[index] = next(numbers)
    except StopIteration:
        raise StateError("a stored roll-up is cut short") from None
    return Rollup(states, sent, lost, low, high, buckets or _NONE)


def _varint(value: int) -> bytes:
    if value < 128:
        return bytes((value,))
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _numbers(data: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield value
            value = shift = 0


# --- several of them, each with its place in the hour or day --------------------------------------------


def frame(rollups: Mapping[int, bytes]) -> bytes:
    """Encoded roll-ups by place (0 … 255), in its order."""
    return b"".join(
        bytes((place,)) + _varint(len(rollups[place])) + rollups[place] for place in sorted(rollups)
    )


def frames(body: bytes) -> dict[int, bytes]:
    """Raises StateError for what :func:`frame` did not write."""
    found, place = {}, 0
    while place < len(body):
        key, place = body[place], place + 1
        length = shift = 0
        while True:
            if place >= len(body):
                raise StateError("stored roll-ups are cut short")
            byte, place = body[place], place + 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        found[key] = body[place : place + length]
        place += length
    if place != len(body):
        raise StateError("stored roll-ups are cut short")
    return found
