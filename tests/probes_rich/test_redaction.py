"""Whatever an answer echoes of the credentials that were sent is nowhere in the row."""

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_agent.probes.httpproxy import AUTHENTICATION_REQUIRED
from probemesh_agent.probes.redaction import redacting
from probemesh_shared import jsonout
from probemesh_shared.certificates import parse_certificate
from probemesh_shared.expectations import parse_expectations
from probemesh_shared.model import (
    Failure,
    HttpDetail,
    HttpHop,
    HttpSpec,
    Measurement,
    Sample,
    Target,
    TlsDetail,
)
from probemesh_shared.words import FailureKind, Kind, Origin, Outcome, Stage

from tests.probes_rich.rich_bench import QUICK, Bench, at, bench, saying, serving
from tests.probes_rich.test_http_ways import proxying

__all__ = ["bench"]
TOKEN = "t0kenOfOurs-" + "abcdefghij" * 4
BEARER = HttpSpec(QUICK, secret_headers=(("Authorization", f"Bearer {TOKEN}"),))
PASSWORD = 'pässw/ör"d'
BASIC = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()


def told(row: Measurement) -> str:
    return repr(row) + jsonout.dumps(jsonout._measurement(row, parse_certificate))


def answer(head: str, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("said", "expect", "follow"),
    [
        (answer("200 OK", b'{"t": "%s"}' % TOKEN.encode()), "json=t=zzz", 0),
        (answer("200 OK", b'{"t": "\\u0074%s"}' % (TOKEN[1:] * 3).encode()), "json=t=zzz", 0),
        (answer(f"500 bad {TOKEN}"), None, 0),
        (answer(f"200 OK\r\nContent-Encoding: {'x' * 70}{TOKEN}"), None, 0),
        (answer(f"302 Go\r\nLocation: http://[bad{TOKEN}/"), None, 5),
        (answer(f"302 Go\r\nLocation: http://[{'x' * 80}{TOKEN}/"), None, 5),
        (answer(f"302 Go\r\nLocation: http://{TOKEN}.invalid/{TOKEN}"), None, 5),
        (answer(f"200 OK\r\nX-{TOKEN}: {TOKEN.upper()}"), None, 0),
        (answer("200 OK", b"x" * 4080 + TOKEN.encode()), None, 0),
        (answer("200 OK", TOKEN.encode() * 80), None, 0),
    ],
)
async def test_a_token_that_is_echoed(bench: Bench, said: bytes, expect: str | None, follow: int) -> None:
    options = (
        QUICK
        if expect is None
        else QUICK.__class__(count=1, interval_s=0.0, timeout_s=2.0, expect=parse_expectations([expect]))
    )
    async with serving(saying(said)) as port:
        spec = HttpSpec(options, secret_headers=BEARER.secret_headers, follow=follow)
        row = await bench.one(spec, at(port))
    assert "t0ken" not in told(row).lower() and "[redacted]" in told(row), told(row)


@pytest.mark.parametrize("words", ["403 no {}", "403 {} no", "407 " + "x" * 50 + "{}"])
async def test_a_proxy_that_echoes_its_credentials(bench: Bench, words: str) -> None:
    spec_headers = (("Proxy-Authorization", f"Basic {BASIC}"),)
    async with proxying(answer(words.format(BASIC))) as (proxy, _):
        spec = HttpSpec(QUICK, proxy=f"127.0.0.1:{proxy}", secret_headers=spec_headers)
        row = await bench.one(spec, Target("https://a.example/", "a.example", secure=True))
    assert BASIC[:8] not in told(row) and row.failure is not None and "redacted" in row.failure.detail
    answered = f"with {AUTHENTICATION_REQUIRED}"  # ports may have such a number in them
    assert (answered in row.failure.detail) == words.startswith("407")


@pytest.mark.parametrize(
    ("name", "value", "secrets"),
    [
        ("Cookie", "session=SECRET12; theme=dark; bare-one", ("SECRET12", "dark", "bare-one")),
        ("Cookie", 'a="quoted1"; b==odd=', ("quoted1", "=odd=")),
        ("Authorization", f"Basic {BASIC}", (BASIC, f"ada:{PASSWORD}", PASSWORD)),
        ("Authorization", 'Digest realm="R", nonce="n0nce", response="6629fae4"', ("n0nce", "6629fae4")),
        ("Authorization", "AWS4-HMAC Credential=AK1D/x, Signature=fe5f80", ("AK1D/x", "fe5f80")),
        ("Authorization", "bare-t0ken==", ("bare-t0ken==",)),
        ("X-Api-Key", "a1b2", ("a1b2",)),
    ],
)
def test_what_of_a_header_is_secret(name: str, value: str, secrets: tuple[str, ...]) -> None:
    clean = redacting(HttpSpec(secret_headers=((name, value),)))
    for secret in secrets:
        for way in (secret, json.dumps(secret), quote(secret, safe=""), html.escape(secret), ascii(secret)):
            assert "[redacted]" in clean.text(f"you sent {way}, sir"), way
            assert clean.data(f"<{way}>".encode()) != f"<{way}>".encode()
    assert clean.text("realm R, Digest, Basic, Bearer") == "realm R, Digest, Basic, Bearer"


def test_what_is_too_short_is_found_everywhere_and_stays() -> None:
    clean = redacting(HttpSpec(secret_headers=(("Cookie", "a=abc; b=1"),)))
    assert clean.text("abc 1") == "abc 1" and clean.text("a=abc; b=1") == "[redacted]"
    assert redacting(HttpSpec()).of(BEARER) is BEARER


SECRETS = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=("C", "Z")),
    min_size=12,
    max_size=40,
).map(lambda text: f"z9Q{text}".replace(";", "x").replace("…", "x"))


@given(SECRETS, st.sampled_from(["{}", "a {} b", "{}{}", "{}…", "x\ud800{}"]), st.booleans())
def test_a_secret_is_nowhere_in_a_row(secret: str, around: str, in_cookie: bool) -> None:
    header = ("Cookie", f"id={secret}") if in_cookie else ("X-Api-Key", secret)
    text = around.format(secret, secret)
    data = text.encode("utf-8", "replace")
    failure = Failure(Stage.HTTP, FailureKind.BODY_UNEXPECTED, Origin.TARGET, text, errno=text)
    hop = HttpHop(url=text, method=text, location=text, address=text, version=text)
    tls = TlsDetail(alpn=text, chain=(data,), verify_error=text, client_certificate_authorities=(text,))
    detail = HttpDetail(
        text, text, text, 200, text, ((text, text),), 1, data, location=text, tls=tls, effective_url=text,
        effective_address=text, redirects=(hop,), content_encoding=text, notes=(text, secret[:10]),
    )  # fmt: skip
    samples = (Sample(0, 0.0, None, Outcome.ANSWER_UNEXPECTED, failure),)
    row = Measurement(
        Kind.HTTP, 0, "t", "192.0.2.7", 80, Outcome.ANSWER_UNEXPECTED, 1, samples, failure, detail, (text,)
    )
    clean = redacting(HttpSpec(secret_headers=(header,))).of(row, frozenset({"target", "address"}))
    assert (clean.target, clean.outcome, clean.samples[0].seq) == ("t", row.outcome, 0)
    assert isinstance(clean.detail, HttpDetail) and "[redacted]" in clean.detail.notes[1]
    assert "z9q" not in told(clean).lower()
