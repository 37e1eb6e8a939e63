"""Raw rows of one series as bytes: a column each, byte planes, zlib. Pure.

    body      one or more segments, in the order of time where the hour is still open, one when it is closed
    segment   length (32 bits), zlib of: head, then columns
    head      rows, which columns are spelled out, first and step of ``number``, first and step of ``at_ns``
    columns   number and at_ns (64 bits) only where they do not step evenly; flags, rtt_us (32), sent (16),
              lost (16), failure; of the wider ones first all lowest bytes, then all next ones …

Numbers and due times step evenly as long as no slot is missing, which is the rule: they cost nothing. Round
trips as they are compress better, and are read faster, than differences or varints (measured: 1.3 to 2.5
bytes a row, against 1.4 to 2.5 and 1.6 to 3.0). Everything little-endian.
"""

import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from probemesh_shared.errors import StateError

from probemesh_controller.store.matrix.codes import SILENT, Kept

_LENGTH = struct.Struct("<I")
_HEAD = struct.Struct("<IBqqqq")
_NUMBERS, _TIMES = 1, 2
#: An open hour is packed again when it closes; a closed one stays as it is.
QUICK, SMALL = 1, 6


class Columns(NamedTuple):
    """Rows by time. ``rtt_us`` is 0 where the flags say SILENT."""

    number: Sequence[int]
    at_ns: Sequence[int]
    flags: bytes
    rtt_us: Sequence[int]
    sent: Sequence[int]
    lost: Sequence[int]
    failure: bytes

    def row(self, index: int) -> Kept:
        flags = self.flags[index]
        return (
            self.number[index],
            self.at_ns[index],
            flags,
            None if flags & SILENT else self.rtt_us[index],
            self.sent[index],
            self.lost[index],
            self.failure[index],
        )

    def rows(self) -> Iterator[Kept]:
        return map(self.row, range(len(self.flags)))


def columns_of(rows: Iterable[Kept]) -> Columns:
    """``rows``, at least one, are in the order of time."""
    number, at_ns, flags, rtt_us, sent, lost, failure = zip(*rows, strict=True)
    return Columns(
        _stepping(number),
        _stepping(at_ns),
        bytes(flags),
        array("I", [value or 0 for value in rtt_us]),
        array("H", sent),
        array("H", lost),
        bytes(failure),
    )


def _stepping(values: tuple[int, ...]) -> Sequence[int]:
    """A range where the values are one, else an array."""
    first = values[0]
    step = values[1] - first if len(values) > 1 else 1
    if step > 0:
        even = range(first, first + step * len(values), step)
        if tuple(even) == values:
            return even
    return array("q", values)


def pack(columns: Columns, level: int) -> bytes:
    """One segment. ``level`` is QUICK or SMALL."""
    spelled = (_NUMBERS if isinstance(columns.number, array) else 0) | (
        _TIMES if isinstance(columns.at_ns, array) else 0
    )
    head = _HEAD.pack(len(columns.flags), spelled, *_first(columns.number), *_first(columns.at_ns))
    parts = [head]
    parts += [_planes(values) for values in (columns.number, columns.at_ns) if isinstance(values, array)]
    parts.append(columns.flags)
    parts += [_planes(values) for values in (columns.rtt_us, columns.sent, columns.lost)]
    parts.append(columns.failure)
    packed = zlib.compress(b"".join(parts), level)
    return _LENGTH.pack(len(packed)) + packed


def _first(values: Sequence[int]) -> tuple[int, int]:
    return (values.start, values.step) if isinstance(values, range) else (0, 0)


def _planes(values: Sequence[int]) -> bytes:
    assert isinstance(values, array)
    content, width = values.tobytes(), values.itemsize
    return b"".join(content[plane::width] for plane in range(width))


def unpack(body: bytes) -> Columns:
    """Raises StateError for what :func:`pack` did not write."""
    try:
        segments = list(_segments(body))
    except (struct.error, zlib.error, ValueError, IndexError) as error:
        raise StateError(f"stored slots cannot be read: {error}") from error
    if len(segments) == 1:
        return segments[0]
    return columns_of(row for segment in segments for row in segment.rows())


def _segments(body: bytes) -> Iterator[Columns]:
    place = 0
    while place < len(body) or not body:
        (length,) = _LENGTH.unpack_from(body, place)
        place += _LENGTH.size
        yield _segment(zlib.decompress(body[place : place + length]))
        place += length


class _Reader:
    def __init__(self, data: bytes, count: int) -> None:
        self._data = data
        self._count = count
        self.place = _HEAD.size

    def bytes(self) -> bytes:
        taken = self._data[self.place : self.place + self._count]
        if len(taken) != self._count:
            raise ValueError("cut short")
        self.place += self._count
        return taken

    def numbers(self, code: str) -> Sequence[int]:
        values = array(code)
        content = bytearray(self._count * values.itemsize)
        for plane in range(values.itemsize):
            content[plane :: values.itemsize] = self.bytes()
        values.frombytes(content)
        return values


def _segment(data: bytes) -> Columns:
    count, spelled, number, number_step, at_ns, at_step = _HEAD.unpack_from(data)
    if not count:
        raise ValueError("no rows")
    read = _Reader(data, count)
    columns = Columns(
        read.numbers("q") if spelled & _NUMBERS else range(number, number + number_step * count, number_step),
        read.numbers("q") if spelled & _TIMES else range(at_ns, at_ns + at_step * count, at_step),
        read.bytes(),
        read.numbers("I"),
        read.numbers("H"),
        read.numbers("H"),
        read.bytes(),
    )
    if read.place != len(data):
        raise ValueError("longer than it says")
    return columns
