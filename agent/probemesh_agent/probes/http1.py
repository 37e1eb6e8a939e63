"""One HTTP/1.1 exchange on a stream that is open, by h11: what is sent, and the answer within its bounds."""

import asyncio
from typing import Any

import h11
from probemesh_shared import failures
from probemesh_shared.words import Stage

from probemesh_agent.env import Clock, ProbeFailed, Stream
from probemesh_agent.probes.httpanswer import (
    HEADERS_MOST,
    Answer,
    TooMuch,
    bad,
    closed,
    head_too_long,
    ill_framed,
)
from probemesh_agent.probes.httprequest import Request

_CHUNK = 64 * 1024
_EVENTS_AT_ONCE = 256  # of one chunk, before others have their turn


async def exchange(
    stream: Stream,
    request: Request,
    answer: Answer,
    clock: Clock,
    deadline: float,
    *,
    absolute: bool = False,
    extra: tuple[tuple[str, str], ...] = (),
) -> None:
    """Fills ``answer``; raises ProbeFailed where it does not come whole. ``absolute``: as proxies want it;
    ``extra``: headers for the proxy."""
    target = request.place.url if absolute else request.place.path
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADERS_MOST)
    sent = written(connection, request, target, extra)
    await stream.write(sent, deadline)
    answer.sent, answer.written_ns = len(sent), clock.perf_ns()
    reader = Reader(connection, stream, answer, clock, deadline)
    while not answer.complete:
        await reader.step()
    answer.left_over = len(connection.trailing_data[0]) if answer.ended else 0


def check(request: Request) -> None:
    """Before anything is dialled. Raises ProbeFailed ``unsupported`` where HTTP cannot carry the request."""
    written(h11.Connection(h11.CLIENT), request, request.place.path, ())


def written(
    connection: h11.Connection, request: Request, target: str, extra: tuple[tuple[str, str], ...]
) -> bytes:
    """The request's bytes. Raises ProbeFailed ``unsupported`` where HTTP cannot carry it; values are told
    by nobody, as they may be credentials."""
    try:
        head = h11.Request(
            method=request.method,
            target=target,
            headers=[("Host", request.host), *_closing(request), *request.headers, *extra],
        )
        parts = [connection.send(head)]
        if request.body:
            parts.append(connection.send(h11.Data(data=request.body)))
        parts.append(connection.send(h11.EndOfMessage()))
    except (h11.LocalProtocolError, UnicodeError):
        detail = (
            "the request asked for cannot be written as HTTP: its method, its path, a header or its length"
        )
        raise ProbeFailed(failures.unsupported(Stage.HTTP, detail)) from None
    return b"".join(part or b"" for part in parts)


def _closing(request: Request) -> list[tuple[str, str]]:
    given = any(name.lower() == "connection" for name, _ in request.headers)
    return [] if given else [("Connection", "close")]


class Reader:
    """Takes an answer apart, event by event."""

    def __init__(
        self, connection: h11.Connection, stream: Stream, answer: Answer, clock: Clock, deadline: float
    ) -> None:
        self._connection, self._stream, self._answer = connection, stream, answer
        self._clock, self._deadline = clock, deadline
        self._events = 0

    async def step(self) -> None:
        """Takes one event, or waits for more bytes."""
        try:
            event = self._connection.next_event()
            if event is h11.NEED_DATA:
                self._connection.receive_data(await self._more())
                return
        except h11.RemoteProtocolError as error:
            raise ProbeFailed(self._broken(error.error_status_hint)) from None
        try:
            self._take(event)
        except TooMuch as error:
            raise ProbeFailed(bad(str(error))) from None
        self._events += 1
        if self._events % _EVENTS_AT_ONCE == 0:  # an answer in tiny chunks must not hold the loop
            await asyncio.sleep(0)
            if self._clock.monotonic() >= self._deadline:
                raise ProbeFailed(
                    failures.timed_out(Stage.RECEIVE, 0.0, "the time for this attempt was over")
                )

    def _take(self, event: Any) -> None:
        answer = self._answer
        if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
            self._head(event)  # what was asked for; what is spoken from here on is not HTTP
            answer.ended = True
        elif isinstance(event, h11.InformationalResponse):
            answer.interim()
        elif isinstance(event, h11.Response):
            self._head(event)
        elif isinstance(event, h11.Data):
            answer.take_body(bytes(event.data))
        else:  # EndOfMessage; PAUSED and ConnectionClosed only come after it
            answer.ended = True

    def _head(self, event: Any) -> None:
        answer = self._answer
        answer.head_size = answer.received - len(self._connection.trailing_data[0])
        if answer.head_size > HEADERS_MOST:
            raise ProbeFailed(head_too_long())
        answer.version = bytes(event.http_version).decode("latin-1")
        answer.status = int(event.status_code)
        answer.reason = bytes(event.reason).decode("latin-1")
        answer.headers = tuple(
            (bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in event.headers
        )

    async def _more(self) -> bytes:
        data = await self._stream.read(_CHUNK, self._deadline)
        self._answer.arrived(data, self._clock.perf_ns())
        if not data and self._answer.status is None:
            raise ProbeFailed(closed(self._answer))
        return data

    def _broken(self, hint: int) -> Any:
        """``hint`` is the status that h11 would answer: 431 says that the head went on beyond the limit."""
        if hint == 431:
            return head_too_long()
        if self._answer.status is not None:
            return ill_framed(self._answer)
        return bad("what answered does not speak HTTP/1.1")
