"""``mesh-agent probe --frames``: how a laptop measures from itself. One job on stdin, frames on stdout.

The job and every frame have their length before them. The end of stdin cancels: whoever started us has gone,
or wants no more. No link, no grpc.
"""

import asyncio
import os
import sys
from collections.abc import Callable

from probemesh_shared.clock import SystemClock
from probemesh_shared.convert import BadMessage, Unpacker, pack_agent_frame, unpack_job
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.model import Job, Measurement
from probemesh_shared.session.frames import Frame, JobEnd, JobStatus, ResultBatch

from probemesh_agent.kit import all_probes, typed_policy
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.prepare import Preparation
from probemesh_agent.runner import Runner

OWNER = "here"
_BATCH = 128  # rows a frame, so that none is near the limit of a message
_DRAIN_S = 1.0


class PipeLane:
    """A lane whose other end is a pipe: the reader's pace is ours."""

    owner = OWNER

    def __init__(self, write: Callable[[bytes], None], drained: Callable[[], "asyncio.Future[None]"]) -> None:
        self._write = write
        self._drained = drained
        self._seq = 0
        self.ended = asyncio.Event()

    async def room(self) -> None:
        await self._drained()

    def add(self, job_id: str, measurements: tuple[Measurement, ...]) -> None:
        for first in range(0, len(measurements), _BATCH):
            self._tell(ResultBatch(job_id, self._seq, measurements[first : first + _BATCH]))

    def end(self, job_id: str, status: JobStatus, detail: str) -> None:
        self._tell(JobEnd(job_id, self._seq, status, detail))
        self.ended.set()

    def _tell(self, frame: Frame) -> None:
        self._seq += 1
        self._write(pack_agent_frame(frame))


async def serve_pipe() -> int:
    """Runs the one job. Raises :class:`InvalidRequest` for what is no job."""
    reader, writer = await _stdio()
    job = await _read_job(reader)
    clock = SystemClock()
    network = SystemNetwork(clock, typed_policy(None))
    probes = all_probes()
    runner = Runner(probes, network, clock, prepare=Preparation(probes))
    lane = PipeLane(writer.write, lambda: asyncio.ensure_future(writer.drain()))
    try:
        runner.start(job, lane)
        await _until_end(runner, lane, reader)
        await writer.drain()
    except (BrokenPipeError, ConnectionResetError):
        return 0
    finally:
        await runner.finish(0, "the reader has gone")
        network.close()
        writer.close()
    return 0


async def _until_end(runner: Runner, lane: PipeLane, reader: asyncio.StreamReader) -> None:
    """Until the job has ended; the end of stdin cancels it."""
    ended = asyncio.create_task(lane.ended.wait())
    gone = asyncio.create_task(reader.read(1))
    try:
        await asyncio.wait({ended, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            await runner.finish(0, "the reader has gone")
    finally:
        for task in (ended, gone):
            task.cancel()
        await asyncio.gather(ended, gone, return_exceptions=True)


async def _read_job(reader: asyncio.StreamReader) -> Job:
    unpacker = Unpacker()
    while True:
        data = await reader.read(1 << 16)
        if not data:
            raise InvalidRequest("stdin ended before a job came")
        try:
            for body in unpacker.feed(data):
                return unpack_job(body)
        except BadMessage as error:
            raise InvalidRequest(f"not a job: {error}") from error


async def _stdio() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Pipes or sockets; other files would block the loop, so that a terminal is refused."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    try:
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
        out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, out)
    except (ValueError, OSError) as error:
        raise InvalidRequest("--frames speaks over pipes; it is not meant for people") from error
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)
