"""SIGKILL for a process that stores slots and packs them at the same time, twenty times over one database:
what it acknowledged is there, once, and so are its roll-ups."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from probemesh_controller.store.matrix.port import HOUR_NS, Retention, Series
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_shared.words import SlotState

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

KILLS = 20
SERIES = 40
EVERY_NS = 60 * 10**9
T0 = 500_000 * HOUR_NS

#: Says each number once its slots are committed; batches are sent twice, as by an agent whose link broke, and
#: first filled in by the controller now and then.
WRITER = f"""
import sys
from pathlib import Path
from probemesh_controller.store.matrix.port import HOUR_NS, Retention, Series, SlotRow
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_shared.words import SlotState

store = SqliteStore(Path(sys.argv[1]))
number = int(sys.argv[2])
while True:
    at_ns = {T0} + number * {EVERY_NS}
    series = [Series("s", f"id-{{one}}", "b:1", "tcp/1") for one in range({SERIES})]
    if number % 3 == 0:
        store.add_slots([(one, SlotRow(number, at_ns, SlotState.AGENT_LOST, filled=True)) for one in series])
    row = SlotRow(number, at_ns, SlotState.OK, 1.0 + number % 50, 3, 1)
    for _ in range(2):
        store.add_slots([(one, row) for one in series])
    print(number, flush=True)
    for _ in range(3):
        store.upkeep(at_ns, Retention())
    number += 1
"""


def killed_after(path: Path, number: int, lines: int) -> int:
    """The last number that was acknowledged."""
    program = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(number)], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    last = -1
    for _ in range(lines):
        last = int(program.stdout.readline())
    program.send_signal(signal.SIGKILL)
    rest = program.stdout.read().splitlines(keepends=True)
    program.stdout.close()
    assert program.wait() == -signal.SIGKILL
    return max([last, *(int(line) for line in rest if line.endswith("\n"))])


def test_nothing_acknowledged_is_missing_and_nothing_is_doubled(tmp_path: Path) -> None:
    chance, path, number = random.Random(7), tmp_path / "store.sqlite", 0
    for _ in range(KILLS):
        number = killed_after(path, number, chance.randrange(1, 25)) + 1
    store = SqliteStore(path)  # it looks for damage
    until_ns = T0 + (number + 2) * EVERY_NS
    for _ in range(2):
        for one in range(SERIES):
            series = Series("s", f"id-{one}", "b:1", "tcp/1")
            slots = store.slots(series, 0, until_ns)
            numbers = [slot.number for slot in slots]
            assert numbers[:number] == list(range(number)) and len(numbers) <= number + 1
            assert all(slot.state is SlotState.OK for slot in slots[:number])
            points = store.history(series, T0, until_ns, HOUR_NS)
            assert sum(sum(point.states.values()) for point in points) == len(slots)
            assert sum(point.sent for point in points) == 3 * sum(s.state is SlotState.OK for s in slots)
        while store.upkeep(until_ns + 2 * HOUR_NS, Retention()):
            pass
    assert number > 100
    store.close()
