"""Answers about the matrix from what every adapter can read: an hour of all series, or one series. Pure."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from operator import itemgetter

from probemesh_shared.words import SlotState

from probemesh_controller.store.matrix import shape
from probemesh_controller.store.matrix.codes import row_of
from probemesh_controller.store.matrix.columns import Columns
from probemesh_controller.store.matrix.port import DAY_NS, HistoryPoint, Series, SlotRow, Standing


class MatrixAnswers(ABC):
    """The asking half of :class:`probemesh_controller.store.matrix.port.MatrixStore`. Series have numbers
    here."""

    @abstractmethod
    def _wanted(self, schedule: str | None) -> dict[int, Series]:
        """The series of a schedule, or all."""

    @abstractmethod
    def _number(self, series: Series) -> int | None: ...

    @abstractmethod
    def _reader(self, number: int) -> shape.Reader: ...

    @abstractmethod
    def _hours_kept(self) -> range:
        """From the first to the last hour of which there may be anything."""

    @abstractmethod
    def _raw_of_hour(self, hour: int, wanted: set[int]) -> Iterable[tuple[int, Columns]]:
        """Every wanted series that has raw rows in the hour, with all of them."""

    @abstractmethod
    def _stood_rolled(self, hour: int, wanted: set[int], time_ns: int) -> Iterable[tuple[int, shape.Piece]]:
        """The last minute of the hour that begins at or before ``time_ns``, or the hour where minutes are
        gone."""

    @abstractmethod
    def _counted_rolled(
        self, hour: int, wanted: set[int], since_ns: int, until_ns: int
    ) -> Iterable[tuple[int, tuple[int, ...]]]:
        """Slots by state, of minutes or the hour, that begin in the range."""

    def series(self, schedule: str | None = None) -> tuple[Series, ...]:
        return tuple(sorted(self._wanted(schedule).values()))

    def standing(self, schedule: str | None, time_ns: int) -> tuple[Standing, ...]:
        wanted = self._wanted(schedule)
        left = set(wanted)
        found: list[Standing] = []
        for hour in reversed(self._hours_between(time_ns - DAY_NS, time_ns + 1)):
            if not left:
                break
            for number, row, resolution_ns in list(self._stood(hour, left, time_ns)):
                if row.at_ns > time_ns - DAY_NS:
                    found.append(Standing(wanted[number], row, resolution_ns))
                    left.discard(number)
        return tuple(sorted(found, key=itemgetter(0)))

    def _stood(self, hour: int, wanted: set[int], time_ns: int) -> Iterable[tuple[int, SlotRow, int]]:
        seen = set()
        for number, columns in self._raw_of_hour(hour, wanted):
            seen.add(number)
            if end := bisect_right(columns.at_ns, time_ns):
                yield number, row_of(columns.row(end - 1)), 0
        for number, piece in self._stood_rolled(hour, wanted - seen, time_ns):
            yield number, shape.row_like(piece.rollup, piece.start_ns), piece.width_ns

    def counts(
        self, schedule: str | None, since_ns: int, until_ns: int
    ) -> Mapping[Series, Mapping[SlotState, int]]:
        wanted = self._wanted(schedule)
        parts: defaultdict[int, list[tuple[int, ...]]] = defaultdict(list)
        for hour in self._hours_between(since_ns, until_ns):
            seen = set()
            for number, columns in self._raw_of_hour(hour, set(wanted)):
                seen.add(number)
                parts[number].append(shape.count_states(columns, since_ns, until_ns))
            for number, states in self._counted_rolled(hour, set(wanted) - seen, since_ns, until_ns):
                parts[number].append(states)
        totals = {wanted[number]: shape.counted(some) for number, some in parts.items()}
        return {series: shape.states_of(totals[series]) for series in sorted(totals) if any(totals[series])}

    def _hours_between(self, since_ns: int, until_ns: int) -> range:
        asked, kept = shape.hours_of(max(since_ns, 0), until_ns), self._hours_kept()
        return range(max(asked.start, kept.start), min(asked.stop, kept.stop))

    def slots(self, series: Series, since_ns: int, until_ns: int) -> tuple[SlotRow, ...]:
        number = self._number(series)
        if number is None:
            return ()
        reader = self._reader(number)
        found: list[SlotRow] = []
        for hour in self._hours_between(since_ns, until_ns):
            columns = reader.raw(hour)
            if columns is not None:
                first, end = shape.span(columns, since_ns, until_ns)
                found += [row_of(columns.row(index)) for index in range(first, end)]
        return tuple(found)

    def history(self, series: Series, since_ns: int, until_ns: int, step_ns: int) -> tuple[HistoryPoint, ...]:
        number = self._number(series)
        reader = None if number is None else self._reader(number)
        return shape.history(reader, since_ns, until_ns, step_ns)
