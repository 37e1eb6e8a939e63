"""What a controller takes in: measurements a second from simulated agents, over mutual TLS, into SQLite and
out to a client; how long its event loop was held meanwhile.

The controller runs in a child process as ``meshctl controller run`` runs it, with a ticker beside it; the
agents (real sessions and outboxes) and the client share this one, so that on two cores each side has one.
At most 20 s.
"""

import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from probemesh_controller.api import RunMeasured, RunPlanned, RunRequest
from probemesh_controller.pki.authority import Authority
from probemesh_controller.pki.ca import CertificateAuthority, new_key, private_pem
from probemesh_controller.pki.mesh import init_mesh
from probemesh_controller.remote import RemoteMesh
from probemesh_controller.serve import serve
from probemesh_shared.clock import SystemClock
from probemesh_shared.identity.files import Identity, load_identity, make_identity
from probemesh_shared.identity.names import Subject, controller_dns
from probemesh_shared.model import Job, Measurement, Options, PortRange, Sample, Target, TcpDetail, TcpSpec
from probemesh_shared.rpc.client import connect
from probemesh_shared.rpc.framestream import fleet_link
from probemesh_shared.session.driver import Wake, drive
from probemesh_shared.session.events import CancelArrived, Event, JobArrived
from probemesh_shared.session.frames import MIN_PROTOCOL, PROTOCOL, Hello, JobStatus
from probemesh_shared.session.machine import Session, Side
from probemesh_shared.session.outbox import Outbox
from probemesh_shared.words import AgentState, Kind, Outcome, Role, Timing

AGENTS = 8
SECONDS = 5.0
BATCH = 512
TICK_S = 0.005


def row(index: int) -> Measurement:
    """As a TCP connect leaves it: one sample, its evidence kept."""
    sample = Sample(0, 0.0, 0.731, Outcome.OK, timing=Timing.TCP_INFO, syn_retransmits=0)
    return Measurement(
        Kind.TCP,
        index,
        "db.internal:5432",
        "192.0.2.17",
        5432,
        Outcome.OK,
        time.time_ns(),
        (sample,),
        None,
        TcpDetail(local_address="192.0.2.1", local_port=40_001, mss=1448, pmtu=1500),
    )


class SimulatedAgent:
    """Fills its outbox as fast as acknowledgements make room, until ``end``."""

    def __init__(self, name: str, identity: Identity, address: str) -> None:
        self._name = name
        self._identity = identity
        self._address = address
        self._outbox = Outbox(limit=512 << 10)
        self._wake = Wake()
        self._tasks: set[asyncio.Task[None]] = set()
        self.end = asyncio.Event()

    async def run(self) -> None:
        connection = connect(self._address, self._identity, controller_dns(self._identity.mesh))
        hello = Hello(PROTOCOL, MIN_PROTOCOL, "bench", "1", self._name)
        clock = SystemClock()
        session = Session(Side.AGENT, hello, clock.monotonic(), outbox=self._outbox)
        await drive(session, fleet_link(connection), clock, self._handle, self._wake)

    async def _handle(self, event: Event) -> None:
        if isinstance(event, JobArrived):
            task = asyncio.create_task(self._flood(event.job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif isinstance(event, CancelArrived):
            self.end.set()

    async def _flood(self, job: Job) -> None:
        template = row(0)
        rows = [replace(template, target_index=index % len(job.targets)) for index in range(BATCH)]
        while not self.end.is_set():
            if self._outbox.room:
                self._outbox.add(job.id, rows)
                self._wake.poke()
            await asyncio.sleep(0 if self._outbox.room else 0.002)
        self._outbox.end(job.id, JobStatus.DONE)
        self._wake.poke()


def agent_identity(ca: CertificateAuthority, name: str) -> Identity:
    key = new_key()
    issued = ca.issue(Subject(ca.mesh, Role.AGENT, f"id-{name}", name), key.public_key())
    return make_identity(issued.certificate_pem, private_pem(key), ca.certificate_pem)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(15):
        while not await condition():  # noqa: ASYNC110 (another process; no event to wait for)
            await asyncio.sleep(0.02)


async def flood(state: Path, address: str) -> tuple[int, float]:
    """(measurements that reached the client, seconds)."""
    ca = Authority(state / "controller").signing()
    agents = [SimulatedAgent(f"a{n}", agent_identity(ca, f"a{n}"), address) for n in range(AGENTS)]
    links = [asyncio.create_task(agent.run()) for agent in agents]
    client = RemoteMesh(address, load_identity(state / "operator"))

    async def connected() -> bool:
        return sum(a.state is AgentState.CONNECTED for a in await client.agents()) == AGENTS

    await until(connected)
    targets = tuple(Target(f"db{n}:5432", f"db{n}", (PortRange(5432, 5432),)) for n in range(100))
    names = tuple(f"a{n}" for n in range(AGENTS))
    request = RunRequest("bench", targets, (TcpSpec(Options(count=1)),), names, SECONDS + 10)
    count, began = 0, 0.0
    async for event in client.run(request):
        if isinstance(event, RunPlanned):
            began = time.monotonic()
        if isinstance(event, RunMeasured):
            count += len(event.measurements)
        if began and time.monotonic() - began > SECONDS:
            for agent in agents:
                agent.end.set()
    seconds = time.monotonic() - began
    await client.aclose()
    for link in links:
        link.cancel()
    await asyncio.gather(*links, return_exceptions=True)
    return count, seconds


async def measure(state: Path) -> list[dict[str, object]]:
    await asyncio.to_thread(init_mesh, state, "bench")
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "--serve", str(state)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    address = (await child.stdout.readline()).decode().strip()
    count, seconds = await flood(state, address)
    child.stdin.close()
    held_ms = float((await child.stdout.readline()).decode())
    await child.wait()
    database = state / "controller" / "store.sqlite"
    db = sqlite3.connect(database)
    (stored,) = db.execute("SELECT sum(count) FROM batch").fetchone()
    db.close()
    if stored != count:
        raise SystemExit(f"{stored} measurements are stored and {count} were shown: that is a fault")
    return [
        _row("controller, measurements stored and shown a second", count / seconds, "/s", 30_000, False),
        _row("controller, its loop held at most", held_ms, "ms", 20, True),
        _row("controller, bytes stored a measurement", database.stat().st_size / stored, "B", 8, True),
    ]


def _row(what: str, ours: float, unit: str, budget: float, at_most: bool) -> dict[str, object]:
    return {"what": what, "ours": round(ours, 1), "unit": unit, "budget": budget, "at_most": at_most}


async def serve_and_tick(state: Path) -> None:
    """The child: serves until stdin ends, then says how long its loop was held at worst, in ms."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_reader(sys.stdin, stop.set)
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        await asyncio.sleep(2.0)  # starting up is not what is measured
        while not stop.is_set():
            before = loop.time()
            await asyncio.sleep(TICK_S)
            worst = max(worst, loop.time() - before - TICK_S)

    ticking = asyncio.create_task(tick())
    await serve(state, "127.0.0.1:0", None, on_ready=lambda address: print(address, flush=True), stop=stop)
    ticking.cancel()
    print(worst * 1000, flush=True)


def main() -> int:
    if "--serve" in sys.argv:
        asyncio.run(serve_and_tick(Path(sys.argv[-1])))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(measure(Path(folder) / "state"))
    if "--json" in sys.argv:
        print(json.dumps(rows))
    else:
        for each in rows:
            sign = "≤" if each["at_most"] else "≥"
            print(f"{each['what']!s:<52} {each['ours']:>10} {each['unit']!s:<3} {sign} {each['budget']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
