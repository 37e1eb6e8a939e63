"""All shots of a flow: each at its time as far as pacing and the host owner's caps allow, told in the order
of the spec."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from probemesh_shared import failures
from probemesh_shared.model import Failure, Options, Shot, ShotSeen
from probemesh_shared.wire import flowtoken
from probemesh_shared.words import Family, Kind, Stage, Transport

from probemesh_agent.engine.item import socket_address
from probemesh_agent.engine.loop import socket_budget
from probemesh_agent.engine.pace import Pace
from probemesh_agent.engine.schedule import cut_or_silent
from probemesh_agent.engine.sockets import own_addresses
from probemesh_agent.env import Address, ProbeEnv, ProbeFailed
from probemesh_agent.flow.echoline import EchoLine
from probemesh_agent.flow.line import Line
from probemesh_agent.flow.opening import NotOpened, for_shot, local_address, port_of, tcp_socket, udp_socket
from probemesh_agent.flow.record import Record, local_of
from probemesh_agent.flow.stamping import doubt
from probemesh_agent.flow.tcpshot import TcpShot, Timing
from probemesh_agent.flow.udpline import UdpLine
from probemesh_agent.net.allowance import asking

MOST_SHOTS = 2_048
MOST_SOCKETS = 600

_ANY = ("0.0.0.0", "::")  # noqa: S104
_LineKey = tuple[Family, int | None, int | None]  # family; the shared socket, or the shot that has its own


def room() -> asyncio.Semaphore:
    """Places for sockets at once; flows of one run share them."""
    return asyncio.Semaphore(min(MOST_SOCKETS, socket_budget()))


@dataclass(frozen=True, slots=True)
class Orders:
    """What holds for all shots of a flow. ``address`` and ``port`` are where they go unless they say
    otherwise; ``others`` are the judged addresses of shots that do, or why they must not be dialled."""

    transport: Transport
    options: Options
    address: Address
    port: int = 0
    token: bytes | None = None
    listen_ms: float = 0.0
    others: Mapping[str, Address | Failure] = field(default_factory=dict)


async def fire(
    orders: Orders,
    shots: Sequence[Shot],
    env: ProbeEnv,
    *,
    pace: Pace | None = None,
    places: asyncio.Semaphore | None = None,
) -> list[ShotSeen]:
    """What became of each shot, in their order. Ends by the environment's deadline; every socket is closed
    then, or when it is cancelled. ``pace`` and ``places`` are shared by flows of one run."""
    salvo = _Salvo(orders, shots, env, pace or Pace(), places or room())
    try:
        await salvo.run()
    finally:
        salvo.close()
    doubt(salvo.records)
    return [record.seen() for record in salvo.records]


class _Salvo:
    def __init__(
        self, orders: Orders, shots: Sequence[Shot], env: ProbeEnv, pace: Pace, places: asyncio.Semaphore
    ) -> None:
        self._orders = orders
        self._env = env
        self._pace = pace
        self._places = places
        self._own = own_addresses()
        self._source: str | None = env.network.engine.source
        self._lines: dict[_LineKey, Line] = {}
        self._began = time.monotonic()
        self.records = [self._record(index, shot) for index, shot in enumerate(shots)]
        self._listens = orders.listen_ms > 0 and len(shots) <= MOST_SOCKETS

    def _record(self, index: int, shot: Shot) -> Record:
        orders = self._orders
        found = orders.others.get(shot.address, orders.address) if shot.address else orders.address
        address = orders.address if isinstance(found, Failure) else found
        port = 0 if orders.transport is Transport.ICMP else shot.port or orders.port
        record = Record(index, shot, address, port)
        wrong = found if isinstance(found, Failure) else self._impossible(shot, port)
        wrong = wrong or self._env.network.refused_port(port)
        if index >= MOST_SHOTS:
            wrong = failures.unsupported(Stage.SEND, f"a flow has at most {MOST_SHOTS} shots")
        if wrong is not None:
            record.fail(wrong)
        return record

    def _impossible(self, shot: Shot, port: int) -> Failure | None:
        if shot.address and shot.address not in self._orders.others:
            return failures.unsupported(Stage.CONNECT, f"{shot.address[:80]} was not judged")
        ttl = self._orders.options.ttl if shot.ttl is None else shot.ttl
        if ttl is not None and not 1 <= ttl <= 255:
            return failures.unsupported(Stage.CONNECT, f"a TTL of {ttl}")
        token = self._orders.token
        if token is not None and len(token) != flowtoken.TOKEN_SIZE:
            return failures.unsupported(Stage.CONNECT, f"a token of {len(token)} bytes")
        if not port and self._orders.transport is not Transport.ICMP:
            return failures.unsupported(Stage.CONNECT, f"{self._orders.transport} needs a port")
        return None

    # --- the whole ---

    async def run(self) -> None:
        asking.set(Kind.FLOW)
        ready = [record for record in self.records if record.outcome is None]
        async with asyncio.TaskGroup() as group:
            for record in sorted(ready, key=lambda one: one.shot.at_ms):
                if await self._turn(record):
                    group.create_task(self._shoot(record))
        if self._listens and self._lines:
            last = max((record.at_ms for record in ready), default=0.0)
            until = self._began + (last + self._orders.listen_ms) / 1e3
            await asyncio.sleep(max(0.0, min(until, self._env.deadline) - time.monotonic()))

    def close(self) -> None:
        for line in self._lines.values():
            line.close()
        self._lines.clear()

    async def _turn(self, record: Record) -> bool:
        """Waits for a shot's time; False where that is after the deadline."""
        pacing, now = self._env.pacing, time.monotonic()
        due = self._began + record.shot.at_ms / 1e3
        is_tcp = self._orders.transport is Transport.TCP
        rate = pacing.connects_per_s if is_tcp else pacing.packets_per_s
        if rate and not socket_address(record.host, record.address.family, 0)[1]:
            due = self._pace.reserve(record.host, rate, max(now, due))
        if max(due, now) >= self._env.deadline:
            record.fail(failures.past_deadline())
            return False
        await asyncio.sleep(max(0.0, due - now))  # 0 lets the others have a turn
        return True

    async def _shoot(self, record: Record) -> None:
        left = self._env.deadline - time.monotonic()
        try:
            async with asyncio.timeout(left):
                await self._places.acquire()
        except TimeoutError:
            record.fail(failures.past_deadline("the run's deadline came before there was a socket for it"))
            return
        try:
            is_tcp = self._orders.transport is Transport.TCP
            release = await self._env.network.admit(record.address, self._env.deadline, connects=is_tcp)
        except ProbeFailed as error:
            self._places.release()
            record.fail(error.failure)
            return
        except BaseException:
            self._places.release()
            raise
        try:
            await self._admitted(record)
        except NotOpened as error:
            record.fail(error.failure)
        finally:
            release()
            self._places.release()

    async def _admitted(self, record: Record) -> None:
        orders = self._orders
        options = for_shot(orders.options, self._source, record.host, record.shot)
        if orders.transport is Transport.TCP:
            await self._connect(record, options)
        else:
            await self._ask(record, options)

    # --- one shot ---

    async def _connect(self, record: Record, options: Options) -> None:
        port = port_of(options, record.index, record.shot)
        timing = Timing(options.timeout_s, self._env.deadline)
        sock = tcp_socket(options, record.address.family, record.shot, port)
        shot = TcpShot(record, sock, timing, self._own, self._orders.token)
        self._fired(record)
        try:
            await shot.run()
        finally:
            shot.close()

    async def _ask(self, record: Record, options: Options) -> None:
        shot = record.shot
        key = self._key(record)
        line = self._lines.get(key) or self._open(key, record, options)
        self._fired(record)
        size = options.size if shot.size is None else shot.size
        line.send(record, size, options.ttl, shot.dont_fragment or options.dont_fragment)
        record.local = self._local(record, line, options)
        await self._wait(record, line, options.timeout_s)
        if not self._listens and key[2] is not None:
            self._lines.pop(key).close()

    @staticmethod
    def _local(record: Record, line: Line, options: Options) -> tuple[str, int]:
        """The socket is bound to no address mostly: then it is the one that the kernel chooses for this
        destination."""
        host, port = local_of(line.sock.getsockname())
        if host in _ANY:
            host = local_address(options, record.address, record.port) or host
        return host, line.identifier if isinstance(line, EchoLine) else port

    def _key(self, record: Record) -> _LineKey:
        shared = record.shot.socket
        if self._orders.transport is Transport.ICMP or shared is not None:
            return record.address.family, shared, None
        return record.address.family, None, record.index

    def _open(self, key: _LineKey, record: Record, options: Options) -> Line:
        orders, family = self._orders, record.address.family
        if orders.transport is Transport.ICMP:
            line: Line = EchoLine(options, family, self._own, orders.token)
        else:
            sock = udp_socket(options, family, port_of(options, record.index, record.shot))
            line = UdpLine(sock, family, self._own, orders.token)
        self._lines[key] = line
        return line

    def _fired(self, record: Record) -> None:
        record.at_ms = (time.monotonic() - self._began) * 1e3

    async def _wait(self, record: Record, line: Line, timeout_s: float) -> None:
        began = time.monotonic()
        left = self._env.deadline - began
        try:
            async with asyncio.timeout(min(timeout_s, left)):
                await record.ended.wait()
        except TimeoutError:
            line.catch_up()
            if record.outcome is None:
                waited = time.monotonic() - began
                record.end(*cut_or_silent(Stage.RECEIVE, waited, left < timeout_s))
