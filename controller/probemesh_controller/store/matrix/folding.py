"""The matrix in SQLite: what is done with rows after they were committed. One step is some thousand rows.

    fold      rows of a chunk that is over leave ``tail`` and are appended to their hour in ``started``
    close     an hour that is over leaves it, is packed as one into ``raw``, and rolled up; where rows come
              late, the whole hour again: nothing is ever added to or taken from a roll-up
    forget    what is older than it is to be kept, in the order raw, minutes, hours, series

Each step is one transaction: a crash between two of them loses and doubles nothing.
"""

import logging
import sqlite3
from itertools import groupby
from operator import itemgetter
from typing import Any

from probemesh_shared.errors import StateError

from probemesh_controller.store.matrix import shape
from probemesh_controller.store.matrix.codes import Kept
from probemesh_controller.store.matrix.columns import QUICK, SMALL, columns_of, pack, unpack
from probemesh_controller.store.matrix.port import DAY_NS, HOUR_NS, Retention
from probemesh_controller.store.matrix.rollup import decode, encode
from probemesh_controller.store.matrix.tables import CHUNK_NS, MatrixTables, joined, key

log = logging.getLogger(__name__)

#: Rows of slots that a step handles, but for the last shard or hour that it begins.
ROWS = 500
#: Packed hours, or series, that a step forgets.
FORGOTTEN = 100
_MASK = (1 << 32) - 1


class MatrixUpkeep(MatrixTables):
    """:class:`MatrixTables` with its upkeep."""

    def upkeep(self, now_ns: int, keep: Retention) -> bool:
        with self._change() as connection:
            db = connection.cursor()
            db.row_factory = None
            return (
                self._fold(db, (now_ns - shape.GRACE_NS) // CHUNK_NS)
                or self._close(db, (now_ns - shape.GRACE_NS) // HOUR_NS)
                or self._forget_old(db, min(now_ns, self._newest(db)), keep)
            )

    def _newest(self, db: sqlite3.Cursor) -> int:
        if self._newest_ns is None:
            ((self._newest_ns,),) = db.execute("SELECT coalesce(max(at_ns), 0) FROM latest").fetchall()
        return self._newest_ns

    # --- fold

    def _fold(self, db: sqlite3.Cursor, before: int) -> bool:
        done = 0
        while done < ROWS:
            first = db.execute("SELECT chunk, shard FROM tail WHERE chunk < ? LIMIT 1", (before,)).fetchone()
            if first is None:
                break
            rows = db.execute(
                "SELECT series, number, at_ns, flags, rtt_us, sent, lost, failure FROM tail "
                "WHERE chunk = ? AND shard = ? ORDER BY series, at_ns, number",
                first,
            ).fetchall()
            for series, group in groupby(rows, key=itemgetter(0)):
                some: list[Any] = [row[1:] for row in group]
                self._append(db, key(first[0] * CHUNK_NS // HOUR_NS, series), some)
            db.execute("DELETE FROM tail WHERE chunk = ? AND shard = ?", first)
            done += len(rows)
        return done > 0

    def _append(self, db: sqlite3.Cursor, identity: int, rows: list[Kept]) -> None:
        columns = columns_of(rows)
        there = db.execute("SELECT last_ns, count FROM started WHERE id = ?", (identity,)).fetchone()
        if there is not None and (there[0] < rows[0][1] or there[1] < 0):
            db.execute(
                "UPDATE started SET body = CAST(body || ? AS BLOB), last_ns = ?, "
                "count = CASE WHEN count < 0 THEN count ELSE count + ? END WHERE id = ?",
                (pack(columns, QUICK), rows[-1][1], len(rows), identity),
            )
            return
        if there is not None:
            ((body,),) = db.execute("SELECT body FROM started WHERE id = ?", (identity,)).fetchall()
            columns = shape.merged(unpack(body).rows(), rows)
        db.execute(
            "INSERT OR REPLACE INTO started (id, last_ns, count, body) VALUES (?, ?, ?, ?)",
            (identity, columns.at_ns[-1], len(columns.flags), pack(columns, QUICK)),
        )

    # --- close

    def _close(self, db: sqlite3.Cursor, before: int) -> bool:
        rows = db.execute(
            "SELECT id, count FROM started WHERE id < ? AND count >= 0 ORDER BY id LIMIT ?",
            (key(before, 0), FORGOTTEN),
        ).fetchall()
        done = 0
        for identity, count in rows:
            if done >= ROWS:
                break
            try:
                self._close_one(db, identity)
            except StateError as error:  # all else goes on; whoever asks for this hour is told the same
                log.error("hour %d of series %d stays as it is: %s", identity >> 32, identity & _MASK, error)
                db.execute("UPDATE started SET count = -1 WHERE id = ?", (identity,))
            done += count
        return bool(rows)

    def _close_one(self, db: sqlite3.Cursor, identity: int) -> None:
        hour, series = identity >> 32, identity & _MASK
        ((started,),) = db.execute("SELECT body FROM started WHERE id = ?", (identity,)).fetchall()
        packed = db.execute("SELECT body FROM raw WHERE id = ?", (identity,)).fetchone()
        columns = joined(None if packed is None else packed[0], started, [])
        day, place = divmod(hour, shape.HOURS_A_DAY)
        there = db.execute("SELECT body FROM hours WHERE id = ?", (key(day, series),)).fetchone()
        hours = {} if there is None else decode(there[0])
        hours[place] = shape.whole(columns)
        minutes = shape.by_minute(columns, hour)
        for table, number, body in (
            ("raw", identity, pack(columns, SMALL)),
            ("minutes", identity, encode(minutes)),
            ("hours", key(day, series), encode(hours)),
        ):
            db.execute(f"INSERT OR REPLACE INTO {table} (id, body) VALUES (?, ?)", (number, body))  # noqa: S608
        db.execute("DELETE FROM started WHERE id = ?", (identity,))

    # --- forget

    def _forget_old(self, db: sqlite3.Cursor, now_ns: int, keep: Retention) -> bool:
        first_raw = (now_ns - keep.raw_ns) // HOUR_NS
        if first_raw > self._first_raw_hour():
            db.execute("DELETE FROM raw_since")
            db.execute("INSERT INTO raw_since (hour) VALUES (?)", (first_raw,))
            self._raw_since = first_raw
        periods = {
            "started": self._first_raw_hour(),
            "raw": self._first_raw_hour(),
            "minutes": (now_ns - keep.minutes_ns) // HOUR_NS,
            "hours": (now_ns - keep.hours_ns) // DAY_NS,
        }
        for table, first in periods.items():
            gone = db.execute(
                f"DELETE FROM {table} WHERE id IN "  # noqa: S608
                f"(SELECT id FROM {table} WHERE id < ? ORDER BY id LIMIT ?)",
                (key(max(first, 0), 0), FORGOTTEN),
            ).rowcount
            if gone:
                return True
        return self._forget_series(db, now_ns - keep.hours_ns - DAY_NS)

    def _forget_series(self, db: sqlite3.Cursor, before_ns: int) -> bool:
        gone = db.execute(
            "SELECT series FROM latest WHERE at_ns < ? LIMIT ?", (before_ns, FORGOTTEN)
        ).fetchall()
        db.executemany("DELETE FROM latest WHERE series = ?", gone)
        db.executemany("DELETE FROM series WHERE id = ?", gone)
        if gone:
            self._ids = None
        return bool(gone)
