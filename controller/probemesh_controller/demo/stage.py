"""A whole mesh on this machine, up and down again: CA, controller, web server, three agents."""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probemesh_shared.errors import InvalidRequest, MeshError, StateError
from probemesh_shared.identity.files import load_identity
from probemesh_shared.words import AgentState

from probemesh_controller import config
from probemesh_controller.api import TokenRequest
from probemesh_controller.demo.crew import CREW, DROPPED, AgentProcess
from probemesh_controller.demo.web import Website
from probemesh_controller.pki.mesh import init_mesh
from probemesh_controller.remote import RemoteMesh
from probemesh_controller.serve import serve

MESH = "demo"
CONNECT_S, LOOK_S = 60.0, 0.05


@dataclass(frozen=True, slots=True)
class Stage:
    """``target`` is the web server's URL."""

    state: Path
    target: str

    @property
    def config(self) -> Path:
        return self.state / "config.toml"


@contextlib.contextmanager
def folder(state: Path | None) -> Iterator[Path]:
    """``state``, which must be new or empty and is kept; else a temporary folder, gone at the end."""
    if not sys.platform.startswith("linux"):
        raise InvalidRequest("the demo needs Linux: its agents do")
    if state is not None:
        yield _fresh(state)
        return
    made = Path(tempfile.mkdtemp(prefix="probemesh-demo-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _fresh(state: Path) -> Path:
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(state.iterdir()):
            raise StateError(f"{state} is not empty", "the demo begins with nothing: give a new --state DIR")
    except OSError as error:
        raise StateError(f"{state} cannot be used: {error.strerror}") from error
    return state.absolute()


@contextlib.asynccontextmanager
async def raised(state: Path) -> AsyncIterator[Stage]:
    """Everything runs inside; at the end nothing of it does, however the end came."""
    async with contextlib.AsyncExitStack() as held:
        _init(state)  # not in a thread: an interrupt would leave it writing behind the clean-up
        address = await held.enter_async_context(_controller(state))
        site = Website(DROPPED.address)
        held.push_async_callback(site.close)
        await site.start()
        crew = [AgentProcess(member, state) for member in CREW]
        held.push_async_callback(_stop_all, crew)
        mesh = RemoteMesh(address, load_identity(state / "operator"))
        held.push_async_callback(mesh.aclose)
        await _all_enlisted(mesh, crew, address)
        await _all_connected(mesh, crew)
        yield Stage(state, f"http://127.0.0.1:{site.port}/")


def _init(state: Path) -> None:
    made = init_mesh(state, MESH)
    context = config.MeshContext(made.mesh, made.mesh, state / "operator")
    config.save(config.load(state / "config.toml").with_context(context))


@contextlib.asynccontextmanager
async def _controller(state: Path) -> AsyncIterator[str]:
    """What ``meshctl controller run`` runs, in this process."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    serving = asyncio.create_task(
        serve(state, "127.0.0.1:0", None, on_ready=ready.set_result, stop=stop), name="controller"
    )
    try:
        either: set[asyncio.Future[Any]] = {serving, ready}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield ready.result()
    finally:
        stop.set()
        await asyncio.gather(serving, return_exceptions=True)


async def _all_enlisted(mesh: RemoteMesh, crew: list[AgentProcess], controller: str) -> None:
    """All at once. Raises what kept the first of them from it; the others are given up."""
    try:
        async with asyncio.TaskGroup() as group:
            for agent in crew:
                group.create_task(_enlist(agent, mesh, controller))
    except* MeshError as failed:
        first: BaseException = failed
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        refused = first
    else:
        return
    raise refused


async def _enlist(agent: AgentProcess, mesh: RemoteMesh, controller: str) -> None:
    member = agent.member
    issued = await mesh.create_token(TokenRequest(name=member.name, site=member.site, ttl_s=300))
    await agent.join(controller, issued.token)
    await agent.run()


async def _all_connected(mesh: RemoteMesh, crew: list[AgentProcess]) -> None:
    wanted = {agent.member.name for agent in crew}
    try:
        async with asyncio.timeout(CONNECT_S):
            while wanted - {one.name for one in await mesh.agents() if one.state is AgentState.CONNECTED}:
                for agent in crew:
                    if agent.is_over:
                        raise MeshError(f"the demo's agent {agent.member.name} ended", agent.last_words())
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise MeshError(
            f"not all of the demo's agents connected within {CONNECT_S:g} s",
            "is the machine very busy (uptime)? --state DIR keeps what each said, in DIR/logs",
        ) from None


async def _stop_all(crew: list[AgentProcess]) -> None:
    await asyncio.gather(*(agent.stop() for agent in crew))


def settle_environment(state: Path) -> None:
    """This process is about the demo alone: neither its names nor its runs are remembered elsewhere."""
    os.environ["XDG_CACHE_HOME"] = str(state / "cache")
    os.environ["MESHCTL_HISTORY"] = str(state / "history")
