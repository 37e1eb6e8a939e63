"""A store with as much history as a mesh that ran for as long as history is kept.

    python -m tests.store.generate FILE [--sources 100] [--targets 100] [--every 60] [--days 400]

Bodies are made by the code that packs and rolls up, for a few kinds of paths, and given to all series: what
is in them is as real as in any store, only alike. Times are those up to ``NOW_NS``.
"""

import argparse
import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probemesh_controller.store.matrix import shape
from probemesh_controller.store.matrix.codes import FAILURES, SILENT, STATES, Kept
from probemesh_controller.store.matrix.columns import SMALL, columns_of, pack
from probemesh_controller.store.matrix.port import DAY_NS, HOUR_NS, Retention, Series
from probemesh_controller.store.matrix.rollup import encode
from probemesh_controller.store.matrix.tables import key
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_shared.words import FailureKind, SlotState

NOW_NS = 500_016 * HOUR_NS  # 16:00 UTC
SCHEDULE = "generated"


@dataclass(frozen=True, slots=True)
class PathKind:
    """One kind: its base round trip, how much that varies, how often an answer is lost or nobody looked."""

    base_us: float
    spread: float
    lost: float
    missed: float


def kinds(count: int, chance: random.Random) -> list[PathKind]:
    """From a rack to the other side of the world, one in twenty bad."""
    return [
        PathKind(
            chance.choice((180, 600, 4_000, 12_000, 38_000, 95_000, 210_000)) * chance.uniform(0.7, 1.3),
            chance.choice((0.01, 0.03, 0.05, 0.12)),
            0.2 if number % 20 == 7 else 0.003,
            0.001,
        )
        for number in range(count)
    ]


def rows(path: PathKind, hour: int, every_ns: int, offset_ns: int, chance: random.Random) -> list[Kept]:
    """The slots of an hour, as a schedule of one interval has them."""
    first = -((offset_ns - hour * HOUR_NS) // every_ns)
    found: list[Kept] = []
    for number in range(first, first + HOUR_NS // every_ns):
        at_ns = offset_ns + number * every_ns
        drawn = chance.random()
        if drawn < path.missed:
            found.append((number, at_ns, STATES.index(SlotState.MISSED) | SILENT, None, 0, 0, 0))
        elif drawn < path.missed + path.lost:
            failure = FAILURES[FailureKind.TIMEOUT]
            found.append((number, at_ns, STATES.index(SlotState.TIMED_OUT) | SILENT, None, 3, 3, failure))
        else:
            spike = chance.uniform(1.5, 6) if chance.random() < 0.01 else 1.0
            rtt_us = int(path.base_us * chance.lognormvariate(0, path.spread) * spike)
            found.append((number, at_ns, 0, rtt_us, 3, int(chance.random() < path.lost), 0))
    return found


class _Made:
    """The bodies of one kind of path, made when first asked for; roll-ups repeat after some hours."""

    def __init__(self, path: PathKind, every_ns: int, seed: int) -> None:
        self._path, self._every_ns = path, every_ns
        self._chance = random.Random(seed)
        self._offset_ns = self._chance.randrange(every_ns)
        self._rolled = [self._roll(hour) for hour in range(24)]
        self._day = encode({place: one for place, (_, one) in enumerate(self._rolled)})
        self._minutes = [encode(minutes) for minutes, _ in self._rolled]

    def _rows(self, hour: int) -> list[Kept]:
        return rows(self._path, hour, self._every_ns, self._offset_ns, self._chance)

    def _roll(self, hour: int) -> tuple[Any, Any]:
        columns = columns_of(self._rows(500_000 + hour))
        return shape.by_minute(columns, 500_000 + hour), shape.whole(columns)

    def raw(self, hour: int) -> bytes:
        return pack(columns_of(self._rows(hour)), SMALL)

    def last(self, hour: int) -> Kept:
        return self._rows(hour)[-1]

    def minutes(self, hour: int) -> bytes:
        return self._minutes[hour % len(self._minutes)]

    def day(self) -> bytes:
        return self._day


def fill(
    file: Path,
    sources: int,
    targets: int,
    every_ns: int,
    keep: Retention | None = None,
    seed: int = 1,
) -> tuple[Series, ...]:
    """A new store in ``file``; the series that are in it."""
    keep, chance = keep or Retention(), random.Random(seed)
    made = [_Made(path, every_ns, number) for number, path in enumerate(kinds(40, chance))]
    store = SqliteStore(file)
    series = [
        Series(SCHEDULE, f"{one:08x}-agent", f"host-{other:03d}", "icmp")
        for one in range(sources)
        for other in range(targets)
    ]
    now = NOW_NS // HOUR_NS
    numbered = [(number, made[number % len(made)]) for number in range(1, len(series) + 1)]
    db = store._db
    db.execute("PRAGMA synchronous = OFF")
    _insert(db, "series (id, schedule, source, target, probe)", ((n + 1, *s) for n, s in enumerate(series)))
    lasts = {id(one): one.last(now - 1) for one in made}
    _insert(
        db,
        "latest (series, number, at_ns, flags, rtt_us, sent, lost, failure)",
        ((number, *lasts[id(one)]) for number, one in numbered),
    )
    first_raw = now - keep.raw_ns // HOUR_NS
    db.execute("UPDATE raw_since SET hour = ?", (first_raw,))
    for hour in range(first_raw, now):
        bodies = {id(one): one.raw(hour) for one in made}
        _insert(db, "raw (id, body)", ((key(hour, number), bodies[id(one)]) for number, one in numbered))
    for hour in range(now - keep.minutes_ns // HOUR_NS, now):
        _insert(
            db, "minutes (id, body)", ((key(hour, number), one.minutes(hour)) for number, one in numbered)
        )
    today = NOW_NS // DAY_NS
    for day in range(today - keep.hours_ns // DAY_NS, today + 1):
        _insert(db, "hours (id, body)", ((key(day, number), one.day()) for number, one in numbered))
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    store.close()
    return tuple(series)


def _insert(db: sqlite3.Connection, into: str, values: Iterator[tuple[Any, ...]]) -> None:
    marks = ", ".join("?" * (into.count(",") + 1))
    db.execute("BEGIN")
    db.executemany(f"INSERT INTO {into} VALUES ({marks})", values)
    db.execute("COMMIT")


def main() -> None:
    parser = argparse.ArgumentParser(description="A store with history")
    parser.add_argument("file", type=Path)
    parser.add_argument("--sources", type=int, default=100)
    parser.add_argument("--targets", type=int, default=100)
    parser.add_argument("--every", type=int, default=60, help="seconds")
    parser.add_argument("--days", type=int, default=400, help="of hours")
    given = parser.parse_args()
    keep = Retention(hours_ns=given.days * DAY_NS)
    fill(given.file, given.sources, given.targets, given.every * 1_000_000_000, keep)
    print(f"{given.file}: {given.file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
