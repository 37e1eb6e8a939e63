"""Two hundred agents at one target: what leaves them all in any one second, and whose turn it is."""

import asyncio
from typing import Any

import pytest
from probemesh_controller.api import RunEnded, RunEvent, RunPlanned, RunVantageEnded
from probemesh_shared.model import IcmpSpec, Job, Options, PortRange, Target, TcpSpec
from probemesh_shared.session.frames import JobStatus

AGENTS = 200
NAMES = tuple(f"a{n}" for n in range(AGENTS))
THRICE = Options(count=3)


def target(host: str) -> tuple[Target, ...]:
    return (Target(f"{host}:5432", host, (PortRange(5432, 5432),)),)


class Host:
    """Counts what arrives, as the agents' pacing lets it leave."""

    def __init__(self) -> None:
        self.at: list[float] = []

    async def probe(self, agent: Any, job: Job) -> None:
        tcp = isinstance(job.spec, TcpSpec)
        rate = job.pacing.connects_per_s if tcp else job.pacing.packets_per_s
        assert rate is not None
        options = job.spec.options
        for number in range(options.count):
            if number:
                await agent.clock.sleep(max(options.interval_s, 1 / rate))
            self.at.append(agent.clock.monotonic())
        await agent.answer(job)

    def most_in_a_second(self) -> int:
        self.at.sort()
        first, most = 0, 0
        for last, at in enumerate(self.at):
            while self.at[first] <= at - 1.0:
                first += 1
            most = max(most, last - first + 1)
        return most


async def fleet(bench: Any, host: Host, count: int = AGENTS) -> None:
    for name in NAMES[:count]:
        await bench.agent(name, work=lambda agent, job: host.probe(agent, job))


async def over(bench: Any, *tasks: asyncio.Task[None]) -> float:
    """Seconds until all are over."""
    began = bench.clock.monotonic()
    while not all(task.done() for task in tasks):
        await bench.clock.advance(0.05)
        assert bench.clock.monotonic() - began < 200
    return float(bench.clock.monotonic() - began)


def ends(events: list[RunEvent]) -> set[JobStatus]:
    return {event.status for event in events if isinstance(event, RunVantageEnded)}


@pytest.mark.parametrize(("spec", "limit"), [(TcpSpec(THRICE), 100), (IcmpSpec(THRICE), 500)])
async def test_a_fleet_at_one_target_stays_in_its_budget(bench: Any, spec: Any, limit: int) -> None:
    host = Host()
    await fleet(bench, host)
    request = bench.request(*NAMES, wanted=target("192.0.2.1"), specs=(spec,), deadline_s=30)
    events, task = bench.collect(request)
    await over(bench, task)
    assert len(host.at) == 3 * AGENTS
    assert host.most_in_a_second() <= limit
    assert ends(events) == {JobStatus.DONE}


async def test_so_do_several_runs_by_several_names(bench: Any) -> None:
    """The second name is known to be the first's host by the time the third run comes."""
    host = Host()
    await fleet(bench, host, 60)
    names = NAMES[:60]

    def run(number: int, name: str) -> tuple[list[RunEvent], asyncio.Task[None]]:
        asked = bench.request(
            *names, run_id=f"r{number}", wanted=target(name), specs=(TcpSpec(THRICE),), deadline_s=60
        )
        return bench.collect(asked)

    _, first = run(0, "one.example")
    await over(bench, first)  # its rows tell that 192.0.2.1 is behind the name
    host.at.clear()
    begun = [run(number, name) for number, name in enumerate(["one.example", "192.0.2.1"] * 4, 1)]
    await bench.clock.settle()
    assert any("it waits" in note for events, _ in begun for one in events[:1] for note in one.notes)
    await over(bench, *(task for _, task in begun))
    assert len(host.at) == 8 * 180
    assert host.most_in_a_second() <= 100 + 8  # each run may be one early
    assert {status for events, _ in begun for status in ends(events)} == {JobStatus.DONE}


async def test_of_runs_at_once_by_fresh_names_of_one_host_two_go_on(bench: Any) -> None:
    """Nobody knows at first that it is one host; whoever finds out ends what is too much."""
    host = Host()
    await fleet(bench, host, 60)
    asked = [
        bench.request(
            *NAMES[:60],
            run_id=f"r{n}",
            wanted=target(f"n{n}.example"),
            specs=(TcpSpec(THRICE),),
            deadline_s=60,
        )
        for n in range(8)
    ]
    begun = [bench.collect(one) for one in asked]
    await over(bench, *(task for _, task in begun))
    whole = [events for events, _ in begun if ends(events) == {JobStatus.DONE}]
    assert len(whole) == 2
    for events, _ in begun:
        if events not in whole:
            why = {end.detail for end in events if isinstance(end, RunVantageEnded)} - {""}
            assert why == {"other runs take all that may go to 192.0.2.1, by other names of it"}
            assert events[-1] == RunEnded(True)


async def test_who_waits_in_vain_is_told_why(bench: Any) -> None:
    async def for_ever(agent: Any, job: Job) -> None:
        pass

    await bench.agent("berlin", work=for_ever)
    scan = (Target("db:1-5000", "db", (PortRange(1, 5000),)),)
    for number in range(4):
        bench.collect(bench.request("berlin", run_id=f"r{number}", wanted=scan, deadline_s=60))
    await bench.clock.settle()
    events, task = bench.collect(bench.request("berlin", run_id="late", wanted=scan, deadline_s=5))
    assert 5 <= await over(bench, task) < 9
    assert isinstance(events[0], RunPlanned)
    assert "waits" in events[0].notes[0]
    (end,) = [event for event in events if isinstance(event, RunVantageEnded)]
    assert (end.status, end.detail) == (
        JobStatus.REJECTED,
        "busy: other runs took all that may go to this target, all the time",
    )


async def test_who_is_cancelled_while_it_waits_sends_nothing(bench: Any) -> None:
    async def for_ever(agent: Any, job: Job) -> None:
        pass

    agent = await bench.agent("berlin", work=for_ever)
    scan = (Target("db:1-5000", "db", (PortRange(1, 5000),)),)
    for number in range(3):
        bench.collect(bench.request("berlin", run_id=f"r{number}", wanted=scan, deadline_s=60))
    await bench.clock.settle()
    events, task = bench.collect(bench.request("berlin", run_id="late", wanted=scan, deadline_s=50))
    await bench.clock.settle()
    bench.engine.runs.find("late", "local").cancel("enough")
    assert await over(bench, task) < 2
    assert ends(events) == {JobStatus.CANCELLED}
    assert {job.run_id for job in agent.jobs} == {"r0", "r1"}
