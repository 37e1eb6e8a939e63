"""Jobs on a virtual clock: batches, ends, caps, back-pressure, faults."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from agent_tests_fakes import FakeLane, FakeNetwork, ScriptedProbe, row
from agent_tests_mesh import job
from probemesh_agent.env import ProbeEnv
from probemesh_agent.runner import Caps, Runner
from probemesh_shared.clock import VirtualClock
from probemesh_shared.model import Failure, IcmpSpec, Measurement, Options, Target, TcpSpec
from probemesh_shared.words import FailureKind, Kind, Origin, Outcome, Stage


class Bench:
    """A runner whose tcp kind is ``script``; ``started`` and ``closed`` count its iterators."""

    def __init__(self, caps: Caps | None = None) -> None:
        self.clock = VirtualClock()
        self.lane = FakeLane()
        self.started = self.closed = self.pulled = 0
        self.runner = Runner(
            {Kind.TCP: ScriptedProbe(self._run)}, FakeNetwork(), self.clock, caps=caps or Caps()
        )

    async def script(self, targets: Sequence[Target], env: ProbeEnv) -> AsyncIterator[Sequence[Measurement]]:
        for index in range(len(targets)):
            self.pulled += 1
            yield [row(index)]

    async def _run(self, targets: Sequence[Target], env: ProbeEnv) -> AsyncIterator[Sequence[Measurement]]:
        self.started += 1
        inner = self.script(targets, env)
        try:
            async for batch in inner:
                yield batch
        finally:
            self.closed += 1

    @asynccontextmanager
    async def leak_free(self) -> AsyncIterator[None]:
        before = asyncio.all_tasks()
        yield
        await self.clock.settle()
        assert asyncio.all_tasks() == before, "a task was left"
        assert self.runner.active == 0
        assert self.started == self.closed


class Endless(Bench):
    """Yields one row a second, for ever."""

    async def script(self, targets: Sequence[Target], env: ProbeEnv) -> AsyncIterator[Sequence[Measurement]]:
        while True:
            yield [row(0)]
            await self.clock.sleep(1.0)


class Faulty(Bench):
    async def script(self, targets: Sequence[Target], env: ProbeEnv) -> AsyncIterator[Sequence[Measurement]]:
        yield [row(0)]
        raise ZeroDivisionError("secret words")


async def test_a_job_is_told_and_ended_once() -> None:
    bench = Bench()
    async with bench.leak_free():
        bench.runner.start(job("j", "a.example:1", "b.example:2"), bench.lane)
        await bench.clock.advance(1)
        assert [m.target_index for m in bench.lane.rows["j"]] == [0, 1]
        assert bench.lane.ends == [("j", "done", "")]


async def test_batches_by_rows_and_by_time() -> None:
    bench = Bench()
    async with bench.leak_free():
        bench.runner.start(job("j", *(f"h{n}.example:1" for n in range(1100))), bench.lane)
        await bench.clock.advance(0.01)
        assert bench.lane.batches == [512, 512, 76]
    slow = Endless()
    async with slow.leak_free():
        slow.runner.start(job("j", "a.example:1"), slow.lane)
        await slow.clock.advance(0.04)
        assert slow.lane.batches == []
        await slow.clock.advance(0.02)
        assert slow.lane.batches == [1]
        slow.runner.cancel("ann/1", "j", "enough")


async def test_an_expired_job_is_stopped_by_force() -> None:
    bench = Endless()
    async with bench.leak_free():
        bench.runner.start(job("j", "a.example:1", budget_ms=3000), bench.lane)
        await bench.clock.advance(3.4)
        assert bench.lane.ends == []
        await bench.clock.advance(0.2)
        assert [(job_id, status) for job_id, status, _ in bench.lane.ends] == [("j", "expired")]
        assert len(bench.lane.rows["j"]) == 4


async def test_cancel_tells_what_was_measured() -> None:
    bench = Endless()
    async with bench.leak_free():
        bench.runner.start(job("j", "a.example:1"), bench.lane)
        await bench.clock.advance(1.01)
        bench.runner.cancel("bob/1", "j", "not his")
        bench.runner.cancel("ann/1", "j", "enough")
        await bench.clock.settle()
        assert bench.lane.ends == [("j", "cancelled", "enough")]
        assert len(bench.lane.rows["j"]) == 2


async def test_a_cancel_before_the_first_step_still_ends_the_job() -> None:
    bench = Bench()
    async with bench.leak_free():
        bench.runner.start(job("j", "a.example:1"), bench.lane)
        bench.runner.cancel("ann/1", "j", "at once")
        await bench.clock.settle()
        assert bench.lane.ends == [("j", "cancelled", "at once")]
        assert bench.started == 0


async def test_a_fault_is_told_by_id_alone(caplog: pytest.LogCaptureFixture) -> None:
    bench = Faulty()
    async with bench.leak_free():
        with caplog.at_level(logging.ERROR):
            bench.runner.start(job("j", "a.example:1"), bench.lane)
            await bench.clock.settle()
        ((_, status, detail),) = bench.lane.ends
        assert status == "failed"
        assert "secret" not in detail
        assert detail.split(";")[0].removeprefix("internal fault ") in caplog.text
        assert len(bench.lane.rows["j"]) == 1


async def test_an_unknown_kind_is_unsupported_for_every_target() -> None:
    bench = Bench()
    bench.runner.start(job("j", "a.example", "b.example", spec=IcmpSpec()), bench.lane)
    await bench.clock.settle()
    assert [(m.target_index, m.outcome) for m in bench.lane.rows["j"]] == [
        (0, Outcome.UNSUPPORTED),
        (1, Outcome.UNSUPPORTED),
    ]
    assert bench.lane.ends == [("j", "done", "")]


async def test_no_room_stops_the_probe() -> None:
    bench = Bench()
    async with bench.leak_free():
        bench.lane.free.clear()
        bench.runner.start(job("j", *(f"h{n}.example:1" for n in range(50))), bench.lane)
        await bench.clock.advance(1)
        assert bench.pulled == 0
        bench.lane.free.set()
        await bench.clock.advance(1)
        assert len(bench.lane.rows["j"]) == 50


class Narrow(FakeLane):
    """Has room until there is a batch that nobody has taken off it."""

    def add(self, job_id: str, measurements: tuple[Measurement, ...]) -> None:
        super().add(job_id, measurements)
        self.free.clear()


@pytest.mark.parametrize("refused", [True, False])
async def test_what_costs_nothing_to_find_out_waits_for_room_too(
    refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind that is denied, or unknown: thousands of rows at no cost, and nobody takes them."""
    bench = Bench()
    lane = Narrow()
    denied = Failure(Stage.RESOLVE, FailureKind.DENIED, Origin.AGENT, "no")
    if refused:
        monkeypatch.setattr(bench.runner._network, "refused_kind", lambda kind: denied)
    else:
        monkeypatch.setattr(bench.runner, "_probes", {})
    async with bench.leak_free():
        for name in ("j", "k"):
            bench.runner.start(job(name, *(f"h{n}.example:1" for n in range(2000))), lane)
        await bench.clock.advance(1)
        assert sum(lane.batches) <= 2 * 512
        lane.free.set()
        bench.runner.cancel_owner("ann/1", "enough")


async def test_targets_samples_and_sizes_count_too() -> None:
    bench = Endless(Caps(targets=4, rows=100, samples=20))
    sweep = IcmpSpec(Options(count=1), sizes=tuple(range(64)))
    async with bench.leak_free():
        for name, *targets, spec in (
            ("targets", "a.example:1", "b.example:1", "c.example:1", "d.example:1", "e.example:1", None),
            ("samples", "a.example:1-3", TcpSpec(Options(count=10))),
            ("sizes", "a.example:1", "b.example:1", sweep),
            ("fits", "a.example:1-3", TcpSpec(Options(count=5))),
            ("beside", "a.example:1", TcpSpec(Options(count=6))),
        ):
            bench.runner.start(job(name, *targets, spec=spec), bench.lane)
        assert [(name, detail) for name, _, detail in bench.lane.ends] == [
            ("targets", "too large: 5 targets, the most at once is 4"),
            ("samples", "too large: 30 samples, the most at once is 20"),
            ("sizes", "too large: 128 measurements, the most at once is 100"),
            ("beside", "busy: with what runs already 21 samples, the most at once is 20"),
        ]
        bench.runner.cancel_owner("ann/1", "enough")


async def test_no_room_for_ever_ends_by_the_deadline() -> None:
    bench = Bench()
    async with bench.leak_free():
        bench.lane.free.clear()
        bench.runner.start(job("j", "a.example:1", "b.example:1", budget_ms=2000), bench.lane)
        await bench.clock.advance(3)
        assert [status for _, status, _ in bench.lane.ends] == ["expired"]


async def test_caps_reject_and_never_queue() -> None:
    bench = Endless(Caps(jobs=2, jobs_of_one_owner=1, rows=10))
    async with bench.leak_free():
        bench.runner.start(job("one", "a.example:1-5"), bench.lane)
        bench.runner.start(job("two", "a.example:1"), bench.lane)
        other, third = FakeLane("bob/1"), FakeLane("eve/1")
        bench.runner.start(job("rows", "a.example:1-6"), other)
        bench.runner.start(job("huge", "a.example:1-11"), other)
        bench.runner.start(job("fits", "a.example:1"), other)
        bench.runner.start(job("full", "a.example:1"), third)
        assert [(job_id, status) for job_id, status, _ in bench.lane.ends] == [("two", "rejected")]
        assert [job_id for job_id, _, _ in other.ends] == ["rows", "huge"]
        assert "busy" in other.ends[0][2]
        assert "too large" in other.ends[1][2]
        assert [job_id for job_id, _, _ in third.ends] == ["full"]
        bench.runner.cancel_owner("ann/1", "x")
        bench.runner.cancel_owner("bob/1", "x")


async def test_an_id_that_runs_is_not_run_again() -> None:
    bench = Endless()
    async with bench.leak_free():
        bench.runner.start(job("j", "a.example:1"), bench.lane)
        bench.runner.start(job("j", "a.example:1"), bench.lane)
        await bench.clock.advance(0.1)
        assert bench.started == 1
        bench.runner.cancel("ann/1", "j", "x")


async def test_finish_waits_then_cancels_and_takes_nothing_new() -> None:
    bench = Endless()
    async with bench.leak_free():
        bench.runner.start(job("j", "a.example:1"), bench.lane)
        await bench.clock.settle()
        await bench.runner.finish(0.0, "going away")
        bench.runner.start(job("late", "a.example:1"), bench.lane)
        assert [(job_id, status) for job_id, status, _ in bench.lane.ends] == [
            ("j", "cancelled"),
            ("late", "rejected"),
        ]
