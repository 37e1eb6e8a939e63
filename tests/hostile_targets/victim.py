"""Run as a program: lets an agent's own runner meet hostile servers, and prints for every job how long it
took and what came of it, and by how much its memory had grown at the most.

``victim.py PORTS.json CA.pem HOST``; the name of a meeting comes on standard input, its account goes to
standard output, one line of JSON each."""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from probemesh_agent.kit import all_probes
from probemesh_agent.lag import waited_ns
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.prepare import Preparation
from probemesh_agent.runner import Caps, Runner
from probemesh_shared.clock import SystemClock
from probemesh_shared.convert import pack_agent_frame, unpack_agent_frame
from probemesh_shared.model import Job, Measurement
from probemesh_shared.session.frames import ResultBatch

from tests.hostile_targets.meetings import CRAFTED, MEETINGS, Meeting, Servers

#: Far more at once than an agent takes on, so that a meeting is over sooner.
CAPS = Caps(jobs=1000, jobs_of_one_owner=1000)
_IDS = map(str, range(1 << 30))


def forget_peak() -> None:
    """``VmHWM`` counts from here (proc(5))."""
    Path("/proc/self/clear_refs").write_text("5")


def memory() -> dict[str, int]:
    """``VmRSS`` and ``VmHWM`` in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in lines)
        if name in ("VmRSS", "VmHWM")
    }


@dataclass(slots=True)
class Told:
    """``took_s`` is without ``waited_s``, what this process waited for a processor."""

    took_s: float = 0.0
    waited_s: float = 0.0
    status: str = ""
    detail: str = ""
    outcomes: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    bytes: int = 0


@dataclass(slots=True)
class Lane:
    owner: str = "tester/1"
    began: tuple[float, int] = field(default_factory=lambda: (time.monotonic(), waited_ns()))
    told: Told = field(default_factory=Told)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def room(self) -> None:
        return

    def add(self, job_id: str, measurements: tuple[Measurement, ...]) -> None:
        """Every row has to come through the wire as it went in."""
        for row in measurements:
            packed = pack_agent_frame(ResultBatch(job_id, 1, (row,)))
            self.told.bytes += len(packed)
            frame = unpack_agent_frame(packed[4:])
            if not isinstance(frame, ResultBatch) or frame.measurements != (row,):
                self.told.words.append(f"NOT FIT FOR THE WIRE: {frame!r:.300}")
            self.told.outcomes.append(str(row.outcome))
            if row.failure is not None:
                self.told.words.append(row.failure.detail[:160])

    def end(self, job_id: str, status: str, detail: str) -> None:
        began, waited = self.began
        self.told.waited_s = (waited_ns() - waited) / 1e9
        self.told.took_s = time.monotonic() - began - self.told.waited_s
        self.told.status, self.told.detail = str(status), detail
        self.ended.set()


async def met(runner: Runner, meeting: Meeting, servers: Servers) -> Mapping[str, Any]:
    """All its jobs at once."""
    jobs = meeting.jobs(servers)
    gc.collect()
    forget_peak()
    before = memory()["VmRSS"]
    lanes: dict[str, Lane] = {}
    for name, (spec, target) in jobs.items():
        lane = lanes[name] = Lane()
        runner.start(Job(next(_IDS), "r", spec, (target,), int(meeting.budget_s * 1000)), lane)
    for lane in lanes.values():
        await lane.ended.wait()
    grown = memory()["VmHWM"] - before
    return {
        "grown": grown,
        "budget_s": meeting.budget_s,
        "jobs": {n: asdict(one.told) for n, one in lanes.items()},
    }


async def main(servers: Servers) -> None:
    clock = SystemClock()
    network = SystemNetwork(clock, Policy.typed_by_user())
    probes = all_probes()
    runner = Runner(probes, network, clock, caps=CAPS, prepare=Preparation(probes))
    loop = asyncio.get_running_loop()
    while name := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        print(json.dumps(await met(runner, {**MEETINGS, **CRAFTED}[name], servers)), flush=True)
    network.close()


if __name__ == "__main__":
    ports, ca, host = sys.argv[1:]
    asyncio.run(main(Servers(host, Path(ca).read_bytes(), **json.loads(Path(ports).read_text()))))
