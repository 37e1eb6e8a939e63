"""A controller's end in the test's own process, and agents as real child processes."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probemesh.v1.session_pb2_grpc import add_FleetServicer_to_server
from probemesh_controller.pki.ca import CertificateAuthority, new_key, private_pem
from probemesh_shared.clock import SystemClock
from probemesh_shared.identity.files import Identity, make_identity, save_identity
from probemesh_shared.identity.names import Subject, agent_dns
from probemesh_shared.model import Job, Measurement, Options, Spec, TcpSpec
from probemesh_shared.rpc.client import connect
from probemesh_shared.rpc.framestream import agent_link, served_fleet_link
from probemesh_shared.rpc.server import MeshServer
from probemesh_shared.session.driver import FrameStream, Wake, drive
from probemesh_shared.session.events import Event, JobEnded, Ready, ResultsArrived
from probemesh_shared.session.frames import Hello
from probemesh_shared.session.inbox import Inbox
from probemesh_shared.session.machine import Session, Side
from probemesh_shared.targets import parse_target
from probemesh_shared.words import Role

MESH = "test"
ALLOW_LOOPBACK = "[allow]\nloopback = true\n"


@dataclass
class Controller:
    """One instance of a controller with one agent; what came is committed at once."""

    inbox: Inbox = field(default_factory=Inbox)
    instance: str = "one"
    rows: dict[str, list[Measurement]] = field(default_factory=dict)
    ends: dict[str, JobEnded] = field(default_factory=dict)
    hello: Hello | None = None
    session: Session | None = None
    wake: Wake | None = None
    links: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def attach(self, link: FrameStream) -> None:
        hello = Hello(1, 1, "probemesh test", self.instance)
        clock, self.wake = SystemClock(), Wake()
        session = self.session = Session(Side.CONTROLLER, hello, clock.monotonic(), inbox=self.inbox)
        wake = self.wake
        try:
            await drive(session, link, clock, self._handle, wake)
        finally:
            if self.session is session:
                self.ready.clear()

    async def _handle(self, event: Event) -> None:
        assert self.session is not None
        match event:
            case Ready(peer):
                self.hello = peer
                self.links += 1
                self.ready.set()
            case ResultsArrived(job_id, seq, measurements):
                self.rows.setdefault(job_id, []).extend(measurements)
                self.session.committed(job_id, seq)
            case JobEnded(job_id, seq):
                self.ends[job_id] = event
                self.session.committed(job_id, seq)
        async with self.changed:
            self.changed.notify_all()

    def send(self, job: Job) -> None:
        assert self.session is not None
        assert self.wake is not None
        self.session.send_job(job)
        self.wake.poke()

    def cancel(self, job_id: str) -> None:
        assert self.session is not None
        assert self.wake is not None
        self.session.cancel(job_id, "test")
        self.wake.poke()

    async def until(self, what: Any) -> None:
        """Until ``what(self)`` holds."""
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(lambda: what(self))

    async def end_of(self, job_id: str) -> JobEnded:
        await self.until(lambda self: job_id in self.ends)
        return self.ends[job_id]


class Fleet:
    """The servicer: every stream goes to the one controller."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller

    async def Attach(self, requests: Any, context: Any) -> None:
        await self.controller.attach(served_fleet_link(context))


class Mesh:
    """A CA, and folders of identities by it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = CertificateAuthority.create(MESH)
        self.identity = self.issue(Role.CONTROLLER, "controller", "controller")

    def issue(
        self, role: Role, subject_id: str, name: str, ca: CertificateAuthority | None = None
    ) -> Identity:
        ca = ca or self.ca
        key = new_key()
        issued = ca.issue(Subject(MESH, role, subject_id, name), key.public_key())
        return make_identity(issued.certificate_pem, private_pem(key), ca.certificate_pem)

    def agent_state(self, name: str, controller: str, ca: CertificateAuthority | None = None) -> Path:
        """A state directory as joining leaves it, with a policy that allows loopback beside it."""
        state = self.folder / name
        state.mkdir(parents=True)
        save_identity(state / "agent", self.issue(Role.AGENT, f"id-{name}", name, ca))
        (state / "agent" / "agent.toml").write_text(f'controller = "{controller}"\n')
        (state / "policy.toml").write_text(ALLOW_LOOPBACK)
        return state

    @contextlib.asynccontextmanager
    async def serving(
        self, controller: Controller, port: int = 0, host: str = "127.0.0.1"
    ) -> AsyncIterator[tuple[MeshServer, int]]:
        server = MeshServer(self.identity)
        servicer: Any = Fleet(controller)
        server.add(add_FleetServicer_to_server, servicer)
        bound = await server.start(f"{host}:{port}")
        try:
            yield server, bound
        finally:
            await server.stop()

    @contextlib.asynccontextmanager
    async def dialling(
        self, controller: Controller, name: str, port: int, who: Identity
    ) -> AsyncIterator[None]:
        """``controller`` dials a listening agent as ``who``."""
        connection = connect(f"127.0.0.1:{port}", who, agent_dns(name, MESH))
        task = asyncio.create_task(controller.attach(agent_link(connection)))
        try:
            async with asyncio.timeout(10):
                await controller.ready.wait()
            yield
        finally:
            if controller.wake is not None:
                controller.wake.close()
            await task


@dataclass
class Agent:
    """A ``mesh-agent`` process. ``lines`` is its log."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def read_log(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.lines.append(line.decode())
            self.changed.set()
        self.changed.set()

    async def logged(self, text: str) -> str:
        """The first line with ``text``, once it is there."""
        async with asyncio.timeout(20):
            while True:
                for line in self.lines:
                    if text in line:
                        return line
                self.changed.clear()
                await self.changed.wait()

    async def stop(self) -> int:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def running(
    state: Path, *options: str, environ: dict[str, str] | None = None, stdin: int | None = None
) -> AsyncIterator[Agent]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "probemesh_agent",
        "run",
        "--state",
        str(state),
        "--policy",
        str(state / "policy.toml"),
        *options,
        stdin=stdin,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environ or {})},
    )
    agent = Agent(process)
    log = asyncio.create_task(agent.read_log())
    try:
        yield agent
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await log


def job(job_id: str, *targets: str, spec: Spec | None = None, budget_ms: int = 10_000) -> Job:
    chosen = spec or TcpSpec(Options(count=1, timeout_s=1.0))
    return Job(job_id, f"run-{job_id}", chosen, tuple(map(parse_target, targets)), budget_ms)
