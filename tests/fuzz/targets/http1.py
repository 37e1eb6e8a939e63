"""An answer by HTTP/1.1, straight or through a proxy, judged and told."""

from probemesh_agent.env import ProbeFailed
from probemesh_agent.probes import http1
from probemesh_agent.probes.httpanswer import BODY_MOST, HEADERS_MOST, Answer
from probemesh_agent.probes.httpjudge import judge, oddities
from probemesh_agent.probes.httpproxy import check_forwarded, perhaps_its_own
from probemesh_agent.probes.httpredirect import leads_on, target_of
from probemesh_agent.probes.httprequest import Place, first_request
from probemesh_agent.probes.redaction import redacting
from probemesh_shared.clock import SystemClock
from probemesh_shared.expectations import HttpExpected
from probemesh_shared.model import HttpSpec

from tests.fuzz.checks import Memory, cut, drive, is_line, is_told, pick

HERE = Place(False, "a.example", 80)
_CLOCK = SystemClock()
_SPECS = (
    HttpSpec(),
    HttpSpec(method="HEAD"),
    HttpSpec(headers=(("Range", "bytes=0-4"),)),
    HttpSpec(secret_headers=(("Authorization", "Basic dXNlcjpzZWNyZXQ="),), body=b"x"),
    HttpSpec(proxy="proxy.example:3128"),
)
SEEDS = (
    b"\2\0HTTP/1.1 206 OK\r\nContent-Length: 5\r\nContent-Range: bytes 0-4/9\r\n\r\nhello",
    b"\0\3HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
    b"\0\0HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 302 Go\r\nLocation: //b:8080/x?y#z\r\n\r\nrest",
    b"\3\0HTTP/1.1 401 No\r\nX-Echo: dXNlcjpzZWNyZXQ=\r\nContent-Encoding: gzip\r\n\r\nuser:secret",
    b"\4\0HTTP/1.1 407 Pay\r\nProxy-Authenticate: Basic\r\n\r\n",
    b"\1\0HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\nnot http",
    b"\4\0HTTP/1.1 502 Bad\r\n\r\n",
)


async def _asked(spec: HttpSpec, pieces: list[bytes], answer: Answer) -> None:
    await http1.exchange(
        Memory(pieces), first_request(spec, HERE), answer, _CLOCK, 1.0, absolute=spec.proxy is not None
    )


def read(data: bytes) -> None:
    spec, rest = pick(data, _SPECS)
    answer, clean = Answer(), redacting(spec)
    try:
        drive(_asked(spec, cut(rest), answer))
        assert answer.complete and answer.status is not None
        check_forwarded(answer, first_request(spec, HERE), spec, clean)
        follow(spec, answer)
    except ProbeFailed as failed:
        is_told(failed.failure)
    assert len(answer.body) <= BODY_MOST and (answer.head_size or 0) <= HEADERS_MOST
    assert b"secret" not in clean.data(bytes(answer.body)).lower() or spec is not _SPECS[3]
    for name, value in clean.pairs(answer.headers):
        assert spec is not _SPECS[3] or "dxnlcjpzzwnyzxq=" not in (name + value).lower()


def follow(spec: HttpSpec, answer: Answer) -> None:
    """As the kind goes on from a whole answer."""
    failure = judge(spec, HttpExpected(), answer)
    if failure is not None:
        is_told(failure)
    for note in (*oddities(spec, answer), *perhaps_its_own(answer, spec, HERE)):
        is_line(note)
    if leads_on(answer):
        location = answer.header("location") or ""
        place = target_of(HERE, location, location)
        assert place.path.startswith("/") and place.path.isascii() and 0 < place.port < 65_536 and place.host
