"""One request of a chain: opened at its place (by TLS, by a proxy), sent, answered, timed by phase."""

import asyncio
import sys
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from probemesh_shared import failures
from probemesh_shared.model import HttpHop, HttpPhases, HttpSpec
from probemesh_shared.words import Stage

from probemesh_agent.env import Address, ProbeEnv, ProbeFailed, Stream
from probemesh_agent.probes import http1
from probemesh_agent.probes.handshake import Handshaker
from probemesh_agent.probes.httpanswer import Answer, bad, not_whole
from probemesh_agent.probes.httpproxy import by_a_proxy, check_forwarded, proxy_headers, reach_proxy, tunnel
from probemesh_agent.probes.httprequest import Request
from probemesh_agent.probes.redaction import Redaction

_HTTP2 = "probemesh_agent.probes.http2"
VERSIONS = ("1.1", "2")
#: What is offered by ALPN, by the version that was asked for.
ALPN: dict[str | None, tuple[str, ...]] = {
    None: ("h2", "http/1.1"),
    "1.1": ("http/1.1",),
    "2": ("h2", "http/1.1"),  # a server that takes the other one is told so
}


async def http2() -> Any:
    """The module, loaded beside the loop where it is not yet."""
    if _HTTP2 not in sys.modules:
        await asyncio.to_thread(import_module, _HTTP2)
    return sys.modules[_HTTP2]


@dataclass(slots=True)
class Turn:
    """``address`` is what was dialled: the proxy's, where there is one. Instants are of ``perf_ns``."""

    request: Request
    address: Address
    dns_ms: float | None = None
    handshaker: Handshaker | None = None
    answer: Answer = field(default_factory=Answer)
    connect_ms: float | None = None
    proxy_ms: float | None = None
    tls_ms: float | None = None
    syn_retransmits: int | None = None
    began_ns: int = 0
    asked_ns: int | None = None
    ended_ns: int = 0

    @property
    def took_ms(self) -> float:
        """From the SYN to the end of the answer, without resolving."""
        return (self.ended_ns - self.began_ns) / 1e6

    def phases(self, redirects_ms: float | None = None) -> HttpPhases:
        answer, asked, first = self.answer, self.asked_ns, self.answer.first_byte_ns
        whole = answer.complete
        return HttpPhases(
            dns_ms=self.dns_ms,
            connect_ms=self.connect_ms,
            tls_ms=self.tls_ms,
            first_byte_ms=(first - asked) / 1e6 if first is not None and asked is not None else None,
            transfer_ms=(self.ended_ns - first) / 1e6 if first is not None and whole else None,
            total_ms=self.took_ms + (self.dns_ms or 0.0) if whole else None,
            proxy_ms=self.proxy_ms,
            send_ms=(answer.written_ns - asked) / 1e6 if answer.written_ns and asked else None,
            redirects_ms=redirects_ms,
        )

    def hop(self, clean: Redaction) -> HttpHop:
        place, answer = self.request.place, self.answer
        return HttpHop(
            url=clean.text(place.url),
            method=self.request.method,
            status=answer.status,
            location=clean.maybe(answer.header("location")),
            address=self.address.host,
            port=place.port,
            version=answer.version,
            tls_verified=self.handshaker.detail.verified if self.handshaker else None,
            phases=self.phases(),
        )


@dataclass(frozen=True, slots=True)
class Asker:
    """Carries turns out, all with one spec."""

    spec: HttpSpec
    env: ProbeEnv
    clean: Redaction

    async def ask(self, turn: Turn, deadline: float) -> None:
        """Fills ``turn``, whatever comes; raises ProbeFailed where no whole answer did."""
        clock = self.env.clock
        http1.check(turn.request)
        if self.spec.http_version == "2":
            await http2()
        turn.began_ns = turn.ended_ns = clock.perf_ns()
        try:
            stream, version = await self._open(turn, deadline)
        except ProbeFailed:
            turn.ended_ns = clock.perf_ns()
            raise
        turn.connect_ms = stream.facts.connect_ms
        turn.syn_retransmits = stream.facts.syn_retransmits
        try:
            await self._exchange(turn, stream, version, deadline)
        finally:
            turn.ended_ns = clock.perf_ns()
            await stream.close()

    async def _open(self, turn: Turn, deadline: float) -> tuple[Stream, str]:
        """A stream to ask on, and the version of HTTP to speak on it."""
        wanted = self.spec.http_version
        if wanted not in (None, *VERSIONS):
            raise ProbeFailed(failures.unsupported(Stage.HTTP, f"this agent knows no HTTP/{str(wanted)[:8]}"))
        if turn.handshaker is None:
            if wanted == "2" and self.spec.proxy is not None:
                detail = "HTTP/2 goes by a proxy over TLS only: proxies forward http as HTTP/1.1"
                raise ProbeFailed(failures.unsupported(Stage.HTTP, detail))
            return await self._dial(turn, deadline), wanted or "1.1"
        handshaker = turn.handshaker
        handshaker.dial = lambda until: self._tunnelled(turn, until)
        stream, facts = await handshaker.open(deadline)
        turn.tls_ms = facts.handshake_ms
        version = "2" if facts.alpn == "h2" else "1.1"
        if wanted == "2" and version != "2":
            await stream.close()
            turn.connect_ms = stream.facts.connect_ms
            chose = f"chose {facts.alpn}" if facts.alpn else "chose nothing"
            raise ProbeFailed(bad(f"HTTP/2 was asked for, and the server {chose} by ALPN"))
        return stream, version

    async def _dial(self, turn: Turn, deadline: float) -> Stream:
        if self.spec.proxy is not None:
            return await reach_proxy(self.spec, turn.address, self.env, deadline)
        return await self.env.network.connect(
            turn.address, turn.request.place.port, self.spec.options, deadline
        )

    async def _tunnelled(self, turn: Turn, deadline: float) -> Stream:
        stream = await self._dial(turn, deadline)
        if self.spec.proxy is None:
            return stream
        began = self.env.clock.perf_ns()
        try:
            await tunnel(stream, turn.request.place, self.spec, self.env, deadline, self.clean)
        except BaseException:
            turn.connect_ms = stream.facts.connect_ms
            await stream.close()
            raise
        finally:
            turn.proxy_ms = (self.env.clock.perf_ns() - began) / 1e6
        return stream

    async def _exchange(self, turn: Turn, stream: Stream, version: str, deadline: float) -> None:
        forwarded = self.spec.proxy is not None and not turn.request.place.secure
        module = await http2() if version == "2" else http1
        more = {"absolute": True, "extra": proxy_headers(self.spec)} if forwarded else {}
        turn.asked_ns = self.env.clock.perf_ns()
        try:
            await module.exchange(stream, turn.request, turn.answer, self.env.clock, deadline, **more)
        except ProbeFailed as failed:
            in_words = not_whole(failed, turn.answer)
            raise (by_a_proxy(in_words, self.spec) if forwarded else in_words) from None
        if forwarded:
            check_forwarded(turn.answer, turn.request, self.spec, self.clean)


__all__ = ["ALPN", "VERSIONS", "Asker", "Turn", "http2"]
