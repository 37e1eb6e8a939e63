"""What an inquiry works with: flows at agents, and the watches of its reflectors."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from probemesh_shared.clock import Clock
from probemesh_shared.model import AgentInfo, FlowSpec, Options, WatchDetail, WatchSpec
from probemesh_shared.words import Family, Kind, Transport

from probemesh_controller.api import Mesh
from probemesh_controller.natting import reading
from probemesh_controller.natting.choosing import Reflector
from probemesh_controller.natting.reading import Door, Told
from probemesh_controller.natting.seen import Endpoint, Sighting
from probemesh_controller.pair.asking import Answer, Asking, ask
from probemesh_controller.pair.cost import longest_s
from probemesh_controller.pair.part import cannot, target_of
from probemesh_controller.pair.watching import Watch

#: How often, and at most how long, it is asked what a reflector saw of a flow that goes on.
_POLL_S = 0.2
_SHOW_S = 1.6
#: Seconds that an agent and the way to it may take beside what a flow itself takes.
_BESIDE_S = 2.0
#: Flows and looks under way at once, of all subjects together: a controller takes 48 calls on a connection,
#: and the watches that stand are 18 of them.
_AT_ONCE = 24
#: Where a watch's own listener, the second port of a reflector, is tried; hosts dial from higher ports.
_LOWEST_PORT, _HIGHEST_PORT = 20_000, 32_000


@dataclass(slots=True)
class Bench:
    """``random`` gives that many random bytes."""

    mesh: Mesh
    clock: Clock
    random: Callable[[int], bytes]
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    def run_id(self) -> str:
        return self.random(16).hex()

    def port(self) -> int:
        span = _HIGHEST_PORT - _LOWEST_PORT
        return _LOWEST_PORT + int.from_bytes(self.random(4), "big") % span

    async def flow(self, sender: AgentInfo, spec: FlowSpec) -> Answer:
        """Never raises a MeshError: why nothing was sent is the answer's ``problem``."""
        if (why := cannot(sender, Kind.FLOW)) is not None:
            return Answer(problem=why)
        first = spec.shots[0]
        target = target_of(first.address or "", first.port)
        seconds = longest_s(spec) + _BESIDE_S
        async with self._places:
            return await ask(self.mesh, Asking(self.run_id(), sender.name, target, spec, seconds))

    async def look(self, watch: Watch) -> WatchDetail | None:
        async with self._places:
            return await watch.look()


@dataclass(slots=True)
class Posts:
    """The watches of one inquiry, all under its token; ``doors`` are the endpoints at which they listen.
    ``give_back`` in any case."""

    bench: Bench
    family: Family
    token: bytes
    stand_s: float
    on_problem: Callable[[str], None]
    doors: list[Door] = field(default_factory=list)
    _watches: dict[str, Watch] = field(default_factory=dict)

    async def arm(self, reflectors: Sequence[Reflector]) -> None:
        """All at once; the doors are in the order of the reflectors, each with its first address first."""
        opened = await asyncio.gather(*map(self._arm_one, reflectors))
        self.doors += [door for doors in opened for door in doors]

    async def look(self, names: Sequence[str]) -> dict[str, list[WatchDetail]]:
        """The accounts of these reflectors since the look before, each in a list of at most one."""
        watches = [self._watches[name] for name in dict.fromkeys(names) if name in self._watches]
        accounts = await asyncio.gather(*map(self.bench.look, watches))
        for watch, account in zip(watches, accounts, strict=True):
            if account is None:
                self.on_problem(f"{watch.agent} does not tell what it saw: {watch.missed}")
        return {
            watch.agent: [account] if account is not None else []
            for watch, account in zip(watches, accounts, strict=True)
        }

    async def shown(
        self, spec: FlowSpec, door: Door, flow: "asyncio.Task[Answer]", enough: int
    ) -> tuple[list[Sighting], list[WatchDetail]]:
        """What a reflector sees of a flow that goes on: as soon as that is ``enough`` sockets, or in time."""
        clock, accounts = self.bench.clock, list[WatchDetail]()
        end = clock.monotonic() + max(_SHOW_S, spec.listen_ms / 4000)
        while True:
            await clock.sleep(_POLL_S)
            accounts += (await self.look([door.agent]))[door.agent]
            told = Told(spec, None, {door.agent: reading.datagrams_of(accounts)})
            found = reading.sightings(told, [door])
            if len({one.socket for one in found}) >= enough or clock.monotonic() >= end or flow.done():
                return found, accounts

    async def give_back(self) -> None:
        await asyncio.gather(*(watch.give_back() for watch in self._watches.values()))

    async def _arm_one(self, reflector: Reflector) -> list[Door]:
        port = self.bench.port()
        options = Options(family=self.family)
        spec = WatchSpec(options, self.token, transport=Transport.UDP, listen=True, surrogate=True)
        account = await self._watch(reflector, port, spec)
        if account is None:
            return []
        ports = [account.surrogate_port] if account.surrogate_port else []
        if account.listen_failure is None:
            ports.append(port)
        else:
            self.on_problem(f"{reflector.name} could not listen on a second port")
        return [
            Door(reflector.name, account.agent, Endpoint(address, each))
            for address in reflector.addresses
            for each in ports
        ]

    async def _watch(self, reflector: Reflector, port: int, spec: WatchSpec) -> WatchDetail | None:
        bench, target = self.bench, target_of(reflector.addresses[0], port)
        watch = Watch(bench.mesh, bench.clock, reflector.name, target, spec, bench.run_id)
        self._watches[reflector.name] = watch
        account = await watch.arm(self.stand_s)
        if account is None:
            self.on_problem(f"{reflector.name} cannot watch: {watch.why_not}")
        return account


async def alongside(
    flow: Awaitable[Answer], work: Callable[["asyncio.Task[Answer]"], Awaitable[bool]]
) -> Answer | None:
    """``work`` while the flow goes on; then the flow's end, or None where ``work`` says not to wait."""
    task = asyncio.ensure_future(flow)
    try:
        return await task if await work(task) else None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
