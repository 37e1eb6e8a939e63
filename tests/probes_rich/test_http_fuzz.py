"""Whatever comes back, an answer is whole, or a failure says why: bytes at random, cut and mended."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from probemesh_agent.env import Connected, ProbeFailed, TlsFacts
from probemesh_agent.probes import http1, http2
from probemesh_agent.probes.http2frames import Frames, NotFrames
from probemesh_agent.probes.httpanswer import BODY_MOST, HEADERS_MOST, Answer, TooMuch
from probemesh_agent.probes.httpjudge import judge, oddities
from probemesh_agent.probes.httpredirect import target_of
from probemesh_agent.probes.httprequest import Place, first_request
from probemesh_shared.clock import SystemClock
from probemesh_shared.expectations import HttpExpected
from probemesh_shared.model import HttpSpec

HERE = Place(False, "a.example", 80)
ONE = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Range: bytes 0-4/9\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 302 Go\r\nLocation: //b\r\n\r\nrest",
)
TWO = (
    b"\0\0\0\4\0\0\0\0\0",
    b"\0\0\1\1\4\0\0\0\1\x88",
    b"\0\0\3\0\1\0\0\0\1abc",
    b"\0\0\4\3\0\0\0\0\1\0\0\0\7",
    b"\0\0\x08\7\0\0\0\0\0\0\0\0\1\0\0\0\0",
    b"\0\0\x08\6\0\0\0\0\0pingpong",
    b"\0\0\6\4\0\0\0\0\0\0\4\0\0\0\0",
)
CLOCK = SystemClock()


class Memory:
    """A stream that says what it was given, in pieces, and closes."""

    facts = Connected(None, "192.0.2.1", 1)

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    async def read(self, limit: int, deadline: float) -> bytes:
        if not self._pieces:
            return b""
        data = self._pieces[0][:limit]
        self._pieces[0] = self._pieces[0][limit:]
        if not self._pieces[0]:
            del self._pieces[0]
        return data

    async def write(self, data: bytes, deadline: float) -> None:
        return None

    async def start_tls(self, context: object, server_name: object, deadline: float) -> TlsFacts:
        raise AssertionError("nobody asks for it here")

    async def settle(self, deadline: float) -> None:
        return None

    async def close(self) -> None:
        return None


@st.composite
def spoilt(draw: st.DrawFn, good: Sequence[bytes]) -> list[bytes]:
    """Pieces of what is right, with bytes changed, cut out and put in."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(good), max_size=12))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=6))
    step = draw(st.integers(1, 40))
    return [bytes(data[i : i + step]) for i in range(0, len(data), step)]


def told(exchange: object, pieces: Sequence[bytes], spec: HttpSpec) -> None:
    answer = Answer()
    request = first_request(spec, HERE)

    async def run() -> None:
        async with asyncio.timeout(20):
            await exchange(Memory(pieces), request, answer, CLOCK, CLOCK.monotonic() + 10)

    try:
        asyncio.run(run())
        assert answer.complete and answer.status is not None
        failure = judge(spec, HttpExpected(), answer)
        assert failure is None or failure.detail
        assert all(note.isprintable() for note in oddities(spec, answer))
    except ProbeFailed as failed:
        assert failed.failure.detail and failed.failure.detail.isprintable()
    assert len(answer.body) <= BODY_MOST and (answer.head_size or 0) <= HEADERS_MOST


SPECS = st.sampled_from(
    (
        HttpSpec(),
        HttpSpec(method="HEAD"),
        HttpSpec(headers=(("Range", "bytes=0-4"),)),
        HttpSpec(body=b"x" * 9),
    )
)


@settings(max_examples=150, deadline=None)
@given(pieces=spoilt(ONE) | st.lists(st.binary(max_size=60), max_size=4), spec=SPECS)
def test_http1(pieces: list[bytes], spec: HttpSpec) -> None:
    told(http1.exchange, pieces, spec)


@settings(max_examples=150, deadline=None)
@given(pieces=spoilt(TWO) | st.lists(st.binary(max_size=60), max_size=4), spec=SPECS)
def test_http2(pieces: list[bytes], spec: HttpSpec) -> None:
    told(http2.exchange, [TWO[0], *pieces], spec)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_frames(pieces: list[bytes]) -> None:
    frames = Frames()
    try:
        found = [frame for piece in pieces for frame in frames.take(piece)]
    except (TooMuch, NotFrames):
        return
    whole = b"".join(pieces)
    assert whole.startswith(b"".join(frame.data for frame in found))


LOCATIONS = st.text(st.characters(max_codepoint=255), max_size=40) | st.builds(
    "{}{}{}{}".format,
    st.sampled_from(("", "http:", "https:", "HTTP:", "ftp:", "data:")),
    st.sampled_from(("", "/", "//", "///", "\\\\")),
    st.sampled_from(("", "a.example", "127.1", "[::1]", "[::1", "h:0", "u@h", "h:80:90", "\xff", "0x7f.1")),
    st.sampled_from(("", "/", "/x y", "?q", "#f", "/%zz", "/\r\nX: y", "/..;/", "/\u00e9")),
)


@settings(max_examples=300, deadline=None)
@given(LOCATIONS, st.sampled_from(("/", "/a/b?c", "/x/")), st.booleans())
def test_locations(location: str, path: str, secure: bool) -> None:
    here = Place(secure, "a.example", 8080, path)
    try:
        place = target_of(here, location, location)
    except ProbeFailed as failed:
        assert failed.failure.detail.isprintable()
        return
    assert place.path.startswith("/") and place.path.isascii() and place.path.isprintable()
    assert " " not in place.path and 0 < place.port < 65536 and place.host
    http1.check(first_request(HttpSpec(), place))
