"""http: phases and expectations; hostile servers are bounded."""

import asyncio
import os
from dataclasses import replace

import pytest
import trustme
from probemesh_shared.expectations import parse_expectations
from probemesh_shared.model import HttpDetail, HttpSpec, Measurement, Options, PortRange
from probemesh_shared.words import FailureKind, Outcome, Stage

from tests.probes_rich.rich_bench import QUICK, Bench, at, reset, saying, server_context, serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Test: 1\r\n\r\nhello"


def detail(row: Measurement) -> HttpDetail:
    assert isinstance(row.detail, HttpDetail)
    return row.detail


async def test_phases_status_and_body(bench: Bench) -> None:
    heads: list[bytes] = []

    async def handler(reader, writer) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)

    async with serving(handler) as port:
        row = await bench.one(HttpSpec(QUICK, headers=(("X-Mine", "2"),)), at(port, path="/a?b=c"))
    assert row.outcome is Outcome.OK and row.failure is None and not row.log
    told = detail(row)
    assert (told.status, told.reason, told.version, told.body, told.body_size) == (
        200,
        "OK",
        "1.1",
        b"hello",
        5,
    )
    assert told.url == f"http://127.0.0.1:{port}/a?b=c" and ("x-test", "1") in told.headers
    phases = told.phases
    assert phases.dns_ms is None and phases.tls_ms is None
    assert (
        phases.connect_ms is not None and phases.first_byte_ms is not None and phases.transfer_ms is not None
    )
    assert (phases.total_ms or 0) >= (phases.first_byte_ms or 0) > 0
    (head,) = heads
    assert head.startswith(b"GET /a?b=c HTTP/1.1\r\n")
    lower = head.lower()
    assert (
        b"accept-encoding: identity" in lower and b"user-agent: probemesh/" in lower and b"x-mine: 2" in lower
    )
    assert b"host: 127.0.0.1:%d\r\n" % port in lower


async def test_each_sample_is_a_request(bench: Bench) -> None:
    async with serving(saying(OK)) as port:
        row = await bench.one(HttpSpec(replace(QUICK, count=3)), at(port))
    assert [one.outcome for one in row.samples] == [Outcome.OK] * 3
    assert all(one.rtt_ms and one.rtt_ms > 0 for one in row.samples)


def expecting(*texts: str) -> Options:
    return replace(QUICK, expect=parse_expectations(texts))


async def test_status_and_body_that_were_not_expected(bench: Bench) -> None:
    async with serving(saying(b"HTTP/1.1 500 Oh no\r\nContent-Length: 0\r\n\r\n")) as port:
        row = await bench.one(HttpSpec(QUICK), at(port))
        assert row.outcome is Outcome.ANSWER_UNEXPECTED and row.failure is not None
        assert row.failure.kind is FailureKind.STATUS_UNEXPECTED and "500" in row.failure.detail
        assert detail(row).status == 500 and row.samples[0].rtt_ms is not None
        wanted = await bench.one(HttpSpec(QUICK, expect_status=(PortRange(500, 503),)), at(port))
        assert wanted.outcome is Outcome.OK
    async with serving(saying(OK)) as port:
        row = await bench.one(HttpSpec(expecting("body=hell")), at(port))
        assert row.outcome is Outcome.OK
        row = await bench.one(HttpSpec(expecting("body=heaven")), at(port))
        assert row.failure is not None and row.failure.kind is FailureKind.BODY_UNEXPECTED


async def test_redirects_are_told_and_not_followed(bench: Bench) -> None:
    requests = []

    async def handler(reader, writer) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")

    async with serving(handler) as port:
        row = await bench.one(HttpSpec(QUICK), at(port))
    assert row.outcome is Outcome.OK and detail(row).location == "http://169.254.169.254/"
    assert len(requests) == 1


async def test_proxies_in_the_environment_are_ignored(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(saying(OK)) as port:
        assert (await bench.one(HttpSpec(QUICK), at(port))).outcome is Outcome.OK


async def test_bad_certificate_does_not_stop_it(bench: Bench, authority: trustme.CA) -> None:
    context = server_context(authority, "other.example", alpn=("h2", "http/1.1"))
    async with serving(saying(OK), context) as port:
        row = await bench.one(HttpSpec(QUICK, http_version="1.1"), at(port, secure=True))
    told = detail(row)
    assert row.outcome is Outcome.OK and told.tls is not None
    assert told.tls.verified is False and told.tls.chain and told.tls.alpn == "http/1.1"
    assert told.phases.tls_ms is not None and told.url.startswith("https://")


async def test_endless_body_is_read_for_one_mebibyte(bench: Bench) -> None:
    sent = 0

    async def handler(reader, writer) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    async with serving(handler) as port:
        row = await bench.one(HttpSpec(QUICK), at(port))
    told = detail(row)
    assert row.outcome is Outcome.OK
    assert told.body_size == 1 << 20 and told.body_truncated and told.body == b"x" * 4096
    assert sent < 64 << 20


async def test_endless_head_ends_at_sixteen_kibibytes(bench: Bench) -> None:
    async def handler(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-Filler: " + b"y" * 1000 + b"\r\n")
            await writer.drain()

    async with serving(handler) as port:
        row = await bench.one(HttpSpec(QUICK), at(port))
    assert row.failure is not None and row.outcome is Outcome.ANSWER_UNEXPECTED
    assert row.failure.kind is FailureKind.BAD_ANSWER and "16 KiB" in row.failure.detail


async def test_drip_fed_header_lines_end_with_the_attempt_s_time(bench: Bench) -> None:
    async def handler(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"A: b\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serving(handler) as port:
        began = bench.clock.monotonic()
        row = await bench.one(HttpSpec(replace(QUICK, timeout_s=0.4)), at(port))
        assert bench.clock.monotonic() - began < 1.5
    assert row.outcome is Outcome.TIMEOUT and row.failure is not None
    assert row.failure.kind is FailureKind.TIMEOUT and row.log
    assert row.samples[0].rtt_ms is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "no answer within 0.2 s"),
        (b"HTTP/1.1 2", "the answer's head was not whole within 0.2 s: 10 bytes came"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 10,
            "the answer was not whole within 0.2 s: 10 of 5000 bytes of its body came, with status 200",
        ),
        (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}",
            "the answer was not whole within 0.2 s: 2 bytes of its body came, with status 200",
        ),
    ],
)
async def test_time_that_runs_out_in_an_answer_is_no_silence(bench: Bench, said: bytes, words: str) -> None:
    async def handler(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await reader.read()

    async with serving(handler) as port:
        row = await bench.one(HttpSpec(replace(QUICK, timeout_s=0.2)), at(port))
    assert row.outcome is Outcome.TIMEOUT and row.failure is not None
    assert row.failure.detail == words and row.log == (f"attempt 1: {words}",)


async def test_reset_in_the_middle_of_an_answer(bench: Bench) -> None:
    async def handler(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        await asyncio.sleep(0.05)
        reset(writer)

    async with serving(handler) as port:
        row = await bench.one(HttpSpec(QUICK), at(port))
    assert row.outcome is Outcome.RESET and row.failure is not None and row.failure.errno == "ECONNRESET"
    assert detail(row).status == 200 and detail(row).body == b"half", "what came before the reset is kept"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", FailureKind.CLOSED),
        (b"HTTP/1.1 200", FailureKind.CLOSED),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", FailureKind.BAD_ANSWER),
        (b"\x15\x03\x01\x00\x02\x02\x46" + b"\r\n\r\n", FailureKind.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", FailureKind.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n", FailureKind.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", FailureKind.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", FailureKind.BAD_ANSWER),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 50, FailureKind.BAD_ANSWER),
        (os.urandom(300) + b"\r\n\r\n", FailureKind.BAD_ANSWER),
    ],
)
async def test_what_is_no_answer(bench: Bench, answer: bytes, kind: FailureKind) -> None:
    async with serving(saying(answer)) as port:
        row = await bench.one(HttpSpec(QUICK), at(port))
    assert row.failure is not None and row.failure.detail and row.log
    assert (row.outcome, row.failure.kind) == (Outcome.ANSWER_UNEXPECTED, kind)


async def test_escapes_in_headers_and_body_are_data(bench: Bench) -> None:
    hostile = b"HTTP/1.1 200 \x1b[31mred\r\nX: a\xffb\r\nContent-Length: 6\r\n\r\n\x00\x1b[2J!"
    async with serving(saying(hostile)) as port:
        row = await bench.one(HttpSpec(QUICK), at(port))
    if row.outcome is Outcome.OK:
        assert detail(row).body == b"\x00\x1b[2J!"
    else:
        assert row.failure is not None and row.failure.kind is FailureKind.BAD_ANSWER
        assert "\x1b" not in row.failure.detail


@pytest.mark.parametrize(
    "spec",
    [
        HttpSpec(QUICK, headers=(("X", "a\r\nInjected: 1"),)),
        HttpSpec(QUICK, method="GET /x HTTP/1.0\r\n\r\n"),
    ],
)
async def test_requests_that_http_cannot_carry_are_not_sent(bench: Bench, spec: HttpSpec) -> None:
    met = []

    async def handler(reader, writer) -> None:
        met.append(await reader.read(100))

    async with serving(handler) as port:
        row = await bench.one(spec, at(port))
    assert row.outcome is Outcome.UNSUPPORTED and row.failure is not None and row.failure.stage is Stage.HTTP
    assert not met


async def test_closed_port_is_refused(bench: Bench) -> None:
    async with serving(saying(OK)) as port:
        pass
    row = await bench.one(HttpSpec(QUICK), at(port))
    assert row.outcome is Outcome.REFUSED and row.failure is not None and row.failure.stage is Stage.CONNECT


async def test_ipv6(bench: Bench) -> None:
    async with serving(saying(OK), host="::1") as port:
        row = await bench.one(HttpSpec(QUICK), at(port, host="::1"))
    assert row.outcome is Outcome.OK and detail(row).url == f"http://[::1]:{port}/"
