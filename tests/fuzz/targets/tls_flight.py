"""A server's side of a handshake as far as it stands in the clear, the staple in it, and what the hook beside
``ssl`` is shown of one."""

import ssl

from probemesh_agent.env import TlsSeen
from probemesh_agent.net import tlswatch
from probemesh_agent.wire.ocsp import read_staple
from probemesh_agent.wire.tlsflight import CHAIN_MOST, FLIGHT_MOST, NAMES_MOST, FlightReader

from tests.fuzz.checks import cut, is_line, pick


def _record(kind: int, body: bytes) -> bytes:
    return bytes((kind, 3, 3)) + len(body).to_bytes(2, "big") + body


def _message(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


_ALPN = bytes.fromhex("0010000500030268 32".replace(" ", ""))
_HELLO_12 = _message(2, b"\3\3" + bytes(32) + b"\0" + b"\xc0\x2f" + b"\0" + b"\0\x09" + _ALPN)
_EXTENSIONS_13 = bytes.fromhex("002b0002030400330006001d00020000")
_HELLO_13 = _message(
    2, b"\3\3" + bytes(32) + b"\0\x13\1\0" + len(_EXTENSIONS_13).to_bytes(2, "big") + _EXTENSIONS_13
)
_CERTIFICATES = _message(11, b"\0\0\x0a" + b"\0\0\2ab" + b"\0\0\2cd")
_STATUS = _message(22, b"\1\0\0\5" + bytes.fromhex("30030a0106"))
_KEYS = _message(12, b"\3\0\x1d\1x")
_NAME = bytes.fromhex("300d310b3009060355040313026361")
_REQUEST = _message(
    13, b"\1\1" + b"\0\2\4\3" + (len(_NAME) + 2).to_bytes(2, "big") + len(_NAME).to_bytes(2, "big") + _NAME
)
_DONE = _message(14, b"")
_SESSION = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())
SEEDS = (
    b"\0\0" + _record(22, _HELLO_12 + _CERTIFICATES + _STATUS + _KEYS + _REQUEST + _DONE),
    b"\0\5" + _record(22, _HELLO_12[:20]) + _record(22, _HELLO_12[20:] + _REQUEST + _DONE),
    b"\0\0" + _record(22, _HELLO_13),
    b"\0\0" + _record(21, b"\1\x70") + _record(21, b"\2\x28"),
    b"\0\0HTTP/1.1 400 Bad Request",
    *(b"\1\3" + one for one in (_HELLO_12, _KEYS, _REQUEST, _DONE, _message(4, b""))),
    b"\1\4" + _message(13, b"\0\0\0"),
)


def read(data: bytes) -> None:
    way, rest = pick(data, (_flight, _watched))
    way(rest)


def _watched(data: bytes) -> None:
    version, message = pick(data, (0x0300, 0x0301, 0x0302, 0x0303, 0x0304))
    seen = TlsSeen()
    tlswatch.watch(_SESSION, seen)
    for kind in (message[0] if message else 0, 2, 12):
        tlswatch._told(_SESSION, "read", version, 22, kind, message)
    assert len(seen.authorities) <= NAMES_MOST


def _flight(data: bytes) -> None:
    reader = FlightReader()
    for piece in cut(data):
        reader.feed(piece)
    flight = reader.flight
    assert len(flight.chain) <= CHAIN_MOST and len(flight.authorities) <= NAMES_MOST
    assert sum(map(len, flight.chain)) <= FLIGHT_MOST
    if flight.fault is not None:
        is_line(flight.fault)
    if flight.staple is not None:
        leaf = flight.chain[0] if flight.chain else None
        staple = read_staple(flight.staple, leaf)
        assert staple.status in ("good", "revoked", "unknown", "malformed")
    over = flight.over
    reader.feed(b"\x16\3\3\0\1\2")
    assert not over or reader.flight is flight
