"""A watch kind on this host's loopback, and what it opens counted."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from probemesh_agent.env import ProbeEnv
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.probes.watch import WatchProbe
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import Measurement, PortRange, Target, WatchDetail, WatchSpec

TOKEN = bytes(range(16))


def target(port: int | None, host: str = "127.0.0.1") -> Target:
    ports = () if port is None else (PortRange(port, port),)
    return Target(f"{host}:{port}", host, ports, addresses=(host,))


class Armed:
    """A watch that runs; ``first`` is its first row."""

    def __init__(self, bench: "Bench", spec: WatchSpec, at: Target, first: Measurement) -> None:
        self._bench, self._spec, self._at, self.first = bench, spec, at, first

    @property
    def account(self) -> WatchDetail:
        assert isinstance(self.first.detail, WatchDetail), self.first
        return self.first.detail

    @property
    def surrogate(self) -> int:
        assert self.account.surrogate_port is not None
        return self.account.surrogate_port

    async def look(self, *, quiet: bool = False) -> WatchDetail:
        spec = replace(self._spec, look=True, quiet=quiet)
        (row,) = await self._bench.rows(spec, (self._at,))
        assert isinstance(row.detail, WatchDetail), row
        return row.detail


class Bench:
    """The kind, with everything it is given."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.probe = WatchProbe()
        self.clock = SystemClock()
        self.network = SystemNetwork(self.clock, policy or Policy.shipped())

    def env(self, seconds: float) -> ProbeEnv:
        return ProbeEnv(self.network, self.clock, self.clock.monotonic() + seconds)

    async def rows(
        self, spec: WatchSpec, targets: Sequence[Target], seconds: float = 5.0
    ) -> list[Measurement]:
        return [row async for batch in self.probe.run(spec, targets, self.env(seconds)) for row in batch]

    @asynccontextmanager
    async def armed(
        self, port: int | None, spec: WatchSpec | None = None, seconds: float = 20.0
    ) -> AsyncIterator[Armed]:
        """Armed as a job arms it; cancelled in the end, as a cancelled job is."""
        spec = spec or WatchSpec(token=TOKEN)
        first: asyncio.Future[Measurement] = asyncio.get_running_loop().create_future()
        at = target(port)

        async def job() -> None:
            async for batch in self.probe.run(spec, (at,), self.env(seconds)):
                for row in batch:
                    first.set_result(row)

        running = asyncio.create_task(job())
        try:
            async with asyncio.timeout(5):
                yield Armed(self, spec, at, await first)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def descriptors() -> list[str]:
    found = []
    for name in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(name.readlink()))
        except OSError:
            continue
    return sorted(found)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """After the test not one descriptor is open that was not before."""
    before = descriptors()
    made = Bench()
    yield made
    made.network.close()
    assert not Counter(descriptors()) - Counter(before)
