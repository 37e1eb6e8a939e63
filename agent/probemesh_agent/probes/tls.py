"""Kind ``tls``: does the handshake complete, with which version, cipher, ALPN and chain, and does the
chain verify.

A sample's RTT is the TLS handshake's time, without the TCP handshake before it (``detail.tcp_ms``). A
certificate that does not verify is outcome ``ok`` with ``verified`` false: judging it is for findings.
"""

from collections.abc import AsyncGenerator, Sequence

from probemesh_shared.model import Measurement, Spec, Target, TlsDetail, TlsSpec
from probemesh_shared.words import Kind

from probemesh_agent.env import ProbeEnv, ProbeLog
from probemesh_agent.probes.attempts import Attempted, Exchange, Plan, RichRun, Unit, plan_by_address
from probemesh_agent.probes.handshake import Contexts, Handshaker, name_to_verify

_PORT = 443
_ALPN = ("h2", "http/1.1")


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
        options, contexts = spec.options, Contexts(_ALPN)

        async def plan(index: int, target: Target) -> Plan:
            return await plan_by_address(Kind.TLS, index, target, options, env, _PORT)

        def opened(unit: Unit) -> Exchange:
            log = ProbeLog()
            name = name_to_verify(unit, spec.server_name)
            return _TlsExchange(Handshaker(unit, options, env, contexts, log, name, starttls=spec.starttls))

        rate = env.pacing.connects_per_s
        rows = RichRun(self.kind, options, env, plan, opened, rate).rows(targets)
        try:
            async for batch in rows:
                yield batch
        finally:
            await rows.aclose()


class _TlsExchange:
    def __init__(self, handshaker: Handshaker) -> None:
        self.log = handshaker.log
        self._handshaker = handshaker

    async def attempt(self, deadline: float) -> Attempted:
        stream, facts = await self._handshaker.open(deadline)
        await stream.close()
        return Attempted(facts.handshake_ms, syn_retransmits=stream.facts.syn_retransmits)

    async def finish(self) -> TlsDetail:
        return self._handshaker.detail

    async def abandon(self) -> None:
        """Nothing is open between attempts."""
