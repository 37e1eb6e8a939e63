"""Agents that are nothing but the real session and outbox, on links in memory, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from probemesh_controller.api import RunEvent, RunRequest
from probemesh_controller.engine import Engine
from probemesh_controller.store.memory import MemoryStore
from probemesh_controller.store.worker import AsyncStore, InlineStore
from probemesh_shared.clock import VirtualClock
from probemesh_shared.errors import Unreachable
from probemesh_shared.model import Job, Measurement, PortRange, Sample, Target, TcpSpec
from probemesh_shared.session.driver import LinkEnd, Wake, drive
from probemesh_shared.session.events import CancelArrived, Event, JobArrived
from probemesh_shared.session.frames import MIN_PROTOCOL, PROTOCOL, Frame, Hello, JobStatus
from probemesh_shared.session.machine import Session, Side
from probemesh_shared.session.outbox import Outbox
from probemesh_shared.words import Kind, Outcome

_BREAK = Unreachable("the link broke")


class Pipe:
    """One end of a link in memory; ``cut`` breaks both ends, with what was under way lost."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.other: Pipe = self
        self.broken = asyncio.Event()
        self.written: list[Frame] = []

    async def read(self) -> Frame | None:
        reading = asyncio.create_task(self.frames.get())
        breaking = asyncio.create_task(self.broken.wait())
        try:
            await asyncio.wait({reading, breaking}, return_when=asyncio.FIRST_COMPLETED)
            if self.broken.is_set():
                raise _BREAK
            return reading.result()
        finally:
            reading.cancel()
            breaking.cancel()

    async def write(self, frame: Frame) -> None:
        if self.broken.is_set():
            raise _BREAK
        self.written.append(frame)
        self.other.frames.put_nowait(frame)

    async def close(self) -> None:
        self.other.frames.put_nowait(None)

    def cut(self) -> None:
        self.broken.set()
        self.other.broken.set()


def pipes() -> tuple[Pipe, Pipe]:
    a, b = Pipe(), Pipe()
    a.other, b.other = b, a
    return a, b


def tcp_row(index: int, target: str, rtt_ms: float = 1.0) -> Measurement:
    return Measurement(
        Kind.TCP, index, target, "192.0.2.1", 5432, Outcome.OK, 1, (Sample(0, 0.0, rtt_ms, Outcome.OK),)
    )


@dataclass
class FakeAgent:
    """``work`` is called with each job in a task of its own; by default it answers every target once and
    ends."""

    engine: Engine
    clock: VirtualClock
    name: str
    id: str = ""
    addresses: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ("x",)
    work: Callable[["FakeAgent", Job], Any] | None = None
    instance: str = "one"
    jobs: list[Job] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.id = self.id or f"id-{self.name}"
        self.tasks: list[asyncio.Task[Any]] = []
        self.links: list[asyncio.Task[Any]] = []
        self.served: list[asyncio.Task[Any]] = []
        self.restart(self.instance)

    def restart(self, instance: str) -> None:
        """As a new process: memory is lost."""
        self.instance = instance
        self.outbox = Outbox()
        self.wake = Wake()
        self.pipe: Pipe | None = None

    def attach(self) -> asyncio.Task[LinkEnd]:
        """A new link; returns the agent's side of it."""
        ours, theirs = pipes()
        self.pipe = ours
        self.wake = Wake()
        hello = Hello(
            PROTOCOL,
            MIN_PROTOCOL,
            "probemesh/9.9",
            self.instance,
            self.name,
            self.capabilities,
            self.addresses,
        )
        session = Session(Side.AGENT, hello, self.clock.monotonic(), outbox=self.outbox)
        link = asyncio.create_task(drive(session, ours, self.clock, self._handle, self.wake))
        self.links.append(link)
        self.served.append(asyncio.create_task(self.engine.fleet.attach(self.id, self.name, theirs)))
        return link

    def cut(self) -> None:
        assert self.pipe is not None
        self.pipe.cut()

    async def _handle(self, event: Event) -> None:
        if isinstance(event, JobArrived):
            self.jobs.append(event.job)
            work = self.work or FakeAgent.answer
            self.tasks.append(asyncio.create_task(work(self, event.job)))
        elif isinstance(event, CancelArrived):
            self.cancelled.append(event.job_id)
            self.outbox.end(event.job_id, JobStatus.CANCELLED)
            self.wake.poke()

    def add(self, job: Job, rows: Sequence[Measurement]) -> None:
        self.outbox.add(job.id, rows)
        self.wake.poke()

    def end(self, job: Job, status: JobStatus = JobStatus.DONE, detail: str = "") -> None:
        self.outbox.end(job.id, status, detail)
        self.wake.poke()

    row = staticmethod(tcp_row)

    async def answer(self, job: Job) -> None:
        self.add(job, [tcp_row(index, target.text) for index, target in enumerate(job.targets)])
        self.end(job)


@dataclass
class Bench:
    """A mesh on a virtual clock."""

    engine: Engine
    clock: VirtualClock
    store: MemoryStore
    agents: dict[str, FakeAgent] = field(default_factory=dict)
    make_row = staticmethod(tcp_row)

    async def agent(self, name: str, *, attach: bool = True, **more: Any) -> FakeAgent:
        made = self.agents[name] = FakeAgent(self.engine, self.clock, name, **more)
        if attach:
            made.attach()
            await self.clock.settle()
        return made

    def request(self, *agents: str, run_id: str = "run1", targets: int = 1, **more: Any) -> RunRequest:
        wanted = more.pop("wanted", None) or tuple(
            Target(f"db{n}:5432", f"db{n}", (PortRange(5432, 5432),)) for n in range(targets)
        )
        return RunRequest(run_id, wanted, more.pop("specs", (TcpSpec(),)), agents, **more)

    def collect(self, request: RunRequest) -> tuple[list[RunEvent], asyncio.Task[None]]:
        """Starts the run; events come into the list."""
        events: list[RunEvent] = []

        async def run() -> None:
            async for event in self.engine.run(request):
                events.append(event)  # noqa: PERF401 (seen while it runs)

        return events, asyncio.create_task(run())

    async def close(self) -> None:
        closing = asyncio.create_task(self.engine.aclose())
        while not closing.done():
            await self.clock.advance(0.5)
        await closing
        for agent in self.agents.values():
            for task in (*agent.tasks, *agent.links, *agent.served):
                task.cancel()
            await asyncio.gather(*agent.tasks, *agent.links, *agent.served, return_exceptions=True)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    clock = VirtualClock()
    store = MemoryStore()
    inline: AsyncStore = InlineStore(store)
    made = Bench(Engine("test", inline, clock=clock), clock, store)
    yield made
    await made.close()
