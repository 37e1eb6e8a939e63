"""http: redirects judged hop by hop, credentials, proxies, ranges, sizes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import pytest
import trustme
from probemesh_agent.net.policy import Policy
from probemesh_shared import jsonout
from probemesh_shared.expectations import parse_expectations
from probemesh_shared.model import Expectation, HttpDetail, HttpSpec, Measurement, Options, Target
from probemesh_shared.words import FailureKind, Family, Origin, Outcome, Stage

from tests.probes_rich.rich_bench import QUICK, Bench, at, reset, saying, server_context, serving, silent

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SECRET = "Bearer s3cr3t-token-of-ours"
FOLLOW = HttpSpec(QUICK, follow=10)


def detail(row: Measurement) -> HttpDetail:
    assert isinstance(row.detail, HttpDetail)
    return row.detail


def moved(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} There\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.fixture
async def open_bench() -> AsyncIterator[Bench]:
    """By its owner's policy loopback may be probed, through redirects too."""
    made = Bench(Policy(loopback=True))
    yield made
    made.network.close()


@asynccontextmanager
async def paths(answers: dict[str, bytes] | Callable[[str], bytes], context=None) -> AsyncIterator[tuple]:
    """(port, heads) of a server that answers by path."""
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length: "):
                head += await reader.readexactly(int(line[16:]))
        heads.append(head)
        path = head.split(b" ", 2)[1].decode()
        writer.write(answers(path) if callable(answers) else answers[path])
        await writer.drain()

    async with serving(handler, context) as port:
        yield port, heads


@contextmanager
def untouched(host: str = "127.0.0.1") -> Iterator[int]:
    """A port where nothing may arrive."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen()
        listener.setblocking(False)
        yield listener.getsockname()[1]
        with pytest.raises(BlockingIOError):
            listener.accept()


# --- redirects ----------------------------------------------------------------------------------------


async def test_a_chain_is_followed_and_each_hop_told(open_bench: Bench) -> None:
    async with paths({"/": OK}) as (other, _):
        steps = {
            "/": moved("/b?x=1", 301),
            "/b?x=1": moved("c", 307),
            "/c": moved(f"http://127.0.0.1:{other}"),
        }
        async with paths(steps) as (port, _):
            row = await open_bench.one(FOLLOW, at(port, path="/"))
    told = detail(row)
    base = f"http://127.0.0.1:{port}"
    assert row.outcome is Outcome.OK and told.status == 200 and told.body == b"ok", row.log
    assert [hop.url for hop in told.redirects] == [f"{base}/", f"{base}/b?x=1", f"{base}/c"]
    assert [hop.status for hop in told.redirects] == [301, 307, 302]
    assert [(hop.address, hop.port, hop.version) for hop in told.redirects] == [
        ("127.0.0.1", port, "1.1")
    ] * 3
    assert all(hop.phases.total_ms and hop.phases.connect_ms is not None for hop in told.redirects)
    assert (told.url, told.effective_url) == (f"{base}/", f"http://127.0.0.1:{other}/")
    assert told.effective_address == "127.0.0.1" and told.location is None
    spent = sum(hop.phases.total_ms or 0 for hop in told.redirects)
    assert told.phases.redirects_ms == pytest.approx(spent)
    assert row.samples[0].rtt_ms == pytest.approx(spent + (told.phases.total_ms or 0))


async def test_the_same_origin_stays_where_it_was_typed_and_another_port_does_not(bench: Bench) -> None:
    with untouched() as forbidden:
        steps = {"/": moved("/next"), "/next": moved(f"http://127.0.0.1:{forbidden}/")}
        async with paths(steps) as (port, heads):
            row = await bench.one(FOLLOW, at(port))
    assert row.outcome is Outcome.DENIED and row.failure is not None
    assert row.failure.kind is FailureKind.DENIED and row.failure.stage is Stage.REDIRECT
    assert row.failure.detail.startswith(f"redirect 2 to http://127.0.0.1:{forbidden}/: ")
    assert len(heads) == 2 and [hop.status for hop in detail(row).redirects] == [302, 302]
    assert detail(row).status is None, "the last request of the chain was never sent"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "localhost",
        "LOCALHOST.",
        "0.0.0.0",
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[fe80::1%25lo]",
        "224.0.0.1",
        "①②⑦.⓪.⓪.①",
    ],
)
async def test_a_redirect_opens_nothing_that_policy_denies(bench: Bench, host: str) -> None:
    with untouched() as forbidden:
        async with serving(saying(moved(f"http://{host}:{forbidden}/latest/meta-data"))) as port:
            row = await bench.one(FOLLOW, at(port))
    assert row.failure is not None and row.failure.stage is Stage.REDIRECT, row
    assert row.failure.kind is FailureKind.DENIED, row.failure
    assert row.failure.detail.startswith("redirect 1"), row.failure


async def test_loopback_in_version_six_is_denied_too(bench: Bench) -> None:
    with untouched("::1") as forbidden:
        async with serving(saying(moved(f"http://[::1]:{forbidden}/"))) as port:
            row = await bench.one(FOLLOW, at(port))
    assert row.outcome is Outcome.DENIED


async def test_a_loop_ends_and_says_so(bench: Bench) -> None:
    async with paths({"/a": moved("/b"), "/b": moved("/a")}) as (port, heads):
        row = await bench.one(FOLLOW, at(port, path="/a"))
    assert row.outcome is Outcome.ANSWER_UNEXPECTED and row.failure is not None
    assert "loop" in row.failure.detail and row.failure.detail.startswith("redirect 2"), row.failure
    assert len(heads) == 2


async def test_an_endless_chain_ends_at_the_number_asked_for(bench: Bench) -> None:
    async with paths(lambda path: moved(f"{path}x")) as (port, heads):
        row = await bench.one(replace(FOLLOW, follow=3), at(port, path="/"))
    assert row.outcome is Outcome.ANSWER_UNEXPECTED and row.failure is not None
    assert "more than the 3" in row.failure.detail and row.failure.origin is Origin.TARGET
    assert len(heads) == 4 and len(detail(row).redirects) == 4


@pytest.mark.parametrize(
    "location",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_x",
        "javascript:alert(1)",
        "http://user:pass@example.org/",
        "http://",
        "http://[::1",
        "http://h:0/",
        "http://h:99999/",
        "http://h:1,2/",
        "http://exa mple/",
        "/" + "x" * 3000,
        "http://\xff\xfe/",
        "//",
    ],
)
async def test_what_is_no_place_to_go(bench: Bench, location: str) -> None:
    answer = b"HTTP/1.1 302 x\r\nLocation: " + location.encode("latin-1") + b"\r\nContent-Length: 0\r\n\r\n"
    async with serving(saying(answer)) as port:
        row = await bench.one(FOLLOW, at(port))
    assert row.failure is not None and row.outcome in (Outcome.ANSWER_UNEXPECTED, Outcome.NAME_FAILS), row
    assert row.failure.stage is Stage.REDIRECT and "\x1b" not in row.failure.detail
    assert detail(row).redirects[0].status == 302


async def test_a_hop_that_breaks_says_which_and_how(open_bench: Bench) -> None:
    async with serving(saying(OK)) as closed:
        pass
    async with paths({"/": moved(f"http://127.0.0.1:{closed}/x")}) as (port, _):
        row = await open_bench.one(FOLLOW, at(port))
    assert row.outcome is Outcome.REFUSED and row.failure is not None
    assert (row.failure.stage, row.failure.kind) == (Stage.REDIRECT, FailureKind.REFUSED)
    assert row.failure.detail.startswith(f"redirect 1 to http://127.0.0.1:{closed}/x: ")
    async with paths({"/": moved("http://no..name/")}) as (port, _):
        row = await open_bench.one(FOLLOW, at(port))
    assert row.failure is not None and row.failure.stage is Stage.REDIRECT


@pytest.mark.parametrize(
    ("status", "method", "becomes", "body"),
    [
        (301, "POST", "GET", b""),
        (302, "POST", "GET", b""),
        (303, "POST", "GET", b""),
        (303, "PUT", "GET", b""),
        (303, "HEAD", "HEAD", b""),
        (302, "PUT", "PUT", b"data"),
        (307, "POST", "POST", b"data"),
        (308, "POST", "POST", b"data"),
    ],
)
async def test_methods_change_as_browsers_and_curl_have_it(
    bench: Bench, status: int, method: str, becomes: str, body: bytes
) -> None:
    sent = None if method == "HEAD" else b"data"
    spec = replace(FOLLOW, method=method, body=sent, headers=(("Content-Type", "text/x"), ("X-Kept", "1")))
    end = b"HTTP/1.1 204 None\r\n\r\n"
    async with paths({"/": moved("/new", status), "/new": end}) as (port, heads):
        row = await bench.one(spec, at(port))
    assert row.outcome is Outcome.OK, row.log
    last = heads[1]
    assert last.startswith(f"{becomes} /new HTTP/1.1".encode()) and b"x-kept: 1" in last.lower()
    assert last.partition(b"\r\n\r\n")[2] == body
    assert (b"content-type" in last.lower()) == (bool(body) or sent is None)
    assert any(f"{method} became {becomes}" in note for note in detail(row).notes) == (method != becomes)


async def test_redirects_by_tls_and_down_from_it(open_bench: Bench, trusted: trustme.CA) -> None:
    async with paths({"/": OK}) as (plain, _):
        answers = {"/": moved(f"http://localhost:{plain}/")}
        good = server_context(trusted, "localhost", alpn=("http/1.1",))
        bad = server_context(trusted, "other.example", alpn=("http/1.1",))
        async with paths(answers, good) as (port, _), paths(answers, bad) as (unsure, _):
            target = at(port, host="localhost", secure=True)
            row = (await open_bench.run(replace(FOLLOW, options=replace(QUICK, family=Family.IPV4)), target))[
                0
            ]
            assert row.outcome is Outcome.OK, row.log
            assert detail(row).redirects[0].tls_verified is True and detail(row).tls is None
            assert detail(row).notes == ("redirect 1 leads from https to http",)
            target = at(unsure, host="localhost", secure=True)
            row = (await open_bench.run(replace(FOLLOW, options=replace(QUICK, family=Family.IPV4)), target))[
                0
            ]
            assert detail(row).redirects[0].tls_verified is False


# --- credentials --------------------------------------------------------------------------------------

WITH_SECRETS = replace(
    FOLLOW,
    secret_headers=(("Authorization", SECRET), ("Proxy-Authorization", "Basic cHJveHk6c2VjcmV0")),
    headers=(("Cookie", "session=c00kie-value"), ("X-Mine", "1")),
)


async def test_credentials_go_to_the_target_s_own_origin_only(open_bench: Bench) -> None:
    async with paths({"/": OK}) as (other, elsewhere):
        steps = {"/": moved("/own"), "/own": moved(f"http://127.0.0.1:{other}/")}
        async with paths(steps) as (port, heads):
            row = await open_bench.one(WITH_SECRETS, at(port))
    assert row.outcome is Outcome.OK, row.log
    for head in heads:
        assert SECRET.encode() in head and b"c00kie-value" in head and b"cHJveHk6" not in head
    (head,) = elsewhere
    assert (
        b"authorization" not in head.lower() and b"cookie" not in head.lower() and b"x-mine" in head.lower()
    )
    assert f"host: 127.0.0.1:{other}".encode() in head.lower()
    assert "redirect 2 leads to another origin: credentials were left out" in detail(row).notes
    assert "credentials were sent in the clear" in detail(row).notes


async def test_credentials_are_in_no_text(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    echo = f"you sent {SECRET} and session=c00kie-value".encode()
    answer = b"HTTP/1.1 302 x\r\nX-Echo: %s\r\nLocation: /?t=%s\r\nContent-Length: %d\r\n\r\n%s"
    answer %= SECRET.encode(), SECRET.split()[1].encode(), len(echo), echo
    for spec in (WITH_SECRETS, replace(WITH_SECRETS, follow=0)):
        async with serving(saying(answer)) as port:
            row = await bench.one(spec, at(port))
        told = repr(row) + repr(spec) + caplog.text + jsonout.dumps(jsonout._measurement(row, lambda _: None))
        assert "s3cr3t" not in told and "cHJveHk6" not in told
        assert "c00kie-value" not in repr(row)
        assert "[redacted]" in told
    broken = replace(WITH_SECRETS, secret_headers=(("Authorization", "Bearer s3cr3t\r\nX: y"),))
    async with serving(saying(OK)) as port:
        row = await bench.one(broken, at(port))
    assert row.outcome is Outcome.UNSUPPORTED and "s3cr3t" not in repr(row)


LONG = "t0ken-" + "abcdefghij" * 20
JWT = HttpSpec(
    QUICK, secret_headers=(("Authorization", f"Bearer {LONG}"), ("Cookie", "a=c00kie-one; b=c00kie-two"))
)


@pytest.mark.parametrize(
    ("body", "more"),
    [
        (b"x" * 4000 + LONG.encode() + b"y", ""),
        (b'{"sent": "Bearer %s"}' % LONG.encode(), "json=sent=other"),
        (b"c00kie-two and c00kie-one", ""),
    ],
)
async def test_half_a_secret_is_in_no_text_either(bench: Bench, body: bytes, more: str) -> None:
    expect = parse_expectations([more] if more else [])
    answer = (
        b"HTTP/1.1 302 Go\r\nLocation: ftp://%s\r\nContent-Length: %d\r\n\r\n" % (LONG.encode(), len(body))
        + body
    )
    for follow in (0, 5):
        async with serving(saying(answer)) as port:
            spec = replace(JWT, follow=follow, options=replace(QUICK, expect=expect))
            row = await bench.one(spec, at(port))
        told = repr(row) + jsonout.dumps(jsonout._measurement(row, lambda _: None))
        assert "t0ken" not in told and "c00kie" not in told and "redacted" in told, told


async def test_an_upgrade_that_was_asked_for_is_an_answer(bench: Bench) -> None:
    answer = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x02hi"
    headers = (("Connection", "Upgrade"), ("Upgrade", "websocket"))
    async with serving(saying(answer)) as port:
        row = await bench.one(
            HttpSpec(replace(QUICK, expect=parse_expectations(["status=101"])), headers=headers), at(port)
        )
    assert row.outcome is Outcome.OK and detail(row).status == 101, row.failure


# --- proxies ------------------------------------------------------------------------------------------


@asynccontextmanager
async def proxying(answer: bytes | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A proxy that says ``answer`` to everything, or else tunnels and forwards to where it is told."""
    heads: list[bytes] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        if answer is not None:
            writer.write(answer)
            await writer.drain()
            return
        method, target, _ = head.split(b" ", 2)
        where = target if method == b"CONNECT" else target.split(b"/")[2]
        host, _, port = where.decode().rpartition(":")
        there, back = await asyncio.open_connection(host.strip("[]"), int(port))
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            back.write(head.replace(b"http://" + where, b"", 1))
        both = {asyncio.ensure_future(pump(reader, back)), asyncio.ensure_future(pump(there, writer))}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            back.transport.abort()
            await asyncio.sleep(0)

    async with serving(handler) as port:
        yield port, heads


async def test_by_a_proxy_in_the_clear(bench: Bench) -> None:
    async with paths({"/x": OK}) as (port, origin), proxying() as (proxy, heads):
        spec = replace(WITH_SECRETS, proxy=f"127.0.0.1:{proxy}", follow=0)
        row = await bench.one(spec, at(port, path="/x"))
    assert row.outcome is Outcome.OK and row.address == "127.0.0.1" and row.port == port, row.log
    assert heads[0].startswith(f"GET http://127.0.0.1:{port}/x HTTP/1.1\r\n".encode())
    assert b"proxy-authorization: basic chjvehk6" in heads[0].lower() and origin
    told = detail(row)
    assert told.proxy == f"127.0.0.1:{proxy}" and told.effective_address is None
    assert told.phases.proxy_ms is None and told.phases.connect_ms is not None


async def test_by_a_proxy_and_tls(bench: Bench, trusted: trustme.CA) -> None:
    context = server_context(trusted, "localhost", alpn=("http/1.1",))
    async with paths({"/": OK}, context) as (port, origin), proxying() as (proxy, heads):
        spec = replace(WITH_SECRETS, proxy=f"127.0.0.1:{proxy}", follow=0)
        row = await bench.one(spec, at(port, host="localhost", secure=True))
    told = detail(row)
    assert row.outcome is Outcome.OK and told.tls is not None and told.tls.verified is True, row.log
    (head,) = heads
    assert head.startswith(f"CONNECT localhost:{port} HTTP/1.1\r\n".encode())
    assert b"chjvehk6" in head.lower() and SECRET.encode() not in head, (
        "the target's secrets are not the proxy's"
    )
    assert SECRET.encode() in origin[0] and b"cHJveHk6" not in origin[0]
    phases = told.phases
    assert phases.proxy_ms is not None and phases.tls_ms is not None and phases.connect_ms is not None


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            b"HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic\r\n\r\n",
            FailureKind.STATUS_UNEXPECTED,
            "credentials",
        ),
        (b"HTTP/1.1 403 Filtered\r\n\r\n", FailureKind.STATUS_UNEXPECTED, "403 Filtered"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", FailureKind.STATUS_UNEXPECTED, "502"),
        (b"SSH-2.0-x\r\n\r\n", FailureKind.BAD_ANSWER, "HTTP"),
        (b"", FailureKind.CLOSED, "closed"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 9000 + b"\r\n", FailureKind.BAD_ANSWER, "16 KiB"),
        (b"HTTP/1.1 200 OK\r\n\r\nmore", FailureKind.BAD_ANSWER, "unasked"),
    ],
)
async def test_what_a_proxy_refuses_is_the_proxy_s(
    bench: Bench, answer: bytes, kind: FailureKind, words: str
) -> None:
    async with proxying(answer) as (proxy, _):
        spec = HttpSpec(QUICK, proxy=f"127.0.0.1:{proxy}")
        row = await bench.one(spec, Target("https://a.example/", "a.example", secure=True))
    assert row.failure is not None and row.failure.stage is Stage.PROXY, row
    assert row.failure.kind is kind and row.failure.origin is not Origin.TARGET
    assert f"proxy 127.0.0.1:{proxy}" in row.failure.detail and words in row.failure.detail, row.failure


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"SSH-2.0-x\r\n\r\n", FailureKind.BAD_ANSWER, "HTTP"),
        (b"", FailureKind.CLOSED, "closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nmore", FailureKind.BAD_ANSWER, "4 of the 9 bytes"),
        (None, FailureKind.RESET, "reset"),
    ],
)
async def test_whether_a_proxy_or_its_target_failed_is_not_known_in_the_clear(
    bench: Bench, answer: bytes | None, kind: FailureKind, words: str
) -> None:
    async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reset(writer)

    async with serving(resetting if answer is None else saying(answer)) as proxy:
        row = await bench.one(HttpSpec(QUICK, proxy=f"127.0.0.1:{proxy}"), Target("a.example", "a.example"))
    assert row.failure is not None and row.failure.kind is kind
    assert (row.failure.stage, row.failure.origin) == (Stage.PROXY, Origin.UNKNOWN)
    assert row.failure.detail.startswith(f"proxy 127.0.0.1:{proxy}: ") and words in row.failure.detail
    assert row.failure.detail.endswith("whether the proxy failed or the target behind it cannot be told")


async def test_a_silent_proxy_may_wait_for_its_target(bench: Bench) -> None:
    quick = replace(QUICK, timeout_s=0.2)
    async with serving(silent) as proxy:
        row = await bench.one(HttpSpec(quick, proxy=f"127.0.0.1:{proxy}"), Target("a.example", "a.example"))
    assert row.failure is not None and row.outcome is Outcome.TIMEOUT
    assert (row.failure.stage, row.failure.origin) == (Stage.PROXY, Origin.UNKNOWN)
    assert row.failure.detail == (
        f"proxy 127.0.0.1:{proxy}: no answer within 0.2 s; whether the proxy failed or the target behind it "
        "cannot be told"
    )


async def test_a_proxy_that_wants_credentials_in_the_clear(bench: Bench) -> None:
    answer = b"HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    async with proxying(answer) as (proxy, _):
        row = await bench.one(
            HttpSpec(QUICK, proxy=f"127.0.0.1:{proxy}", follow=3), Target("a.example", "a.example")
        )
    assert row.failure is not None and row.failure.kind is FailureKind.STATUS_UNEXPECTED
    assert (row.failure.stage, row.failure.origin) == (Stage.PROXY, Origin.PATH)
    assert row.failure.detail == (
        f"proxy 127.0.0.1:{proxy}: it answered GET http://a.example/ with 407 Auth: "
        "it wants credentials, or others"
    )
    assert detail(row).status == 407


@pytest.mark.parametrize(
    ("status", "noted"), [(200, False), (404, False), (502, True), (503, True), (504, True)]
)
async def test_a_gateway_s_answer_may_be_the_proxy_s_own(bench: Bench, status: int, noted: bool) -> None:
    answer = f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n".encode()
    async with proxying(answer) as (proxy, _):
        row = await bench.one(HttpSpec(QUICK, proxy=f"127.0.0.1:{proxy}"), Target("a.example", "a.example"))
    note = f"status {status} may be the answer of the proxy 127.0.0.1:{proxy} and not of the target"
    assert detail(row).notes == ((note,) if noted else ()) and detail(row).status == status
    async with serving(saying(answer)) as port:
        assert detail(await bench.one(HttpSpec(QUICK), at(port))).notes == ()


async def test_a_proxy_that_is_not_there(bench: Bench) -> None:
    async with serving(saying(OK)) as closed:
        pass
    target = Target("http://a.example/", "a.example")
    row = await bench.one(HttpSpec(QUICK, proxy=f"127.0.0.1:{closed}"), target)
    assert row.outcome is Outcome.REFUSED and row.failure is not None
    assert (row.failure.stage, row.failure.origin) == (Stage.PROXY, Origin.PATH)
    assert f"proxy 127.0.0.1:{closed}" in row.failure.detail
    row = await bench.one(HttpSpec(QUICK, proxy="no..name:3128"), target)
    assert row.failure is not None and row.failure.stage is Stage.PROXY and "no..name" in row.failure.detail
    row = await bench.one(HttpSpec(QUICK, proxy="nonsense"), target)
    assert row.outcome is Outcome.UNSUPPORTED


async def test_a_proxy_is_judged_and_so_are_addresses_behind_it() -> None:
    bench = Bench(Policy.shipped())
    with untouched() as port:
        row = await bench.one(HttpSpec(QUICK, proxy=f"127.0.0.1:{port}"), Target("x", "a.example"))
        assert row.outcome is Outcome.DENIED and row.failure is not None and row.failure.stage is Stage.PROXY
    bench.network.close()
    bench = Bench(Policy.typed_by_user())
    with untouched() as port:
        spec = HttpSpec(QUICK, proxy=f"127.0.0.1:{port}")
        row = await bench.one(spec, Target("x", "169.254.169.254"))
        assert row.outcome is Outcome.DENIED
    bench.network.close()


async def test_http2_in_the_clear_does_not_go_by_a_proxy(bench: Bench) -> None:
    with untouched() as port:
        row = await bench.one(
            HttpSpec(QUICK, proxy=f"127.0.0.1:{port}", http_version="2"), Target("x", "a.example")
        )
    assert row.outcome is Outcome.UNSUPPORTED


# --- ranges, sizes, encodings -------------------------------------------------------------------------


def partial(content_range: str, body: bytes = b"abcd") -> bytes:
    head = f"HTTP/1.1 206 Partial\r\n{content_range}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("asked", "answer", "good"),
    [
        ("bytes=2-5", partial("Content-Range: bytes 2-5/10\r\n"), True),
        ("bytes=2-9", partial("Content-Range: bytes 2-5/6\r\n"), True),
        ("bytes=2-", partial("Content-Range: bytes 2-5/6\r\n"), True),
        ("bytes=-4", partial("Content-Range: bytes 2-5/6\r\n"), True),
        ("bytes=2-5,7-8", partial("Content-Type: multipart/byteranges\r\n"), True),
        ("bytes=2-5", partial(""), False),
        ("bytes=2-5", partial("Content-Range: bytes 3-6/10\r\n"), False),
        ("bytes=2-5", partial("Content-Range: bytes 2-6/10\r\n", b"abcde"), False),
        ("bytes=2-5", partial("Content-Range: bytes 2-5/10\r\n", b"abc"), False),
        ("bytes=2-5", partial("Content-Range: bytes 5-2/10\r\n"), False),
        ("bytes=2-5", partial("Content-Range: lines 2-5/10\r\n"), False),
    ],
)
async def test_a_part_has_to_be_the_one_asked_for(
    bench: Bench, asked: str, answer: bytes, good: bool
) -> None:
    async with serving(saying(answer)) as port:
        row = await bench.one(HttpSpec(QUICK, headers=(("Range", asked),)), at(port))
    assert (row.outcome is Outcome.OK) == good, row.failure
    if not good:
        assert row.failure is not None and row.failure.kind is FailureKind.BAD_ANSWER


async def test_a_range_that_is_not_honoured_is_noted(bench: Bench) -> None:
    async with serving(saying(OK)) as port:
        row = await bench.one(HttpSpec(QUICK, headers=(("Range", "bytes=0-0"),)), at(port))
    assert row.outcome is Outcome.OK and "not honoured" in detail(row).notes[0]


async def test_a_gzip_bomb_stays_what_it_is(bench: Bench) -> None:
    import gzip

    bomb = gzip.compress(b"\0" * (100 << 20), 9)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    async with serving(saying(head.encode() + bomb)) as port:
        row = await bench.one(HttpSpec(QUICK), at(port))
    told = detail(row)
    assert row.outcome is Outcome.OK and told.content_encoding == "gzip"
    assert told.body == bomb[:4096] and told.body_size == len(bomb) == told.content_length
    assert "identity was asked for" in told.notes[0]


async def test_sizes_are_those_of_the_wire(bench: Bench) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\n"
    async with serving(saying(head + chunks)) as port:
        row = await bench.one(HttpSpec(QUICK), at(port))
    told = detail(row)
    assert (told.body, told.body_size, told.head_size) == (b"abcde", 5, len(head))
    assert told.received_size == len(head) + len(chunks) and told.content_length is None
    assert told.sent_size is not None and told.sent_size > 50


async def test_content_length_that_does_not_hold_is_told(bench: Bench) -> None:
    async with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort")) as port:
        row = await bench.one(HttpSpec(QUICK), at(port))
    assert row.failure is not None and "5 of the 50 bytes" in row.failure.detail
    async with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore")) as port:
        row = await bench.one(HttpSpec(QUICK), at(port))
    assert row.outcome is Outcome.OK and detail(row).notes == ("4 bytes came behind the end of the answer",)


async def test_a_post_carries_its_body(bench: Bench) -> None:
    async with paths({"/": OK}) as (port, heads):
        await bench.one(HttpSpec(QUICK, method="POST", body=b"\0\xff{}"), at(port))
        await bench.one(HttpSpec(QUICK, method="POST"), at(port))
    assert b"content-length: 4\r\n" in heads[0].lower() and heads[0].endswith(b"\r\n\r\n\0\xff{}")
    assert b"content-type" not in heads[0].lower()
    assert b"content-length: 0\r\n" in heads[1].lower()


async def test_a_chunked_drip_of_one_byte_each_ends_with_the_attempt(bench: Bench) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1\r\nx\r\n" * 200)
            await writer.drain()
            await asyncio.sleep(0.005)

    async with serving(handler) as port:
        row = await bench.one(HttpSpec(replace(QUICK, timeout_s=0.5)), at(port), seconds=4)
    assert row.outcome in (Outcome.OK, Outcome.TIMEOUT) and (detail(row).body_size or 0) <= 1 << 20


async def test_a_version_of_the_future_is_not_known(bench: Bench) -> None:
    with untouched() as port:
        row = await bench.one(HttpSpec(QUICK, http_version="3"), at(port))
    assert row.outcome is Outcome.UNSUPPORTED


# --- expectations that need the whole body ------------------------------------------------------------

BODY = b'{"status": {"ready": true, "list": [1, {"x": "y"}]}}'


@pytest.mark.parametrize(
    ("key", "value", "body", "good"),
    [
        ("json", "status.ready=true", BODY, True),
        ("json", "status.list.1.x=y", BODY, True),
        ("json", "status.ready=false", BODY, False),
        ("json", "status.list.7=1", BODY, False),
        ("json", "a=1", b"not json", False),
        ("json", "a=1", b"[" * 500_000, False),
        ("json", "0=1", b"[1" + b",1" * 60_000 + b"]", True),
        ("json", "0=1", b"[1" + b",1" * 66_000 + b"]", False),
        ("json", "a=1", b'{"a": ' + b"9" * 5000 + b"}", False),
        ("json", "a=1", b'{"a": "\xff"}', False),
        ("json", "a=1", b'"' + b"x" * (1 << 20) + b'"', False),
        ("body", "ready", BODY, True),
        ("body", "hex:7b22", BODY, True),
        ("body", "absent", BODY, False),
        ("body-not", "absent", BODY, True),
        ("body-not", "ready", BODY, False),
        ("size-max", "100", BODY, True),
        ("size-max", "10", BODY, False),
        ("size-max", "1048576", b"x" * (2 << 20), False),
    ],
)
async def test_expectations_about_the_body(
    bench: Bench, key: str, value: str, body: bytes, good: bool
) -> None:
    options: Options = replace(QUICK, expect=(Expectation(key, value),))
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with serving(saying(answer)) as port:
        row = await bench.one(HttpSpec(options), at(port))
    assert (row.outcome is Outcome.OK) == good, row.failure
    if not good:
        assert row.outcome is Outcome.ANSWER_UNEXPECTED and row.failure is not None and row.failure.detail


async def test_a_status_expected_stands_for_the_default(bench: Bench) -> None:
    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    async with serving(saying(answer)) as port:
        good = await bench.one(HttpSpec(replace(QUICK, expect=(Expectation("status", "404"),))), at(port))
        plain = await bench.one(HttpSpec(QUICK), at(port))
    assert good.outcome is Outcome.OK and plain.outcome is Outcome.ANSWER_UNEXPECTED
