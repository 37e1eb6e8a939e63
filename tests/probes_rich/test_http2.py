"""http over HTTP/2: chosen by ALPN or asked for, and hostile peers frame by frame."""

import asyncio
import resource
import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
import trustme
from probemesh_agent.probes.http2frames import Frames, NotFrames
from probemesh_agent.probes.httpanswer import TooMuch
from probemesh_shared.model import HttpDetail, HttpSpec, Measurement
from probemesh_shared.words import FailureKind, Outcome, Stage

from tests.probes_rich.rich_bench import QUICK, Bench, Handler, at, saying, server_context, serving, silent

TWO = HttpSpec(QUICK, http_version="2")
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
OK_200 = b"\x88"  # :status 200, in HPACK
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 1) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def head(flags: int = END_HEADERS, block: bytes = OK_200) -> bytes:
    return frame(1, block, flags)


def data(payload: bytes, end: bool = False) -> bytes:
    return frame(0, payload, END_STREAM if end else 0)


def literal(name: bytes, value: bytes) -> bytes:
    """A header without indexing, lengths below 127."""
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def answering(*parts: bytes, for_ever: Callable[[int], bytes] | None = None) -> Handler:
    """Reads the preface, says ``parts``, then what ``for_ever`` makes, or waits."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(24)
        for part in (SETTINGS, *parts):
            writer.write(part)
        await writer.drain()
        number = 0
        while for_ever is not None:
            writer.write(for_ever(number))
            number += 1
            await writer.drain()
            await asyncio.sleep(0)  # or the kernel's buffers are filled before anybody else has a turn
        await reader.read()

    return handler


def detail(row: Measurement) -> HttpDetail:
    assert isinstance(row.detail, HttpDetail)
    return row.detail


async def said(bench: Bench, *parts: bytes, spec: HttpSpec = TWO, **more) -> Measurement:
    async with serving(answering(*parts, **more)) as port:
        return await bench.one(spec, at(port))


async def test_a_plain_answer_with_prior_knowledge(bench: Bench) -> None:
    block = OK_200 + literal(b"x-a", b"1") + literal(b"content-length", b"5")
    row = await said(bench, head(block=block), data(b"hello", end=True))
    told = detail(row)
    assert row.outcome is Outcome.OK, row.log
    assert (told.version, told.status, told.reason, told.body) == ("2", 200, None, b"hello")
    assert told.headers == (("x-a", "1"), ("content-length", "5")) and told.content_length == 5
    assert told.head_size == len(block) and told.body_size == 5
    assert told.received_size == 9 + 9 + len(block) + 9 + 5 and told.sent_size
    assert told.phases.first_byte_ms is not None and told.phases.transfer_ms is not None


async def test_tls_chooses_by_alpn_and_is_told_where_it_does_not(bench: Bench, authority: trustme.CA) -> None:
    async with serving(
        answering(head(), data(b"x", end=True)), server_context(authority, "a.example", alpn=("h2",))
    ) as port:
        row = await bench.one(HttpSpec(QUICK), at(port, secure=True))
        assert row.outcome is Outcome.OK and detail(row).version == "2", row.log
        assert (tls := detail(row).tls) is not None and tls.alpn == "h2"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    for alpn, words in ((("http/1.1",), "chose http/1.1"), ((), "chose nothing")):
        async with serving(saying(answer), server_context(authority, "a.example", alpn=alpn)) as port:
            row = await bench.one(TWO, at(port, secure=True))
            assert row.failure is not None and row.failure.kind is FailureKind.BAD_ANSWER
            assert words in row.failure.detail
            row = await bench.one(HttpSpec(QUICK), at(port, secure=True))
            assert row.outcome is Outcome.OK and detail(row).version == "1.1"


async def test_a_body_is_sent_within_the_server_s_windows(bench: Bench) -> None:
    got = bytearray()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(24)
        writer.write(frame(4, struct.pack(">HI", 4, 1000), stream=0))  # INITIAL_WINDOW_SIZE 1000
        await writer.drain()
        ended = False
        while not ended:
            size, kind, flags, _ = struct.unpack(">IBBI", b"\0" + await reader.readexactly(9))
            payload = await reader.readexactly(size)
            if kind == 0:
                got.extend(payload)
                assert len(payload) <= 16_384
                ended = bool(flags & END_STREAM)
                if size and not ended:
                    writer.write(
                        frame(8, struct.pack(">I", size)) + frame(8, struct.pack(">I", size), stream=0)
                    )
                    await writer.drain()
        writer.write(head(END_HEADERS | END_STREAM))
        await writer.drain()

    async with serving(handler) as port:
        row = await bench.one(replace(TWO, method="POST", body=b"b" * 5000), at(port))
    assert row.outcome is Outcome.OK, row.log
    assert bytes(got) == b"b" * 5000


async def test_a_server_that_opens_no_window_is_silence(bench: Bench) -> None:
    spec = replace(TWO, method="PUT", body=b"b", options=replace(QUICK, timeout_s=0.3))
    shut = frame(4, struct.pack(">HI", 4, 0), stream=0)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(shut)
        await reader.read()

    async with serving(handler) as port:
        row = await bench.one(spec, at(port))
    # the body may have left before the window was shut; either way nothing comes back
    assert row.outcome is Outcome.TIMEOUT


@pytest.mark.parametrize(
    ("parts", "kind", "errno"),
    [
        ([frame(3, struct.pack(">I", 7))], FailureKind.RESET, "REFUSED_STREAM"),
        ([head(), data(b"half"), frame(3, struct.pack(">I", 2))], FailureKind.RESET, "INTERNAL_ERROR"),
        ([frame(3, struct.pack(">I", 13))], FailureKind.BAD_ANSWER, "HTTP_1_1_REQUIRED"),
        ([frame(7, struct.pack(">II", 0, 0), stream=0)], FailureKind.CLOSED, "NO_ERROR"),
        ([frame(7, struct.pack(">II", 1, 11), stream=0)], FailureKind.CLOSED, "ENHANCE_YOUR_CALM"),
        ([frame(7, struct.pack(">II", 0, 4711), stream=0)], FailureKind.CLOSED, "4711"),
        ([frame(7, b"", stream=0)], FailureKind.BAD_ANSWER, None),
        ([data(b"first", end=True)], FailureKind.BAD_ANSWER, "PROTOCOL_ERROR"),
        ([head(), data(b"short", end=True)], None, None),
        (
            [head(block=OK_200 + literal(b"content-length", b"50")), data(b"short", end=True)],
            FailureKind.BAD_ANSWER,
            None,
        ),
        ([head(block=literal(b"x", b"no status"))], FailureKind.BAD_ANSWER, "PROTOCOL_ERROR"),
        ([head(block=b"\xff\xff\xff\xff\xff")], FailureKind.BAD_ANSWER, None),
        ([frame(5, struct.pack(">I", 2) + OK_200, END_HEADERS)], FailureKind.BAD_ANSWER, "PROTOCOL_ERROR"),
        ([b"\xff\xff\xff\0\0\0\0\0\1"], FailureKind.BAD_ANSWER, "ENHANCE_YOUR_CALM"),
        ([frame(9, OK_200, END_HEADERS)], FailureKind.BAD_ANSWER, "PROTOCOL_ERROR"),
    ],
)
async def test_ends_of_the_wrong_kind(
    bench: Bench, parts: list[bytes], kind: FailureKind | None, errno: str | None
) -> None:
    row = await said(bench, *parts)
    if kind is None:
        assert row.outcome is Outcome.OK, row.log
        return
    assert row.failure is not None and row.failure.stage is Stage.HTTP, row.log
    assert row.failure.kind is kind, row.failure
    assert errno is None or row.failure.errno == errno


async def test_a_server_that_goes_away_may_answer_first(bench: Bench) -> None:
    leaving = frame(7, struct.pack(">II", 1, 0), stream=0)
    row = await said(bench, leaving, head(), data(b"late", end=True))
    assert row.outcome is Outcome.OK and detail(row).body == b"late", row.log


@pytest.mark.parametrize(
    ("flood", "words"),
    [
        (lambda _: frame(4, stream=0), "SETTINGS"),
        (lambda _: frame(6, bytes(8), stream=0), "PING"),
        (lambda _: frame(8, struct.pack(">I", 1), stream=0), "WINDOW_UPDATE"),
        (lambda _: frame(2, bytes(5), stream=3), "PRIORITY"),
        (lambda _: frame(99, b"?" * 100, stream=0), "unknown"),
        (lambda n: head() if n == 0 else data(b""), "empty DATA"),
        (lambda n: frame(1, OK_200) if n == 0 else frame(9, b""), "pieces"),
        (lambda n: frame(1, OK_200) if n == 0 else frame(9, literal(b"a", b"b" * 100)), "pieces"),
        (lambda n: frame(1, OK_200) if n == 0 else frame(9, literal(b"a", b"b" * 100) * 30), "16 KiB"),
        (lambda _: head(block=b"\x08\x03100"), "informational"),
    ],
)
async def test_floods_end_and_say_of_what(bench: Bench, flood: Callable[[int], bytes], words: str) -> None:
    row = await said(bench, for_ever=flood)
    assert row.outcome is Outcome.ANSWER_UNEXPECTED and row.failure is not None, row
    assert row.failure.kind is FailureKind.BAD_ANSWER and words in row.failure.detail, row.failure


async def test_a_header_bomb_of_indexed_fields_ends_at_sixteen_kibibytes(bench: Bench) -> None:
    """One large header in the table of HPACK, named again and again by one byte each."""
    large = b"\x40\x01x" + b"\x7f\x81\x1f" + b"y" * 4096  # x: 4,096 bytes, indexed
    row = await said(bench, head(block=OK_200 + large + b"\xbe" * 8000))
    assert row.failure is not None and row.failure.kind is FailureKind.BAD_ANSWER, row
    assert "16 KiB" in row.failure.detail or "HTTP/2" in row.failure.detail


async def test_an_endless_body_is_read_for_one_mebibyte(bench: Bench) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    windows = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Sends as long as the windows are open."""
        nonlocal windows
        await reader.readexactly(24)
        writer.write(SETTINGS + head())
        room = 65_535
        sent = 0
        while True:
            while room < 16_384:
                size, kind, _, _ = struct.unpack(">IBBI", b"\0" + await reader.readexactly(9))
                await reader.readexactly(size)
                if kind == 8:
                    windows += 1
                    room = 65_535 if sent else room
            writer.write(data(b"z" * 16_384))
            sent += 16_384
            room -= 16_384
            await writer.drain()

    async with serving(handler) as port:
        row = await bench.one(TWO, at(port))
    told = detail(row)
    assert told.body_size is not None and (told.body_size == 1 << 20 or row.failure is not None), row.log
    if row.outcome is Outcome.OK:
        assert told.body_truncated and told.body == b"z" * 4096
    assert windows, "what was read is given back"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


async def test_a_peer_that_floods_beyond_the_window_is_cut_off(bench: Bench) -> None:
    row = await said(bench, head(), for_ever=lambda _: data(b"z" * 16_384))
    assert row.outcome is Outcome.OK or (row.failure and row.failure.errno == "FLOW_CONTROL_ERROR"), row.log
    assert (detail(row).body_size or 0) <= 1 << 20


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n\r\n\r\n", b"\0" * 40]
)
async def test_what_is_not_http2(bench: Bench, answer: bytes) -> None:
    async with serving(saying(answer)) as port:
        row = await bench.one(TWO, at(port))
    assert row.failure is not None and row.failure.kind is FailureKind.BAD_ANSWER, row
    assert "HTTP/2 was spoken" in row.failure.detail
    assert ("HTTP/1" in row.failure.detail.removeprefix("HTTP/2")) == answer.startswith(b"HTTP")


async def test_silence_and_a_close_are_told_as_ever(bench: Bench) -> None:
    async with serving(silent) as port:
        row = await bench.one(replace(TWO, options=replace(QUICK, timeout_s=0.2)), at(port))
        assert row.outcome is Outcome.TIMEOUT
    async with serving(saying(b"")) as port:
        row = await bench.one(TWO, at(port))
        assert row.failure is not None and row.failure.kind is FailureKind.CLOSED


async def test_head_and_no_content_have_no_body(bench: Bench) -> None:
    block = OK_200 + literal(b"content-length", b"500")
    row = await said(bench, head(END_HEADERS | END_STREAM, block), spec=replace(TWO, method="HEAD"))
    assert row.outcome is Outcome.OK and detail(row).body_size == 0, row.log
    assert detail(row).content_length == 500
    row = await said(bench, head(END_HEADERS | END_STREAM, b"\x89"))
    assert row.outcome is Outcome.OK and (detail(row).status, detail(row).body_size) == (204, 0)


async def test_headers_that_http2_cannot_carry_are_left_out_or_refused(bench: Bench) -> None:
    spec = replace(TWO, headers=(("Connection", "upgrade"), ("X-Mine", "2")))
    row = await said(bench, head(END_HEADERS | END_STREAM), spec=spec)
    assert row.outcome is Outcome.OK, row.log


def test_frames_come_whole_however_they_are_cut() -> None:
    whole = SETTINGS + head() + data(b"abc", end=True)
    for step in (1, 2, 7, 100):
        frames = Frames()
        found = [one for i in range(0, len(whole), step) for one in frames.take(whole[i : i + step])]
        assert [one.type for one in found] == [4, 1, 0]
        assert b"".join(one.data for one in found) == whole and found[2].payload == b"abc"
        assert frames.block == 1


def test_frames_hold_no_more_than_one_frame() -> None:
    with pytest.raises(NotFrames):
        list(Frames().take(b"HTTP/1.1 200 OK"))
    frames = Frames()
    list(frames.take(SETTINGS))
    with pytest.raises(TooMuch):
        list(frames.take(b"\x00\x40\x01\0\0\0\0\0\1"))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((), "no answer within 0.3 s"),
        (
            (head(), data(b"ten bytes!")),
            "the answer was not whole within 0.3 s: 10 bytes of its body came, with status 200",
        ),
    ],
)
async def test_time_that_runs_out_in_an_answer_is_no_silence(
    bench: Bench, parts: tuple[bytes, ...], words: str
) -> None:
    spec = HttpSpec(replace(QUICK, timeout_s=0.3), http_version="2")
    async with serving(answering(*parts)) as port:
        row = await bench.one(spec, at(port))
    assert row.outcome is Outcome.TIMEOUT and row.failure is not None and row.failure.detail == words
