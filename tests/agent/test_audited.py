"""What an agent records: who had it do what, and what came of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent_tests_fakes import FakeLane, FakeNetwork, ScriptedProbe, row
from agent_tests_mesh import Controller, Mesh, job, running
from probemesh_agent.auditlog import audit_path
from probemesh_agent.env import ProbeEnv
from probemesh_agent.main import main
from probemesh_agent.runner import Caps, Runner
from probemesh_shared.audit.query import AuditQuery
from probemesh_shared.audit.record import AuditRecord, Caller, counted, line_of
from probemesh_shared.audit.search import search
from probemesh_shared.clock import VirtualClock
from probemesh_shared.model import Measurement, Target
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import AuditOutcome, Kind, Outcome, Role

ALICE = Caller("operator/alice", "", "01", "192.0.2.1:4711")


class Bench:
    """A runner whose tcp kind yields ``outcomes``, then waits for ``held`` to be released."""

    def __init__(self, *outcomes: Outcome, caps: Caps | None = None) -> None:
        self.records: list[AuditRecord] = []
        self.clock, self.lane, self.outcomes = VirtualClock(), FakeLane(), outcomes
        self.held = False
        self.fault: Exception | None = None
        probes = {Kind.TCP: ScriptedProbe(self._run)}
        self.runner = Runner(
            probes, FakeNetwork(), self.clock, caps=caps or Caps(), audit=self.records.append
        )

    async def _run(self, targets: Sequence[Target], env: ProbeEnv) -> AsyncIterator[Sequence[Measurement]]:
        for outcome in self.outcomes:
            yield [replace(row(0), outcome=outcome)]
        while self.held:
            await self.clock.sleep(1.0)
        if self.fault is not None:
            raise self.fault

    async def run(self, *targets: str) -> list[AuditRecord]:
        asked = replace(job("j1", *targets), asked_by="operator/bob")
        self.runner.start(asked, self.lane, ALICE)
        await self.clock.advance(1.0)
        return self.records


async def test_a_job_is_recorded_when_it_begins_and_when_it_ends() -> None:
    begun, ended = await Bench(Outcome.OK, Outcome.DENIED, Outcome.OK).run("a:1", "http://b/?key=hunter2")
    assert (begun.event, begun.outcome) == ("job-accepted", AuditOutcome.STARTED)
    assert begun.targets == ("a:1", "http://b/?…")
    assert (ended.event, ended.outcome) == ("job-ended", AuditOutcome.OK)
    assert ended.counts == counted({"ok": 2, "denied": 1})
    for record in (begun, ended):
        assert (record.who, record.certificate, record.address) == ("operator/alice", "01", "192.0.2.1:4711")
        assert (record.asked_by, record.run, record.job) == ("operator/bob", "run-j1", "j1")
        assert record.kinds == ("tcp",)


async def test_what_policy_let_nothing_through_of_is_denied() -> None:
    _, ended = await Bench(Outcome.DENIED, Outcome.DENIED).run("a:1")
    assert (ended.outcome, ended.counts) == (AuditOutcome.DENIED, counted({"denied": 2}))


async def test_a_job_that_is_turned_away_is_recorded() -> None:
    bench = Bench(Outcome.OK, caps=Caps(rows=2))
    (rejected,) = await bench.run("a:1-9")
    assert (rejected.event, rejected.outcome) == ("job-rejected", AuditOutcome.REJECTED)
    assert rejected.targets == ("a:1-9",)
    assert "too large" in rejected.detail
    assert [status for _, status, _ in bench.lane.ends] == [JobStatus.REJECTED]


@pytest.mark.parametrize("steps", [0, 3])
async def test_a_job_that_is_cancelled_is_recorded_once(steps: int) -> None:
    bench = Bench(Outcome.OK)
    bench.held = True
    bench.runner.start(job("j1", "a:1"), bench.lane, ALICE)
    await bench.clock.advance(steps)
    bench.runner.cancel(bench.lane.owner, "j1", "enough")
    await bench.clock.settle()
    _, ended = bench.records
    assert (ended.outcome, ended.detail) == (AuditOutcome.CANCELLED, "enough")


async def test_a_job_whose_time_was_up_and_one_that_failed() -> None:
    bench = Bench()
    bench.held = True
    await bench.run("a:1")
    await bench.clock.advance(60.0)
    assert (bench.records[1].outcome, bench.records[1].detail) == (AuditOutcome.CUT, "its time was up")
    bench = Bench()
    bench.fault = ValueError("hunter2")
    await bench.run("a:1")
    assert bench.records[1].outcome is AuditOutcome.FAILED
    assert "hunter2" not in bench.records[1].detail


# --- as a process -----------------------------------------------------------------------------------------


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path)


async def ready(controller: Controller) -> None:
    async with asyncio.timeout(20):
        await controller.ready.wait()


def told(state: Path, **query: Any) -> tuple[AuditRecord, ...]:
    return search(audit_path(state), AuditQuery(**query)).records


async def test_a_denied_target_is_on_the_agents_own_record(mesh: Mesh, quiet_port: int) -> None:
    controller = Controller()
    async with mesh.serving(controller) as (_, port):
        state = mesh.agent_state("a", f"127.0.0.1:{port}")
        (state / "policy.toml").write_text("[allow]\n")
        async with running(state) as agent:
            await ready(controller)
            controller.send(replace(job("j", f"127.0.0.1:{quiet_port}"), asked_by="operator/eve"))
            await controller.end_of("j")
            assert await agent.stop() == 0
    assert [(record.event, record.outcome) for record in told(state)] == [
        ("start", AuditOutcome.OK),
        ("session-started", AuditOutcome.STARTED),
        ("job-accepted", AuditOutcome.STARTED),
        ("job-ended", AuditOutcome.DENIED),
        ("session-ended", AuditOutcome.OK),
        ("stop", AuditOutcome.OK),
    ]
    (ended,) = told(state, event="job-ended")
    assert ended.counts == counted({"denied": 1})
    assert (ended.who, ended.address, ended.asked_by) == (
        "controller/test",
        f"127.0.0.1:{port}",
        "operator/eve",
    )
    assert audit_path(state).stat().st_mode & 0o777 == 0o600


async def test_what_cannot_be_read_is_turned_away_on_the_record(mesh: Mesh) -> None:
    controller = Controller()
    async with mesh.serving(controller) as (_, port):
        state = mesh.agent_state("a", f"127.0.0.1:{port}")
        async with running(state) as agent:
            await ready(controller)
            controller.send(replace(job("j", "192.0.2.1:1"), asked_by="x" * 500))
            assert (await controller.end_of("j")).status is JobStatus.REJECTED
            assert await agent.stop() == 0
    (rejected,) = told(state, outcome=AuditOutcome.REJECTED)
    assert (rejected.event, rejected.job, rejected.who) == ("job-rejected", "j", "controller/test")
    assert "not understood" in rejected.detail


async def test_who_dials_a_listening_agent_is_on_its_record(mesh: Mesh, quiet_port: int) -> None:
    state = mesh.agent_state("a", "127.0.0.1:9")
    async with running(state, "--listen", "127.0.0.1:0") as agent:
        port = int((await agent.logged("listening on")).rpartition(":")[2])
        alice, controller = mesh.issue(Role.OPERATOR, "alice", "alice"), Controller()
        async with mesh.dialling(controller, "a", port, alice):
            controller.send(job("j", f"127.0.0.1:{quiet_port}"))
            await controller.end_of("j")
        eve = Controller()
        dialling = mesh.dialling(eve, "a", port, mesh.issue(Role.VIEWER, "eve", "eve"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2), dialling:
                pass
        assert await agent.stop() == 0
    records = told(state, who="alice")
    assert [(record.event, record.outcome) for record in records] == [
        ("attach", AuditOutcome.STARTED),
        ("job-accepted", AuditOutcome.STARTED),
        ("job-ended", AuditOutcome.OK),
        ("attach", AuditOutcome.OK),
    ]
    assert {record.certificate for record in records} == {alice.serial}
    assert {record.address.rpartition(":")[0] for record in records} == {"127.0.0.1"}
    assert [record.outcome for record in told(state, who="viewer/eve")] == [AuditOutcome.REFUSED]


async def test_an_agent_that_cannot_write_goes_on_and_says_so(mesh: Mesh, quiet_port: int) -> None:
    controller = Controller()
    async with mesh.serving(controller) as (_, port):
        state = mesh.agent_state("a", f"127.0.0.1:{port}")
        audit_path(state).mkdir()
        async with running(state) as agent:
            await ready(controller)
            await agent.logged("audit records cannot be written and are lost")
            controller.send(job("j", f"127.0.0.1:{quiet_port}"))
            assert (await controller.end_of("j")).status is JobStatus.DONE
            assert [measured.outcome for measured in controller.rows["j"]] == [Outcome.OK]
            assert await agent.stop() == 0


# --- mesh-agent audit -------------------------------------------------------------------------------------

PAYLOAD = "\n2026-11-27T04:00:00Z  ok  forged \x1b[2J\u202e"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = audit_path(tmp_path)
    path.parent.mkdir()
    records = [
        AuditRecord(1_795_752_000_000_000_000, "start", who="local"),
        AuditRecord(
            1_795_752_001_000_000_000,
            "job-ended",
            AuditOutcome.DENIED,
            who="operator/alice",
            address="192.0.2.1:4711",
            asked_by=PAYLOAD,
            kinds=("tcp",),
            targets=(PAYLOAD, "db:5432"),
            counts=counted({"denied": 3}),
            run="r1",
        ),
    ]
    path.write_bytes(b"".join(map(line_of, records)) + b"{torn\n")
    return tmp_path


def test_it_is_shown_line_by_line(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--state", str(kept)]) == 0
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert first.startswith("2026-11-27T04:00:00Z  ok         start")
    assert second.startswith(
        "2026-11-27T04:00:01Z  denied     job-ended        operator/alice 192.0.2.1:4711"
    )
    assert "3 denied" in second
    assert second.isprintable()
    assert "1 lines were no records" in err


def test_as_json_it_is_what_the_file_holds(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--state", str(kept), "-o", "jsonl", "--who", "alice"]) == 0
    line = capsys.readouterr().out
    assert line.encode() in audit_path(kept).read_bytes()
    assert main(["audit", "--state", str(kept), "-o", "json"]) == 0
    out = capsys.readouterr().out
    value = json.loads(out)
    assert out.isascii()
    assert [record["event"] for record in value["records"]] == ["start", "job-ended"]
    assert value["records"][1]["targets"] == [PAYLOAD, "db:5432"]


@pytest.mark.parametrize(
    ("options", "events"),
    [
        (["--outcome", "denied"], ["job-ended"]),
        (["--run", "r1"], ["job-ended"]),
        (["--event", "st*"], ["start"]),
        (["--since", "2026-11-27T04:00:01"], ["job-ended"]),
        (["--limit", "1"], ["job-ended"]),
        (["--who", "nobody"], []),
    ],
)
def test_it_is_asked_for(
    kept: Path, capsys: pytest.CaptureFixture[str], options: list[str], events: list[str]
) -> None:
    assert main(["audit", "--state", str(kept), "-o", "jsonl", *options]) == 0
    out = capsys.readouterr().out
    assert [json.loads(line)["event"] for line in out.splitlines()] == events


@pytest.mark.parametrize("options", [["--since", "soon"], ["--limit", "0"]])
def test_what_cannot_be_meant(kept: Path, capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    assert main(["audit", "--state", str(kept), *options]) == 2
    assert options[0] in capsys.readouterr().err
