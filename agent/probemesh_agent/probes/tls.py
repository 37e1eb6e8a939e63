"""Kind ``tls``: does the handshake complete, with which version, cipher, ALPN and chain, and does the
chain verify.

A sample's RTT is the TLS handshake's time, without the TCP handshake before it (``detail.tcp_ms``). A
certificate that does not verify is outcome ``ok`` with ``verified`` false: judging it is for findings. What
the server staples and all that it takes is found out after the samples, where it was asked for.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace

from probemesh_shared.model import Measurement, Spec, Target, TlsDetail, TlsSpec
from probemesh_shared.words import Kind, Stage

from probemesh_agent.env import ProbeEnv, ProbeFailed, ProbeLog
from probemesh_agent.probes.attempts import (
    Attempted,
    Exchange,
    Plan,
    RichRun,
    Unit,
    not_tried,
    plan_by_address,
)
from probemesh_agent.probes.contexts import Contexts, TlsSettings
from probemesh_agent.probes.handshake import Handshaker, name_to_verify
from probemesh_agent.probes.kept import Kept

_PORT = 443
_ALPN = ("h2", "http/1.1")

Turn = Callable[[], Awaitable[bool]]


class TlsProbe:
    kind = Kind.TLS

    def prepare(self, secure: bool) -> None:
        """Reads the system's authorities; may block."""
        Contexts(_ALPN).get(True)

    async def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncGenerator[Sequence[Measurement], None]:
        if not isinstance(spec, TlsSpec):
            raise TypeError(f"not a tls spec: {type(spec).__name__}")
        # mail servers end a handshake that offers them HTTP (no_application_protocol)
        alpn = spec.alpn or (() if spec.starttls else _ALPN)
        options, contexts = spec.options, Contexts(alpn, TlsSettings.of(spec))
        refused = contexts.refused()

        async def plan(index: int, target: Target) -> Plan:
            if refused is not None:
                row = not_tried(Kind.TLS, index, target.text, None, None, refused, env.clock.wall_ns())
                return Plan((row,))
            return await plan_by_address(Kind.TLS, index, target, options, env, _PORT)

        def opened(unit: Unit) -> Exchange:
            log = ProbeLog()
            name = name_to_verify(unit, spec.server_name)
            handshaker = Handshaker(unit, options, env, contexts, log, name, starttls=spec.starttls)

            async def turn() -> bool:
                return await run.turn(unit, env.clock.monotonic())

            return _TlsExchange(spec, handshaker, turn)

        run = RichRun(self.kind, options, env, plan, opened, env.pacing.connects_per_s)
        rows = run.rows(targets)
        try:
            async for batch in rows:
                yield batch
        finally:
            await rows.aclose()


class _TlsExchange:
    def __init__(self, spec: TlsSpec, handshaker: Handshaker, turn: Turn) -> None:
        self.log = handshaker.log
        self._spec = spec
        self._handshaker = handshaker
        self._turn = turn
        self._connects = False
        self._kept = Kept(handshaker.detail)

    async def attempt(self, deadline: float) -> Attempted:
        held = False
        try:
            told = await self._handshake(deadline)
            held = True
        finally:
            self._note(held)
        return told

    def _note(self, held: bool) -> None:
        """The detail is of the first attempt that held, or else of the first that shook hands. One whose
        certificate does not verify goes before its equals."""
        told = self._handshaker.detail
        self._kept.offer(told, held, told.version is not None, told.verified is False)

    async def _handshake(self, deadline: float) -> Attempted:
        try:
            stream, facts = await self._handshaker.open(deadline)
        except ProbeFailed as failed:
            self._connects |= failed.failure.stage is not Stage.CONNECT
            raise
        self._connects = True
        try:
            await self._handshaker.settled(stream, deadline)
        finally:
            await stream.close()
        return Attempted(facts.handshake_ms, syn_retransmits=stream.facts.syn_retransmits)

    async def finish(self) -> TlsDetail:
        self._handshaker.detail = self._kept.detail
        if self._connects and (self._spec.ocsp or self._spec.enumerate):
            await self._look_further()
        return self._handshaker.detail

    async def _look_further(self) -> None:
        from probemesh_agent.probes.tlsask import Asker, stapled  # only where it is asked for
        from probemesh_agent.probes.tlsenum import enumerate_all

        asker = Asker(self._handshaker, self._handshaker.env, self._turn)
        staple, note = await stapled(asker)
        if note is not None:
            self.log.add(note)
        if staple is not None:
            self._handshaker.detail = replace(
                self._handshaker.detail,
                ocsp_staple=staple.status,
                ocsp_this_update_ns=staple.this_update_ns,
                ocsp_next_update_ns=staple.next_update_ns,
            )
        if self._spec.enumerate:
            found = await enumerate_all(asker)
            self.log.add(f"versions and ciphers: {found.connections} connections")
            self._handshaker.detail = replace(self._handshaker.detail, enumeration=found)

    async def abandon(self) -> None:
        """Nothing is open between attempts."""
