"""The driver of a diagnosis over the real engine, its runs and sessions: what agents are told, and when."""

import asyncio

import pytest
from probemesh_controller.pair.case import Asked, Round
from probemesh_controller.pair.drive import diagnose
from probemesh_shared.model import WatchDetail, WatchSpec
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import Kind, Transport

from tests.pair.fakes import ABLE, rounds, row, shots, step

ASKED = Asked("a", "b", Transport.TCP, 5432, 7001)
BOTH = Round((step(1), step(2, "b", "a", "10.1.0.2")))


async def work(agent, job):
    """Arms, looks, and shoots as an agent does."""
    if isinstance(job.spec, WatchSpec):
        agent.add(job, [row(Kind.WATCH, WatchDetail(agent=agent.name))])
        if job.spec.look:
            agent.end(job)
        return
    await agent.clock.sleep(0.3)
    agent.add(job, [shots()])
    agent.end(job)


@pytest.fixture
async def pair(bench):
    for name, address in (("a", "10.1.0.2"), ("b", "203.0.113.2")):
        await bench.agent(name, addresses=(address,), capabilities=ABLE, work=work)
    return bench


async def through(bench, coroutine, most_s=120.0):
    task = asyncio.ensure_future(coroutine)
    end = bench.clock.monotonic() + most_s
    while not task.done() and bench.clock.monotonic() < end:
        await bench.clock.advance(0.02)
    assert task.done(), "it hangs"
    return task.result()


def armed(agent):
    return [job.id for job in agent.jobs if isinstance(job.spec, WatchSpec) and not job.spec.look]


async def test_watches_are_cancelled_at_the_agents_when_it_is_over(pair):
    case = await through(pair, diagnose(pair.engine, ASKED, clock=pair.clock, plan=rounds(BOTH, BOTH)))
    await pair.clock.advance(1.0)
    assert [len(done.looks) for done in case.rounds] == [2, 2]
    assert all(done.rows for one in case.rounds for done in one.steps)
    assert case.elapsed_s < 2.0
    for agent in pair.agents.values():
        assert len(armed(agent)) == 1 and agent.cancelled == armed(agent)


async def test_an_agent_that_can_read_many_counters_can_still_watch(bench):
    many = tuple(f"counter:Ip.Number{number}" for number in range(300))
    await bench.agent("a", addresses=("10.1.0.2",), capabilities=many + ABLE, work=work)
    (info,) = await bench.engine.agents()
    assert set(ABLE) <= set(info.capabilities) and len(info.capabilities) == len(many) + len(ABLE)


async def test_an_interrupt_gives_back_too(pair):
    task = asyncio.ensure_future(diagnose(pair.engine, ASKED, clock=pair.clock, plan=rounds(BOTH, BOTH)))
    await pair.clock.advance(0.2)
    task.cancel()
    await pair.clock.advance(1.0)
    assert task.cancelled()
    for agent in pair.agents.values():
        assert set(armed(agent)) <= set(agent.cancelled)


async def test_an_agent_whose_link_breaks_half_way_is_lost_within_seconds(pair):
    b = pair.agents["b"]

    async def breaks(agent, job):
        if isinstance(job.spec, WatchSpec):
            await work(agent, job)
        else:
            agent.cut()

    b.work = breaks
    case = await through(pair, diagnose(pair.engine, ASKED, clock=pair.clock, plan=rounds(BOTH, BOTH)))
    assert case.lost == ("b",)
    assert case.rounds[0].steps[0].rows and case.rounds[0].steps[1].problem == "it was lost"
    assert case.elapsed_s < 4.0


async def test_an_agent_that_refuses_the_watch_says_why(pair):
    async def refuses(agent, job):
        if isinstance(job.spec, WatchSpec):
            agent.end(job, JobStatus.REJECTED, "busy: too many jobs at once")
        else:
            await work(agent, job)

    pair.agents["b"].work = refuses
    case = await through(pair, diagnose(pair.engine, ASKED, clock=pair.clock, plan=rounds(BOTH)))
    assert case.end("b").why_not == "the agent did not take the job: busy: too many jobs at once"
    assert [look.agent for look in case.rounds[0].looks] == ["a"]


async def test_a_watch_whose_agent_restarted_is_lost(pair):
    """Its link is back before anybody asks; the watch is not."""
    b = pair.agents["b"]

    async def restarts(agent, job):
        if isinstance(job.spec, WatchSpec):
            await work(agent, job)
            return
        agent.cut()
        agent.restart("two")
        agent.work = work
        agent.attach()

    b.work = restarts
    case = await through(pair, diagnose(pair.engine, ASKED, clock=pair.clock, plan=rounds(BOTH, BOTH)))
    assert case.rounds[0].steps[1].problem == "the agent was lost: the agent restarted"
    assert case.lost == ("b",) and case.rounds[1].steps[1].problem == "it was lost"
    assert [look.agent for look in case.rounds[1].looks] == ["a"]
