"""Upkeep beside other calls: between its steps they have their turn; a full disk is said once."""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

import pytest
from probemesh_controller.store.matrix.keeping import AGAIN_S, EVERY_S, keep_up
from probemesh_controller.store.matrix.port import Retention
from probemesh_controller.store.memory import MemoryStore
from probemesh_controller.store.port import Store
from probemesh_shared.clock import VirtualClock
from probemesh_shared.errors import StateError

T = TypeVar("T")


class Steps(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.left = 3
        self.steps = 0
        self.broken = False

    def upkeep(self, now_ns: int, keep: Retention) -> bool:
        if self.broken:
            raise StateError("the disk is full")
        self.steps += 1
        self.left -= 1
        return self.left > 0


class Yielding:
    """Gives way in every call, as the worker does."""

    trouble: str | None = None

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls: list[str] = []

    async def call(self, work: Callable[[Store], T]) -> T:
        await asyncio.sleep(0)
        self.calls.append("call")
        return work(self.store)

    ask = call

    async def aclose(self) -> None: ...


async def test_steps_until_nothing_is_left_and_again_after_a_while() -> None:
    store, clock = Steps(), VirtualClock()
    task = asyncio.create_task(keep_up(Yielding(store), clock, Retention()))
    await clock.advance(0.1)
    assert store.steps == 3
    await clock.advance(EVERY_S)
    assert store.steps == 4
    task.cancel()


async def test_others_have_their_turn_between_two_steps() -> None:
    store, clock = Steps(), VirtualClock()
    store.left = 100
    worker = Yielding(store)
    task = asyncio.create_task(keep_up(worker, clock, Retention()))
    await asyncio.sleep(0)
    await worker.call(lambda s: s.agents())
    assert store.steps < 5
    task.cancel()


async def test_a_full_disk_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    store, clock = Steps(), VirtualClock()
    store.broken = True
    task = asyncio.create_task(keep_up(Yielding(store), clock, Retention()))
    await clock.advance(3 * AGAIN_S)
    assert caplog.text.count("the disk is full") == 1 and store.steps == 0
    store.broken = False
    await clock.advance(AGAIN_S)
    assert store.steps >= 3
    task.cancel()
