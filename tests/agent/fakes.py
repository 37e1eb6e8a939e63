"""A network that answers from a script, and probe kinds that say what they were asked."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from probemesh_agent.env import (
    Address,
    Connected,
    Nameservers,
    ProbeEnv,
    ProbeFailed,
    Refused,
    Resolution,
    TlsFacts,
)
from probemesh_agent.net.namefiles import NameFiles
from probemesh_shared import failures
from probemesh_shared.clock import VirtualClock
from probemesh_shared.failures import outcome_of
from probemesh_shared.model import Failure, Measurement, Options, PortRange, Spec, Target, TcpDetail
from probemesh_shared.targets import expand_ports
from probemesh_shared.words import FailureKind, Family, Kind, Origin, Outcome, Stage

TIMED_OUT = failures.timed_out(Stage.RECEIVE, 1.0)
REFUSED = Failure(Stage.CONNECT, FailureKind.REFUSED, Origin.TARGET, "refused")
DENIED = Failure(Stage.RESOLVE, FailureKind.DENIED, Origin.AGENT, "not from here")
OWN = Failure(Stage.RESOLVE, FailureKind.OWN_ADDRESS, Origin.AGENT, "our own")
NO_NAME = Failure(Stage.RESOLVE, FailureKind.NO_SUCH_NAME, Origin.RESOLVER, "no such name")


def address(host: str) -> Address:
    return Address(host, Family.IPV6 if ":" in host else Family.IPV4)


@dataclass
class FakeStream:
    """``says`` are the answers to successive reads; then silence."""

    network: "FakeNetwork"
    says: list[bytes]
    facts: Connected = field(default_factory=lambda: Connected(1.5, "192.0.2.9", 40000))

    async def read(self, limit: int, deadline: float) -> bytes:
        if not self.says:
            raise ProbeFailed(TIMED_OUT)
        return self.says.pop(0)[:limit]

    async def write(self, data: bytes, deadline: float) -> None:
        self.network.written.append(data)

    async def start_tls(self, context: ssl.SSLContext, server_name: str | None, deadline: float) -> TlsFacts:
        self.network.handshakes.append(server_name)
        return TlsFacts("TLSv1.3", "TLS_AES_128_GCM_SHA256", None, (b"der",), 2.0)

    async def close(self) -> None:
        self.network.open -= 1


@dataclass
class FakeNetwork:
    """``hosts``: name to addresses; ``says``: what a server tells by itself; counts what was dialled."""

    hosts: dict[str, Sequence[str]] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    says: list[bytes] = field(default_factory=list)
    closed: bool = False
    dialled: list[tuple[str, int]] = field(default_factory=list)
    written: list[bytes] = field(default_factory=list)
    handshakes: list[str | None] = field(default_factory=list)
    open: int = 0
    engine: Any = None
    denied_kinds: frozenset[Kind] = frozenset()

    async def resolve(self, target: Target, options: Options, deadline: float) -> Resolution:
        names_asked = target.host in self.hosts or target.host.endswith(".invalid")
        found = self.hosts.get(target.host, () if names_asked else (target.host,))
        if not found:
            return Resolution(target.host, failure=NO_NAME, elapsed_ms=3.0, names_asked=True)
        usable = tuple(address(host) for host in found if host not in self.own)
        refused = tuple(Refused(host, OWN) for host in found if host in self.own)
        failure = None if usable else OWN
        return Resolution(target.host, usable, refused, failure, 3.0 if names_asked else None, names_asked)

    async def resolve_host(self, host: str, options: Options, deadline: float) -> Resolution:
        raise AssertionError("the ladder asks for no other host")

    def refused_kind(self, kind: Kind) -> Failure | None:
        return DENIED if kind in self.denied_kinds else None

    def refused_port(self, port: int) -> Failure | None:
        return None

    def refused_ports(self, spans: Sequence[PortRange]) -> dict[int, Failure]:
        return {}

    def nameservers(self, options: Options) -> Nameservers:
        six = (Refused("2001:db8::53", OWN),) if options.family is not Family.IPV4 else ()
        return Nameservers((address("192.0.2.53"),), six)

    def name_files(self) -> NameFiles:
        return NameFiles("127.0.0.1 localhost\n192.0.2.9 known.example\n", "hosts: files dns\n")

    async def connect(self, address: Address, port: int, options: Options, deadline: float) -> FakeStream:
        self.dialled.append((address.host, port))
        if self.closed:
            raise ProbeFailed(REFUSED)
        self.open += 1
        return FakeStream(self, list(self.says))

    async def datagrams(self, address: Address, port: int, options: Options, deadline: float) -> Any:
        raise AssertionError("the ladder sends no datagrams by itself")


@dataclass
class FakeProbe:
    """Answers every (address, port) with what ``broken`` says of it, else ok; remembers what it was asked."""

    kind: Kind
    broken: Callable[[str, int | None], Failure | None] = lambda host, port: None
    asked: list[tuple[Spec, Target]] = field(default_factory=list)
    banner: bytes | None = None

    async def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncGenerator[Sequence[Measurement], None]:
        for index, target in enumerate(targets):
            self.asked.append((spec, target))
            ports: Sequence[int | None] = expand_ports(target.ports) or (None,)
            for host in target.addresses or (target.host,):
                for port in ports:
                    yield [self._row(index, target, host, port)]

    def _row(self, index: int, target: Target, host: str, port: int | None) -> Measurement:
        failure = self.broken(host, port)
        outcome = Outcome.OK if failure is None else outcome_of(failure)
        detail = TcpDetail() if self.kind is Kind.TCP else None
        port = None if self.kind is Kind.ICMP else port
        return Measurement(
            self.kind, index, target.text, host, port, outcome, 1, failure=failure, detail=detail
        )


@dataclass
class ScriptedProbe:
    """Any kind, as an asynchronous generator function says."""

    script: Callable[[Sequence[Target], ProbeEnv], AsyncIterator[Sequence[Measurement]]]
    kind: Kind = Kind.TCP

    def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncIterator[Sequence[Measurement]]:
        return self.script(targets, env)


def env_of(network: FakeNetwork, seconds: float = 15.0) -> ProbeEnv:
    clock = VirtualClock()
    return ProbeEnv(network, clock, clock.monotonic() + seconds)


def row(index: int = 0) -> Measurement:
    return Measurement(Kind.TCP, index, "192.0.2.1:1", "192.0.2.1", 1, Outcome.OK, 1)


@dataclass
class FakeLane:
    """Keeps what it is told. ``full`` until the test says otherwise."""

    owner: str = "ann/1"
    rows: dict[str, list[Measurement]] = field(default_factory=dict)
    batches: list[int] = field(default_factory=list)
    ends: list[tuple[str, str, str]] = field(default_factory=list)
    free: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.free.set()

    async def room(self) -> None:
        await self.free.wait()

    def add(self, job_id: str, measurements: tuple[Measurement, ...]) -> None:
        assert job_id not in [ended for ended, _, _ in self.ends], "results after the end"
        self.rows.setdefault(job_id, []).extend(measurements)
        self.batches.append(len(measurements))

    def end(self, job_id: str, status: str, detail: str) -> None:
        assert job_id not in [ended for ended, _, _ in self.ends], "two ends"
        self.ends.append((job_id, status, detail))
