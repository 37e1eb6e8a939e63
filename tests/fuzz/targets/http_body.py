"""What is looked for in bodies, Locations and banners: JSON, URLs, first words."""

from probemesh_agent.env import ProbeFailed
from probemesh_agent.porttable import protocol_of
from probemesh_agent.probes import http1
from probemesh_agent.probes.httpbody import judge_body
from probemesh_agent.probes.httpredirect import target_of
from probemesh_agent.probes.httprequest import Place, first_request
from probemesh_agent.probes.redaction import redacting
from probemesh_shared.expectations import http_expectations, parse_expectations
from probemesh_shared.model import HttpSpec
from probemesh_shared.steady import banner_line, steady

from tests.fuzz.checks import is_told, pick

EXPECTED = http_expectations(
    parse_expectations(["json=/a/0/b=7", "json=/s=ok", "body=\u00e9", "body-not=oops", "size-max=400"])
)
_JSON = http_expectations(parse_expectations(["json=/a/0/b=7", "json=/s=ok"]))
_CLEAN = redacting(HttpSpec(secret_headers=(("Authorization", "Bearer s3cr3t/t0ken"),)))
SEEDS = (
    b'\0{"a": [{"b": 7}], "s": "ok"}',
    b'\0{"a": [], "s": 1e999, "x": "\\ud800"}',
    b"\1\xc3\xa9 oops",
    b"\2//b.example/x y?q#f",
    b"\2http://[::1%25eth0]:8080/..;/",
    b"\2https:\\\\u@0x7f.1:80:90/%zz",
    b"\3220 mail ESMTP <12@x> Mon, 1 Jan 2026 10:00:00",
    b"\3SSH-2.0-OpenSSH_9.6\r\n",
    b"\3\x4a\0\0\0\x0a8.0.36\0",
    b"\4 bearer s3cr3t%2ft0ken s3cr\xe2\x80\xa6",
)


def read(data: bytes) -> None:
    way, rest = pick(data, (_json, _body, _location, _banner, _redacted))
    way(rest)


def _json(body: bytes) -> None:
    failure = judge_body(_JSON, body, cut=False)
    if failure is not None:
        is_told(failure)


def _body(body: bytes) -> None:
    failure = judge_body(EXPECTED, body, cut=len(body) > 300)
    if failure is not None:
        is_told(failure)


def _location(data: bytes) -> None:
    location = data.decode("latin-1")
    try:
        place = target_of(Place(True, "a.example", 8080, "/a/b?c"), location, location)
    except ProbeFailed as failed:
        is_told(failed.failure)
        return
    assert place.path.startswith("/") and place.path.isascii() and place.path.isprintable()
    assert " " not in place.path and 0 < place.port < 65_536 and place.host
    http1.check(first_request(HttpSpec(), place))


def _banner(data: bytes) -> None:
    for port in (21, 25, 3306, 4711):
        protocol = protocol_of(data, port)
        assert protocol is None or protocol.isalnum()
        assert len(banner_line(data, protocol)) <= 200
    assert len(steady(data)) <= 4096


def _redacted(data: bytes) -> None:
    clean = _CLEAN.data(data)
    assert b"s3cr3t/t0ken" not in clean.lower()
    text = data.decode("utf-8", "surrogateescape")
    if "\udc80" not in text:
        assert "s3cr3t/t0ken" not in _CLEAN.text(text).lower()
