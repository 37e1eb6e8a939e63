"""Runs over the real session, in virtual time: what comes, in which order, and that everything ends."""

import asyncio
from typing import Any

import pytest
from probemesh_controller.api import (
    RunEnded,
    RunEvent,
    RunMeasured,
    RunPlanned,
    RunVantageEnded,
    TokenRequest,
)
from probemesh_controller.results import assemble
from probemesh_shared.errors import InvalidRequest, NotFound
from probemesh_shared.model import IcmpSpec, Job, Options, PortRange, Target, TcpSpec
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import AgentState, FailureKind, Outcome


def rows(events: list[RunEvent]) -> list[tuple[str, int]]:
    """(agent, target index) of every measurement."""
    return [
        (e.agent, row.target_index) for e in events if isinstance(e, RunMeasured) for row in e.measurements
    ]


def ends(events: list[RunEvent]) -> dict[str, JobStatus]:
    return {e.agent: e.status for e in events if isinstance(e, RunVantageEnded)}


async def test_every_agent_answers_every_target_and_the_run_ends(bench: Any) -> None:
    for name in ("berlin", "tokyo"):
        await bench.agent(name)
    events, task = bench.collect(bench.request("berlin", "tokyo", targets=3))
    await bench.clock.settle()
    await task
    assert isinstance(events[0], RunPlanned) and isinstance(events[-1], RunEnded)
    assert [(v.agent, v.outcome) for v in events[0].vantages] == [("berlin", None), ("tokyo", None)]
    assert sorted(rows(events)) == [(a, n) for a in ("berlin", "tokyo") for n in range(3)]
    assert ends(events) == {"berlin": JobStatus.DONE, "tokyo": JobStatus.DONE}
    assert not events[-1].cancelled
    assert len(bench.store.measurements("run1")) == 6
    (run,) = bench.store.runs(5)
    assert run.ended_ns is not None and not run.cancelled


async def test_one_job_for_each_agent_and_spec(bench: Any) -> None:
    agent = await bench.agent("berlin")
    events, task = bench.collect(
        bench.request("berlin", targets=4, specs=(IcmpSpec(), TcpSpec()), deadline_s=9)
    )
    await bench.clock.settle()
    await task
    assert [(type(job.spec), len(job.targets)) for job in agent.jobs] == [(IcmpSpec, 4), (TcpSpec, 4)]
    assert all(8900 <= job.budget_ms <= 9000 for job in agent.jobs)
    assert {e.spec_index for e in events if isinstance(e, RunMeasured)} == {0, 1}


async def test_agents_that_cannot_take_part_are_told_and_get_nothing(bench: Any) -> None:
    gone = await bench.agent("gone")
    gone.cut()
    await bench.clock.advance(150)
    await bench.agent("thief")
    await bench.engine.revoke_agent("thief")
    events, task = bench.collect(bench.request("gone", "thief", "nobody"))
    await bench.clock.settle()
    await task
    planned = events[0]
    assert isinstance(planned, RunPlanned)
    assert [(v.agent, v.outcome) for v in planned.vantages] == [
        ("gone", Outcome.AGENT_LOST),
        ("thief", Outcome.UNMEASURED),
        ("nobody", Outcome.UNMEASURED),
    ]
    assert "last seen 2 min ago" in (planned.vantages[0].reason or "")
    assert events[1:] == [RunEnded(False)]


async def test_results_are_shown_while_others_still_run(bench: Any) -> None:
    async def slowly(agent: Any, job: Job) -> None:
        agent.add(job, [row(0)])
        await agent.clock.sleep(5)
        agent.add(job, [row(1)])
        agent.end(job)

    def row(index: int) -> Any:
        return bench.make_row(index, f"db{index}:5432")

    await bench.agent("berlin", work=slowly)
    events, task = bench.collect(bench.request("berlin", targets=2))
    await bench.clock.settle()
    assert rows(events) == [("berlin", 0)]
    await bench.clock.advance(6)
    await task
    assert rows(events) == [("berlin", 0), ("berlin", 1)]


async def test_a_silent_agent_does_not_hold_the_run_beyond_deadline_and_grace(bench: Any) -> None:
    async def never(agent: Any, job: Job) -> None:
        pass

    await bench.agent("mute", work=never)
    await bench.agent("berlin")
    events, task = bench.collect(bench.request("mute", "berlin", deadline_s=10))
    await bench.clock.advance(12.9)
    assert not task.done()
    await bench.clock.advance(0.2)
    await task
    assert ends(events) == {"berlin": JobStatus.DONE, "mute": JobStatus.LOST}


async def test_closing_the_iterator_cancels_at_the_agents(bench: Any) -> None:
    async def never(agent: Any, job: Job) -> None:
        pass

    agent = await bench.agent("berlin", work=never)
    iterator = bench.engine.run(bench.request("berlin"))
    assert isinstance(await anext(iterator), RunPlanned)
    await bench.clock.settle()
    await iterator.aclose()
    await bench.clock.settle()
    assert agent.cancelled == [agent.jobs[0].id]
    await bench.clock.advance(2)
    (run,) = bench.store.runs(1)
    assert run.cancelled and run.ended_ns is not None
    assert bench.engine.runs.active == 0


async def test_a_cancelled_agent_that_does_not_confirm_is_not_waited_for(bench: Any) -> None:
    async def never(agent: Any, job: Job) -> None:
        pass

    agent = await bench.agent("berlin", work=never)
    events, task = bench.collect(bench.request("berlin"))
    await bench.clock.settle()
    agent.pipe.other.frames = asyncio.Queue()  # nothing the agent says arrives any more
    run = bench.engine.runs.find("run1", "local")
    run.cancel("enough")
    await bench.clock.advance(1.1)
    await task
    assert ends(events) == {"berlin": JobStatus.CANCELLED}
    assert events[-1] == RunEnded(True)


async def test_what_cannot_be_a_run_is_refused(bench: Any) -> None:
    await bench.agent("berlin")
    good = bench.request("berlin")
    for wrong in (
        bench.request("berlin", run_id="../x"),
        bench.request(),
        bench.request("berlin", "berlin"),
        bench.request("berlin", deadline_s=0),
        bench.request("berlin", deadline_s=1e9),
        bench.request("berlin", targets=5000),
    ):
        with pytest.raises(InvalidRequest):
            await anext(bench.engine.run(wrong))
    _, task = bench.collect(good)
    await bench.clock.settle()
    await task
    with pytest.raises(InvalidRequest, match="exists"):
        await anext(bench.engine.run(good))


async def test_rows_about_targets_that_were_not_asked_for_are_dropped(bench: Any) -> None:
    async def lies(agent: Any, job: Job) -> None:
        agent.add(job, [bench.make_row(0, "db0:5432"), bench.make_row(7, "other:1")])
        agent.end(job)

    await bench.agent("liar", work=lies)
    events, task = bench.collect(bench.request("liar"))
    await bench.clock.settle()
    await task
    assert rows(events) == [("liar", 0)]


async def test_an_agent_target_is_dialled_by_addresses_that_are_its_own(bench: Any) -> None:
    await bench.agent("a", addresses=("10.0.0.1", "172.17.0.1", "192.168.1.5"))
    await bench.agent("b", addresses=("10.0.0.2", "172.17.0.1"))
    await bench.agent("c", addresses=("192.168.1.5",))
    wanted = (
        Target("db:5432", "db", (PortRange(5432, 5432),)),
        Target("agent:a:22", "a", (PortRange(22, 22),), agent="a"),
        Target("agent:c:22", "c", (PortRange(22, 22),), agent="c"),
    )
    events, task = bench.collect(bench.request("a", "b", "c", wanted=wanted))
    await bench.clock.settle()
    await task
    jobs = {name: agent.jobs[0].targets for name, agent in bench.agents.items()}
    assert [t.text for t in jobs["a"]] == ["db:5432"]
    assert [(t.text, t.addresses) for t in jobs["b"]] == [("db:5432", ()), ("agent:a:22", ("10.0.0.1",))]
    failures = {
        (e.agent, row.target_index): row.failure.kind
        for e in events
        if isinstance(e, RunMeasured)
        for row in e.measurements
        if row.failure is not None
    }
    assert failures == {
        ("a", 1): FailureKind.OWN_ADDRESS,
        ("a", 2): FailureKind.NOT_ADDRESSABLE,
        ("b", 2): FailureKind.NOT_ADDRESSABLE,
        ("c", 2): FailureKind.OWN_ADDRESS,
    }
    assert sorted(rows(events)) == [(a, n) for a in "abc" for n in range(3)]


async def test_pacing_is_split_over_agents_and_announced(bench: Any) -> None:
    agents = [await bench.agent(f"a{n}") for n in range(10)]
    wanted = (Target("db:1-100", "db", (PortRange(1, 100),)),)
    spec = TcpSpec(Options(count=3))
    events, task = bench.collect(bench.request(*(a.name for a in agents), wanted=wanted, specs=(spec,)))
    await bench.clock.settle()
    await bench.clock.advance(1)  # they begin spread
    await task
    assert isinstance(events[0], RunPlanned)
    (note,) = events[0].notes
    assert "3000 connections to db at 80/s" in note and "38 s" in note
    assert sum(agent.jobs[0].pacing.connects_per_s for agent in agents) == pytest.approx(80)


async def test_labels_and_site_are_changed_and_checked(bench: Any) -> None:
    await bench.agent("berlin")
    info = await bench.engine.label_agent("berlin", {"env": "prod", "tier": "1"}, (), "eu")
    assert (info.site, dict(info.labels)) == ("eu", {"env": "prod", "tier": "1"})
    info = await bench.engine.label_agent("berlin", {}, ("tier",), None)
    assert (info.site, dict(info.labels)) == ("eu", {"env": "prod"})
    assert (await bench.engine.label_agent("berlin", {}, (), "")).site is None
    with pytest.raises(InvalidRequest):
        await bench.engine.label_agent("berlin", {"env": "a b"}, (), None)
    with pytest.raises(NotFound, match="berlim"):
        await bench.engine.label_agent("berlim", {}, (), None)


async def test_a_mesh_without_a_controller_says_so_of_tokens(bench: Any) -> None:
    with pytest.raises(InvalidRequest, match="controller"):
        await bench.engine.create_token(TokenRequest())


async def test_status_counts(bench: Any) -> None:
    await bench.agent("berlin")
    other = await bench.agent("tokyo")
    other.cut()
    await bench.clock.settle()
    status = await bench.engine.status()
    assert (status.agents_connected, status.agents_known) == (1, 2)
    assert {a.name: a.state for a in await bench.engine.agents()} == {
        "berlin": AgentState.CONNECTED,
        "tokyo": AgentState.LOST,
    }


async def test_a_run_does_not_wait_for_an_agent_that_was_revoked_in_the_middle(bench: Any) -> None:
    async def first_half(agent: Any, job: Job) -> None:
        agent.add(job, [bench.make_row(0, "db0:5432")])

    await bench.agent("thief", work=first_half)
    await bench.agent("away", work=first_half)
    await bench.agent("berlin")
    request = bench.request("thief", "away", "berlin", targets=2, deadline_s=60)
    events, task = bench.collect(request)
    await bench.clock.settle()
    bench.agents["away"].cut()
    await bench.clock.settle()
    for name in ("thief", "away"):
        await bench.engine.revoke_agent(name)
    await bench.clock.settle()
    assert task.done()
    lost = {e.agent: (e.status, e.detail) for e in events if isinstance(e, RunVantageEnded)}
    assert lost == {
        "thief": (JobStatus.LOST, "revoked"),
        "away": (JobStatus.LOST, "revoked"),
        "berlin": (JobStatus.DONE, ""),
    }
    measured, unseen = (
        one for result in assemble(request, events) for one in result.vantages if one.agent == "thief"
    )
    assert len(measured.measurements) == 1
    assert unseen.outcome is Outcome.AGENT_LOST
    assert unseen.reason == "the agent was lost in the middle of the run: revoked"
