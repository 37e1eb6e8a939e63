"""Kind ``http``: one HTTP/1.1 request, timed by phase, and whether its answer is the one expected.

A sample's RTT is the whole request, from the SYN to the answer's end, without resolving. Redirects are
told, not followed; the answer is asked for as it is and never inflated; proxies in the environment are
nobody's concern here. At most 16 KiB of headers and 1 MiB of body are read, 4 KiB of it kept.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import h11
from probemesh_shared import failures
from probemesh_shared.expectations import http_expectations
from probemesh_shared.expectations.values import spell_ranges
from probemesh_shared.hosts import bracketed
from probemesh_shared.model import (
    Failure,
    HttpDetail,
    HttpPhases,
    HttpSpec,
    Measurement,
    PortRange,
    Spec,
    Target,
)
from probemesh_shared.words import FailureKind, Kind, Origin, Stage

from probemesh_agent.env import ProbeEnv, ProbeFailed, ProbeLog, Stream
from probemesh_agent.probes.attempts import Attempted, Exchange, Plan, RichRun, Unit, plan_by_address
from probemesh_agent.probes.contexts import Contexts
from probemesh_agent.probes.handshake import Handshaker, name_to_verify
from probemesh_agent.probes.httpbody import judge_body
from probemesh_agent.version import version

_HEADERS_MOST = 16 * 1024
_BODY_MOST = 1024 * 1024
_BODY_KEPT = 4096
_CHUNK = 64 * 1024
_INFORMATIONAL_MOST = 10
_DEFAULT_STATUS = (PortRange(200, 399),)
_ALPN = ("http/1.1",)


class HttpProbe:
    kind = Kind.HTTP

    def prepare(self, secure: bool) -> None:
        """Reads what the first request would read meanwhile; may block."""
        version()
        if secure:
            Contexts(_ALPN).get(True)

    async def run(
        self, spec: Spec, targets: Sequence[Target], env: ProbeEnv
    ) -> AsyncGenerator[Sequence[Measurement], None]:
        if not isinstance(spec, HttpSpec):
            raise TypeError(f"not an http spec: {type(spec).__name__}")
        options, contexts = spec.options, Contexts(_ALPN)

        async def plan(index: int, target: Target) -> Plan:
            return await plan_by_address(Kind.HTTP, index, target, options, env, 443 if target.secure else 80)

        def opened(unit: Unit) -> Exchange:
            return _HttpExchange(spec, unit, env, contexts)

        rate = env.pacing.connects_per_s
        rows = RichRun(self.kind, options, env, plan, opened, rate).rows(targets)
        try:
            async for batch in rows:
                yield batch
        finally:
            await rows.aclose()


@dataclass(slots=True)
class _Answer:
    """What has been read so far; kept when the rest does not come."""

    version: str | None = None
    status: int | None = None
    reason: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    begun: bool = False
    ended: bool = False
    cut: bool = False
    first_byte_ns: int | None = None


class _HttpExchange:
    def __init__(self, spec: HttpSpec, unit: Unit, env: ProbeEnv, contexts: Contexts) -> None:
        self.log = ProbeLog()
        self._spec, self._unit, self._env = spec, unit, env
        self._expected = http_expectations(spec.options.expect)
        self._handshaker: Handshaker | None = None
        if unit.target.secure:
            name = name_to_verify(unit, spec.server_name)
            contexts.get(True)  # made before any time is taken
            self._handshaker = Handshaker(unit, spec.options, env, contexts, self.log, name)
        self._detail = HttpDetail(url=_url(unit), method=spec.method, phases=HttpPhases(dns_ms=unit.dns_ms))
        self._complete = False

    async def attempt(self, deadline: float) -> Attempted:
        request = _request(self._spec, self._unit)
        began = self._env.clock.perf_ns()
        stream, tls_ms = await self._open(deadline)
        answer = _Answer()
        try:
            sent = self._env.clock.perf_ns()
            await self._exchange(stream, request, answer, deadline)
        finally:
            ended = self._env.clock.perf_ns()
            await stream.close()
            self._note(answer, stream, tls_ms, began, sent, ended)
        return Attempted(
            (ended - began) / 1e6,
            self._judge(answer),
            syn_retransmits=stream.facts.syn_retransmits,
        )

    async def _open(self, deadline: float) -> tuple[Stream, float | None]:
        if self._handshaker is not None:
            stream, facts = await self._handshaker.open(deadline)
            return stream, facts.handshake_ms
        unit = self._unit
        return await self._env.network.connect(unit.address, unit.port, self._spec.options, deadline), None

    async def _exchange(self, stream: Stream, request: Any, answer: _Answer, deadline: float) -> None:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEADERS_MOST)
        try:
            sent = (connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b"")
        except h11.LocalProtocolError as error:
            detail = f"the request asked for cannot be written as HTTP ({error})"
            raise ProbeFailed(failures.unsupported(Stage.HTTP, detail)) from None
        await stream.write(sent, deadline)
        informational = 0
        while not answer.ended and not answer.cut:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError as error:
                raise ProbeFailed(_bad_answer(answer, error.error_status_hint)) from None
            if event is h11.NEED_DATA:
                connection.receive_data(await self._more(stream, answer, deadline))
            elif isinstance(event, h11.InformationalResponse):
                informational += 1
                if informational > _INFORMATIONAL_MOST:
                    raise ProbeFailed(_bad_answer(answer, 0))
            elif isinstance(event, h11.Response):
                _take_head(answer, event)
            elif isinstance(event, h11.Data):
                _take_body(answer, bytes(event.data))
            else:  # EndOfMessage; PAUSED and ConnectionClosed only come after it
                answer.ended = True

    async def _more(self, stream: Stream, answer: _Answer, deadline: float) -> bytes:
        data = await stream.read(_CHUNK, deadline)
        if data and answer.first_byte_ns is None:
            answer.first_byte_ns = self._env.clock.perf_ns()
            answer.begun = True
        if not data and answer.status is None:
            when = "in the middle of its answer's head" if answer.begun else "without an answer"
            detail = f"the server closed the connection {when}"
            raise ProbeFailed(Failure(Stage.HTTP, FailureKind.CLOSED, Origin.TARGET, detail))
        return data

    def _judge(self, answer: _Answer) -> Failure | None:
        spec = self._spec
        status = answer.status or 0
        ranges = self._expected.status or spec.expect_status or _DEFAULT_STATUS
        if not any(one.first <= status <= one.last for one in ranges):
            wanted = spell_ranges(ranges)
            detail = f"status {status}, expected {wanted}"
            return Failure(Stage.HTTP, FailureKind.STATUS_UNEXPECTED, Origin.TARGET, detail)
        return judge_body(self._expected, answer.body, answer.cut)

    def _note(
        self, answer: _Answer, stream: Stream, tls_ms: float | None, began: int, sent: int, ended: int
    ) -> None:
        """The detail is of the first request that got a whole answer, or else of the last one."""
        if self._complete:
            return
        self._complete = answer.ended or answer.cut
        first = answer.first_byte_ns
        self._detail = replace(
            self._detail,
            version=answer.version,
            status=answer.status,
            reason=answer.reason,
            headers=answer.headers,
            body_size=len(answer.body) if answer.status is not None else None,
            body=answer.body[:_BODY_KEPT] if answer.status is not None else None,
            body_truncated=answer.cut or len(answer.body) > _BODY_KEPT,
            location=_location(answer.headers),
            phases=HttpPhases(
                dns_ms=self._unit.dns_ms,
                connect_ms=stream.facts.connect_ms,
                tls_ms=tls_ms,
                first_byte_ms=(first - sent) / 1e6 if first is not None else None,
                transfer_ms=(ended - first) / 1e6 if first is not None and self._complete else None,
                total_ms=(ended - began) / 1e6 + (self._unit.dns_ms or 0.0) if self._complete else None,
            ),
        )

    async def finish(self) -> HttpDetail:
        tls = self._handshaker.detail if self._handshaker is not None else None
        return replace(self._detail, tls=tls)

    async def abandon(self) -> None:
        """Nothing is open between attempts."""


def _request(spec: HttpSpec, unit: Unit) -> Any:
    """Raises ProbeFailed ``unsupported`` for a method, path or header that HTTP cannot carry."""
    given = {name.lower() for name, _ in spec.headers}
    defaults = (
        ("Host", _authority(unit)),
        ("User-Agent", f"probemesh/{version()}"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    )
    headers = [(name, value) for name, value in defaults if name.lower() not in given]
    path = unit.target.path or "/"
    try:
        return h11.Request(method=spec.method, target=path, headers=[*headers, *spec.headers])
    except (h11.LocalProtocolError, UnicodeError) as error:
        detail = f"the request asked for cannot be written as HTTP ({error})"
        raise ProbeFailed(failures.unsupported(Stage.HTTP, detail)) from None


def _authority(unit: Unit) -> str:
    named = unit.target.host if unit.target.agent is None else unit.address.host
    host = bracketed(named.partition("%")[0])
    return host if unit.port == (443 if unit.target.secure else 80) else f"{host}:{unit.port}"


def _url(unit: Unit) -> str:
    scheme = "https" if unit.target.secure else "http"
    return f"{scheme}://{_authority(unit)}{unit.target.path or '/'}"


def _take_head(answer: _Answer, event: Any) -> None:
    answer.version = bytes(event.http_version).decode("latin-1")
    answer.status = int(event.status_code)
    answer.reason = bytes(event.reason).decode("latin-1")
    answer.headers = tuple(
        (bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in event.headers
    )


def _take_body(answer: _Answer, data: bytes) -> None:
    answer.body += data[: _BODY_MOST - len(answer.body)]
    answer.cut = len(answer.body) >= _BODY_MOST


def _location(headers: tuple[tuple[str, str], ...]) -> str | None:
    return next((value for name, value in headers if name.lower() == "location"), None)


def _bad_answer(answer: _Answer, hint: int) -> Failure:
    """``hint`` is the status that h11 would answer: 431 says that the head went on beyond the limit."""
    if hint == 431:
        detail = "the answer's head goes on beyond 16 KiB"
    elif answer.status is not None:
        detail = "the answer's body is not framed as HTTP says, or ends before its end"
    else:
        detail = "what answered does not speak HTTP/1.1"
    return Failure(Stage.HTTP, FailureKind.BAD_ANSWER, Origin.TARGET, detail)
