"""A mesh whose agents do flows and watches in a simulated network: hosts with public addresses, hosts behind
a simulated NAT or firewall, in virtual time. No packet takes any."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from probemesh_controller.api import (
    PlannedVantage,
    RunEnded,
    RunEvent,
    RunMeasured,
    RunPlanned,
    RunRequest,
    RunVantageEnded,
)
from probemesh_controller.natting.seen import Endpoint
from probemesh_shared.clock import VirtualClock
from probemesh_shared.model import (
    AgentInfo,
    Datagram,
    Detail,
    Failure,
    FlowDetail,
    FlowSpec,
    IcmpError,
    Measurement,
    Reply,
    Shot,
    ShotSeen,
    WatchDetail,
    WatchSpec,
)
from probemesh_shared.selectors import SELF
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import (
    AgentState,
    FailureKind,
    Family,
    Kind,
    Origin,
    Outcome,
    Stage,
)

from tests.natting.simulator import Nat

ABLE = ("kind:flow", "kind:watch", "ipv4")
REPLY = 53
LAG_S = 0.03  # of the control channel, by default


@dataclass(frozen=True)
class Packet:
    shot: int = 0
    token: bytes | None = None
    size: int = REPLY
    reply_to: "Packet | None" = None
    seen: Endpoint | None = None
    nonce: str = ""
    other_port: bool = False


@dataclass
class Socket:
    """Of a flow: what came in."""

    came: list[tuple[Endpoint, Packet]] = field(default_factory=list)


@dataclass
class Post:
    """A watch: two ports that answer, a third from which replies leave that are wanted from there."""

    agent: str
    nonce: str
    token: bytes
    ports: tuple[int, ...]
    datagrams: list[Datagram] = field(default_factory=list)

    @property
    def other(self) -> int:
        return self.ports[0] + 1


@dataclass
class World:
    """``addresses`` of agents; ``nats`` by agent, which may share one; ``routers`` is how many routers stand
    before the NAT. ``deaf`` agents receive nothing."""

    addresses: dict[str, tuple[str, ...]]
    nats: dict[str, Nat] = field(default_factory=dict)
    routers: int = 0
    deaf: frozenset[str] = frozenset()
    sites: dict[str, str] = field(default_factory=dict)
    old: frozenset[str] = frozenset()  # agents that know no flow and no watch
    ttl: int = 62
    posts: dict[str, list[Post]] = field(default_factory=dict)
    sockets: dict[tuple[str, int], Socket] = field(default_factory=dict)
    ports: int = 40_000
    clock: VirtualClock | None = None
    lifetime_s: float | None = None  # of silent mappings
    touched: dict[Endpoint, float] = field(default_factory=dict)

    def _now(self) -> float:
        return self.clock.monotonic() if self.clock is not None else 0.0

    def owner(self, address: str) -> str | None:
        return next((name for name, its in self.addresses.items() if address in its), None)

    def send(self, agent: str, inside: Endpoint, to: Endpoint, packet: Packet) -> None:
        nat, there = self.nats.get(agent), self.owner(to.address)
        if there is not None and nat is not None and self.nats.get(there) is nat:
            self.deliver(there, inside, to, packet, 64)
            return
        source = nat.out(inside, to) if nat is not None else inside
        self.touched[source] = self._now()
        if nat is not None and to.address in nat.pool:
            self._inward(nat, source, to, packet, hairpin=True)
            return
        if nat is not None and nat.lost():
            return
        if there is not None and there not in self.nats:
            self.deliver(there, source, to, packet, self.ttl)
        for other in {id(one): one for one in self.nats.values()}.values():
            if other is not nat and (to.address in other.pool or there is not None):
                self._inward(other, source, to, packet)

    def _inward(
        self, nat: Nat, source: Endpoint, to: Endpoint, packet: Packet, hairpin: bool = False
    ) -> None:
        if (hairpin and not nat.hairpins) or not nat.lets_in(source, to) or nat.lost():
            return
        if self.lifetime_s is not None and self._now() - self.touched[to] > self.lifetime_s:
            return
        inside = next(who for (who, _), found in nat.table.items() if found == to)
        agent = self.owner(inside.address)
        assert agent is not None
        self.deliver(agent, source, inside, packet, self.ttl)

    def deliver(self, agent: str, source: Endpoint, to: Endpoint, packet: Packet, ttl: int) -> None:
        if agent in self.deaf:
            return
        socket = self.sockets.get((agent, to.port))
        if socket is not None:
            socket.came.append((source, packet))
        for post in self.posts.get(agent, []):
            if to.port in post.ports and packet.token == post.token:
                self._answer(post, source, to, packet, ttl)

    def _answer(self, post: Post, source: Endpoint, to: Endpoint, packet: Packet, ttl: int) -> None:
        post.datagrams.append(
            Datagram(
                0.0,
                source.address,
                source.port,
                to.address,
                to.port,
                packet.size,
                ttl,
                0,
                True,
                packet.shot,
                True,
            )
        )
        origin = Endpoint(to.address, post.other if packet.other_port else to.port)
        reply = Packet(packet.shot, packet.token, REPLY, packet, source, post.nonce)
        self.send(post.agent, origin, source, reply)


@dataclass
class SimMesh:
    clock: VirtualClock
    world: World
    lag_s: float = LAG_S
    requests: list[RunRequest] = field(default_factory=list)
    under_way: int = 0

    async def agents(self) -> tuple[AgentInfo, ...]:
        return tuple(
            AgentInfo(
                name,
                self.world.sites.get(name),
                addresses=addresses,
                capabilities=() if name in self.world.old else ABLE,
                id=f"id-{name}",
                state=AgentState.CONNECTED,
                version="9.9",
            )
            for name, addresses in self.world.addresses.items()
            if name != SELF
        )

    async def run(self, request: RunRequest) -> AsyncIterator[RunEvent]:
        self.requests.append(request)
        (name,), (spec,) = request.agents, request.specs
        self.under_way += 1
        try:
            yield RunPlanned((PlannedVantage(name),))
            await self.clock.sleep(self.lag_s)
            if isinstance(spec, FlowSpec):
                yield RunMeasured(name, 0, (await self._flow(name, spec, request),))
            elif isinstance(spec, WatchSpec) and spec.look:
                yield RunMeasured(name, 0, (self._look(name, spec),))
            elif isinstance(spec, WatchSpec):
                async for event in self._watch(name, spec, request):
                    yield event
            await self.clock.sleep(self.lag_s)
            yield RunVantageEnded(name, 0, JobStatus.DONE)
            yield RunEnded()
        finally:
            self.under_way -= 1

    async def _watch(self, name: str, spec: WatchSpec, request: RunRequest) -> AsyncIterator[RunEvent]:
        self.world.ports += 10
        ports = (self.world.ports, request.targets[0].ports[0].first) if spec.surrogate else ()
        post = Post(name, f"nonce-{name}", spec.token, ports)
        self.world.posts.setdefault(name, []).append(post)
        try:
            armed = WatchDetail(
                agent=post.nonce,
                addresses=("127.0.0.1", *self.world.addresses[name]),
                surrogate_port=ports[0] if ports else None,
            )
            yield RunMeasured(name, 0, (_row(Kind.WATCH, armed),))
            await asyncio.Event().wait()
        finally:
            self.world.posts[name].remove(post)

    def _look(self, name: str, spec: WatchSpec) -> Measurement:
        post = next(one for one in self.world.posts[name] if one.token == spec.token)
        told, post.datagrams = tuple(post.datagrams), []
        return _row(Kind.WATCH, WatchDetail(look=1, agent=post.nonce, datagrams=told))

    async def _flow(self, name: str, spec: FlowSpec, request: RunRequest) -> Measurement:
        world = self.world
        source = spec.options.source or world.addresses[name][0]
        bound: dict[int | None, tuple[int, Socket]] = {}
        began = self.clock.monotonic()
        seen: list[ShotSeen] = []
        for number, shot in sorted(enumerate(spec.shots), key=lambda pair: pair[1].at_ms):
            await self.clock.sleep(max(0.0, began + shot.at_ms / 1000 - self.clock.monotonic()))
            if shot.socket not in bound:
                world.ports += 7
                port = shot.source_port or world.ports
                bound[shot.socket] = port, world.sockets.setdefault((name, port), Socket())
            inside = Endpoint(source, bound[shot.socket][0])
            seen.append(self._shoot(name, inside, number, shot, spec))
        await self.clock.sleep(spec.listen_ms / 1000 or spec.options.timeout_s)
        for port, _ in bound.values():
            world.sockets.pop((name, port), None)
        return _row(Kind.FLOW, FlowDetail(tuple(self._told(one, spec, bound) for one in seen)))

    def _shoot(self, name: str, inside: Endpoint, number: int, shot: Shot, spec: FlowSpec) -> ShotSeen:
        world, nat = self.world, self.world.nats.get(name)
        to = Endpoint(shot.address or "", shot.port)
        errors: tuple[IcmpError, ...] = ()
        if shot.ttl is not None:
            if nat is not None and to.address in nat.pool:
                reached = shot.ttl > world.routers
                sender = to.address if reached else f"10.1.0.{shot.ttl}"
                errors = (
                    IcmpError(Family.IPV4, 3 if reached else 11, 3 if reached else 0, sender, 64, None),
                )
        else:
            size = len(shot.send) if shot.send is not None else REPLY
            token = spec.token if shot.send is None else None
            world.send(name, inside, to, Packet(number, token, size, other_port=shot.other_port))
        return ShotSeen(
            number,
            Outcome.TIMEOUT,
            shot.at_ms,
            local_address=inside.address,
            local_port=inside.port,
            errors=errors,
            sent=True,
        )

    def _told(self, one: ShotSeen, spec: FlowSpec, bound: dict[int | None, tuple[int, Socket]]) -> ShotSeen:
        """Replies by their shot; what nobody asked for stands with the socket's last shot."""
        shot = spec.shots[one.shot]
        last = max(n for n, other in enumerate(spec.shots) if other.socket == shot.socket)
        replies = []
        for source, packet in bound[shot.socket][1].came:
            valid = packet.seen is not None and packet.token == spec.token
            if (packet.shot if valid else last) != one.shot:
                continue
            seen = packet.seen if valid else None
            replies.append(
                Reply(
                    1.0,
                    source.address,
                    source.port,
                    packet.size,
                    62,
                    valid,
                    packet.nonce if valid else None,
                    seen.address if seen else None,
                    seen.port if seen else None,
                )
            )
        return ShotSeen(
            one.shot,
            one.outcome,
            one.at_ms,
            local_address=one.local_address,
            local_port=one.local_port,
            errors=one.errors,
            sent=True,
            replies=tuple(replies[:16]),
        )


def _row(kind: Kind, detail: Detail) -> Measurement:
    return Measurement(kind, 0, "t", None, None, Outcome.OK, 0, detail=detail)


def denied(text: str) -> Failure:
    return Failure(Stage.CONNECT, FailureKind.DENIED, Origin.AGENT, text)
