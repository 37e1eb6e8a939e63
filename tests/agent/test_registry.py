"""The table of kinds, and what it gives to several threads at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from probemesh_agent.probes import registry
from probemesh_shared.words import Kind


def test_threads_that_ask_for_a_kind_first_get_one_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinds may keep state (watches do), so that two of them would not know of each other's."""
    all_here = threading.Barrier(4)

    class Slow:
        def __init__(self) -> None:
            all_here.wait(10)

    class Module:
        Made = Slow

    monkeypatch.setattr(registry, "import_module", lambda name: Module)
    made = registry.Registry({Kind.WATCH: ("made", "Made")})
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: made[Kind.WATCH], range(4)))
    assert len({id(one) for one in found}) == 1
    assert made[Kind.WATCH] is found[0]
