"""The ways by which a question goes to one name server: UDP, TCP, TLS (RFC 7858) and HTTPS (RFC 8484).

A round trip is the exchange alone, without the handshakes before it. Datagrams that do not answer the
question are counted and passed over; an answer that comes on a connection has no second chance.
"""

import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from importlib import import_module

from probemesh_shared.model import DnsSpec, Failure, TlsDetail
from probemesh_shared.words import DnsTransport, FailureKind, Origin, Stage

from probemesh_agent.env import ProbeEnv, ProbeFailed, ProbeLog, Stream
from probemesh_agent.probes.attempts import Unit
from probemesh_agent.probes.contexts import Contexts, TlsSettings
from probemesh_agent.probes.dnsdoh import ALPN, HttpReply, post
from probemesh_agent.probes.dnswire import Answer, Question, read_answer
from probemesh_agent.probes.handshake import Handshaker

PORTS = {DnsTransport.UDP: 53, DnsTransport.TCP: 53, DnsTransport.DOT: 853, DnsTransport.DOH: 443}
DOH_PATH = "/dns-query"
_ALPN = {DnsTransport.DOT: ("dot",), DnsTransport.DOH: ALPN}
_PREFIX = struct.Struct("!H")
_LOGGED = 3  # datagrams passed over that have a line of their own

_Read = Callable[[int, float], Awaitable[bytes]]


def warm() -> None:
    """Loads what TLS and HTTPS need; some 100 ms, once."""
    for alpn in _ALPN.values():
        Contexts(alpn).get(True)
    for module in ("h11", "h2.connection"):
        import_module(module)


def refused(spec: DnsSpec) -> Failure | None:
    """Why this host's OpenSSL does not take what the spec trusts."""
    return _contexts(spec).refused() if spec.ca is not None and spec.transport in _ALPN else None


def _contexts(spec: DnsSpec) -> Contexts:
    return Contexts(_ALPN[spec.transport], TlsSettings.of(spec))


@dataclass(frozen=True, slots=True)
class Got:
    """The answer, and what it took; ``truncated``: it came by TCP because it did not fit by UDP."""

    answer: Answer
    rtt_ms: float
    transport: DnsTransport
    syn_retransmits: int | None = None
    truncated: bool = False


class Ways:
    """To one unit. ``name`` is what a certificate has to be for; ``authority`` what HTTP asks for."""

    def __init__(self, spec: DnsSpec, unit: Unit, env: ProbeEnv, log: ProbeLog, name: str) -> None:
        self.passed_over = 0
        self.reply: HttpReply | None = None
        self._spec, self._unit, self._env, self._log, self._name = spec, unit, env, log, name
        self._handshaker: Handshaker | None = None
        if spec.transport in _ALPN:
            contexts = _contexts(spec)
            contexts.get(True)  # made before any time is taken
            self._handshaker = Handshaker(unit, spec.options, env, contexts, log, name)

    @property
    def tls(self) -> TlsDetail | None:
        return self._handshaker.detail if self._handshaker is not None else None

    async def ask(self, asked: Question, deadline: float) -> Got:
        """By the spec's transport, and by TCP where an answer by UDP did not fit. Raises ProbeFailed."""
        if self._spec.transport is not DnsTransport.UDP:
            return await self._by_stream(asked, self._spec.transport, deadline)
        answer, rtt_ms = await self._by_udp(asked, deadline)
        if not answer.truncated:
            return Got(answer, rtt_ms, DnsTransport.UDP)
        self._log.add(f"{asked.name} {asked.record_type}: answer truncated; asked again over TCP")
        return replace(await self._by_stream(asked, DnsTransport.TCP, deadline), truncated=True)

    async def _by_udp(self, asked: Question, deadline: float) -> tuple[Answer, float]:
        env, unit = self._env, self._unit
        socket = await env.network.datagrams(unit.address, unit.port, self._spec.options, deadline)
        before = self.passed_over
        try:
            began = env.clock.perf_ns()
            await socket.send(asked.wire)
            while True:
                data = await socket.receive(deadline)
                took_ms = (env.clock.perf_ns() - began) / 1e6
                if (answer := read_answer(asked, data)) is not None:
                    return answer, took_ms
                self._pass_over(asked, data)
        except ProbeFailed as failed:
            raise ProbeFailed(_explained(failed.failure, self.passed_over - before)) from None
        finally:
            await socket.close()

    def _pass_over(self, asked: Question, data: bytes) -> None:
        self.passed_over += 1
        if self.passed_over <= _LOGGED:
            self._log.add(f"{len(data)} bytes that are no answer to {asked.name} passed over")

    async def _by_stream(self, asked: Question, transport: DnsTransport, deadline: float) -> Got:
        stream, alpn = await self._opened(deadline)
        try:
            began = self._env.clock.perf_ns()
            data = await self._exchange(stream, transport, alpn, asked, deadline)
            took_ms = (self._env.clock.perf_ns() - began) / 1e6
        except ProbeFailed as failed:
            raise ProbeFailed(_explained(failed.failure, 0)) from None
        finally:
            await stream.close()
        return Got(_read_or_fail(asked, data), took_ms, transport, stream.facts.syn_retransmits)

    async def _opened(self, deadline: float) -> tuple[Stream, str | None]:
        """A connection, and the protocol that ALPN chose."""
        if self._handshaker is not None:
            stream, facts = await self._handshaker.open(deadline)
            return stream, facts.alpn
        unit, options = self._unit, self._spec.options
        return await self._env.network.connect(unit.address, unit.port, options, deadline), None

    async def _exchange(
        self, stream: Stream, transport: DnsTransport, alpn: str | None, asked: Question, deadline: float
    ) -> bytes:
        if transport is DnsTransport.DOH:
            path = self._spec.doh_path or DOH_PATH
            reply = await post(stream, alpn, self._name, self._unit.port, path, asked.wire, deadline)
            self.reply = reply
            return reply.message()
        await stream.write(_PREFIX.pack(len(asked.wire)) + asked.wire, deadline)
        (size,) = _PREFIX.unpack(await _exactly(stream.read, _PREFIX.size, deadline))
        return await _exactly(stream.read, size, deadline)


def _read_or_fail(asked: Question, data: bytes) -> Answer:
    answer = read_answer(asked, data)
    if answer is None or answer.truncated:
        detail = f"the name server's {len(data)} bytes are no answer to the question"
        raise ProbeFailed(Failure(Stage.RECEIVE, FailureKind.BAD_ANSWER, Origin.RESOLVER, detail))
    return answer


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
