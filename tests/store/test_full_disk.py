"""A real full disk: the store goes on answering, says what is wrong, and takes again what comes once there is
room; nothing that was acknowledged is gone."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from operator import methodcaller
from pathlib import Path

import pytest
from probemesh_controller.store.copies import NAME, back_up
from probemesh_controller.store.matrix.port import HOUR_NS, Retention, Series, SlotRow
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_controller.store.worker import StoreWorker
from probemesh_shared.errors import StateError
from probemesh_shared.words import SlotState

from tests.conftest import wanting

T0 = 500_000 * HOUR_NS
BATCH = 500


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """4 MiB of tmpfs."""
    if os.geteuid() != 0:
        wanting("wants root for a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "probemesh", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        wanting(f"wants to mount a tmpfs: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def batch(number: int) -> list[tuple[Series, SlotRow]]:
    return [
        (
            Series("s", "id-1", f"host-{one}", "icmp"),
            SlotRow(number, T0 + number * 10**10, SlotState.OK, 1.5, 3, 0),
        )
        for one in range(BATCH)
    ]


def _make_room(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)


async def test_a_full_disk_is_said_and_heals(small_disk: Path, tmp_path: Path) -> None:
    worker = StoreWorker(await asyncio.to_thread(SqliteStore, small_disk / NAME))
    acknowledged = []
    for number in range(1000):
        try:
            await worker.call(methodcaller("add_slots", batch(number)))
            acknowledged.append(number)
        except StateError as error:
            assert "full" in str(error) or "disk I/O" in str(error)
            break
    assert 2 < len(acknowledged) < 1000
    assert worker.trouble is not None

    latest = await worker.call(lambda s: s.latest("s"))
    assert {stood.row.number for stood in latest} == {acknowledged[-1]} and len(latest) == BATCH
    target = Series("s", "id-1", "host-7", "icmp")
    slots = await worker.call(lambda s: s.slots(target, 0, T0 * 2))
    assert [slot.number for slot in slots] == acknowledged
    with pytest.raises(StateError):
        await asyncio.to_thread(back_up, small_disk, small_disk / "b", lambda _share: None)
    assert not (small_disk / "b").exists() and not (small_disk / "b.tmp").exists()
    await asyncio.to_thread(back_up, small_disk, tmp_path / "b", lambda _share: None)

    await asyncio.to_thread(_make_room, small_disk)
    later = len(acknowledged)
    await worker.call(methodcaller("add_slots", batch(later)))
    assert worker.trouble is None
    step = methodcaller("upkeep", T0 + 4 * HOUR_NS, Retention())
    while await worker.call(step):
        pass
    slots = await worker.call(lambda s: s.slots(target, 0, T0 * 2))
    assert [slot.number for slot in slots] == [*acknowledged, later]
    await worker.aclose()
