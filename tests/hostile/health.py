"""What honest peers of a controller feel while others flood it: how long an operator waits for a list of
agents, and for what an agent measures.

The controller is the real program; agents and operator are in this process, over mutual TLS; floods come from
another (:mod:`.floods`).
"""

import asyncio
import contextlib
import json
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from probemesh_controller.api import RunEnded, RunMeasured, RunRequest
from probemesh_controller.pki.authority import Authority
from probemesh_controller.pki.ca import CertificateAuthority, new_key, private_pem
from probemesh_controller.remote import RemoteMesh
from probemesh_shared.clock import SystemClock
from probemesh_shared.identity.files import Identity, load_identity, make_identity, save_identity
from probemesh_shared.identity.names import Subject, controller_dns
from probemesh_shared.model import Measurement, Options, PortRange, Sample, Target, TcpSpec
from probemesh_shared.rpc.client import connect
from probemesh_shared.rpc.framestream import fleet_link
from probemesh_shared.session.driver import Wake, drive
from probemesh_shared.session.events import Event, JobArrived
from probemesh_shared.session.frames import MIN_PROTOCOL, PROTOCOL, Hello, JobStatus
from probemesh_shared.session.machine import Session, Side
from probemesh_shared.session.outbox import Outbox
from probemesh_shared.words import AgentState, Kind, Outcome, Role

from tests.hostile.floods import ELSEWHERE

ROOT = Path(__file__).resolve().parents[2]
AGENTS = 20
_TARGET = Target("db.internal:5432", "db.internal", (PortRange(5432, 5432),))


def issued(ca: CertificateAuthority, name: str) -> Identity:
    key = new_key()
    made = ca.issue(Subject(ca.mesh, Role.AGENT, f"id-{name}", name), key.public_key())
    return make_identity(made.certificate_pem, private_pem(key), ca.certificate_pem)


async def answer_jobs(name: str, identity: Identity, address: str) -> None:
    """An agent that measures in no time."""
    outbox, wake, clock = Outbox(), Wake(), SystemClock()
    hello = Hello(PROTOCOL, MIN_PROTOCOL, "probemesh/test", "1", name)
    session = Session(Side.AGENT, hello, clock.monotonic(), outbox=outbox)
    sample = Sample(0, 0.0, 0.7, Outcome.OK)

    async def handle(event: Event) -> None:
        if isinstance(event, JobArrived):
            now = time.time_ns()
            row = Measurement(Kind.TCP, 0, _TARGET.text, "192.0.2.1", 5432, Outcome.OK, now, (sample,))
            outbox.add(event.job.id, [row])
            outbox.end(event.job.id, JobStatus.DONE)
            wake.poke()

    await drive(
        session, fleet_link(connect(address, identity, controller_dns(identity.mesh))), clock, handle, wake
    )
    raise AssertionError(f"{name} lost its link")


@dataclass
class Felt:
    """Seconds that each request took."""

    lists: list[float] = field(default_factory=list)
    runs: list[float] = field(default_factory=list)

    def add(self, other: "Felt") -> None:
        self.lists += other.lists
        self.runs += other.runs

    @property
    def p99_s(self) -> float:
        """Of the kind of request that fared worse."""
        return max(p99(self.lists), p99(self.runs))


def p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * 99 // 100)]


class Honest:
    """The operator's part."""

    def __init__(self, mesh: RemoteMesh) -> None:
        self._mesh = mesh
        self._runs = 0

    async def there(self) -> int:
        return sum(agent.state is AgentState.CONNECTED for agent in await self._mesh.agents())

    async def feel(self, seconds: float) -> Felt:
        """Requests one after the other, of both kinds, with a pause in which others may have their turn."""
        felt, end = Felt(), time.monotonic() + seconds
        while time.monotonic() < end:
            felt.lists.append(await self._list())
            felt.runs.append(await self._run())
            await asyncio.sleep(0.005)
        return felt

    async def _list(self) -> float:
        began = time.monotonic()
        assert await self.there() == AGENTS, "an honest agent lost its link"
        return time.monotonic() - began

    async def _run(self) -> float:
        """From the request to the agent's measurement: there and back, and through the store."""
        self._runs += 1
        name = name_of(self._runs % AGENTS)
        request = RunRequest(secrets.token_hex(8), (_TARGET,), (TcpSpec(Options(count=1)),), (name,), 20.0)
        began, took = time.monotonic(), 0.0
        async for event in self._mesh.run(request):
            if isinstance(event, RunMeasured):
                took = time.monotonic() - began
            assert not isinstance(event, RunEnded) or took, "a run without a measurement"
        return took


def name_of(number: int) -> str:
    return f"honest-{number}"


@contextlib.asynccontextmanager
async def honest(state: Path, address: str) -> AsyncIterator[Honest]:
    """All agents connected; whatever they meet is raised in the end."""
    ca = Authority(state / "controller").signing()
    mesh = RemoteMesh(address, load_identity(state / "operator"))
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(answer_jobs(name, issued(ca, name), address))
            for name in map(name_of, range(AGENTS))
        ]
        made = Honest(mesh)
        while await made.there() < AGENTS:  # noqa: ASYNC110 (another process; no event to wait for)
            await asyncio.sleep(0.05)
        yield made
        for task in tasks:
            task.cancel()
    await mesh.aclose()


@dataclass
class Flood:
    """What it did, once it is over."""

    dialled: int = 0
    sent: int = 0


@contextlib.contextmanager
def flood(kind: str, address: str, villain: Path, source: str = ELSEWHERE) -> Iterator[Flood]:
    done = Flood()
    words = [sys.executable, "-m", "tests.hostile.floods", kind, address, str(villain), source]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        try:
            assert child.stdout.readline() == "began\n"
            yield done
            child.stdin.close()
            done.__init__(**json.loads(child.stdout.readline()))  # type: ignore[misc]
        finally:
            child.kill()


def villain(state: Path, folder: Path) -> Path:
    """Somebody with a good certificate, who means harm; where it stands."""
    save_identity(folder, issued(Authority(state / "controller").signing(), "villain"))
    return folder
