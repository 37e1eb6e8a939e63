"""An agent runs so many jobs at once for one controller, and rejects more: further runs wait here."""

import asyncio
from typing import Any

import pytest
from probemesh_controller.api import RunEnded, RunEvent, RunVantageEnded
from probemesh_shared.errors import NotFound
from probemesh_shared.model import Job, PortRange, Target
from probemesh_shared.session.frames import JOBS_OF_ONE_OWNER, JobStatus

EXTRA = 8


async def never(agent: Any, job: Job) -> None:
    pass


async def one_second(agent: Any, job: Job) -> None:
    await agent.clock.sleep(1)
    await agent.answer(job)


def elsewhere(number: int) -> tuple[Target, ...]:
    """A target of each run's own: to one of all they would wait for what others leave of its limit."""
    return (Target(f"db{number}:5432", f"db{number}", (PortRange(5432, 5432),)),)


def start(bench: Any, count: int, **more: Any) -> tuple[list[list[RunEvent]], list[asyncio.Task[None]]]:
    runs = [
        bench.collect(bench.request("berlin", run_id=f"r{n}", wanted=elsewhere(n), **more))
        for n in range(count)
    ]
    return [events for events, _ in runs], [task for _, task in runs]


async def advance(bench: Any, seconds: float) -> None:
    """In steps: forty runs at once take many turns of the loop over one link."""
    for _ in range(10):
        for _ in range(10):
            await bench.clock.settle()
        await bench.clock.advance(seconds / 10)


def end(events: list[RunEvent]) -> tuple[JobStatus, str]:
    (ended,) = [event for event in events if isinstance(event, RunVantageEnded)]
    return ended.status, ended.detail


async def test_more_runs_than_an_agent_takes_at_once_wait_and_are_all_done(bench: Any) -> None:
    agent = await bench.agent("berlin", work=one_second)
    events, tasks = start(bench, JOBS_OF_ONE_OWNER + EXTRA, deadline_s=10)
    await advance(bench, 0.5)
    assert len(agent.jobs) == JOBS_OF_ONE_OWNER
    await advance(bench, 2)
    await asyncio.gather(*tasks)
    assert {end(one)[0] for one in events} == {JobStatus.DONE}
    late = agent.jobs[JOBS_OF_ONE_OWNER:]
    assert len(late) == EXTRA and all(8_900 <= job.budget_ms <= 9_000 for job in late), "with what is left"


async def test_a_run_that_waited_in_vain_says_that_the_agent_was_busy(bench: Any) -> None:
    agent = await bench.agent("berlin", work=never)
    start(bench, JOBS_OF_ONE_OWNER, deadline_s=30)
    await bench.clock.settle()
    events, task = bench.collect(bench.request("berlin", run_id="late", wanted=elsewhere(99), deadline_s=5))
    await advance(bench, 8.5)
    await task
    status, detail = end(events)
    assert status is JobStatus.REJECTED and "busy" in detail
    assert len(agent.jobs) == JOBS_OF_ONE_OWNER


async def test_a_run_that_is_cancelled_while_it_waits_sends_nothing(bench: Any) -> None:
    agent = await bench.agent("berlin", work=never)
    start(bench, JOBS_OF_ONE_OWNER, deadline_s=30)
    await bench.clock.settle()
    events, task = bench.collect(bench.request("berlin", run_id="late", wanted=elsewhere(99), deadline_s=5))
    await bench.clock.settle()
    bench.engine.runs.find("late", "local").cancel("enough")
    await advance(bench, 1.5)
    await task
    assert end(events) == (JobStatus.CANCELLED, "enough")
    await advance(bench, 40)
    assert "late.0" not in [job.id for job in agent.jobs]


async def test_jobs_that_wait_go_out_on_the_next_link(bench: Any) -> None:
    agent = await bench.agent("berlin", work=one_second)
    events, tasks = start(bench, JOBS_OF_ONE_OWNER + EXTRA, deadline_s=10)
    await advance(bench, 0.5)
    agent.cut()
    await advance(bench, 2)
    agent.attach()
    await advance(bench, 3)
    await asyncio.gather(*tasks)
    assert {end(one)[0] for one in events} == {JobStatus.DONE}


async def test_a_run_that_is_cancelled_before_it_is_known_sends_nothing(bench: Any) -> None:
    agent = await bench.agent("berlin", work=never)
    runs, begin = bench.engine.runs, asyncio.Event()
    kept = bench.engine.fleet.agents

    async def slow() -> Any:
        await begin.wait()
        return await kept()

    bench.engine.fleet.agents = slow
    events, task = bench.collect(bench.request("berlin", run_id="early", deadline_s=5))
    await bench.clock.settle()
    with pytest.raises(NotFound):
        runs.cancel("early", "somebody else", "enough")
    runs.cancel("early", "local", "enough")
    begin.set()
    await advance(bench, 1.5)
    await task
    assert end(events)[0] is JobStatus.CANCELLED and events[-1] == RunEnded(True)
    assert not agent.jobs
