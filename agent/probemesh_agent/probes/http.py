"""Kind ``http``: one HTTP request, timed by phase, and whether its answer is the one expected.

HTTP/1.1, and HTTP/2 where ALPN comes to it or it is asked for. A sample's RTT is the whole request, from the
SYN to the answer's end, with the redirects that were followed and without resolving. Redirects are told, and
followed on request only; the answer is asked for as it is and never inflated; proxies are those of the spec,
those of the environment are nobody's concern here. At most 16 KiB of headers and 1 MiB of body are read,
4 KiB of it kept.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from importlib import import_module

from probemesh_shared.expectations import HttpExpected, http_expectations
from probemesh_shared.model import HttpDetail, HttpPhases, HttpSpec, Measurement, Spec, Target
from probemesh_shared.words import Kind

from probemesh_agent.env import ProbeEnv, ProbeLog
from probemesh_agent.probes.attempts import (
    Attempted,
    Exchange,
    Plan,
    RichRun,
    Unit,
    not_tried,
    plan_by_address,
)
from probemesh_agent.probes.contexts import Contexts
from probemesh_agent.probes.httpanswer import BODY_KEPT, Answer
from probemesh_agent.probes.httpchain import Chain, HttpContexts, Way
from probemesh_agent.probes.httpjudge import judge, oddities
from probemesh_agent.probes.httpproxy import perhaps_its_own, plan_by_proxy
from probemesh_agent.probes.httpturn import ALPN, Turn
from probemesh_agent.probes.kept import Kept
from probemesh_agent.probes.redaction import Redaction, redacting
from probemesh_agent.version import version

_NOTES_MOST = 32
#: What was typed, and no answer's: rows are told apart by it.
_OURS = frozenset({"target", "address"})


class HttpProbe:
    kind = Kind.HTTP

    def prepare(self, secure: bool) -> None:
        """Reads what the first request would read meanwhile; may block. Most servers that speak TLS choose
        HTTP/2."""
        version()
        if secure:
            Contexts(ALPN[None]).get(True)
            import_module("probemesh_agent.probes.http2")

    async def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncGenerator[Sequence[Measurement], None]:
        if not isinstance(spec, HttpSpec):
            raise TypeError(f"not an http spec: {type(spec).__name__}")
        version()  # read before any time is taken
        options, contexts = spec.options, HttpContexts(spec)
        refused = contexts.own.refused() if spec.ca or spec.client_cert else None

        async def plan(index: int, target: Target) -> Plan:
            if refused is not None:
                now_ns = env.clock.wall_ns()
                return Plan((not_tried(Kind.HTTP, index, target.text, None, None, refused, now_ns),))
            port = 443 if target.secure else 80
            if spec.proxy is not None:
                return await plan_by_proxy(index, target, spec, env, port)
            return await plan_by_address(Kind.HTTP, index, target, options, env, port)

        expected, clean = http_expectations(options.expect), redacting(spec)

        def opened(unit: Unit) -> Exchange:
            return _HttpExchange(spec, expected, unit, env, contexts, clean)

        rate = env.pacing.connects_per_s
        if rate is not None:
            rate /= spec.follow + 1  # each redirect that is followed is a connection more
        rows = RichRun(self.kind, options, env, plan, opened, rate).rows(targets)
        try:
            async for batch in rows:
                yield [clean.of(row, _OURS) for row in batch]
        finally:
            await rows.aclose()


class _HttpExchange:
    def __init__(
        self,
        spec: HttpSpec,
        expected: HttpExpected,
        unit: Unit,
        env: ProbeEnv,
        contexts: HttpContexts,
        clean: Redaction,
    ) -> None:
        self.log = ProbeLog()
        self._spec, self._expected, self._clean = spec, expected, clean
        self._chain = Chain(spec, unit, env, contexts, self.log, self._clean)
        url = self._clean.text(self._chain.first.url)
        phases = HttpPhases(dns_ms=unit.dns_ms)
        tls = self._chain.own.detail if self._chain.own is not None else None
        self._untold = HttpDetail(url=url, method=spec.method, proxy=spec.proxy)
        self._kept = Kept(replace(self._untold, phases=phases, tls=tls))

    async def attempt(self, deadline: float) -> Attempted:
        way, held = Way(), False
        try:
            await self._chain.go(way, deadline)
            if way.turn is None:
                raise AssertionError("a way without a last request")
            failure = judge(self._spec, self._expected, way.turn.answer)
            held = failure is None
        finally:
            self._note(way, held)
        return Attempted(way.took_ms, failure, syn_retransmits=way.syn_retransmits)

    def _heard(self, answer: Answer) -> Answer:
        """Its head as it may be told: before anything is cut, as half a secret is not found."""
        headers, reason = self._clean.pairs(answer.headers), self._clean.maybe(answer.reason)
        return replace(answer, headers=headers, reason=reason)

    def _note(self, way: Way, held: bool) -> None:
        """The detail is of the first chain whose answer is as expected, else of the first whole one, else of
        the first that told anything. One whose certificate does not verify goes before its equals."""
        notes = tuple(self._clean.text(note) for note in way.notes[:_NOTES_MOST])
        told = replace(self._untold, redirects=tuple(way.hops), notes=notes)
        if way.turn is not None:
            told = self._of_turn(told, way, way.turn)
        unverified = told.tls is not None and told.tls.verified is False
        begun = bool(told.redirects) or told.status is not None
        self._kept.offer(told, held, way.complete, begun, unverified)

    def _of_turn(self, detail: HttpDetail, way: Way, turn: Turn) -> HttpDetail:
        answer, clean = self._heard(turn.answer), self._clean
        told = answer.status is not None
        own = perhaps_its_own(answer, self._spec, turn.request.place)
        notes = (*detail.notes, *own, *(oddities(self._spec, answer) if answer.complete else ()))
        return replace(
            detail,
            tls=turn.handshaker.detail if turn.handshaker is not None else None,
            version=answer.version,
            status=answer.status,
            reason=answer.reason,
            headers=answer.headers,
            body_size=len(answer.body) if told else None,
            body=clean.beginning(answer.body, BODY_KEPT) if told else None,
            body_truncated=answer.cut or len(answer.body) > BODY_KEPT,
            location=answer.header("location"),
            phases=turn.phases(way.hops_ms if way.hops else None),
            effective_url=clean.text(turn.request.place.url),
            effective_address=turn.address.host if self._spec.proxy is None else None,
            head_size=answer.head_size,
            sent_size=answer.sent or None,
            received_size=answer.received or None,
            content_length=answer.content_length,
            content_encoding=answer.content_encoding,
            notes=notes[:_NOTES_MOST],
        )

    async def finish(self) -> HttpDetail:
        return self._kept.detail

    async def abandon(self) -> None:
        """Nothing is open between attempts."""
