"""An answer by HTTP/2: frames, header blocks, windows."""

from probemesh_agent.env import ProbeFailed
from probemesh_agent.probes import http2
from probemesh_agent.probes.httpanswer import BODY_MOST, HEADERS_MOST, Answer
from probemesh_agent.probes.httprequest import first_request
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import HttpSpec

from tests.fuzz.checks import Memory, cut, drive, is_told, pick
from tests.fuzz.targets.http1 import HERE, follow

_CLOCK = SystemClock()
_SPECS = (HttpSpec(), HttpSpec(method="HEAD"), HttpSpec(method="POST", body=b"x" * 70_000))
_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
_PARTS = (
    b"\0\0\1\1\4\0\0\0\1\x88",  # :status 200
    b"\0\0\3\0\1\0\0\0\1abc",  # DATA, the last
    b"\0\0\4\3\0\0\0\0\1\0\0\0\7",  # RST_STREAM
    b"\0\0\x08\7\0\0\0\0\0\0\0\0\1\0\0\0\0",  # GOAWAY
    b"\0\0\x08\6\0\0\0\0\0pingpong",
    b"\0\0\6\4\0\0\0\0\0\0\4\0\0\0\0",  # a window of nothing
    b"\0\0\4\x08\0\0\0\0\0\0\0\1\0",  # WINDOW_UPDATE
    b"\0\0\x05\2\0\0\0\0\1\0\0\0\0\7",  # PRIORITY
    b"\0\0\x0a\1\5\0\0\0\1\x88\x5c\1\x33\x40\1x\1y\x0f\x0f",
    b"\0\0\5\5\4\0\0\0\1\0\0\0\2\x82",  # PUSH_PROMISE
)
SEEDS = (
    b"\0\0" + _SETTINGS + _PARTS[0] + _PARTS[1],
    b"\1\0" + _SETTINGS + b"\0\0\1\1\5\0\0\0\1\x88",
    b"\2\0" + _SETTINGS + _PARTS[6] + _PARTS[0] + _PARTS[1],
    b"\0\7" + _SETTINGS + b"".join(_PARTS[3:9]),
    b"\0\0" + _SETTINGS + _PARTS[0] + _PARTS[2],
    b"\0\0" + _SETTINGS + _PARTS[9],
    b"\0\0HTTP/1.1 400 no\r\n\r\n",
)


def read(data: bytes) -> None:
    spec, rest = pick(data, _SPECS)
    answer = Answer()
    try:
        drive(http2.exchange(Memory(cut(rest)), first_request(spec, HERE), answer, _CLOCK, 1.0))
        assert answer.complete and answer.status is not None
        follow(spec, answer)
    except ProbeFailed as failed:
        is_told(failed.failure)
    assert len(answer.body) <= BODY_MOST and (answer.head_size or 0) <= HEADERS_MOST
