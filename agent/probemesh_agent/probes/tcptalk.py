"""More than a TCP connect: a server's first words, what it answers, and what it makes of our FIN.

A sample's RTT stays that of the connect. Every attempt is a connection of its own, read within bounds: 64 KiB
for an answer that is looked for, 1 MiB after our FIN.
"""

import errno
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace

from probemesh_shared import failures
from probemesh_shared.escape import escape_bytes
from probemesh_shared.expectations import Needle, bytes_expected, wants_banner
from probemesh_shared.model import Failure, Measurement, PortRange, Spec, Target, TcpDetail, TcpSpec
from probemesh_shared.portstate import tcp_state
from probemesh_shared.words import FailureKind, Kind, Origin, Stage, Timing

from probemesh_agent.engine.sockets import port_failure, source_port
from probemesh_agent.env import ProbeEnv, ProbeFailed, ProbeLog, Stream
from probemesh_agent.greet import BANNER_LIMIT, GREETING_S
from probemesh_agent.porttable import protocol_of
from probemesh_agent.probes.attempts import Attempted, Exchange, Plan, RichRun, Unit, plan_by_address
from probemesh_agent.probes.kept import Kept

KEPT_ANSWER = 512
MOST_SEARCHED = 64 * 1024
MOST_AFTER_FIN = 1024 * 1024
_CHUNK = 16 * 1024


async def talk(
    spec: Spec, targets: Sequence[Target], env: ProbeEnv
) -> AsyncGenerator[Sequence[Measurement], None]:
    """One run, as :meth:`probemesh_agent.env.Probe.run`."""
    assert isinstance(spec, TcpSpec)
    options, needles = spec.options, bytes_expected(spec.options.expect)

    async def plan(index: int, target: Target) -> Plan:
        return await plan_with_ports(index, target, spec, env)

    def opened(unit: Unit) -> Exchange:
        return _Talk(unit, spec, env, needles)

    rows = RichRun(Kind.TCP, options, env, plan, opened, env.pacing.connects_per_s).rows(targets)
    try:
        async for batch in rows:
            yield batch
    finally:
        await rows.aclose()


async def plan_with_ports(index: int, target: Target, spec: TcpSpec, env: ProbeEnv) -> Plan:
    """A target without a port is told so."""
    if target.ports:
        return await plan_by_address(Kind.TCP, index, target, spec.options, env, 0)
    from probemesh_agent.probes.attempts import not_tried

    detail = f"tcp needs a port: write {target.host or 'HOST'}:PORT"
    failure = Failure(Stage.CONNECT, FailureKind.UNSUPPORTED, Origin.AGENT, detail)
    row = not_tried(Kind.TCP, index, target.text, None, None, failure, env.clock.wall_ns())
    return Plan((row,))


@dataclass(slots=True)
class _Talk:
    """The attempts at one address and port. ``detail`` is of the attempt under way, ``kept`` of the first
    that held, or else of the one that came furthest."""

    unit: Unit
    spec: TcpSpec
    env: ProbeEnv
    needles: tuple[Needle, ...]
    log: ProbeLog = field(default_factory=ProbeLog)
    detail: TcpDetail = field(default_factory=TcpDetail)
    kept: Kept[TcpDetail] = field(default_factory=lambda: Kept(TcpDetail()))
    tried: int = 0

    async def attempt(self, deadline: float) -> Attempted:
        self.detail, held = TcpDetail(), False
        try:
            told = await self._once(deadline)
            held = told.failure is None
        finally:
            heard = self.detail.banner is not None or self.detail.answer is not None
            self.kept.offer(self.detail, held, self.detail.local_port is not None, heard)
        return told

    async def _once(self, deadline: float) -> Attempted:
        stream = await self._connect(deadline)
        try:
            failure = await self._talk(stream, deadline)
        finally:
            await stream.close()
        facts = stream.facts
        return Attempted(facts.connect_ms, failure, Timing.TCP_INFO, facts.syn_retransmits)

    async def finish(self) -> TcpDetail:
        return self.kept.detail

    async def abandon(self) -> None:
        """Nothing is open between attempts."""

    async def _connect(self, deadline: float) -> Stream:
        options = self.spec.options
        port = source_port(options, self.tried)
        self.tried += 1
        if port:
            options = replace(options, source_ports=PortRange(port, port))
        try:
            stream = await self.env.network.connect(self.unit.address, self.unit.port, options, deadline)
        except ProbeFailed as failed:
            failure = _of_port(failed.failure, port)
            state, reason = tcp_state(failure)
            self.detail = TcpDetail(state=state, reason=reason)
            raise ProbeFailed(failure) from None
        facts = stream.facts
        self.detail = replace(
            self.detail,
            local_address=facts.local_address,
            local_port=facts.local_port,
            state="open",
            reason="syn-ack",
        )
        return stream

    async def _talk(self, stream: Stream, deadline: float) -> Failure | None:
        spec, failure = self.spec, None
        if spec.banner or (spec.send is None and (self.needles or wants_banner(spec.options.expect))):
            failure = await self._banner(stream, deadline)
        if spec.send is not None:
            failure = await self._send(stream, spec.send, deadline)
        if spec.half_close:
            await self._half_close(stream, deadline)
        return failure

    async def _banner(self, stream: Stream, deadline: float) -> Failure | None:
        wanted = self.needles if self.spec.send is None else ()
        patience = deadline if wanted else min(deadline, self.env.clock.monotonic() + GREETING_S)
        data, end = await self._read(stream, patience, _has(wanted))
        if data:
            protocol = protocol_of(data[:BANNER_LIMIT], self.unit.port)
            self.detail = replace(self.detail, banner=data[:BANNER_LIMIT], banner_protocol=protocol)
        elif end is not None:
            self.log.add(f"no greeting: {end.detail}")
        return _missing(wanted, data, end)

    async def _send(self, stream: Stream, payload: bytes, deadline: float) -> Failure | None:
        await stream.write(payload, deadline)
        if self.spec.half_close and not self.needles:
            return None  # the answer may wait for our FIN
        clock = self.env.clock
        sent_ns = clock.perf_ns()
        first_ns: list[int] = []

        def enough(data: bytes) -> bool:
            first_ns.append(clock.perf_ns())
            return _has(self.needles)(data)

        data, end = await self._read(stream, deadline, enough)
        if data:
            answer_ms = (first_ns[0] - sent_ns) / 1e6
            self.detail = replace(self.detail, answer=data[:KEPT_ANSWER], answer_ms=answer_ms)
        elif end is not None:
            raise ProbeFailed(end)
        return _missing(self.needles, data, end)

    async def _half_close(self, stream: Stream, deadline: float) -> None:
        """What follows our FIN: the peer's, a reset, or neither in time, however much it says."""
        clock = self.env.clock
        began_ns = clock.perf_ns()
        data, end = await self._after_fin(stream, deadline)
        took_ms = (clock.perf_ns() - began_ns) / 1e6
        words = {FailureKind.CLOSED: "fin", FailureKind.RESET: "reset"}
        close = words.get(end.kind, "open") if end is not None else "open"
        if data:
            self.log.add(f"{len(data)} bytes came after our FIN")
        answer = self.detail.answer if self.detail.answer is not None else data[:KEPT_ANSWER] or None
        kept = took_ms if close != "open" else None
        self.detail = replace(self.detail, close=close, close_ms=kept, answer=answer)

    async def _after_fin(self, stream: Stream, deadline: float) -> tuple[bytes, Failure | None]:
        try:
            await stream.end_sending()
        except ProbeFailed:  # there is no connection any more: it was reset before
            return b"", failures.from_errno(Stage.SEND, errno.ECONNRESET)
        return await self._read(stream, deadline, lambda data: False, MOST_AFTER_FIN)

    async def _read(
        self,
        stream: Stream,
        deadline: float,
        enough: Callable[[bytes], bool],
        most: int = MOST_SEARCHED,
    ) -> tuple[bytes, Failure | None]:
        """What came until it was ``enough``, and why no more came."""
        data = bytearray()
        while len(data) < most:
            try:
                chunk = await stream.read(min(_CHUNK, most - len(data)), deadline)
            except ProbeFailed as failed:
                return bytes(data), failed.failure
            if not chunk:
                detail = f"the peer closed after {len(data)} bytes"
                return bytes(data), Failure(Stage.RECEIVE, FailureKind.CLOSED, Origin.TARGET, detail)
            data += chunk
            if enough(bytes(data)):
                return bytes(data), None
        return bytes(data), None


def _has(needles: Sequence[Needle]) -> Callable[[bytes], bool]:
    return lambda data: all(needle.data in data for needle in needles)


def _missing(needles: Sequence[Needle], data: bytes, end: Failure | None) -> Failure | None:
    """Why what came is not as expected; raises ProbeFailed where nothing came."""
    lacking = [needle.text for needle in needles if needle.data not in data]
    if not lacking:
        return None
    if not data and end is not None:
        raise ProbeFailed(end)
    detail = f"{len(data)} bytes came, expected {lacking[0][:80]} in them: {escape_bytes(data, 80)}"
    return Failure(Stage.RECEIVE, FailureKind.ANSWER_UNEXPECTED, Origin.TARGET, detail)


def _of_port(failure: Failure, port: int) -> Failure:
    """A source port that cannot be had, told as such."""
    if not port or failure.icmp is not None or failure.origin is not Origin.AGENT:
        return failure
    return port_failure(getattr(errno, failure.errno or "", 0), port) or failure
