"""What many slots were like, in a few bytes, so that two of them can be one. Pure.

Round trips are counted in buckets whose bounds grow by a fixed factor, as in DDSketch (Masson, Rim, Lee,
VLDB 2019): any quantile is within ALPHA of the value at that rank, however many were merged. Merging is
associative and commutative, and :data:`EMPTY` changes nothing.

    bytes    zlib of columns, like beside like: places; states that occur (bits), a count for each; sent;
             lost; number of buckets; min; max - min; gaps between buckets, of which the first is that of
             min; counts
    column   width of a number in bytes, then byte planes, lowest first; its length follows from those before
"""

import math
import zlib
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import NamedTuple

from probemesh_shared.errors import StateError

from probemesh_controller.store.matrix.codes import SILENT, STATE, STATES
from probemesh_controller.store.matrix.columns import Columns

#: Relative error of a quantile.
ALPHA = 0.02
_GAMMA = (1 + ALPHA) / (1 - ALPHA)
_PER_LOG = 1 / math.log(_GAMMA)
_WIDTHS = "BHIQ"
_BY_WIDTH = {array(code).itemsize: code for code in _WIDTHS}
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
    return merge_all((one, other))


def merge_all(many: Iterable[Rollup]) -> Rollup:
    parts = list(many)
    if len(parts) < 2:
        return parts[0] if parts else EMPTY
    buckets: dict[int, int] = {}
    for one in parts:
        for index, count in one.buckets.items():
            buckets[index] = buckets.get(index, 0) + count
    answered = [one for one in parts if one.buckets]
    return Rollup(
        tuple(map(sum, zip(*(one.states for one in parts), strict=True))),
        sum(one.sent for one in parts),
        sum(one.lost for one in parts),
        min((one.low_us for one in answered), default=0),
        max((one.high_us for one in answered), default=0),
        buckets,
    )


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
    """Several, at least one, each with its place (0 … 255) in the hour or day."""
    places = sorted(rollups)
    some = [rollups[place] for place in places]
    answered = [one for one in some if one.buckets]
    ordered = [sorted(one.buckets.items()) for one in answered]
    columns = (
        [sum(1 << code for code, count in enumerate(one.states) if count) for one in some],
        [count for one in some for count in one.states if count],
        [one.sent for one in some],
        [one.lost for one in some],
        [len(one.buckets) for one in some],
        [one.low_us for one in answered],
        [one.high_us - one.low_us for one in answered],
        [after - before for items in ordered for (before, _), (after, _) in pairwise(items)],
        [count for items in ordered for _, count in items],
    )
    packed = bytes((len(places), *places)) + b"".join(map(_column, columns))
    return zlib.compress(packed, 6)


def decode(body: bytes) -> dict[int, Rollup]:
    """Raises StateError for what :func:`encode` did not write."""
    found = _parsed(body)
    return {place: found.rollup(number) for number, place in enumerate(found.places)}


def decode_last(body: bytes, place: int) -> tuple[int, Rollup] | None:
    """That of the last place which is not after ``place``, and where it is. Raises StateError."""
    found = _parsed(body)
    number = bisect_right(found.places, place)
    return (found.places[number - 1], found.rollup(number - 1)) if number else None


def decode_states(body: bytes) -> dict[int, tuple[int, ...]]:
    """Nothing but slots by state. Raises StateError."""
    found = _parsed(body)
    return dict(zip(found.places, found.states, strict=True))


class _Packed(NamedTuple):
    """The columns; ``firsts`` is where each one's buckets begin in ``counts``, ``answers`` how many before it
    have any."""

    places: bytes
    states: list[tuple[int, ...]]
    sent: Sequence[int]
    lost: Sequence[int]
    lengths: Sequence[int]
    firsts: Sequence[int]
    answers: Sequence[int]
    lows: Sequence[int]
    spans: Sequence[int]
    gaps: Sequence[int]
    counts: Sequence[int]

    def rollup(self, number: int) -> Rollup:
        length, sent, lost = self.lengths[number], self.sent[number], self.lost[number]
        if not length:
            return Rollup(self.states[number], sent, lost)
        first, answer = self.firsts[number], self.answers[number]
        low = self.lows[answer]
        gaps = self.gaps[first - answer : first - answer + length - 1]  # one fewer than counts, for each
        indexes = accumulate(gaps, initial=bucket(low))
        buckets = dict(zip(indexes, self.counts[first : first + length], strict=True))
        return Rollup(self.states[number], sent, lost, low, low + self.spans[answer], buckets)


def _parsed(body: bytes) -> _Packed:
    try:
        read = _Reader(zlib.decompress(body))
        places = read.bytes(read.bytes(1)[0])
        count = len(places)
        bits = read.column(count)
        states = _states(bits, read.column(sum(map(int.bit_count, bits))))
        sent, lost, lengths = (read.column(count) for _ in range(3))
        total, answered = sum(lengths), count - lengths.count(0)
        lows, spans = read.column(answered), read.column(answered)
        gaps, counts = read.column(total - answered), read.column(total)
        firsts = list(accumulate(lengths, initial=0))
        answers = list(accumulate(map(bool, lengths), initial=0))
    except (zlib.error, IndexError, ValueError) as error:
        raise StateError(f"stored roll-ups cannot be read: {error}") from error
    return _Packed(places, states, sent, lost, lengths, firsts, answers, lows, spans, gaps, counts)


def _states(bits: Sequence[int], counts: Sequence[int]) -> list[tuple[int, ...]]:
    following = iter(counts)
    return [tuple([next(following) if bit >> code & 1 else 0 for code in range(len(STATES))]) for bit in bits]


def _column(values: list[int]) -> bytes:
    most = max(values, default=0)
    code = next(code for code in _WIDTHS if most < 1 << 8 * array(code).itemsize)
    content, width = array(code, values).tobytes(), array(code).itemsize
    return bytes((width,)) + b"".join(content[plane::width] for plane in range(width))


class _Reader:
    """Raises IndexError or ValueError for what is cut short."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def bytes(self, count: int) -> bytes:
        taken = self._data[self._place : self._place + count]
        if len(taken) != count:
            raise ValueError("cut short")
        self._place += count
        return taken

    def column(self, count: int) -> Sequence[int]:
        width = self.bytes(1)[0]
        if width == 1:
            return self.bytes(count)
        values = array(_BY_WIDTH.get(width, ""))
        content = bytearray(count * width)
        for plane in range(width):
            content[plane::width] = self.bytes(count)
        values.frombytes(content)
        return values
