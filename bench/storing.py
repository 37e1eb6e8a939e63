"""What the store takes in of schedules, and what it costs: slots a second through the loop and the writer's
thread into SQLite, packed and rolled up meanwhile; how long the loop was held; bytes a measurement; what
``matrix show`` has to wait for over a store that is as full as it gets.

Time runs as fast as slots come, so that hours are packed and rolled up as often as in a mesh of that size.
Fewer than a minute's work, 2.5 GB of a temporary folder for so long.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from operator import methodcaller
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from probemesh_controller.store.matrix.port import DAY_NS, HOUR_NS, MINUTE_NS, Retention, Series, SlotRow
from probemesh_controller.store.port import Store
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_controller.store.worker import StoreWorker
from probemesh_shared.words import FailureKind, SlotState

from tests.store.generate import NOW_NS, SCHEDULE, fill

SERIES = 1000
EVERY_NS = 10_000_000_000
BATCH = 500
WAITING = 6
TICK_S = 0.005
T0 = 500_000 * HOUR_NS
KEEP = Retention(raw_ns=HOUR_NS, minutes_ns=HOUR_NS)  # so that forgetting is measured too


class Source:
    """Batches as agents send them: each of some series' next slots, from a pool of drawn round trips."""

    def __init__(self) -> None:
        chance = random.Random(3)
        self._series = [
            Series("s", f"{n // 100:08x}-agent", f"host-{n % 100:03d}", "icmp") for n in range(SERIES)
        ]
        self._offsets = [chance.randrange(EVERY_NS) for _ in range(SERIES)]
        self._bases = [
            chance.choice((0.2, 4.0, 38.0, 210.0)) * chance.uniform(0.7, 1.3) for _ in range(SERIES)
        ]
        self._drawn = [chance.lognormvariate(0, 0.05) for _ in range(100_003)]
        self._place = 0

    def batch(self, number: int, first: int) -> list[tuple[Series, SlotRow]]:
        start_ns = T0 + number * EVERY_NS
        found = []
        for one in range(first, first + BATCH):
            self._place = (self._place + 1) % 100_003
            at_ns = start_ns + self._offsets[one]
            if self._place % 251 == 0:
                row = SlotRow(number, at_ns, SlotState.TIMED_OUT, None, 3, 3, FailureKind.TIMEOUT)
            else:
                row = SlotRow(number, at_ns, SlotState.OK, self._bases[one] * self._drawn[self._place], 3, 0)
            found.append((self._series[one], row))
        return found


async def take_in(path: Path, seconds: float) -> tuple[float, float, float, int]:
    """Slots a second with all that follows from them, the longest time that the loop was held, that a step of
    upkeep took (both in ms), slots in all."""
    worker, source = StoreWorker(SqliteStore(path)), Source()
    now_ns, longest = T0, [0.0, 0.0]

    async def tick() -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(TICK_S)
            longest[0] = max(longest[0], loop.time() - before - TICK_S)

    def step(store: Store) -> bool:
        before = time.perf_counter()
        more = store.upkeep(now_ns, KEEP)
        longest[1] = max(longest[1], time.perf_counter() - before)
        return more

    async def keep_up() -> None:
        while True:
            while await worker.call(step):
                pass
            await asyncio.sleep(0.02)

    helpers = [asyncio.create_task(tick()), asyncio.create_task(keep_up())]
    waiting: deque[asyncio.Future[int]] = deque()
    began, number = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for first in range(0, SERIES, BATCH):
            if len(waiting) >= WAITING:
                await waiting.popleft()
            batch = source.batch(number, first)
            waiting.append(asyncio.ensure_future(worker.call(methodcaller("add_slots", batch))))
            await asyncio.sleep(0)
        number += 1
        now_ns = T0 + number * EVERY_NS
    await asyncio.gather(*waiting)
    while await worker.call(step):
        pass
    took = time.perf_counter() - began
    for helper in helpers:
        helper.cancel()
    await worker.aclose()
    return number * SERIES / took, longest[0] * 1000, longest[1] * 1000, number * SERIES


def sizes(store: SqliteStore) -> dict[str, int]:
    rows = store._db.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name").fetchall()
    return {str(name): int(size) for name, size in rows}


def in_ms(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    return (time.perf_counter() - before) * 1000


def row(
    what: str, ours: float, unit: str, budget: float | None = None, at_most: bool = True
) -> dict[str, object]:
    found: dict[str, object] = {"what": what, "ours": ours, "unit": unit}
    if budget is not None:
        found |= {"budget": budget, "at_most": at_most}
    return found


def intake_rows(folder: Path, seconds: float) -> list[dict[str, object]]:
    rate, held_ms, step_ms, _ = asyncio.run(take_in(folder / "intake.sqlite", seconds))
    return [
        row("store, slots a second with roll-ups", rate, "/s", 30_000, False),
        row("store, the loop held at most", held_ms, "ms", 20),
        row("store, one step of upkeep at most", step_ms, "ms"),
    ]


def full_rows(folder: Path, days: int) -> list[dict[str, object]]:
    path = folder / "full.sqlite"
    keep = Retention(hours_ns=days * DAY_NS)
    series = fill(path, 100, 100, MINUTE_NS, keep)
    before = time.perf_counter()
    store = SqliteStore(path)
    opened = (time.perf_counter() - before) * 1000
    try:
        tables = sizes(store)
        slots = len(series) * keep.raw_ns // MINUTE_NS
        one = series[4321]
        return [
            row("store, bytes a raw measurement (one a minute)", tables["raw"] / slots, "B", 8),
            row("store, minutes of 100 x 100 pairs, 7 days", tables["minutes"] / 2**20, "MiB"),
            row(f"store, hours of 100 x 100 pairs, {days} days", tables["hours"] / 2**20, "MiB"),
            row("store, opened", opened, "ms"),
            row("store, latest of 100 x 100 pairs", in_ms(lambda: store.latest(SCHEDULE)), "ms", 500),
            row(
                "store, as they stood 5 h ago",
                in_ms(lambda: store.standing(SCHEDULE, NOW_NS - 5 * HOUR_NS)),
                "ms",
            ),
            row(
                "store, counts of an hour",
                in_ms(lambda: store.counts(SCHEDULE, NOW_NS - HOUR_NS, NOW_NS)),
                "ms",
            ),
            row(
                "store, history of a pair, 30 days by hours",
                in_ms(lambda: store.history(one, NOW_NS - 30 * DAY_NS, NOW_NS, HOUR_NS)),
                "ms",
            ),
        ]
    finally:
        store.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--only", choices=["intake", "full"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="probemesh-bench-") as name:
        rows = intake_rows(Path(name), given.seconds) if given.only != "full" else []
        rows += full_rows(Path(name), given.days) if given.only != "intake" else []
    print(
        json.dumps(rows)
        if given.json
        else "\n".join(f"{r['what']}: {r['ours']:,.2f} {r['unit']}" for r in rows)
    )


if __name__ == "__main__":
    main()
