"""The HTTP around a DNS message: one POST, by either version."""

from probemesh_agent.env import ProbeFailed
from probemesh_agent.probes.dnsdoh import post

from tests.fuzz.checks import Memory, cut, drive, is_told, pick

_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
SEEDS = (
    b"\0\0HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nContent-Length: 3\r\n\r\nabc",
    b"\0\7HTTP/1.1 200 OK\r\ncontent-type: Application/DNS-Message; x=y\r\ntransfer-encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n0\r\n\r\n",
    b"\0\0HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 503 No\r\n\r\n",
    b"\1\0" + _SETTINGS + b"\0\0\1\1\4\0\0\0\1\x88" + b"\0\0\3\0\1\0\0\0\1abc",
    b"\1\5" + _SETTINGS + b"\0\0\1\1\4\0\0\0\1\x88" + b"\0\0\4\3\0\0\0\0\1\0\0\0\7",
    b"\1\0" + _SETTINGS + b"\0\0\x08\7\0\0\0\0\0\0\0\0\1\0\0\0\0",
)


def read(data: bytes) -> None:
    alpn, rest = pick(data, (None, "h2"))
    try:
        reply = drive(post(Memory(cut(rest)), alpn, "ns.example", 443, "/dns-query", b"asked", 1.0))
        assert len(reply.message()) <= 65_535
    except ProbeFailed as failed:
        is_told(failed.failure)
