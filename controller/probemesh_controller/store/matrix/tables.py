"""The matrix in SQLite: taking slots in, and answering.

Rows come into ``tail`` and ``latest`` and nowhere else, so that taking them in costs a few microseconds each;
:mod:`~probemesh_controller.store.matrix.folding` makes packed hours and roll-ups of them afterwards, in small
steps. Whoever asks gets both together: a row counts from the moment it is committed.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from probemesh_controller.store.matrix import shape
from probemesh_controller.store.matrix.answers import MatrixAnswers
from probemesh_controller.store.matrix.codes import Kept, kept, replaces, row_of
from probemesh_controller.store.matrix.columns import Columns, unpack
from probemesh_controller.store.matrix.port import (
    DAY_NS,
    HOUR_NS,
    MINUTE_NS,
    Series,
    SlotRow,
    Standing,
)
from probemesh_controller.store.matrix.rollup import Rollup, decode, decode_last, decode_states
from probemesh_controller.store.sqlitefile import SqliteFile

CHUNK_NS = 5 * MINUTE_NS
CHUNKS_AN_HOUR = HOUR_NS // CHUNK_NS
SHARD = 8
_SERIES = (1 << 32) - 1
#: Rows a statement: each statement gives the interpreter's lock away and takes it back once.
_AT_ONCE = 100

_TAIL_COLUMNS = "number, at_ns, flags, rtt_us, sent, lost, failure"
# 32 is codes.FILLED
_TAKE = (
    "INSERT INTO tail (chunk, shard, series, number, at_ns, flags, rtt_us, sent, lost, failure) VALUES {} "
    "ON CONFLICT DO UPDATE SET at_ns = excluded.at_ns, flags = excluded.flags, rtt_us = excluded.rtt_us, "
    "sent = excluded.sent, lost = excluded.lost, failure = excluded.failure "
    "WHERE flags & 32 AND NOT excluded.flags & 32"
)
_NEWEST = (
    "INSERT INTO latest (series, number, at_ns, flags, rtt_us, sent, lost, failure) VALUES {} "
    "ON CONFLICT DO UPDATE SET number = excluded.number, at_ns = excluded.at_ns, flags = excluded.flags, "
    "rtt_us = excluded.rtt_us, sent = excluded.sent, lost = excluded.lost, failure = excluded.failure "
    "WHERE excluded.at_ns > at_ns OR "
    "(excluded.number = number AND flags & 32 AND NOT excluded.flags & 32)"
)


def key(period: int, series: int) -> int:
    """Of a row of ``raw``, ``minutes`` (hour) or ``hours`` (day)."""
    return period << 32 | series


def joined(packed: bytes | None, started: bytes | None, fresh: list[Kept]) -> Columns:
    """An hour of a series from where its rows lie: there are some. Raises StateError."""
    parts = [unpack(body) for body in (packed, started) if body is not None]
    if len(parts) == 1 and not fresh:
        return parts[0]
    return shape.merged((), chain(*(part.rows() for part in parts), fresh))


def _insert(db: sqlite3.Connection, sql: str, rows: list[tuple[Any, ...]]) -> None:
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        marks = "(" + ",".join("?" * len(some[0])) + ")"
        db.execute(sql.format(",".join([marks] * len(some))), [value for row in some for value in row])


class MatrixTables(SqliteFile, MatrixAnswers):
    """See :class:`probemesh_controller.store.matrix.port.MatrixStore`."""

    _ids: dict[Series, int] | None = None
    _raw_since: int | None = None
    _newest_ns: int | None = None
    _made_any = False  # series, in the transaction under way
    _seen: list[tuple[Any, ...]] | None = None

    def _forget(self) -> None:
        self._raw_since = self._newest_ns = None
        if self._made_any:
            self._ids = None

    def _begun(self) -> None:
        self._made_any = False
        if self._begin == "BEGIN":  # somebody else writes
            self._raw_since = None
            found = self._plain("SELECT count(*), max(id) FROM series")
            if found != self._seen:
                self._ids, self._seen = None, found

    def _plain(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._guard():
            cursor = self._db.cursor()
            cursor.row_factory = None
            return cursor.execute(sql, values).fetchall()

    # --- series

    def _known(self) -> dict[Series, int]:
        if self._ids is None:
            rows = self._plain("SELECT schedule, source, target, probe, id FROM series")
            self._ids = {Series(*row[:4]): row[4] for row in rows}
        return self._ids

    def _made_known(self, db: sqlite3.Connection, series: Series) -> int:
        cursor = db.execute(
            "INSERT INTO series (schedule, source, target, probe) VALUES (?, ?, ?, ?)", series
        )
        number = cursor.lastrowid
        assert number is not None
        self._known()[series] = number
        self._made_any = True
        return number

    def _wanted(self, schedule: str | None) -> dict[int, Series]:
        return {
            number: series
            for series, number in self._known().items()
            if schedule is None or series.schedule == schedule
        }

    # --- taking in

    def add_slots(self, batch: Iterable[tuple[Series, SlotRow]]) -> int:
        refused = 0
        floor_ns = self._first_raw_hour() * HOUR_NS
        tail: list[tuple[Any, ...]] = []
        newest: dict[int, Kept] = {}
        with self._change() as db:
            ids = self._known()
            for series, slot in batch:
                row = kept(slot)
                if row[1] < floor_ns:
                    refused += 1
                    continue
                number = ids.get(series) or self._made_known(db, series)
                tail.append((row[1] // CHUNK_NS, number // SHARD, number, *row))
                there = newest.get(number)
                if there is None or row[1] > there[1] or (row[0] == there[0] and replaces(row, there)):
                    newest[number] = row
            _insert(db, _TAKE, tail)
            _insert(db, _NEWEST, [(number, *row) for number, row in newest.items()])
        if self._newest_ns is not None:
            self._newest_ns = max(self._newest_ns, max((row[1] for row in newest.values()), default=0))
        return refused

    def _first_raw_hour(self) -> int:
        if self._raw_since is None:
            rows = self._plain("SELECT hour FROM raw_since")
            self._raw_since = rows[0][0] if rows else 0  # lost: see store/recovery.py
        return self._raw_since

    # --- answering: all series

    def latest(self, schedule: str | None = None) -> tuple[Standing, ...]:
        wanted = self._wanted(schedule)
        rows = self._plain(f"SELECT series, {_TAIL_COLUMNS} FROM latest")  # noqa: S608
        found = [Standing(wanted[row[0]], row_of(row[1:])) for row in rows if row[0] in wanted]
        return tuple(sorted(found, key=itemgetter(0)))

    def _hours_kept(self) -> range:
        ((first, last),) = self._plain(
            "SELECT min(hour), max(hour) FROM (SELECT min(chunk) / ?1 AS hour FROM tail UNION ALL "
            "SELECT max(chunk) / ?1 FROM tail UNION ALL SELECT min(id) >> 32 FROM raw UNION ALL "
            "SELECT max(id) >> 32 FROM raw UNION ALL SELECT min(id) >> 32 FROM started UNION ALL "
            "SELECT max(id) >> 32 FROM started UNION ALL SELECT min(id) >> 32 FROM minutes UNION ALL "
            "SELECT (min(id) >> 32) * 24 FROM hours UNION ALL SELECT (max(id) >> 32) * 24 + 23 FROM hours)",
            CHUNKS_AN_HOUR,
        )
        return range(0) if first is None else range(first, last + 1)

    def _raw_of_hour(self, hour: int, wanted: set[int]) -> Iterator[tuple[int, Columns]]:
        fresh = self._plain(
            f"SELECT series, {_TAIL_COLUMNS} FROM tail WHERE chunk BETWEEN ? AND ? "  # noqa: S608
            "ORDER BY series",
            hour * CHUNKS_AN_HOUR,
            (hour + 1) * CHUNKS_AN_HOUR - 1,
        )
        tails: dict[int, list[Kept]] = {
            number: [row[1:] for row in rows]
            for number, rows in groupby(fresh, key=itemgetter(0))
            if number in wanted
        }
        packed = dict(self._bodies("raw", hour))
        started = dict(self._bodies("started", hour))
        for identity in packed.keys() | started.keys():
            number = identity & _SERIES
            if number in wanted:
                parts = packed.get(identity), started.get(identity)
                yield number, joined(*parts, tails.pop(number, []))
        for number, rows in tails.items():
            yield number, shape.merged((), rows)

    def _bodies(self, table: str, period: int) -> list[tuple[Any, ...]]:
        if table in ("raw", "started") and period < self._first_raw_hour():
            return []
        return self._plain(
            f"SELECT id, body FROM {table} WHERE id BETWEEN ? AND ?",  # noqa: S608
            key(period, 0),
            key(period, _SERIES),
        )

    def _stood_rolled(self, hour: int, wanted: set[int], time_ns: int) -> Iterator[tuple[int, shape.Piece]]:
        for number, start_ns, width_ns, body in self._rolled_of_hour(hour, wanted):
            until_ns = min(time_ns, (hour + 1) * HOUR_NS - 1)
            found = decode_last(body, (until_ns - start_ns) // width_ns)
            begin_ns = start_ns + (found[0] * width_ns if found else 0)
            if found is not None and begin_ns >= hour * HOUR_NS:
                yield number, shape.Piece(begin_ns, width_ns, found[1])

    def _counted_rolled(
        self, hour: int, wanted: set[int], since_ns: int, until_ns: int
    ) -> Iterator[tuple[int, tuple[int, ...]]]:
        since_ns, until_ns = max(since_ns, hour * HOUR_NS), min(until_ns, (hour + 1) * HOUR_NS)
        for number, start_ns, width_ns, body in self._rolled_of_hour(hour, wanted):
            for place, states in decode_states(body).items():
                if since_ns <= start_ns + place * width_ns < until_ns:
                    yield number, states

    def _rolled_of_hour(self, hour: int, wanted: set[int]) -> Iterator[tuple[int, int, int, bytes]]:
        """Series, start and width of place 0, body: of the hour's minutes, or the day's hours where these
        are gone."""
        if not wanted:
            return
        seen = set()
        for identity, body in self._bodies("minutes", hour):
            if identity & _SERIES in wanted:
                seen.add(identity & _SERIES)
                yield identity & _SERIES, hour * HOUR_NS, MINUTE_NS, body
        if seen == wanted:
            return
        day = hour // shape.HOURS_A_DAY
        for identity, body in self._bodies("hours", day):
            if identity & _SERIES in wanted - seen:
                yield identity & _SERIES, day * DAY_NS, HOUR_NS, body

    # --- answering: one series

    def _number(self, series: Series) -> int | None:
        return self._known().get(series)

    def _reader(self, number: int) -> shape.Reader:
        return _OneSeries(self, number)

    def _tail_hours(self, number: int) -> set[int]:
        chunks = self._plain(
            "WITH RECURSIVE each (chunk) AS (SELECT min(chunk) FROM tail UNION ALL SELECT "
            "(SELECT min(chunk) FROM tail WHERE chunk > each.chunk) FROM each WHERE chunk IS NOT NULL) "
            "SELECT chunk FROM each WHERE EXISTS (SELECT 1 FROM tail "
            "WHERE tail.chunk = each.chunk AND shard = ? AND series = ?)",
            number // SHARD,
            number,
        )
        return {chunk // CHUNKS_AN_HOUR for (chunk,) in chunks}


class _OneSeries:
    """See :class:`probemesh_controller.store.matrix.shape.Reader`."""

    def __init__(self, tables: MatrixTables, number: int) -> None:
        self._tables = tables
        self._number = number

    def stale(self, hours: range) -> frozenset[int]:
        found = self._tables._tail_hours(self._number)
        first = max(hours.start, self._tables._first_raw_hour())
        rows = self._tables._plain(
            "SELECT id >> 32 FROM started WHERE id BETWEEN ? AND ? AND id & ? = ?",
            key(first, 0),
            key(max(first, hours.stop), 0),
            _SERIES,
            self._number,
        )
        return frozenset(found | {hour for (hour,) in rows}) & frozenset(hours)

    def raw(self, hour: int) -> Columns | None:
        if hour < self._tables._first_raw_hour():
            return None
        marks = ",".join("?" * CHUNKS_AN_HOUR)
        fresh: list[Any] = self._tables._plain(
            f"SELECT {_TAIL_COLUMNS} FROM tail "  # noqa: S608
            f"WHERE chunk IN ({marks}) AND shard = ? AND series = ?",
            *range(hour * CHUNKS_AN_HOUR, (hour + 1) * CHUNKS_AN_HOUR),
            self._number // SHARD,
            self._number,
        )
        packed, started = self._body("raw", hour), self._body("started", hour)
        return joined(packed, started, fresh) if packed or started or fresh else None

    def minutes(self, hour: int) -> Mapping[int, Rollup] | None:
        body = self._body("minutes", hour)
        return None if body is None else decode(body)

    def hours(self, day: int) -> Mapping[int, Rollup]:
        body = self._body("hours", day)
        return {} if body is None else decode(body)

    def _body(self, table: str, period: int) -> bytes | None:
        rows = self._tables._plain(
            f"SELECT body FROM {table} WHERE id = ?",  # noqa: S608
            key(period, self._number),
        )
        return rows[0][0] if rows else None
