"""The driver over a link in memory, on virtual time: both ends, every way out, nothing left behind."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from probemesh_shared.clock import VirtualClock
from probemesh_shared.convert import BadMessage
from probemesh_shared.errors import Unreachable
from probemesh_shared.session.driver import LinkEnd, Wake, Why, drive
from probemesh_shared.session.events import (
    CancelArrived,
    ClockMeasured,
    Event,
    JobArrived,
    JobEnded,
    Ready,
    ResultsArrived,
)
from probemesh_shared.session.frames import ErrorCode, JobStatus
from probemesh_shared.session.inbox import Inbox
from probemesh_shared.session.machine import Session, Side
from probemesh_shared.session.outbox import Outbox

from tests.session.simulated import hello, job, measurement
from tests.session.streams import MemoryStream, stream_pair


class Party:
    """One side with a driver running."""

    def __init__(self, side: Side, stream: MemoryStream, clock: VirtualClock, box: Outbox | Inbox) -> None:
        self.events: list[Event] = []
        self.stream = stream
        self.wake = Wake()
        self.fault: Exception | None = None
        boxes = {"outbox": box} if isinstance(box, Outbox) else {"inbox": box}
        self.session = Session(side, hello(f"{side}-1"), clock.monotonic(), **boxes)  # type: ignore[arg-type]
        self.task = asyncio.create_task(drive(self.session, stream, clock, self.handle, self.wake))

    async def handle(self, event: Event) -> None:
        if self.fault is not None:
            raise self.fault
        self.events.append(event)

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    async def over(self) -> LinkEnd:
        async with asyncio.timeout(5):
            return await self.task


class Stage:
    """Both parties, their boxes and one clock."""

    def __init__(self, room: int = 1000) -> None:
        self.clock = VirtualClock()
        self.outbox, self.inbox = Outbox(), Inbox()
        self.room = room
        self.link()

    def link(self) -> None:
        ours, theirs = stream_pair(self.room)
        self.agent = Party(Side.AGENT, ours, self.clock, self.outbox)
        self.controller = Party(Side.CONTROLLER, theirs, self.clock, self.inbox)

    async def calm(self) -> None:
        await self.clock.settle()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    before = asyncio.all_tasks()
    made = Stage()
    await made.calm()
    yield made
    for party in (made.agent, made.controller):
        party.task.cancel()
        await asyncio.gather(party.task, return_exceptions=True)
        assert party.stream.closed == 1
    await made.calm()
    assert asyncio.all_tasks() - before <= {asyncio.current_task()}, "a task was left behind"


async def test_a_job_runs_over_two_drivers(stage: Stage) -> None:
    agent, controller = stage.agent, stage.controller
    assert agent.of(Ready)
    assert controller.of(Ready)
    controller.session.send_job(job("j"))
    controller.wake.poke()
    await stage.calm()
    assert agent.of(JobArrived) == [JobArrived(job("j"))]
    stage.outbox.add("j", [measurement(0)])
    stage.outbox.end("j", JobStatus.DONE)
    agent.wake.poke()
    await stage.calm()
    assert controller.of(ResultsArrived) == [ResultsArrived("j", 0, (measurement(0),))]
    assert controller.of(JobEnded) == [JobEnded("j", 1, JobStatus.DONE, "")]
    controller.session.committed("j", 1)
    controller.wake.poke()
    await stage.calm()
    assert stage.outbox.empty


async def test_more_than_a_window_flows_while_commits_come(stage: Stage) -> None:
    stage.controller.session.send_job(job("j"))
    stage.controller.wake.poke()
    await stage.calm()
    stage.outbox.add("j", [measurement(n, padding=30_000) for n in range(40)])
    stage.outbox.end("j", JobStatus.DONE)
    for _ in range(20):
        stage.agent.wake.poke()
        await stage.calm()
        if last := [e for e in stage.controller.events if isinstance(e, ResultsArrived | JobEnded)]:
            stage.controller.session.committed("j", last[-1].seq)
            stage.controller.wake.poke()
            await stage.calm()
    numbers = [
        m.target_index
        for e in stage.controller.events
        if isinstance(e, ResultsArrived)
        for m in e.measurements
    ]
    assert numbers == list(range(40))
    assert stage.outbox.empty


async def test_an_idle_link_lives_and_its_clocks_are_compared(stage: Stage) -> None:
    await stage.clock.advance(600)
    assert stage.agent.session.ready
    assert stage.controller.session.ready
    assert len(stage.controller.of(ClockMeasured)) == 11


async def test_a_silent_peer_ends_the_link_after_forty_seconds() -> None:
    clock = VirtualClock()
    ours, theirs = stream_pair()
    agent = Party(Side.AGENT, ours, clock, Outbox())
    await theirs.write(hello("controller-1"))
    await clock.advance(39)
    assert not agent.task.done()
    await clock.advance(2)
    end = await agent.over()
    assert (end.why, end.ready, end.code) == (Why.SESSION, True, None)
    assert "nothing heard" in end.detail


async def test_the_peer_closing_is_told_apart_from_a_broken_link(stage: Stage) -> None:
    stage.agent.wake.close()
    assert await stage.agent.over() == LinkEnd(Why.CLOSED, ready=True)
    assert await stage.controller.over() == LinkEnd(Why.PEER_CLOSED, ready=True)


@pytest.mark.parametrize("direction", ["inward", "outward"])
async def test_a_broken_link_is_told_with_its_error(stage: Stage, direction: str) -> None:
    await getattr(stage.agent.stream, direction).snap()
    stage.agent.session.goodbye("something to write")
    stage.agent.wake.poke()
    end = await stage.agent.over()
    assert (end.why, end.ready, end.detail) == (Why.BROKEN, True, "the link broke")
    assert isinstance(end.error, Unreachable)


async def test_an_unfinished_job_goes_on_over_the_next_link(stage: Stage) -> None:
    stage.controller.session.send_job(job("j"))
    stage.controller.wake.poke()
    await stage.calm()
    stage.outbox.add("j", [measurement(0)])
    await stage.agent.stream.outward.snap()
    await stage.agent.stream.inward.snap()
    await stage.agent.over()
    await stage.controller.over()
    stage.outbox.add("j", [measurement(1)])
    stage.outbox.end("j", JobStatus.DONE)
    stage.link()
    await stage.calm()
    rows = [m for e in stage.controller.events if isinstance(e, ResultsArrived) for m in e.measurements]
    assert rows == [measurement(0), measurement(1)]
    assert stage.agent.of(JobArrived) == []


async def test_an_error_reaches_the_peer_before_the_link_closes(stage: Stage) -> None:
    stage.controller.session.fail(ErrorCode.REVOKED, "the certificate was revoked")
    stage.controller.wake.poke()
    ours, theirs = await stage.controller.over(), await stage.agent.over()
    assert (ours.code, ours.by_peer) == (ErrorCode.REVOKED, False)
    assert (theirs.code, theirs.by_peer, theirs.detail) == (
        ErrorCode.REVOKED,
        True,
        "the certificate was revoked",
    )


async def test_a_message_that_cannot_be_read_ends_the_session_as_a_breach(stage: Stage) -> None:
    await stage.agent.stream.inward.put(BadMessage("port 70000"))
    assert (await stage.agent.over()).code is ErrorCode.PROTOCOL
    theirs = await stage.controller.over()
    assert (theirs.code, theirs.detail) == (ErrorCode.PROTOCOL, "port 70000")


async def test_a_fault_of_the_owner_is_raised_and_the_peer_told_no_more_than_that(stage: Stage) -> None:
    stage.agent.fault = RuntimeError("secret detail")
    stage.controller.session.send_job(job("j"))
    stage.controller.wake.poke()
    with pytest.raises(RuntimeError, match="secret detail"):
        await stage.agent.over()
    theirs = await stage.controller.over()
    assert (theirs.code, theirs.detail) == (ErrorCode.INTERNAL, "internal fault")


async def test_a_fault_of_the_stream_is_raised_and_does_not_hang(stage: Stage) -> None:
    async def read() -> None:
        raise RuntimeError("a bug")

    ours, _ = stream_pair()
    ours.read = read  # type: ignore[method-assign]
    party = Party(Side.AGENT, ours, stage.clock, Outbox())
    with pytest.raises(RuntimeError, match="a bug"):
        await party.over()


async def test_a_peer_that_does_not_read_cannot_hold_the_end_up() -> None:
    clock = VirtualClock()
    ours, _ = stream_pair(room=0)
    agent = Party(Side.AGENT, ours, clock, Outbox())
    await clock.settle()
    agent.wake.close()
    await clock.settle()
    assert not agent.task.done()
    await clock.advance(1.1)
    assert (await agent.over()).why is Why.CLOSED
    assert ours.closed == 1


@pytest.mark.parametrize("turns", range(12))
async def test_cancelling_at_any_point_leaves_nothing(turns: int) -> None:
    before = asyncio.all_tasks()
    stage = Stage(room=1)
    for _ in range(turns):
        await asyncio.sleep(0)
    stage.controller.session.send_job(job("j"))
    stage.controller.wake.poke()
    for party in (stage.agent, stage.controller):
        party.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await party.task
        assert party.stream.closed == 1 or turns == 0
    await stage.calm()
    assert asyncio.all_tasks() == before


async def test_cancellation_reaches_the_job(stage: Stage) -> None:
    stage.controller.session.send_job(job("j"))
    stage.controller.session.cancel("j", "interrupted")
    stage.controller.wake.poke()
    await stage.calm()
    assert stage.agent.of(CancelArrived) == [CancelArrived("j", "interrupted")]


async def test_an_idle_driver_takes_no_turns(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0
    tick = stage.agent.session.tick

    def counted(now: float) -> list[Event]:
        nonlocal turns
        turns += 1
        return tick(now)

    await stage.calm()
    monkeypatch.setattr(stage.agent.session, "tick", counted)
    for _ in range(10):
        await stage.calm()
    assert turns == 0
    stage.agent.wake.poke()
    await stage.calm()
    assert turns == 1
