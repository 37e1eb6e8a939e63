"""Kind ``dns``: what a name server answers, and what the host's own resolver says beside it.

One row for each address of the server asked, or for each of the host's own name servers; ``address`` and
``port`` are the server's. A sample's RTT is the exchange that gave the answer, over TCP without its
handshake. Answers that do not match the question are passed over, and the wait goes on: a forged one must
not win by being first.
"""

import asyncio
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.model import DnsDetail, DnsSpec, Failure, Measurement, Options, Spec, Target
from probemesh_shared.targets import DNS_PORT, parse_server
from probemesh_shared.words import DnsTransport, FailureKind, Family, Kind, Origin, Stage

from probemesh_agent.env import ProbeEnv, ProbeFailed, ProbeLog, Resolution
from probemesh_agent.probes.attempts import Attempted, Exchange, Plan, RichRun, Unit, not_tried
from probemesh_agent.probes.dnswire import (
    Answer,
    Question,
    failure_of,
    question,
    read_answer,
    reverse_name,
)

_FAMILY_OF_TYPE = {"A": Family.IPV4, "AAAA": Family.IPV6}
_PREFIX = struct.Struct("!H")

_Read = Callable[[int, float], Awaitable[bytes]]


class DnsProbe:
    kind = Kind.DNS

    async def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncGenerator[Sequence[Measurement], None]:
        if not isinstance(spec, DnsSpec):
            raise TypeError(f"not a dns spec: {type(spec).__name__}")

        async def plan(index: int, target: Target) -> Plan:
            return await _plan(spec, index, target, env)

        def opened(unit: Unit) -> Exchange:
            return _DnsExchange(spec, unit, env)

        rate = env.pacing.packets_per_s
        rows = RichRun(self.kind, spec.options, env, plan, opened, rate).rows(targets)
        try:
            async for batch in rows:
                yield batch
        finally:
            await rows.aclose()


async def _plan(spec: DnsSpec, index: int, target: Target, env: ProbeEnv) -> Plan:
    started_ns = env.clock.wall_ns()

    def row(host: str | None, port: int | None, failure: Failure) -> Measurement:
        return not_tried(Kind.DNS, index, target.text, host, port, failure, started_ns)

    server = target.server or spec.server
    asked = _asked(spec, target)
    if isinstance(first := question(asked.names[0], asked.types[0]), Failure):
        return Plan((row(None, None, first),))
    if server is None:
        own = env.network.nameservers(spec.options)
        refused, addresses, port = own.refused, own.addresses, DNS_PORT
        nothing = _no_server()
    else:
        host, port = _host_and_port(server)
        resolution = await env.network.resolve(Target(server, host), spec.options, env.deadline)
        refused, addresses = resolution.refused, resolution.addresses
        nothing = resolution.failure or _no_server()
    rows = [row(one.host, port, one.failure) for one in refused]
    if not rows and not addresses:
        rows.append(row(None, port, nothing))
    return Plan(tuple(rows), tuple(Unit(index, target, target.text, one, port) for one in addresses))


def _host_and_port(server: str) -> tuple[str, int]:
    """What the command line would refuse (``0x7f.1``) is read as the system reads it: the policy will
    judge it."""
    try:
        return parse_server(server)
    except InvalidRequest:
        host, colon, port = server.rpartition(":")
        if colon and port.isascii() and port.isdigit() and ("]" in host or ":" not in host):
            return host, min(int(port[:6]), 65535)
        return server, DNS_PORT


def _no_server() -> Failure:
    detail = "this host has no name server of this family configured"
    return Failure(Stage.RESOLVE, FailureKind.NAME_SERVER_FAILED, Origin.AGENT, detail)


@dataclass(frozen=True, slots=True)
class _Asked:
    """``types``: asked in turn until one has data; ``names``: absolute, tried while they do not exist."""

    types: tuple[str, ...]
    names: tuple[str, ...]


def _asked(spec: DnsSpec, target: Target) -> _Asked:
    record_type = (target.record_type or spec.record_type or "").upper()
    if record_type in ("", "PTR") and (reverse := reverse_name(target.host)):
        return _Asked(("PTR",), (reverse,))
    if record_type:
        return _Asked((record_type,), (target.host,))
    by_family = {Family.IPV4: ("A",), Family.IPV6: ("AAAA",), Family.BOTH: ("A", "AAAA")}
    return _Asked(by_family[spec.options.family], (target.host,))


class _DnsExchange:
    def __init__(self, spec: DnsSpec, unit: Unit, env: ProbeEnv) -> None:
        self.log = ProbeLog()
        self._spec, self._unit, self._env = spec, unit, env
        self._asked = _asked(spec, unit.target)
        if unit.target.server is None and spec.server is None:
            self._asked = replace(self._asked, names=_searched(self._asked, env, spec.options))
        self._transport = spec.transport
        self._detail: DnsDetail | None = None
        self._system = self._ask_system()

    async def attempt(self, deadline: float) -> Attempted:
        told: Attempted | None = None
        for name in self._asked.names:
            told = await self._of_types(name, deadline)
            if told.failure is None or told.failure.kind is not FailureKind.NO_SUCH_NAME:
                break
        if told is None:
            raise AssertionError("a question has at least one name")
        return told

    async def _of_types(self, name: str, deadline: float) -> Attempted:
        """The first type that has data; where none has, the first one's answer stands."""
        first: tuple[Attempted, DnsDetail | None] | None = None
        for record_type in self._asked.types:
            told = await self._one(name, record_type, deadline)
            if told.failure is None or told.failure.kind is not FailureKind.NO_ADDRESS:
                return told
            first = first or (told, self._detail)
        if first is None:
            raise AssertionError("a question has at least one type")
        self._detail = first[1]
        return first[0]

    async def _one(self, name: str, record_type: str, deadline: float) -> Attempted:
        asked = question(name, record_type)
        if isinstance(asked, Failure):
            raise ProbeFailed(asked)
        transport, syn_retransmits = self._spec.transport, None
        if transport is DnsTransport.UDP:
            answer, rtt_ms = await self._by_udp(asked, deadline)
            if answer.truncated:
                self.log.add(f"{asked.name} {asked.record_type}: answer truncated; asked again over TCP")
                transport = DnsTransport.TCP
        if transport is DnsTransport.TCP:
            answer, rtt_ms, syn_retransmits = await self._by_tcp(asked, deadline)
        self._transport = transport
        self._detail = DnsDetail(
            name=asked.name,
            record_type=asked.record_type,
            rcode=answer.rcode,
            flags=answer.flags,
            answers=answer.records,
        )
        return Attempted(rtt_ms, failure_of(asked, answer), syn_retransmits=syn_retransmits)

    async def _by_udp(self, asked: Question, deadline: float) -> tuple[Answer, float]:
        env, unit = self._env, self._unit
        socket = await env.network.datagrams(unit.address, unit.port, self._spec.options)
        strangers = 0
        try:
            began = env.clock.perf_ns()
            await socket.send(asked.wire)
            while True:
                data = await socket.receive(deadline)
                took_ms = (env.clock.perf_ns() - began) / 1e6
                if (answer := read_answer(asked, data)) is not None:
                    return answer, took_ms
                strangers += 1
                self.log.add(f"{len(data)} bytes that are no answer to {asked.name} passed over")
        except ProbeFailed as failed:
            raise ProbeFailed(_explained(failed.failure, strangers)) from None
        finally:
            await socket.close()

    async def _by_tcp(self, asked: Question, deadline: float) -> tuple[Answer, float, int | None]:
        env, unit = self._env, self._unit
        stream = await env.network.connect(unit.address, unit.port, self._spec.options, deadline)
        try:
            began = env.clock.perf_ns()
            await stream.write(_PREFIX.pack(len(asked.wire)) + asked.wire, deadline)
            (size,) = _PREFIX.unpack(await _exactly(stream.read, _PREFIX.size, deadline))
            data = await _exactly(stream.read, size, deadline)
            took_ms = (env.clock.perf_ns() - began) / 1e6
        except ProbeFailed as failed:
            raise ProbeFailed(_explained(failed.failure, 0)) from None
        finally:
            await stream.close()
        answer = read_answer(asked, data)
        if answer is None or answer.truncated:
            detail = f"the name server's {len(data)} bytes are no answer to the question"
            raise ProbeFailed(Failure(Stage.RECEIVE, FailureKind.BAD_ANSWER, Origin.RESOLVER, detail))
        return answer, took_ms, stream.facts.syn_retransmits

    def _ask_system(self) -> "asyncio.Task[Resolution] | None":
        """The same question to ``getaddrinfo``, beside ours; only addresses can be asked of it."""
        family = _FAMILY_OF_TYPE.get(self._asked.types[0])
        if family is None:
            return None
        options = replace(self._spec.options, family=Family.BOTH if len(self._asked.types) > 1 else family)
        env, host = self._env, self._unit.target.host
        until = min(env.deadline, env.clock.monotonic() + self._spec.options.timeout_s)
        return asyncio.create_task(env.network.resolve(Target(host, host), options, until))

    async def finish(self) -> DnsDetail:
        asked = self._asked
        detail = self._detail or DnsDetail(name=asked.names[0], record_type=asked.types[0])
        detail = replace(detail, server=self._unit.address.host, transport=self._transport)
        if self._system is None:
            return detail
        said = await self._system
        found = [one.host for one in said.addresses] + [one.host for one in said.refused]
        failure = said.failure if not found else None
        if failure is not None:
            self.log.add(f"the host's own resolver: {failure.detail}")
        own = self._env.network.nameservers(replace(self._spec.options, family=Family.BOTH))
        return replace(
            detail,
            system=True,
            system_addresses=tuple(found),
            system_failure=failure,
            resolvers=own.hosts,
        )

    async def abandon(self) -> None:
        if self._system is not None:
            self._system.cancel()
            await asyncio.wait({self._system})


def _searched(asked: _Asked, env: ProbeEnv, options: Options) -> tuple[str, ...]:
    """The host's own search list, for the types by which hosts are looked up."""
    from probemesh_agent.net.nameservers import ResolvConf, candidates

    if asked.types[0] not in _FAMILY_OF_TYPE:
        return asked.names
    own = env.network.nameservers(options)
    return candidates(asked.names[0], ResolvConf(search=own.search, ndots=own.ndots))


async def _exactly(read: _Read, size: int, deadline: float) -> bytes:
    data = b""
    while len(data) < size:
        more = await read(size - len(data), deadline)
        if not more:
            detail = f"the name server closed after {len(data)} of {size} bytes"
            raise ProbeFailed(Failure(Stage.RECEIVE, FailureKind.CLOSED, Origin.RESOLVER, detail))
        data += more
    return data


def _explained(failure: Failure, strangers: int) -> Failure:
    """Silence and failures of a name server are the resolver's, as far as anyone can tell; silence but for
    datagrams that match nothing is a wrong answer."""
    if failure.kind is FailureKind.TIMEOUT and strangers:
        datagrams = "a datagram that matches" if strangers == 1 else f"{strangers} datagrams that match"
        detail = f"no answer in time, but for {datagrams} no question"
        return Failure(Stage.RECEIVE, FailureKind.BAD_ANSWER, Origin.RESOLVER, detail)
    if failure.origin in (Origin.UNKNOWN, Origin.TARGET):
        return replace(failure, origin=Origin.RESOLVER)
    return failure
