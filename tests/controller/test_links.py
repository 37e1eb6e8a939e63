"""Links that break, agents that restart, clients that go away: nothing acknowledged is lost, nothing is
doubled."""

import asyncio
import random
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from probemesh_controller.api import RunEnded, RunEvent, RunMeasured, RunPlanned, RunVantageEnded
from probemesh_shared.errors import CertificateRefused, NotFound
from probemesh_shared.model import Job
from probemesh_shared.session.driver import Why
from probemesh_shared.session.frames import Ack, ErrorCode, JobStatus
from probemesh_shared.words import AgentState


def indices(events: list[RunEvent], agent: str) -> list[int]:
    return [
        row.target_index
        for e in events
        if isinstance(e, RunMeasured) and e.agent == agent
        for row in e.measurements
    ]


def status(events: list[RunEvent], agent: str) -> JobStatus:
    (end,) = [e for e in events if isinstance(e, RunVantageEnded) and e.agent == agent]
    return end.status


async def steadily(agent: Any, job: Job) -> None:
    """One row every tenth of a second, as long as the process lives."""
    outbox = agent.outbox
    for index, target in enumerate(job.targets):
        await agent.clock.sleep(0.1)
        outbox.add(job.id, [agent.row(index, target.text)])
        agent.wake.poke()
    outbox.end(job.id, JobStatus.DONE)
    agent.wake.poke()


async def never(agent: Any, job: Job) -> None:
    pass


async def test_a_link_that_comes_back_costs_nothing(bench: Any) -> None:
    agent = await bench.agent("berlin", work=steadily)
    events, task = bench.collect(bench.request("berlin", targets=30, deadline_s=10))
    await bench.clock.advance(1)
    agent.cut()
    await bench.clock.advance(1)
    assert (await bench.engine.agents())[0].state is AgentState.LOST
    agent.attach()
    await bench.clock.advance(3)
    await task
    assert indices(events, "berlin") == list(range(30))
    assert status(events, "berlin") is JobStatus.DONE


async def test_a_link_that_does_not_come_back_is_lost_by_deadline_and_grace(bench: Any) -> None:
    agent = await bench.agent("berlin", work=steadily)
    events, task = bench.collect(bench.request("berlin", targets=30, deadline_s=4))
    await bench.clock.advance(1)
    agent.cut()
    await bench.clock.advance(5.5)
    assert not task.done()
    await bench.clock.advance(1)
    await task
    assert status(events, "berlin") is JobStatus.LOST
    shown = indices(events, "berlin")
    assert shown == list(range(len(shown))) and 5 <= len(shown) < 30
    assert [s.measurement.target_index for s in bench.store.measurements("run1")] == shown


async def test_an_agent_that_restarted_is_lost_at_once(bench: Any) -> None:
    agent = await bench.agent("berlin", work=steadily)
    events, task = bench.collect(bench.request("berlin", targets=30, deadline_s=10))
    await bench.clock.advance(1)
    agent.cut()
    agent.restart("two")
    agent.attach()
    await bench.clock.advance(0.5)
    await task
    assert status(events, "berlin") is JobStatus.LOST


async def test_a_job_whose_frame_was_lost_with_the_link_is_sent_again(bench: Any) -> None:
    agent = await bench.agent("berlin")
    agent.cut()  # the fleet has not noticed yet
    events, task = bench.collect(bench.request("berlin", deadline_s=10))
    await bench.clock.settle()
    agent.attach()
    await bench.clock.advance(1)
    await task
    planned = events[0]
    assert isinstance(planned, RunPlanned) and planned.vantages[0].outcome is None
    assert indices(events, "berlin") == [0]
    assert len(agent.jobs) == 1


async def test_the_newest_of_two_links_stays_and_the_old_one_is_told(bench: Any) -> None:
    agent = await bench.agent("berlin")
    first = agent.links[0]
    agent.attach()
    await bench.clock.settle()
    end = await first
    assert (end.why, end.code, end.by_peer) == (Why.SESSION, ErrorCode.REPLACED, True)
    events, task = bench.collect(bench.request("berlin"))
    await bench.clock.settle()
    await task
    assert status(events, "berlin") is JobStatus.DONE


async def test_a_revoked_agents_link_is_cut_and_no_other_taken(bench: Any) -> None:
    agent = await bench.agent("berlin", work=never)
    events, task = bench.collect(bench.request("berlin", deadline_s=5))
    await bench.clock.settle()
    info = await bench.engine.revoke_agent("berlin")
    assert info.state is AgentState.REVOKED
    assert (await agent.links[0]).code is ErrorCode.REVOKED
    agent.attach()
    with pytest.raises(CertificateRefused):
        await agent.served[-1]
    await bench.clock.advance(9)
    await task
    assert status(events, "berlin") is JobStatus.LOST


async def test_ephemeral_agents_are_forgotten_when_lost_for_long(bench: Any) -> None:
    for name in ("short", "long"):
        agent = await bench.agent(name)
        record = bench.store.agent_by_id(agent.id)
        bench.store.put_agent(replace(record, ephemeral=name == "short"))
        agent.cut()
    await bench.clock.advance(599)
    await bench.engine.fleet.sweep()
    assert len(bench.store.agents()) == 2
    await bench.clock.advance(2)
    await bench.engine.fleet.sweep()
    assert [a.name for a in bench.store.agents()] == ["long"]


async def test_what_a_hello_claims_is_bounded(bench: Any) -> None:
    await bench.agent(
        "berlin", addresses=("10.0.0.1", "nonsense", "224.0.0.1", "::ffff:10.0.0.9", *["10.0.0.2"] * 500)
    )
    (info,) = await bench.engine.agents()
    assert info.addresses == ("10.0.0.1", "10.0.0.9", "10.0.0.2")
    assert info.version == "9.9"
    assert bench.store.agents()[0].addresses == info.addresses


async def test_nothing_is_acknowledged_before_it_is_committed(bench: Any) -> None:
    committed = asyncio.Event()
    real = bench.engine.store.call

    async def held(work: Any) -> Any:
        await committed.wait()
        return await real(work)

    agent = await bench.agent("berlin")
    events, task = bench.collect(bench.request("berlin"))
    await asyncio.sleep(0)
    for _ in range(200):
        if agent.jobs:
            break
        await asyncio.sleep(0)
    bench.engine.store.call = held
    await bench.clock.settle()
    acks = [f for f in agent.pipe.other.written if isinstance(f, Ack)]
    assert agent.jobs and not acks and indices(events, "berlin") == []
    committed.set()
    await bench.clock.settle()
    await task
    assert [f for f in agent.pipe.other.written if isinstance(f, Ack)]
    assert indices(events, "berlin") == [0]


# --- clients
# -------------------------------------------------------------------------------------------------


async def test_a_client_picks_its_run_up_where_it_was(bench: Any) -> None:
    await bench.agent("berlin", work=steadily)
    run = await bench.engine.runs.start(bench.request("berlin", targets=20, deadline_s=10), "admin/ann")
    seen: list[tuple[int, RunEvent]] = []
    async with aclosing(bench.engine.runs.follow(run)) as events:
        task = asyncio.ensure_future(anext(events))
        await bench.clock.advance(0.5)
        seen.append(await task)
        seen += [await anext(events), await anext(events), await anext(events)]
    await bench.clock.advance(1)
    again = bench.engine.runs.find("run1", "admin/ann")
    rest: list[tuple[int, RunEvent]] = []

    async def follow() -> None:
        async with aclosing(bench.engine.runs.follow(again, seen[-1][0])) as events:
            async for item in events:
                rest.append(item)  # noqa: PERF401

    following = asyncio.create_task(follow())
    await bench.clock.advance(3)
    await following
    numbers = [number for number, _ in seen + rest]
    assert numbers == list(range(1, len(numbers) + 1))
    assert indices([e for _, e in seen + rest], "berlin") == list(range(20))


async def test_nobody_else_picks_a_run_up(bench: Any) -> None:
    await bench.agent("berlin", work=never)
    await bench.engine.runs.start(bench.request("berlin"), "admin/ann")
    for owner, run_id in (("admin/eve", "run1"), ("admin/ann", "run2")):
        with pytest.raises(NotFound):
            bench.engine.runs.find(run_id, owner)


async def test_a_run_that_nobody_follows_is_cancelled_after_thirty_seconds(bench: Any) -> None:
    agent = await bench.agent("berlin", work=never)
    run = await bench.engine.runs.start(bench.request("berlin", deadline_s=100), "admin/ann")
    async with aclosing(bench.engine.runs.follow(run)) as events:
        await anext(events)
    await bench.clock.advance(29)
    assert not agent.cancelled and bench.engine.runs.find("run1", "admin/ann") is run
    await bench.clock.advance(3)
    assert agent.cancelled
    with pytest.raises(NotFound):
        bench.engine.runs.find("run1", "admin/ann")


async def test_a_client_that_does_not_read_costs_no_memory_and_holds_up_nobody(bench: Any) -> None:
    async def floods(agent: Any, job: Job) -> None:
        for start in range(0, len(job.targets), 100):
            rows = [agent.row(i, job.targets[i].text) for i in range(start, start + 100)]
            while not agent.outbox.room:
                await agent.clock.sleep(0.01)
            agent.add(job, rows)
        agent.end(job)

    for name in ("a", "b", "c", "d"):
        await bench.agent(name, work=floods)
    run = await bench.engine.runs.start(
        bench.request("a", "b", "c", "d", targets=4000, deadline_s=60), "slow"
    )
    slow = bench.engine.runs.follow(run)
    assert isinstance((await anext(slow))[1], RunPlanned)
    await bench.clock.advance(20)
    assert run.log.ended, "agents were held up by a client that does not read"
    assert run.log.in_memory <= 4096 + 512
    seen = [event async for _, event in slow]
    for name in ("a", "b", "c", "d"):
        assert sorted(indices(seen, name)) == list(range(4000))
    assert seen[-1] == RunEnded(False)


@pytest.mark.parametrize("seed", range(12))
async def test_chaos(bench: Any, seed: int) -> None:
    """Links cut, agents killed and started anew, at random, in the middle of runs."""
    chance = random.Random(seed)
    names = ("a", "b", "c")
    agents = [await bench.agent(name, work=steadily) for name in names]
    killed: set[str] = set()
    events, task = bench.collect(bench.request(*names, targets=40, deadline_s=12))
    for step in range(30):
        await bench.clock.advance(chance.uniform(0.01, 0.5))
        agent = chance.choice(agents)
        what = chance.random()
        if what < 0.5:
            agent.cut()
            if chance.random() < 0.8:
                await bench.clock.advance(chance.uniform(0, 0.3))
                agent.attach()
        elif what < 0.55:
            agent.cut()
            agent.restart(f"{seed}-{step}")
            agent.attach()
            killed.add(agent.name)
        elif what < 0.7:
            agent.attach()
    for agent in agents:
        agent.attach()
    await bench.clock.advance(20)
    await task
    assert isinstance(events[0], RunPlanned) and events[-1] == RunEnded(False)
    stored: dict[str, list[int]] = {name: [] for name in names}
    for row in bench.store.measurements("run1"):
        stored[row.agent_id.removeprefix("id-")].append(row.measurement.target_index)
    for name in names:
        shown = indices(events, name)
        assert shown == list(range(len(shown))), f"{name}: lost in the middle, or doubled"
        assert shown == stored[name], f"{name}: shown and stored differ"
        if status(events, name) is JobStatus.DONE:
            assert len(shown) == 40
        else:
            assert status(events, name) is JobStatus.LOST
        if name not in killed:
            assert status(events, name) is JobStatus.DONE, f"{name} lived and its link came back"
