"""``self``: this machine as a vantage point, measuring in child processes, one for each spec.

A child is ``mesh-agent probe --frames``: one job on its stdin, frames on its stdout; the end of stdin
cancels it. :func:`combine` (in :mod:`probemesh_controller.combined`) joins it to a mesh.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from probemesh_shared.convert import BadMessage, Unpacker, pack_job, unpack_agent_frame
from probemesh_shared.escape import escape_bytes
from probemesh_shared.model import AgentInfo, Job, Measurement, Pacing, Spec
from probemesh_shared.session.frames import JobEnd, JobStatus, ResultBatch

from probemesh_controller import selfprocess
from probemesh_controller.api import Mesh, RunEvent, RunMeasured, RunRequest, RunVantageEnded
from probemesh_controller.candidates import Addressed, address, readable
from probemesh_controller.merging import merge
from probemesh_controller.pacing import (
    CONNECTS_PER_S,
    PACKETS_PER_S,
    Budget,
    Claim,
    Ledger,
    PacingPlan,
)

SELF = "self"
#: Seconds beyond the deadline that a child may take to start and to end, and to end once told to stop.
GRACE_S = 3.0
STOP_S = 0.5
_READ = 1 << 16
_STDERR = 4096

Events = AsyncGenerator[RunEvent, None]


def self_available() -> bool:
    """Agents run on Linux."""
    return sys.platform.startswith("linux")


def combine(mesh: Mesh | None) -> Mesh:
    """``mesh`` with ``self`` beside it: runs may name it; their events come as one run's."""
    from probemesh_controller.combined import CombinedMesh

    return CombinedMesh(mesh)


def owned(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Those that this machine has too: the kernel lets us bind them."""
    found = []
    for text in readable(addresses):
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((text, 0))
            found.append(text)
    return tuple(found)


#: What the mesh leaves of its limit to the laptop that asks it: no run takes more than the rest.
_BESIDE_AGENTS = Budget(PACKETS_PER_S / 5, CONNECTS_PER_S / 5)


def pace(request: RunRequest) -> PacingPlan:
    """How fast ``self`` may send: all that one target may get, or beside agents what those leave."""
    alone = all(name == SELF for name in request.agents)
    ledger = Ledger() if alone else Ledger(lambda _: _BESIDE_AGENTS)
    plan = ledger.claim(Claim(SELF, request.specs, request.targets, 1, request.deadline_s, alone=True))
    assert plan is not None  # nobody else takes anything
    return plan


def measure(request: RunRequest, fleet: tuple[AgentInfo, ...] = ()) -> Events:
    """``self``'s part of a run: measurements, and one end for each spec. Closing it stops the children.
    ``fleet`` gives the addresses of ``agent:`` targets."""
    mine = owned(tuple(text for agent in fleet for text in agent.addresses))
    prober = AgentInfo(SELF, addresses=mine, id=SELF)
    pacing = pace(request).pacing
    parts = []
    for index, spec in enumerate(request.specs):
        ready = address(spec, request.targets, prober, fleet, time.time_ns())
        parts.append(_part(request, index, spec, ready, pacing))
    return merge(*parts)


async def _part(request: RunRequest, index: int, spec: Spec, ready: Addressed, pacing: Pacing) -> Events:
    if ready.refused:
        yield RunMeasured(SELF, index, ready.refused)
    if not ready.targets:
        yield RunVantageEnded(SELF, index, JobStatus.DONE)
        return
    budget_ms = max(1, round(request.deadline_s * 1000))
    job = Job(secrets.token_hex(8), request.run_id, spec, ready.targets, budget_ms, pacing)
    child = _Child()
    try:
        async with aclosing(child.frames(job, request.deadline_s + GRACE_S)) as frames:
            async for frame in frames:
                if isinstance(frame, JobEnd):
                    yield RunVantageEnded(SELF, index, frame.status, frame.detail)
                elif rows := _mine(frame.measurements, ready):
                    yield RunMeasured(SELF, index, rows)
    finally:
        await child.stop()


def _mine(rows: tuple[Measurement, ...], ready: Addressed) -> tuple[Measurement, ...]:
    count = len(ready.indices)
    return tuple(
        replace(row, target_index=ready.indices[row.target_index]) for row in rows if row.target_index < count
    )


class _Child:
    """One process, one job. However it goes, the last frame is a JobEnd."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._stderr = bytearray()
        self._listening: asyncio.Task[None] | None = None

    async def frames(self, job: Job, seconds: float) -> AsyncGenerator[ResultBatch | JobEnd, None]:
        limit = asyncio.get_running_loop().time() + seconds
        unpacker = Unpacker()
        try:
            await self._start(job)
            while data := await self._read(limit):
                for body in unpacker.feed(data):
                    frame = unpack_agent_frame(body)
                    if isinstance(frame, ResultBatch | JobEnd):
                        yield frame
                    if isinstance(frame, JobEnd):
                        return
        except TimeoutError:
            yield JobEnd(job.id, 0, JobStatus.LOST, "the measuring process did not end in time")
            return
        except BadMessage as error:
            yield JobEnd(job.id, 0, JobStatus.LOST, f"the measuring process cannot be understood: {error}")
            return
        except OSError as error:
            yield JobEnd(job.id, 0, JobStatus.LOST, f"the measuring process cannot run: {error.strerror}")
            return
        yield JobEnd(job.id, 0, JobStatus.LOST, await self._last_words())

    async def _start(self, job: Job) -> None:
        self._process = await selfprocess.take()
        self._listening = asyncio.create_task(self._listen(self._process))
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):  # it died: reading will say so
            self._process.stdin.write(pack_job(job))
            await self._process.stdin.drain()

    async def _read(self, limit: float) -> bytes:
        assert self._process is not None and self._process.stdout is not None
        async with asyncio.timeout_at(limit):
            return await self._process.stdout.read(_READ)

    async def _listen(self, process: Process) -> None:
        """Keeps the end of what it says on stderr, and never lets it block there."""
        assert process.stderr is not None
        while data := await process.stderr.read(_STDERR):
            self._stderr += data
            del self._stderr[:-_STDERR]

    async def _last_words(self) -> str:
        assert self._process is not None and self._listening is not None
        await asyncio.wait({self._listening}, timeout=STOP_S)
        last = bytes(self._stderr).strip().rpartition(b"\n")[2]
        said = f": {escape_bytes(last, 300)}" if last else ""
        return f"the measuring process died{said}"

    async def stop(self) -> None:
        """Ends the process, by closing its stdin, or by force after STOP_S."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._gone(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its own session: whatever it started goes too
            await self._gone(process)

    async def _gone(self, process: Process) -> None:
        """Waits for the end; what is left in its pipes is thrown away, or it could not end."""
        assert process.stdout is not None and self._listening is not None
        while await process.stdout.read(_READ):
            pass
        await asyncio.wait({self._listening})
        await process.wait()
