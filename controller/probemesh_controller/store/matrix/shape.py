"""How rows become hours, hours roll-ups, and roll-ups answers; the same for every adapter. Pure."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.words import SlotState

from probemesh_controller.store.matrix.codes import STATE, STATES, WORST_FIRST, Kept, replaces
from probemesh_controller.store.matrix.columns import Columns, columns_of
from probemesh_controller.store.matrix.port import (
    DAY_NS,
    HOUR_NS,
    MINUTE_NS,
    MOST_POINTS,
    HistoryPoint,
    SlotRow,
)
from probemesh_controller.store.matrix.rollup import Rollup, merge_all, roll_up

HOURS_A_DAY = DAY_NS // HOUR_NS
#: An hour is rolled up so long after its end: what comes later still counts, and costs a second time.
GRACE_NS = 30 * 1_000_000_000
_LEAST_STEP_NS = 1_000_000_000


class Piece(NamedTuple):
    """What is known of ``start_ns`` … ``start_ns + width_ns``."""

    start_ns: int
    width_ns: int
    rollup: Rollup


class Reader(Protocol):
    """One series, as an adapter reads it."""

    def stale(self, hours: range) -> frozenset[int]:
        """Hours whose roll-ups, if there are any, do not tell of all rows."""

    def raw(self, hour: int) -> Columns | None: ...

    def minutes(self, hour: int) -> Mapping[int, Rollup] | None:
        """By minute of the hour."""

    def hours(self, day: int) -> Mapping[int, Rollup]:
        """By hour of the day."""


def merged(old: Iterable[Kept], new: Iterable[Kept]) -> Columns:
    """One row for each number, by time; there is at least one."""
    rows = {row[0]: row for row in old}
    for row in new:
        there = rows.get(row[0])
        if there is None or replaces(row, there):
            rows[row[0]] = row
    return columns_of(sorted(rows.values(), key=lambda row: (row[1], row[0])))


def by_minute(columns: Columns, hour: int) -> dict[int, Rollup]:
    """By minute of the hour, those that have a row."""
    start_ns = hour * HOUR_NS
    return {
        (piece.start_ns - start_ns) // MINUTE_NS: piece.rollup
        for piece in _steps(columns, start_ns, start_ns + HOUR_NS, MINUTE_NS)
    }


def whole(columns: Columns) -> Rollup:
    return roll_up(columns, 0, len(columns.flags))


def _steps(columns: Columns, since_ns: int, until_ns: int, step_ns: int) -> Iterator[Piece]:
    first, end = span(columns, since_ns, until_ns)
    while first < end:
        number = columns.at_ns[first] // step_ns
        following = bisect_left(columns.at_ns, (number + 1) * step_ns, first, end)
        yield Piece(number * step_ns, step_ns, roll_up(columns, first, following))
        first = following


def span(columns: Columns, since_ns: int, until_ns: int) -> tuple[int, int]:
    """The rows due in the range, the end left out."""
    first = bisect_left(columns.at_ns, since_ns)
    return first, bisect_left(columns.at_ns, until_ns, first)


def hours_of(since_ns: int, until_ns: int) -> range:
    """Hours that the range touches."""
    return range(since_ns // HOUR_NS, -(-until_ns // HOUR_NS))


# --- history --------------------------------------------------------------------------------------------


def history(reader: Reader | None, since_ns: int, until_ns: int, step_ns: int) -> tuple[HistoryPoint, ...]:
    """See the port."""
    if step_ns < _LEAST_STEP_NS:
        raise InvalidRequest("the step of a history is at least 1 s")
    if (until_ns - since_ns) // step_ns > MOST_POINTS:
        raise InvalidRequest(f"a history has at most {MOST_POINTS:,} points", "ask for longer steps")
    if reader is None:  # nothing is known of it
        return ()
    since_ns = max(since_ns, 0) // step_ns * step_ns
    until_ns = -(-until_ns // step_ns) * step_ns
    found: defaultdict[int, list[Piece]] = defaultdict(list)
    for piece in _pieces(reader, since_ns, until_ns, step_ns):
        found[piece.start_ns // step_ns].append(piece)
    return tuple(_point(number * step_ns, step_ns, found[number]) for number in sorted(found))


def _pieces(reader: Reader, since_ns: int, until_ns: int, step_ns: int) -> Iterator[Piece]:
    hours = hours_of(since_ns, until_ns)
    stale = reader.stale(hours)
    days = {day: reader.hours(day) for day in range(hours.start // 24, -(-hours.stop // 24))}
    for hour in hours:
        day = days[hour // HOURS_A_DAY]
        coarse = day.get(hour % HOURS_A_DAY)
        if coarse is None and day and hour not in stale:
            continue
        for piece in _of_hour(reader, hour, step_ns, coarse, hour in stale):
            if since_ns <= piece.start_ns < until_ns:
                yield piece


def _of_hour(reader: Reader, hour: int, step_ns: int, coarse: Rollup | None, stale: bool) -> Iterable[Piece]:
    start_ns = hour * HOUR_NS
    if coarse is not None and not stale and step_ns % HOUR_NS == 0:
        return (Piece(start_ns, HOUR_NS, coarse),)
    raw_first = stale or step_ns % MINUTE_NS != 0
    if not raw_first and (minutes := reader.minutes(hour)):
        return minute_pieces(start_ns, minutes)
    if (columns := reader.raw(hour)) is not None:
        return _steps(columns, start_ns, start_ns + HOUR_NS, step_ns)
    if raw_first and (minutes := reader.minutes(hour)):
        return minute_pieces(start_ns, minutes)
    return () if coarse is None else (Piece(start_ns, HOUR_NS, coarse),)


def minute_pieces(start_ns: int, minutes: Mapping[int, Rollup]) -> list[Piece]:
    return [
        Piece(start_ns + minute * MINUTE_NS, MINUTE_NS, rollup) for minute, rollup in sorted(minutes.items())
    ]


def _point(since_ns: int, step_ns: int, pieces: Sequence[Piece]) -> HistoryPoint:
    total = merge_all(piece.rollup for piece in pieces)
    end_ns = max(piece.start_ns + piece.width_ns for piece in pieces)
    answered = bool(total.buckets)
    return HistoryPoint(
        since_ns,
        max(since_ns + step_ns, end_ns),
        states_of(total.states),
        total.sent,
        total.lost,
        total.low_us / 1000 if answered else None,
        _ms(total.quantile_us(0.5)),
        _ms(total.quantile_us(0.95)),
        total.high_us / 1000 if answered else None,
    )


def _ms(value_us: float | None) -> float | None:
    return None if value_us is None else round(value_us) / 1000


# --- states ---------------------------------------------------------------------------------------------


def states_of(counts: Sequence[int]) -> dict[SlotState, int]:
    return {state: count for state, count in zip(STATES, counts, strict=True) if count}


def count_states(columns: Columns, since_ns: int, until_ns: int) -> tuple[int, ...]:
    first, end = span(columns, since_ns, until_ns)
    counts = [0] * len(STATES)
    for flags in columns.flags[first:end]:
        counts[flags & STATE] += 1
    return tuple(counts)


def counted(parts: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    total = [0] * len(STATES)
    for part in parts:
        total = [one + other for one, other in zip(total, part, strict=True)]
    return tuple(total)


def row_like(rollup: Rollup, at_ns: int) -> SlotRow:
    """A roll-up told as one row: see :class:`~probemesh_controller.store.matrix.port.Standing`."""
    commonest = max(WORST_FIRST, key=lambda code: (rollup.states[code], -WORST_FIRST.index(code)))
    return SlotRow(0, at_ns, STATES[commonest], _ms(rollup.quantile_us(0.5)), rollup.sent, rollup.lost)
