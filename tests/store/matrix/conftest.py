"""Both adapters, and a mesh of slots to put into them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from probemesh_controller.store.matrix.port import Retention
from probemesh_controller.store.memory import MemoryStore
from probemesh_controller.store.port import Store
from probemesh_controller.store.sqlite import SqliteStore

MakeStore = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "store.sqlite")
    yield made
    made.close()


@pytest.fixture
def keep_up() -> Callable[..., int]:
    """Upkeep until there is nothing left to do; how many steps that took."""

    def work(store: Store, now_ns: int, keep: Retention | None = None) -> int:
        for step in range(100_000):
            if not store.upkeep(now_ns, keep or Retention()):
                return step
        raise AssertionError("upkeep never ends")

    return work
