"""One thread, group commits, and what happens when a commit fails."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from operator import methodcaller
from pathlib import Path

import pytest
from probemesh_controller.store.matrix.port import Series, SlotRow
from probemesh_controller.store.memory import MemoryStore
from probemesh_controller.store.port import AgentRecord, Store
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_controller.store.worker import InlineStore, StoreWorker
from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.words import SlotState


class Counting(MemoryStore):
    """Counts commits; the first waits for ``gate``; ``broken`` makes commits fail."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0
        self.broken = False
        self.gate = threading.Event()
        self.began = threading.Event()

    @contextmanager
    def group(self) -> Iterator[None]:
        self.began.set()
        self.gate.wait(10)
        yield
        if self.broken:
            raise StateError("the disk is full")
        self.commits += 1


async def test_calls_that_wait_together_share_a_commit() -> None:
    store = Counting()
    worker = StoreWorker(store)
    first = asyncio.create_task(worker.call(lambda s: s.put_agent(AgentRecord("first", "first"))))
    await asyncio.to_thread(store.began.wait, 10)
    records = [AgentRecord(f"i{n}", f"n{n}") for n in range(100)]
    more = [asyncio.create_task(worker.call(methodcaller("put_agent", record))) for record in records]
    await asyncio.sleep(0)
    store.gate.set()
    await asyncio.gather(first, *more)
    assert store.commits == 2
    assert len(store.agents()) == 101
    await worker.aclose()


async def test_a_call_that_raises_fails_alone(tmp_path: Path) -> None:
    worker = StoreWorker(SqliteStore(tmp_path / "store.sqlite"))
    results = await asyncio.gather(
        worker.call(lambda s: s.put_agent(AgentRecord("i1", "same"))),
        worker.call(lambda s: s.put_agent(AgentRecord("i2", "same"))),
        worker.call(lambda s: s.put_agent(AgentRecord("i3", "other"))),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), InvalidRequest, type(None)]
    assert [agent.id for agent in await worker.call(lambda s: s.agents())] == ["i3", "i1"]
    await worker.aclose()


async def test_a_commit_that_fails_is_said_and_the_next_is_tried_anew() -> None:
    store = Counting()
    store.gate.set()
    worker = StoreWorker(store)
    store.broken = True
    with pytest.raises(StateError, match="full"):
        await worker.call(lambda s: s.agents())
    assert worker.trouble == "the disk is full"
    store.broken = False
    assert await worker.call(lambda s: s.agents()) == ()
    assert worker.trouble is None
    await worker.aclose()


async def test_a_caller_that_gave_up_does_not_undo_the_work() -> None:
    store = Counting()
    worker = StoreWorker(store)
    task = asyncio.create_task(worker.call(lambda s: s.put_agent(AgentRecord("i", "n"))))
    await asyncio.to_thread(store.began.wait, 10)
    task.cancel()
    store.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await worker.call(lambda s: s.agents())) == 1
    await worker.aclose()


async def test_closing_commits_what_waits_and_refuses_more() -> None:
    store = Counting()
    worker = StoreWorker(store)
    task = asyncio.create_task(worker.call(lambda s: s.put_agent(AgentRecord("i", "n"))))
    await asyncio.sleep(0)
    store.gate.set()
    await worker.aclose()
    await task
    assert store.commits >= 1
    with pytest.raises(StateError, match="closed"):
        await worker.call(lambda s: s.agents())


async def test_inline_runs_where_it_stands() -> None:
    store = InlineStore(MemoryStore())
    await store.call(lambda s: s.put_agent(AgentRecord("i", "n")))
    assert len(await store.call(lambda s: s.agents())) == 1
    await store.aclose()


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("kind", ["alone", "reader"])
async def test_asking_sees_what_was_committed_and_changes_nothing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path)
    worker = StoreWorker(store, SqliteStore(path, asking=True) if kind == "reader" else None)
    series = [Series("s", f"id-{number}", "b:1", "tcp/1") for number in range(3)]
    for number, one in enumerate(series):
        row = SlotRow(number, number * 10**9, SlotState.OK, 1.0, 3, 0)
        await worker.call(methodcaller("add_slots", [(one, row)]))
        assert await worker.ask(lambda s: s.series()) == tuple(series[: number + 1])
        assert len(await worker.ask(lambda s: s.latest())) == number + 1
    if kind == "reader":
        with pytest.raises(StateError, match="readonly"):
            await worker.ask(lambda s: s.put_agent(AgentRecord("i", "n")))
    await worker.aclose()
    assert names(tmp_path) == ["store.sqlite"]


async def test_a_question_that_takes_long_holds_up_nothing_that_is_to_be_stored(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    worker = StoreWorker(SqliteStore(path), SqliteStore(path, asking=True))
    began, enough = threading.Event(), threading.Event()

    def long(store: Store) -> int:
        before = len(store.agents())
        began.set()
        assert enough.wait(30)
        return before + len(store.agents())

    asked = asyncio.create_task(worker.ask(long))
    await asyncio.to_thread(began.wait, 30)
    await worker.call(lambda s: s.put_agent(AgentRecord("i", "n")))
    enough.set()
    assert await asked == 0  # one moment, from its beginning
    assert len(await worker.ask(lambda s: s.agents())) == 1
    await worker.aclose()
