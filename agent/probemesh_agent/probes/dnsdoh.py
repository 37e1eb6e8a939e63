"""One POST of a DNS message over an open TLS stream (RFC 8484), by HTTP/2 where ALPN chose it, else HTTP/1.1.

Most name servers speak HTTP/2 alone. What comes back is bounded: 16 KiB of headers, 64 KiB of body.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from probemesh_shared.hosts import bracketed
from probemesh_shared.model import Failure
from probemesh_shared.words import FailureKind, Origin, Stage

from probemesh_agent.env import ProbeFailed, Stream

ALPN = ("h2", "http/1.1")
_TYPE = "application/dns-message"
_MOST_BODY = 65_535
_MOST_HEAD = 16 * 1024
_MOST_READ = 256 * 1024  # of everything, frames of HTTP/2 that say nothing included
_CHUNK = 64 * 1024
_SETTINGS = 4
_MOST_INFORMATIONAL = 10
_EVENTS_AT_ONCE = 256  # of one chunk, before others have their turn


@dataclass(slots=True)
class HttpReply:
    """What came of a POST; ``media_type`` in lower case, without parameters."""

    version: str
    status: int | None = None
    media_type: str = ""
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    informational: int = 0

    def message(self) -> bytes:
        """The DNS message in it; raises ProbeFailed where there is none."""
        if self.status != 200:
            detail = f"the server answered the DNS query with HTTP status {self.status}"
            raise ProbeFailed(_failure(FailureKind.STATUS_UNEXPECTED, detail))
        if self.media_type != _TYPE:
            detail = f"the server answered with {self.media_type[:60]!a} instead of {_TYPE}"
            raise ProbeFailed(_failure(FailureKind.BAD_ANSWER, detail))
        return bytes(self.body)

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        value = next((value for name, value in headers if name.lower() == b"content-type"), b"")
        self.media_type = value.partition(b";")[0].strip().lower().decode("latin-1")

    def data(self, data: bytes) -> None:
        self.body += data
        if len(self.body) > _MOST_BODY:
            raise ProbeFailed(_failure(FailureKind.BAD_ANSWER, "the answer is larger than a DNS message"))

    def interim(self) -> None:
        self.informational += 1
        if self.informational > _MOST_INFORMATIONAL:
            detail = f"more than {_MOST_INFORMATIONAL} informational answers came, and no final one"
            raise ProbeFailed(_failure(FailureKind.BAD_ANSWER, detail))


async def post(
    stream: Stream, alpn: str | None, host: str, port: int, path: str, body: bytes, deadline: float
) -> HttpReply:
    """Raises ProbeFailed, stage ``http``, where no answer can be read."""
    authority = bracketed(host) if port == 443 else f"{bracketed(host)}:{port}"
    if alpn == "h2":
        return await _by_http2(stream, authority, path, body, deadline)
    return await _by_http1(stream, authority, path, body, deadline)


async def _by_http1(stream: Stream, authority: str, path: str, body: bytes, deadline: float) -> HttpReply:
    import h11  # as h2: only where somebody asks by HTTPS

    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD)
    headers = [("Host", authority), *_headers(body), ("Connection", "close")]
    try:
        request = h11.Request(method="POST", target=path, headers=headers)
        sent = [connection.send(one) or b"" for one in (request, h11.Data(data=body), h11.EndOfMessage())]
    except (h11.LocalProtocolError, UnicodeError) as error:
        raise ProbeFailed(_unwritable(error)) from None
    await stream.write(b"".join(sent), deadline)
    reply = HttpReply("1.1")
    events = 0
    while not reply.ended:
        events += 1
        if events % _EVENTS_AT_ONCE == 0:  # an answer in tiny chunks must not hold the loop
            await asyncio.sleep(0)
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            raise ProbeFailed(_malformed("HTTP/1.1")) from None
        if event is h11.NEED_DATA:
            connection.receive_data(await _more(stream, reply, deadline))
        else:
            _take1(reply, event)
    return reply


def _take1(reply: HttpReply, event: Any) -> None:
    import h11

    if isinstance(event, h11.Response):
        reply.version = bytes(event.http_version).decode("latin-1")
        reply.head(int(event.status_code), list(event.headers))
    elif isinstance(event, h11.Data):
        reply.data(bytes(event.data))
    elif isinstance(event, h11.InformationalResponse):
        reply.interim()
    else:
        reply.ended = True


async def _by_http2(stream: Stream, authority: str, path: str, body: bytes, deadline: float) -> HttpReply:
    import h2.config
    import h2.connection
    import h2.exceptions

    config = h2.config.H2Configuration(client_side=True, header_encoding=None)
    connection = h2.connection.H2Connection(config=config)
    reply = HttpReply("2")
    try:
        connection.initiate_connection()
        pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", authority), (":path", path)]
        headers = [*pseudo, *((name.lower(), value) for name, value in _headers(body))]
        connection.send_headers(1, headers)
        connection.send_data(1, body, end_stream=True)
        await stream.write(connection.data_to_send(), deadline)
        taken = 0
        while not reply.ended:
            data = await _more(stream, reply, deadline)
            if not data:
                raise ProbeFailed(_closed(reply))
            if (taken == 0 and data[3:4] not in (b"", bytes([_SETTINGS]))) or taken > _MOST_READ:
                raise ProbeFailed(_malformed("HTTP/2"))  # h2 would wait for a frame of 16 MiB
            taken += len(data)
            for event in connection.receive_data(data):
                _take2(reply, event)
            if more := connection.data_to_send():
                await stream.write(more, deadline)
    except (h2.exceptions.H2Error, UnicodeError):
        raise ProbeFailed(_malformed("HTTP/2")) from None
    return reply


def _take2(reply: HttpReply, event: Any) -> None:
    """A DNS message fits into the first flow-control window: nothing has to be acknowledged."""
    from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset

    match event:
        case ResponseReceived(headers=headers):
            status = dict(headers or []).get(b":status", b"")
            reply.head(int(status) if status.isdigit() and len(status) == 3 else 0, list(headers or []))
        case DataReceived(data=data):
            reply.data(data or b"")
        case StreamEnded():
            reply.ended = True
        case StreamReset() | ConnectionTerminated():
            code = getattr(event, "error_code", None)
            detail = f"the server ended the HTTP/2 stream without an answer (error {int(code or 0)})"
            raise ProbeFailed(_failure(FailureKind.RESET, detail))


async def _more(stream: Stream, reply: HttpReply, deadline: float) -> bytes:
    data = await stream.read(_CHUNK, deadline)
    if not data and reply.status is None:
        raise ProbeFailed(_closed(reply))
    return data


def _headers(body: bytes) -> list[tuple[str, str]]:
    """No more than is needed: what a client tells of itself is linked to all that it looks up."""
    return [("Accept", _TYPE), ("Content-Type", _TYPE), ("Content-Length", str(len(body)))]


def _failure(kind: FailureKind, detail: str) -> Failure:
    return Failure(Stage.HTTP, kind, Origin.RESOLVER, detail)


def _closed(reply: HttpReply) -> Failure:
    when = "without an answer" if reply.status is None else "in the middle of its answer"
    return _failure(FailureKind.CLOSED, f"the server closed the connection {when}")


def _malformed(version: str) -> Failure:
    return _failure(FailureKind.BAD_ANSWER, f"what answered does not speak {version}")


def _unwritable(error: Exception) -> Failure:
    detail = f"the request cannot be written as HTTP ({error})"
    return Failure(Stage.HTTP, FailureKind.UNSUPPORTED, Origin.AGENT, detail)
