"""A watch in a real agent: whatever ends it, nothing is left listening."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from probemesh_shared.model import Job, Target, WatchDetail, WatchSpec
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import Outcome

from tests.agent.mesh import Agent, Controller, Mesh, running
from tests.responder.conftest import TOKEN

SPEC = WatchSpec(token=TOKEN, surrogate=True)
AT = Target("127.0.0.1", "127.0.0.1", addresses=("127.0.0.1",))


def sockets(pid: int) -> set[str]:
    """Listening TCP and bound UDP sockets of that process, as lines of /proc/net."""
    inodes = set()
    for name in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            inodes.add(str(name.readlink()).removeprefix("socket:[").rstrip("]"))
    found: set[str] = set()
    for file in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{file}").read_text().splitlines()[1:]:
            words = line.split()
            if words[9] in inodes and words[3] in ("0A", "07"):
                found.add(f"{file} {words[1]}")
    return found


async def until_gone(pid: int, seconds: float) -> None:
    for _ in range(round(seconds / 0.05)):
        if not sockets(pid):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"after {seconds:g} s still open: {sockets(pid)}")


def bound(port: int) -> list[str]:
    """Sockets of anybody's on that port."""
    texts = (Path(f"/proc/net/{file}").read_text() for file in ("tcp", "tcp6", "udp", "udp6"))
    lines = (line.split() for text in texts for line in text.splitlines()[1:])
    return [words[1] for words in lines if words[1].endswith(f":{port:04X}")]


class Watched:
    """One agent, its controller's end, and an armed watch."""

    def __init__(self, controller: Controller, agent: Agent) -> None:
        self.controller, self.agent = controller, agent

    @property
    def pid(self) -> int:
        return self.agent.process.pid

    async def arm(self, budget_ms: int = 60_000) -> WatchDetail:
        self.controller.send(Job("w", "run", SPEC, (AT,), budget_ms))
        await self.controller.until(lambda it: "w" in it.rows)
        detail = self.controller.rows["w"][0].detail
        assert isinstance(detail, WatchDetail) and detail.surrogate_port
        assert len(sockets(self.pid)) >= 3
        return detail


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    mesh, controller = Mesh(tmp_path), Controller()
    async with mesh.serving(controller) as (_, port):
        state = mesh.agent_state("a", f"127.0.0.1:{port}")
        async with running(state) as agent:
            async with asyncio.timeout(20):
                await controller.ready.wait()
            assert not sockets(agent.process.pid)
            yield Watched(controller, agent)


async def test_hello_tells_the_signals_of_this_host(watched: Watched) -> None:
    assert watched.controller.hello is not None
    told = set(watched.controller.hello.capabilities)
    assert {"kind:watch", "counter:Ip.InDelivers", "counter:TcpExt.EmbryonicRsts", "sock-diag"} <= told


async def test_a_watch_is_looked_at_by_another_job_and_cancelled(watched: Watched) -> None:
    await watched.arm()
    watched.controller.send(Job("l", "run", replace(SPEC, look=True), (AT,), 2000))
    assert (await watched.controller.end_of("l")).status is JobStatus.DONE
    (row,) = watched.controller.rows["l"]
    assert isinstance(row.detail, WatchDetail) and row.detail.look == 1
    watched.controller.cancel("w")
    assert (await watched.controller.end_of("w")).status is JobStatus.CANCELLED
    assert not sockets(watched.pid)
    watched.controller.send(Job("m", "run", replace(SPEC, look=True), (AT,), 2000))
    await watched.controller.end_of("m")
    assert [row.outcome for row in watched.controller.rows["m"]] == [Outcome.UNMEASURED]


async def test_its_budget_ends_it(watched: Watched) -> None:
    await watched.arm(budget_ms=500)
    await watched.controller.end_of("w")
    assert not sockets(watched.pid)


@pytest.mark.slow
async def test_the_loss_of_its_link_ends_it(tmp_path: Path) -> None:
    mesh, controller = Mesh(tmp_path), Controller()
    async with mesh.serving(controller) as (server, port):
        state = mesh.agent_state("a", f"127.0.0.1:{port}")
        async with running(state) as agent:
            async with asyncio.timeout(20):
                await controller.ready.wait()
            await Watched(controller, agent).arm()
            await server.stop()
            assert sockets(agent.process.pid), "a link may come back"
            await until_gone(agent.process.pid, 20)


async def test_an_agent_that_is_told_to_stop_gives_it_back(watched: Watched) -> None:
    port = (await watched.arm()).surrogate_port
    assert port is not None and len(bound(port)) == 4
    assert await watched.agent.stop() == 0
    assert not bound(port)
