"""One HTTP/2 exchange on a stream that is open, by h2: one request, no push, small windows.

Frames are counted before h2 sees them (:mod:`probemesh_agent.probes.http2frames`). What was read of the body
is given back to the windows as it comes, so that no more than 64 KiB are ever under way.
"""

from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from probemesh_shared import failures
from probemesh_shared.model import Failure
from probemesh_shared.words import FailureKind, Origin, Stage

from probemesh_agent.env import Clock, ProbeFailed, Stream
from probemesh_agent.probes import http2frames as frames
from probemesh_agent.probes.httpanswer import HEADERS_MOST, Answer, TooMuch, bad, closed, ill_framed
from probemesh_agent.probes.httprequest import Request

_CHUNK = 16 * 1024
_CONNECTION_OWN = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"}
)
_Code = h2.settings.SettingCodes


async def exchange(stream: Stream, request: Request, answer: Answer, clock: Clock, deadline: float) -> None:
    """Fills ``answer``; raises ProbeFailed where it does not come whole."""
    talk = _Talk(stream, answer, clock, deadline)
    await talk.ask(request)
    while not answer.complete:
        await talk.step()
    await talk.leave()


def _connection() -> h2.connection.H2Connection:
    config = h2.config.H2Configuration(client_side=True, header_encoding=None)
    connection = h2.connection.H2Connection(config)
    connection.local_settings = h2.settings.Settings(
        client=True,
        initial_values={
            _Code.ENABLE_PUSH: 0,
            _Code.INITIAL_WINDOW_SIZE: 65_535,
            _Code.MAX_FRAME_SIZE: frames.FRAME_MOST,
            _Code.MAX_HEADER_LIST_SIZE: HEADERS_MOST,
            _Code.MAX_CONCURRENT_STREAMS: 1,
        },
    )
    connection.decoder.max_header_list_size = HEADERS_MOST
    return connection


class _Talk:
    def __init__(self, stream: Stream, answer: Answer, clock: Clock, deadline: float) -> None:
        self._stream, self._answer, self._clock, self._deadline = stream, answer, clock, deadline
        self._connection = _connection()
        self._frames = frames.Frames()
        self._id = 0
        self._unsent = b""

    async def ask(self, request: Request) -> None:
        connection, self._unsent = self._connection, request.body or b""
        connection.initiate_connection()
        self._id = connection.get_next_available_stream_id()
        try:
            connection.send_headers(self._id, _headers(request), end_stream=not self._unsent)
        except (h2.exceptions.ProtocolError, UnicodeError):
            detail = "the request asked for cannot be written as HTTP/2: its method, its path or a header"
            raise ProbeFailed(failures.unsupported(Stage.HTTP, detail)) from None
        await self._send()

    async def _send(self) -> None:
        """What is due, and as much of the request's body as the server's windows take."""
        connection = self._connection
        while self._unsent and not self._answer.complete:
            room = connection.local_flow_control_window(self._id)
            part = self._unsent[: min(room, connection.max_outbound_frame_size)]
            if not part:
                break
            self._unsent = self._unsent[len(part) :]
            connection.send_data(self._id, part, end_stream=not self._unsent)
        data = connection.data_to_send()
        if data:
            await self._stream.write(data, self._deadline)
            self._answer.sent += len(data)
        if not self._unsent and self._answer.written_ns is None:
            self._answer.written_ns = self._clock.perf_ns()

    async def step(self) -> None:
        data = await self._stream.read(_CHUNK, self._deadline)
        answer = self._answer
        if not data:
            raise ProbeFailed(closed(answer) if answer.status is None else ill_framed(answer))
        answer.received += len(data)
        try:
            for frame in self._frames.take(data):
                self._frame(frame)
                if answer.complete:
                    return
        except TooMuch as error:
            raise ProbeFailed(bad(str(error), errno="ENHANCE_YOUR_CALM")) from None
        except frames.NotFrames as error:
            raise ProbeFailed(bad(f"HTTP/2 was spoken, and {error} came back")) from None
        except h2.exceptions.H2Error as error:
            raise ProbeFailed(self._broken(error)) from None
        await self._send()

    def _frame(self, frame: frames.Frame) -> None:
        if frame.type == frames.GOAWAY:
            self._goaway(frame.payload)
            return
        if frame.type == frames.HEADERS and self._answer.first_byte_ns is None:
            self._answer.first_byte_ns = self._clock.perf_ns()
        for event in self._connection.receive_data(frame.data):
            self._take(event)

    def _take(self, event: Any) -> None:
        answer = self._answer
        if isinstance(event, h2.events.ResponseReceived):
            self._head(event)
        elif isinstance(event, h2.events.InformationalResponseReceived):
            answer.interim()
        elif isinstance(event, h2.events.DataReceived):
            answer.take_body(event.data or b"")
            self._connection.acknowledge_received_data(event.flow_controlled_length or 0, self._id)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            raise ProbeFailed(_reset(int(event.error_code or 0)))

    def _head(self, event: Any) -> None:
        answer = self._answer
        pairs = [
            (bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in event.headers
        ]
        status = next((value for name, value in pairs if name == ":status"), "")
        if not (status.isascii() and status.isdigit() and len(status) == 3):
            raise ProbeFailed(bad("the answer's :status is no number of three digits"))
        answer.version, answer.status = "2", int(status)
        answer.headers = tuple(pair for pair in pairs if not pair[0].startswith(":"))
        answer.head_size = self._frames.block

    def _goaway(self, payload: bytes) -> None:
        """A server that goes away may still answer what it has taken."""
        last, code = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF, int.from_bytes(payload[4:8], "big")
        if len(payload) < 8:
            raise ProbeFailed(bad("a GOAWAY frame came that is too short"))
        if code or last < self._id:
            name = _code(code)
            detail = f"the server ended the HTTP/2 connection (GOAWAY, {name})"
            raise ProbeFailed(Failure(Stage.HTTP, FailureKind.CLOSED, Origin.TARGET, detail, errno=name))

    def _broken(self, error: h2.exceptions.H2Error) -> Failure:
        if isinstance(error, h2.exceptions.InvalidBodyLengthError):
            said, came = error.expected_length, error.actual_length
            return bad(f"the body is {came} bytes, and Content-Length says {said}")
        if isinstance(error, h2.exceptions.DenialOfServiceError):
            return bad("the answer's head goes on beyond 16 KiB", errno="ENHANCE_YOUR_CALM")
        name = _code(int(getattr(error, "error_code", h2.errors.ErrorCodes.PROTOCOL_ERROR)))
        return bad(f"the answer breaks the rules of HTTP/2 ({name})", errno=name)

    async def leave(self) -> None:
        """Says goodbye; a body that was cut is called off. What becomes of it is nobody's concern."""
        try:
            if self._answer.cut and not self._answer.ended:
                self._connection.reset_stream(self._id, h2.errors.ErrorCodes.CANCEL)
            self._connection.close_connection()
            await self._stream.write(self._connection.data_to_send(), self._deadline)
        except (h2.exceptions.H2Error, ProbeFailed):
            return


def _headers(request: Request) -> list[tuple[str, str]]:
    pseudo = [
        (":method", request.method),
        (":scheme", request.place.scheme),
        (":authority", request.host),
        (":path", request.place.path),
    ]
    own = [(name.lower(), value) for name, value in request.headers if name.lower() not in _CONNECTION_OWN]
    return pseudo + own


def _reset(code: int) -> Failure:
    name = _code(code)
    if code == h2.errors.ErrorCodes.HTTP_1_1_REQUIRED:
        return bad("the server wants HTTP/1.1 for this (HTTP_1_1_REQUIRED)", errno=name)
    detail = f"the server reset the HTTP/2 stream ({name})"
    return Failure(Stage.HTTP, FailureKind.RESET, Origin.TARGET, detail, errno=name)


def _code(code: int) -> str:
    try:
        return h2.errors.ErrorCodes(code).name
    except ValueError:
        return str(code)
