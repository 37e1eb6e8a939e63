"""One identity in two processes: proved by an instance that comes back, shown, and forgotten in time."""

import asyncio
from typing import Any

import pytest
from probemesh_controller.sightings import FORGOTTEN_S, KEPT, Sightings
from probemesh_shared.words import AgentState


def test_restarts_prove_nothing() -> None:
    seen = Sightings()
    assert not any(seen.began(f"process-{number}", "a", number) for number in range(5 * KEPT))
    assert seen.doubled(99) is None


def test_links_of_one_process_prove_nothing() -> None:
    seen = Sightings()
    assert not any(seen.began("one", "a", number) for number in range(9))


def test_an_instance_that_returns_proves_two() -> None:
    seen = Sightings()
    assert [seen.began(one, where, 0) for one, where in (("1", "a"), ("2", "b"), ("1", "a"))] == [
        False,
        False,
        True,
    ]
    said = seen.doubled(1)
    assert said is not None and "from b and a" in said
    assert seen.doubled(FORGOTTEN_S + 1) is None
    assert seen.began("2", "b", FORGOTTEN_S + 2)


async def test_two_hosts_with_one_key_are_shown(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    agent = await bench.agent("berlin")
    agent.restart("other")
    agent.attach()
    await bench.clock.settle()
    (info,) = await bench.engine.agents()
    assert info.state is AgentState.CONNECTED and info.reason is None
    agent.restart("one")
    agent.attach()
    await bench.clock.settle()
    (info,) = await bench.engine.agents()
    assert info.state is AgentState.CONNECTED
    assert info.reason is not None and info.reason.startswith("two processes use its identity")
    assert "two processes use its identity" in caplog.text
    await bench.clock.advance(FORGOTTEN_S + 1)
    (info,) = await bench.engine.agents()
    assert info.reason is None


async def test_a_link_that_takes_over_is_never_away(bench: Any) -> None:
    """Renewal dials beside the link that is up; nobody who looks meanwhile finds the agent lost."""
    agent = await bench.agent("berlin")
    agent.attach()
    seen = []
    for _ in range(50):
        (info,) = await bench.engine.agents()
        seen.append(info.state)
        await asyncio.sleep(0)
    assert len(agent.links) == 2 and agent.links[0].done()
    assert set(seen) == {AgentState.CONNECTED}
