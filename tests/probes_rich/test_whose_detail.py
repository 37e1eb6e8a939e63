"""A row that held is told, and judged, by an attempt that held, in whatever order the attempts came."""

import contextlib
import itertools
import ssl
from collections.abc import Sequence
from dataclasses import replace

import pytest
import trustme
from probemesh_shared.expectations import Judge, parse_expectations
from probemesh_shared.model import (
    DnsDetail,
    DnsSpec,
    HttpDetail,
    HttpSpec,
    Options,
    TcpDetail,
    TcpSpec,
    TlsDetail,
    TlsSpec,
)
from probemesh_shared.words import Outcome

from tests.probes_rich.rich_bench import QUICK, Bench, Handler, at, reset, server_context, serving
from tests.probes_rich.test_dns import records, target
from tests.probes_rich.test_dns import serving as name_server

THRICE = replace(QUICK, count=3)
ORDERS = (0, 1, 2)


def expecting(*texts: str) -> Options:
    return replace(THRICE, expect=parse_expectations(texts))


def in_turn(answers: Sequence[bytes]) -> Handler:
    """The next answer to each connection that asks."""
    waiting = itertools.cycle(answers)

    async def handler(reader, writer) -> None:
        await reader.read(1000)
        writer.write(next(waiting))

    return handler


def page(status: int, *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status} Any", "Content-Length: 0", *headers)
    return "\r\n".join((*lines, "", "")).encode()


def rotated(odd: bytes, other: bytes, place: int) -> list[bytes]:
    answers = [other] * 3
    answers[place] = odd
    return answers


@pytest.mark.parametrize("place", ORDERS)
@pytest.mark.parametrize(
    "texts",
    [(), ("status=200",), ("header=X-From: good",), ("redirect=/good",), ("status=200", "http-version=1.1")],
)
async def test_http_one_bad_page_among_good_ones(bench: Bench, place: int, texts: tuple[str, ...]) -> None:
    good, bad = page(200, "X-From: good", "Location: /good"), page(503, "X-From: bad")
    async with serving(in_turn(rotated(bad, good, place))) as port:
        row = await bench.one(HttpSpec(expecting(*texts)), at(port))
    row = Judge(parse_expectations(texts)).judged(row)
    assert [one.outcome for one in row.samples].count(Outcome.OK) == 2
    assert (row.outcome, row.failure) == (Outcome.OK, None)
    assert isinstance(row.detail, HttpDetail) and row.detail.status == 200


@pytest.mark.parametrize("place", ORDERS)
async def test_http_one_good_page_among_bad_ones(bench: Bench, place: int) -> None:
    """And where the bad one is what was expected, it is the one that held."""
    answers = rotated(page(200), page(503), place)
    async with serving(in_turn(answers)) as port:
        plain = await bench.one(HttpSpec(THRICE), at(port))
        wanted = await bench.one(HttpSpec(expecting("status=503")), at(port))
    assert isinstance(plain.detail, HttpDetail) and plain.detail.status == 200
    judged = Judge(parse_expectations(["status=503"])).judged(wanted)
    assert isinstance(judged.detail, HttpDetail)
    assert (judged.outcome, judged.detail.status) == (Outcome.OK, 503)


async def test_http_where_none_held_the_first_whole_answer_is_told(bench: Bench) -> None:
    broken = b"HTTP/1.1 500 Any\r\nContent-Length: 9\r\n\r\nhalf"
    async with serving(in_turn([broken, page(502), page(503)])) as port:
        row = await bench.one(HttpSpec(THRICE), at(port))
    assert row.outcome is not Outcome.OK
    assert isinstance(row.detail, HttpDetail) and row.detail.status == 502


@pytest.mark.parametrize("place", ORDERS)
@pytest.mark.parametrize(
    "spec", [TcpSpec(expecting("answer=PONG"), send=b"PING"), TcpSpec(expecting("answer=PONG"))]
)
async def test_tcp_one_wrong_answer_among_right_ones(bench: Bench, place: int, spec: TcpSpec) -> None:
    waiting = itertools.cycle(rotated(b"ERR 1", b"PONG", place))

    async def handler(reader, writer) -> None:
        if spec.send is not None:
            await reader.read(1000)
        writer.write(next(waiting))

    async with serving(handler) as port:
        row = await bench.one(spec, at(port))
    row = Judge(spec.options.expect).judged(row)
    assert [one.outcome for one in row.samples].count(Outcome.OK) == 2
    assert row.outcome is Outcome.OK
    assert isinstance(row.detail, TcpDetail) and b"PONG" in (row.detail.answer, row.detail.banner)


@pytest.mark.parametrize("place", ORDERS)
async def test_dns_one_failure_among_answers(bench: Bench, place: int) -> None:
    answers = [records("web.example. 60 A 192.0.2.1")] * 3
    answers[place] = records(rcode=2)
    waiting = itertools.cycle(answers)
    async with name_server(lambda query: next(waiting)(query)) as (port, _):
        row = await bench.one(DnsSpec(THRICE, record_type="A"), target("web.example", port))
    row = Judge(parse_expectations(["rcode=NOERROR", "answer=192.0.2.1"])).judged(row)
    assert [one.outcome for one in row.samples].count(Outcome.OK) == 2
    assert row.outcome is Outcome.OK and isinstance(row.detail, DnsDetail) and row.detail.rcode == "NOERROR"


@pytest.mark.parametrize("place", ORDERS)
async def test_tls_one_attempt_that_fails_behind_a_bad_certificate(
    bench: Bench, trusted: trustme.CA, place: int
) -> None:
    """Its certificate does not verify, and the look at it without judgement fails: it says nothing of the
    row that held."""
    good, other = server_context(trusted, "127.0.0.1"), server_context(trusted, "other.example")
    contexts = [good] * 3
    contexts.insert(place, other)
    waiting = iter([*contexts[: place + 1], None, *contexts[place + 1 :]])

    async def handler(reader, writer) -> None:
        context = next(waiting)
        if context is None:
            reset(writer)
            return
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.start_tls(context)
            await reader.read()

    async with serving(handler) as port:
        row = await bench.one(TlsSpec(THRICE), at(port))
    assert [one.outcome for one in row.samples].count(Outcome.OK) == 2
    assert row.outcome is Outcome.OK and isinstance(row.detail, TlsDetail)
    assert (row.detail.verified, row.detail.verify_code) == (True, None)


@pytest.mark.parametrize("kind", ["tls", "http"])
@pytest.mark.parametrize("place", ORDERS)
async def test_one_bad_certificate_among_good_ones_is_told(
    bench: Bench, trusted: trustme.CA, place: int, kind: str
) -> None:
    good, other = server_context(trusted, "127.0.0.1"), server_context(trusted, "other.example")
    contexts = [good] * 3
    contexts[place : place + 1] = [other, other]
    waiting = iter([*contexts, good])

    async def handler(reader, writer) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.start_tls(next(waiting))
            await reader.read(1000)
            writer.write(page(200))

    async with serving(handler) as port:
        spec = TlsSpec(THRICE) if kind == "tls" else HttpSpec(THRICE, http_version="1.1")
        row = await bench.one(spec, at(port, secure=True))
    detail = row.detail.tls if isinstance(row.detail, HttpDetail) else row.detail
    assert row.outcome is Outcome.OK and isinstance(detail, TlsDetail) and detail.verified is False
    assert b"other.example" in detail.chain[0]
