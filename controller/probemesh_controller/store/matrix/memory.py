"""The matrix in memory: what SQLite's tables promise, rows by hour in dictionaries, nothing packed."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter

from probemesh_controller.store.matrix import shape
from probemesh_controller.store.matrix.answers import MatrixAnswers
from probemesh_controller.store.matrix.codes import Kept, kept, replaces, row_of
from probemesh_controller.store.matrix.columns import Columns
from probemesh_controller.store.matrix.port import DAY_NS, HOUR_NS, Retention, Series, SlotRow, Standing
from probemesh_controller.store.matrix.rollup import Rollup

_Hour = tuple[int, int]  # hour or day, and number of a series


class MemoryMatrix(MatrixAnswers):
    """See :class:`probemesh_controller.store.matrix.port.MatrixStore`."""

    def __init__(self) -> None:
        self._ids: dict[Series, int] = {}
        self._latest: dict[int, Kept] = {}
        self._raw: defaultdict[_Hour, dict[int, Kept]] = defaultdict(dict)
        self._open_hours: set[_Hour] = set()
        self._minutes: dict[_Hour, dict[int, Rollup]] = {}
        self._hours: defaultdict[_Hour, dict[int, Rollup]] = defaultdict(dict)
        self._raw_since = 0
        self._last_id = 0

    def _check(self) -> None:
        """Raises StateError once the store is closed."""

    # --- taking in

    def add_slots(self, batch: Iterable[tuple[Series, SlotRow]]) -> int:
        self._check()
        rows = [(series, kept(slot)) for series, slot in batch]
        fresh = [(series, row) for series, row in rows if row[1] // HOUR_NS >= self._raw_since]
        for series, row in fresh:
            if series not in self._ids:
                self._last_id += 1
                self._ids[series] = self._last_id
            self._add(self._ids[series], row)
        return len(rows) - len(fresh)

    def _add(self, number: int, row: Kept) -> None:
        hour = row[1] // HOUR_NS, number
        there = self._raw[hour].get(row[0])
        if there is None or replaces(row, there):
            self._raw[hour][row[0]] = row
            self._open_hours.add(hour)
        newest = self._latest.get(number)
        if newest is None or row[1] > newest[1] or (row[0] == newest[0] and replaces(row, newest)):
            self._latest[number] = row

    # --- upkeep

    def upkeep(self, now_ns: int, keep: Retention) -> bool:
        self._check()
        over = (now_ns - shape.GRACE_NS) // HOUR_NS
        closing = min((hour for hour in self._open_hours if hour[0] < over), default=None)
        if closing is not None:
            self._close(closing)
            return True
        newest = max((row[1] for row in self._latest.values()), default=0)
        return self._forget_old(min(now_ns, newest), keep)

    def _close(self, hour: _Hour) -> None:
        columns = shape.merged((), self._raw[hour].values())
        self._minutes[hour] = shape.by_minute(columns, hour[0])
        day, place = divmod(hour[0], shape.HOURS_A_DAY)
        self._hours[day, hour[1]][place] = shape.whole(columns)
        self._open_hours.discard(hour)

    def _forget_old(self, now_ns: int, keep: Retention) -> bool:
        self._raw_since = max(self._raw_since, (now_ns - keep.raw_ns) // HOUR_NS)
        gone = _drop(self._raw, self._raw_since)
        gone |= _drop(self._minutes, (now_ns - keep.minutes_ns) // HOUR_NS)
        gone |= _drop(self._hours, (now_ns - keep.hours_ns) // DAY_NS)
        before_ns = now_ns - keep.hours_ns - DAY_NS
        for series, number in list(self._ids.items()):
            if self._latest[number][1] < before_ns:
                del self._ids[series], self._latest[number]
        return gone

    # --- answering

    def latest(self, schedule: str | None = None) -> tuple[Standing, ...]:
        wanted = self._wanted(schedule)
        found = [Standing(series, row_of(self._latest[number])) for number, series in wanted.items()]
        return tuple(sorted(found, key=itemgetter(0)))

    def _wanted(self, schedule: str | None) -> dict[int, Series]:
        self._check()
        return {
            number: series
            for series, number in self._ids.items()
            if schedule is None or series.schedule == schedule
        }

    def _number(self, series: Series) -> int | None:
        self._check()
        return self._ids.get(series)

    def _reader(self, number: int) -> shape.Reader:
        return _OneSeries(self, number)

    def _hours_kept(self) -> range:
        days = [day for day, _ in self._hours]
        hours = [hour for hour, _ in (*self._raw, *self._minutes)]
        hours += [edge for day in days for edge in (day * 24, day * 24 + 23)]
        return range(min(hours), max(hours) + 1) if hours else range(0)

    def _raw_of_hour(self, hour: int, wanted: set[int]) -> Iterator[tuple[int, Columns]]:
        for number in wanted:
            if (columns := self.raw(number, hour)) is not None:
                yield number, columns

    def _stood_rolled(self, hour: int, wanted: set[int], time_ns: int) -> Iterator[tuple[int, shape.Piece]]:
        for number, pieces in self._rolled_of_hour(hour, wanted):
            before = [piece for piece in pieces if piece.start_ns <= time_ns]
            if before:
                yield number, before[-1]

    def _counted_rolled(
        self, hour: int, wanted: set[int], since_ns: int, until_ns: int
    ) -> Iterator[tuple[int, tuple[int, ...]]]:
        for number, pieces in self._rolled_of_hour(hour, wanted):
            for piece in pieces:
                if since_ns <= piece.start_ns < until_ns:
                    yield number, piece.rollup.states

    def _rolled_of_hour(self, hour: int, wanted: set[int]) -> Iterator[tuple[int, list[shape.Piece]]]:
        start_ns = hour * HOUR_NS
        for number in wanted:
            if (minutes := self.minutes(number, hour)) is not None:
                yield number, shape.minute_pieces(start_ns, minutes)
            elif (rollup := self.hours(number, hour // 24).get(hour % 24)) is not None:
                yield number, [shape.Piece(start_ns, HOUR_NS, rollup)]

    # --- one series

    def is_open(self, number: int, hour: int) -> bool:
        return (hour, number) in self._open_hours

    def raw(self, number: int, hour: int) -> Columns | None:
        rows = self._raw.get((hour, number)) if hour >= self._raw_since else None
        return shape.merged((), rows.values()) if rows else None

    def minutes(self, number: int, hour: int) -> Mapping[int, Rollup] | None:
        return self._minutes.get((hour, number))

    def hours(self, number: int, day: int) -> Mapping[int, Rollup]:
        return self._hours.get((day, number), {})


class _OneSeries:
    """See :class:`probemesh_controller.store.matrix.shape.Reader`."""

    def __init__(self, matrix: MemoryMatrix, number: int) -> None:
        self._matrix = matrix
        self._number = number

    def stale(self, hours: range) -> frozenset[int]:
        return frozenset(hour for hour in hours if self._matrix.is_open(self._number, hour))

    def raw(self, hour: int) -> Columns | None:
        return self._matrix.raw(self._number, hour)

    def minutes(self, hour: int) -> Mapping[int, Rollup] | None:
        return self._matrix.minutes(self._number, hour)

    def hours(self, day: int) -> Mapping[int, Rollup]:
        return self._matrix.hours(self._number, day)


def _drop(table: "dict[_Hour, dict[int, Kept]] | dict[_Hour, dict[int, Rollup]]", first: int) -> bool:
    gone = [hour for hour in table if hour[0] < first]
    for hour in gone:
        del table[hour]
    return bool(gone)
