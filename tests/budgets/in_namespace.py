"""Run as a program inside a namespace: ``in_namespace.py alone|mesh FOLDER VICTIM``. Prints what came of it.

``alone``: one agent's runner, and jobs as a controller sends them that was taken over: many at once, and no
pacing. ``mesh``: a controller in this process, agents as programs, and several runs of all of them."""

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from probemesh_agent.enrol import join
from probemesh_agent.kit import all_probes
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.runner import Runner
from probemesh_controller.api import RunMeasured, RunRequest, RunVantageEnded, TokenRequest
from probemesh_controller.pki.mesh import init_mesh
from probemesh_controller.remote import RemoteMesh
from probemesh_controller.serve import serve
from probemesh_shared.clock import SystemClock
from probemesh_shared.identity.files import load_identity
from probemesh_shared.model import (
    DnsSpec,
    HttpSpec,
    IcmpSpec,
    Job,
    Measurement,
    Options,
    PortRange,
    Spec,
    Target,
    TcpSpec,
    TlsSpec,
    TraceSpec,
    UdpSpec,
)
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import AgentState

from tests.budgets.sizes import AGENTS, ALONE_S, MESH_S

OFTEN = Options(count=200, interval_s=0.01, timeout_s=0.5)
ONCE = Options(timeout_s=0.5, count=1)


def place(host: str, ports: int = 0) -> tuple[Target, ...]:
    spans = (PortRange(20_001, 20_000 + ports),) if ports else ()
    return (Target(f"{host}:20001-{20_000 + ports}" if ports else host, host, spans),)


# --- one agent ----------------------------------------------------------------------------------------------


class Lane:
    """Nobody reads what comes of it."""

    owner = "a controller that was taken over"

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()

    async def room(self) -> None:
        return

    def add(self, job_id: str, measurements: tuple[Measurement, ...]) -> None:
        for row in measurements:
            self.outcomes.update(sample.outcome.value for sample in row.samples)

    def end(self, job_id: str, status: JobStatus, detail: str) -> None:
        self.outcomes[status.value] += 1


async def alone(folder: Path, host: str) -> dict[str, int]:
    asked: list[tuple[Spec, tuple[Target, ...]]] = [
        (TcpSpec(ONCE), place(host, 400)),
        (TcpSpec(OFTEN), place(host, 20)),
        (IcmpSpec(OFTEN), place(host)),
        (UdpSpec(ONCE), place(host, 400)),
        (DnsSpec(OFTEN, server=host), (Target("name.example", "name.example"),)),
        (TraceSpec(OFTEN), place(host)),
        (HttpSpec(OFTEN), place(host, 20)),
        (TlsSpec(OFTEN), place(host, 20)),
    ]
    clock, lane = SystemClock(), Lane()
    network = SystemNetwork(clock, Policy.load(folder / "policy.toml"))
    runner = Runner(all_probes(), network, clock)
    try:
        for number, (spec, targets) in enumerate(asked * 3):
            runner.start(Job(f"j{number}", "r", spec, targets, int(ALONE_S * 1000)), lane)
        await runner.finish(ALONE_S + 2, "over")
    finally:
        network.close()
    return dict(lane.outcomes)


# --- a mesh -------------------------------------------------------------------------------------------------


async def mesh(folder: Path, host: str) -> dict[str, int]:
    state = folder / "mesh"
    await asyncio.to_thread(init_mesh, state, "lab")
    (state / "limits.toml").write_text((folder / "limits.toml").read_text())
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(state, "127.0.0.1:0", None, on_ready=ready.set_result, stop=stop))
    address = await ready
    client = RemoteMesh(address, load_identity(state / "operator"))
    names = tuple(f"a{number}" for number in range(AGENTS))
    token = await client.create_token(TokenRequest(uses=AGENTS))
    for name in names:
        await join(folder / name, address, token.token, name)
    agents = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "probemesh_agent", "run", "--state", str(folder / name)),
            stderr=asyncio.subprocess.DEVNULL,
        )
        for name in names
    ]
    try:
        while {a.name for a in await client.agents() if a.state is AgentState.CONNECTED} < set(names):  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # they are programs; there is no event to wait for
        asked: list[tuple[Spec, tuple[Target, ...]]] = [
            (TcpSpec(ONCE), place(host, 40)),
            (TcpSpec(ONCE), place(host, 40)),
            (IcmpSpec(OFTEN), place(host)),
            (UdpSpec(ONCE), place(host, 60)),
        ]
        counts = await asyncio.gather(
            *(
                run(client, RunRequest(f"r{number}", targets, (spec,), names, MESH_S))
                for number, (spec, targets) in enumerate(asked)
            )
        )
    finally:
        for agent in agents:
            agent.terminate()
            await agent.wait()
        await client.aclose()
        stop.set()
        await serving
    return dict(sum(counts, Counter()))


async def run(client: RemoteMesh, request: RunRequest) -> Counter[str]:
    found: Counter[str] = Counter()
    async for event in client.run(request):
        if isinstance(event, RunMeasured):
            for row in event.measurements:
                found.update(sample.outcome.value for sample in row.samples)
        elif isinstance(event, RunVantageEnded):
            found[event.status.value] += 1
    return found


if __name__ == "__main__":
    way, there, victim = sys.argv[1:]
    print(json.dumps(asyncio.run({"alone": alone, "mesh": mesh}[way](Path(there), victim))))
