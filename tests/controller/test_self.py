"""This machine as a vantage point: the real child process, alone and beside a mesh."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from probemesh_controller import combined, selfvantage
from probemesh_controller.api import (
    Mesh,
    PlannedVantage,
    RunEnded,
    RunEvent,
    RunMeasured,
    RunPlanned,
    RunRequest,
    RunVantageEnded,
)
from probemesh_controller.selfvantage import combine, owned
from probemesh_shared.errors import InvalidRequest, Unreachable
from probemesh_shared.model import AgentInfo, IcmpSpec, Options, Target, TcpSpec
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.targets import parse_target
from probemesh_shared.words import FailureKind, Outcome

QUICK = TcpSpec(Options(count=2, interval_s=0.01, timeout_s=1))
ENDLESS = IcmpSpec(Options(count=1000, interval_s=0.5))


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(64)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


class Scripted:
    """A mesh that tells what it was given."""

    def __init__(
        self, *events: RunEvent, error: Exception | None = None, agents: tuple[AgentInfo, ...] = ()
    ) -> None:
        self._events = events
        self._error = error
        self._agents = agents

    async def agents(self) -> tuple[AgentInfo, ...]:
        return self._agents

    async def run(self, request: RunRequest) -> AsyncGenerator[RunEvent, None]:
        for event in self._events:
            yield event
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        pass


def scripted(*events: RunEvent, **more: Any) -> Mesh:
    return cast(Mesh, Scripted(*events, **more))


def request(*targets: Target, agents: tuple[str, ...] = ("self",), **more: Any) -> RunRequest:
    return RunRequest("r1", targets, more.pop("specs", (QUICK,)), agents, more.pop("deadline_s", 5.0))


SLOW = "1000 connections to 192.0.2.1 at {}/s {} take at least {} s; the deadline of 5 s leaves {} unmeasured"


@pytest.mark.parametrize(
    ("agents", "said"),
    [(("self",), (100, "mesh-wide", 10, "50%")), (("self", "berlin"), (20, "from self", 50, "90%"))],
    ids=["alone", "beside"],
)
async def test_pacing_of_self_is_announced_before_it_is_felt(
    agents: tuple[str, ...], said: tuple[object, ...]
) -> None:
    mesh = scripted(RunPlanned((PlannedVantage("berlin"),), ("theirs",)), RunEnded())
    spec = TcpSpec(Options(count=1))
    asked = request(parse_target("192.0.2.1:1000-1999"), agents=agents, specs=(spec,))
    events = combine(mesh).run(asked)
    planned = await anext(events)
    await events.aclose()
    assert isinstance(planned, RunPlanned)
    theirs = ("theirs",) if "berlin" in agents else ()
    assert planned.notes == (*theirs, f"pacing: {SLOW.format(*said)}")


async def test_self_alone_measures(port: int) -> None:
    events = [e async for e in combine(None).run(request(parse_target(f"127.0.0.1:{port}")))]
    assert events[0] == RunPlanned((PlannedVantage("self"),))
    assert events[-1] == RunEnded(False)
    (row,) = [row for e in events if isinstance(e, RunMeasured) for row in e.measurements]
    assert row.outcome is Outcome.OK and len(row.samples) == 2
    assert [(e.agent, e.status) for e in events if isinstance(e, RunVantageEnded)] == [
        ("self", JobStatus.DONE)
    ]


async def test_self_beside_a_mesh_is_one_run(port: int) -> None:
    mesh = scripted(
        RunPlanned((PlannedVantage("berlin", "eu"),), ("a note",)),
        RunVantageEnded("berlin", 0, JobStatus.DONE),
        RunEnded(False),
    )
    asked = request(parse_target(f"127.0.0.1:{port}"), agents=("self", "berlin"))
    events = [e async for e in combine(mesh).run(asked)]
    assert events[0] == RunPlanned((PlannedVantage("self"), PlannedVantage("berlin", "eu")), ("a note",))
    assert {e.agent for e in events if isinstance(e, RunVantageEnded)} == {"self", "berlin"}
    assert [type(e) for e in events].count(RunEnded) == 1 and events[-1] == RunEnded(False)


async def test_a_mesh_that_fails_midway_does_not_take_self_with_it(port: int) -> None:
    mesh = scripted(RunPlanned((PlannedVantage("berlin"),)), error=Unreachable("gone"))
    seen: list[RunEvent] = []
    with pytest.raises(Unreachable):
        async for event in combine(mesh).run(
            request(parse_target(f"127.0.0.1:{port}"), agents=("self", "berlin"))
        ):
            seen.append(event)  # noqa: PERF401
    assert [e.status for e in seen if isinstance(e, RunVantageEnded)] == [JobStatus.DONE]


async def test_an_agent_target_is_dialled_by_the_fleets_addresses(port: int) -> None:
    fleet = (AgentInfo("berlin", addresses=("127.0.0.1",), id="b"), AgentInfo("tokyo", id="t"))
    mesh = scripted(RunPlanned((PlannedVantage("berlin"),)), RunEnded(False), agents=fleet)
    targets = parse_target(f"agent:berlin:{port}"), parse_target(f"agent:tokyo:{port}")
    events = [e async for e in combine(mesh).run(request(*targets, agents=("self", "berlin")))]
    rows = {row.target_index: row for e in events if isinstance(e, RunMeasured) for row in e.measurements}
    assert rows[0].outcome is Outcome.OK and rows[0].address == "127.0.0.1"
    assert rows[1].failure is not None and rows[1].failure.kind is FailureKind.NOT_ADDRESSABLE


async def test_closing_the_run_ends_the_child_within_a_second() -> None:
    others = _children()  # of tests that keep programs running
    events = combine(None).run(request(parse_target("icmp:127.0.0.1"), specs=(ENDLESS,), deadline_s=60))
    assert isinstance(await anext(events), RunPlanned)
    waiting = asyncio.ensure_future(anext(events))
    children: set[int] = set()
    async with asyncio.timeout(10):
        while not children:
            await asyncio.sleep(0.02)  # until another process is there
            children = _children() - others
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(1.5):
        await cast(AsyncGenerator[RunEvent, None], events).aclose()
    assert not _children() - others


def _children() -> set[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return {int(pid) for pid in text.split()}


async def test_a_child_that_dies_is_lost_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'first' >&2\necho 'it \x1b[31mbroke' >&2\nexit 7\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    events = [e async for e in combine(None).run(request(parse_target("127.0.0.1:1")))]
    (end,) = [e for e in events if isinstance(e, RunVantageEnded)]
    assert end.status is JobStatus.LOST
    assert "died: it \\x1b[31mbroke" in end.detail


async def test_a_child_that_talks_nonsense_or_cannot_start_is_lost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nprintf '\\377\\377\\377\\377nonsense'\nsleep 60\n")
    program.chmod(0o755)
    for executable, said in ((str(program), "cannot be understood"), (str(tmp_path / "none"), "cannot run")):
        monkeypatch.setattr(sys, "executable", executable)
        events = [e async for e in combine(None).run(request(parse_target("127.0.0.1:1")))]
        (end,) = [e for e in events if isinstance(e, RunVantageEnded)]
        assert end.status is JobStatus.LOST and said in end.detail


async def test_elsewhere_than_linux_it_is_left_out_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combined, "self_available", lambda: False)
    events = [e async for e in combine(None).run(request(parse_target("127.0.0.1:1")))]
    planned = events[0]
    assert isinstance(planned, RunPlanned)
    assert planned.vantages[0].outcome is Outcome.UNSUPPORTED and "Linux" in planned.notes[0]
    assert events[1:] == [RunEnded(False)]


async def test_without_a_mesh_agents_are_unmeasured_and_commands_say_what_to_do() -> None:
    asked = request(parse_target("127.0.0.1:1"), agents=("berlin",))
    events = [e async for e in combine(None).run(asked)]
    planned = events[0]
    assert isinstance(planned, RunPlanned) and planned.vantages[0].outcome is Outcome.UNMEASURED
    with pytest.raises(InvalidRequest, match="no mesh"):
        await combine(None).status()
    assert await combine(None).agents() == ()


def test_own_addresses_are_those_that_can_be_bound() -> None:
    assert owned(("127.0.0.1", "192.0.2.1")) == ("127.0.0.1",)
    assert selfvantage.self_available() == sys.platform.startswith("linux")
