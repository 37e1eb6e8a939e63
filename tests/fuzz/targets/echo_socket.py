"""Batches of a socket for ICMP echo: replies and errors of strangers, at any length, beside the kernel's own
control data."""

import socket
import struct
from typing import Any

from probemesh_agent import kernel
from probemesh_agent.engine import echo
from probemesh_agent.engine.mmsg import NAME_ROOM
from probemesh_agent.wire import icmp
from probemesh_shared.model import Options
from probemesh_shared.words import Family

from tests.fuzz.checks import pick

_WAYS = (
    (Family.IPV4, echo.RAW_SOCKET),
    (Family.IPV4, echo.PING_SOCKET),
    (Family.IPV6, echo.RAW_SOCKET),
    (Family.IPV6, echo.PING_SOCKET),
)


def _socket(family: Family, method: str) -> echo.EchoSocket:
    """Of another kind, which is never read: what comes is put where the kernel would put it."""
    opened = echo.open_echo
    six = family is Family.IPV6
    made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    echo.open_echo = lambda *_: (made, method)
    try:
        sock = echo.EchoSocket(family, Options(), 24)
    finally:
        echo.open_echo = opened
    made.close()
    sock._nonce, sock._identifier = b"N" * len(sock._nonce), 0x4D4D
    sock._mine = echo._first_bytes(sock.ipv6, sock._has_header, sock._identifier)
    return sock


SOCKETS = [_socket(*way) for way in _WAYS]
_NONCE = SOCKETS[0]._nonce
_IP4 = bytes.fromhex("4500003c00004000400100c0c0000202c0000201")
_STAMP = struct.pack("=Qiiqqqqqq", 64, 1, kernel.SCM_TIMESTAMPING, 9, 9, 0, 0, 0, 0)
_TTL = struct.pack("=Qiii4x", 20, 0, kernel.IP_TTL, 64)
_ERROR = struct.pack("=QiiIBBBxII", 32, 0, kernel.IP_RECVERR, 113, 2, 11, 0, 0, 0)
_SENT = struct.pack("=QiiIBBBxII", 32, 0, kernel.IP_RECVERR, 42, kernel.ORIGIN_TIMESTAMPING, 0, 0, 0, 0)
_REPLY = bytes((0, 0, 0, 0)) + b"MM\0\1" + _NONCE
_REPLY6 = bytes((129, 0, 0, 0)) + b"MM\0\1" + _NONCE


def _seed(way: int, queue: int, control: bytes, packet: bytes) -> bytes:
    return bytes((way, queue, len(control))) + control + packet


SEEDS = (
    _seed(0, 0, _STAMP + _TTL, _IP4 + _REPLY),
    _seed(0, 0, _TTL, b"\x46" + _IP4[1:] + bytes(4) + _REPLY),
    _seed(1, 0, _STAMP + _TTL, _REPLY),
    _seed(2, 0, _STAMP, _REPLY6),
    _seed(3, 0, b"", _REPLY6),
    _seed(1, 1, _ERROR, icmp.request(False, 0x4D4D, 1, _NONCE)),
    _seed(0, 1, _STAMP + _SENT, bytes(14) + _IP4 + icmp.request(False, 0x4D4D, 1, _NONCE)),
    _seed(3, 1, b"\1\2\3", b"short"),
)


def read(data: bytes) -> None:
    sock, rest = pick(data, SOCKETS)
    queue, rest = pick(rest, (False, True))
    size, rest = pick(rest, range(256))
    control, packet = rest[:size], rest[size:]
    batch: Any = sock._in

    def receive(fd: int, flags: int = 0) -> list[tuple[int, int]]:
        start = NAME_ROOM
        batch.data[start : start + len(kept)] = kept
        batch.data[batch.start : batch.start + len(shown)] = shown
        return [(len(kept), len(shown))]

    kept, shown = control[: batch.start - NAME_ROOM], packet[: batch.slot_size - batch.start]
    batch.receive = receive
    batch.data[: batch.slot_size] = _stale(sock)
    if queue:
        found = sock.stamps_and_errors()
        assert all(0 <= number < 65_536 for number, _ in (*found.stamps, *found.errors))
    else:
        replies, _ = sock.replies()
        assert all(0 <= reply[0] < 65_536 for reply in replies)
        assert not replies or sock._nonce in shown, "a reply counts with our nonce alone"


def _stale(sock: echo.EchoSocket) -> bytes:
    """What an earlier packet left in the slot: a good reply."""
    packet = (_IP4 if sock._has_header else b"") + (_REPLY6 if sock.ipv6 else _REPLY)
    slot = bytes(NAME_ROOM) + (_STAMP + _TTL).ljust(sock._in.start - NAME_ROOM, b"\0") + packet
    return slot.ljust(sock._in.slot_size, b"\0")
