"""ICMP as raw and ping sockets give it: replies, errors, what they quote, and control messages beside."""

import socket
import struct
from types import SimpleNamespace
from typing import Any, cast

from probemesh_agent import kernel
from probemesh_agent.engine.echo import RAW_SOCKET, ancillary
from probemesh_agent.flow.echoline import EchoLine
from probemesh_agent.path.ear import Ear
from probemesh_agent.path.echolane import EchoLane
from probemesh_agent.path.quotes import Syn, echo_quote, tcp_quote, whole_quote
from probemesh_agent.responder import control
from probemesh_agent.responder.savedsyn import control as control_of
from probemesh_agent.wire import icmp
from probemesh_shared.words import Transport

from tests.fuzz.checks import pick

_SENT = Syn("192.0.2.2", 40_000, "192.0.2.1", 443, 1460)
_IP4 = bytes.fromhex("4500003c00004000400600c0c0000202c0000201")
_IP6 = bytes.fromhex("6000000000140640") + bytes(15) + b"\2" + bytes(15) + b"\1"
_TCP = struct.pack("!HHIIHHHH", 40_000, 443, 1, 0, 0x6002, 64_240, 0, 0) + b"\2\4\5\xb4"
_CMSG = struct.Struct("@Nii")


def _cmsg(level: int, kind: int, data: bytes) -> bytes:
    return (_CMSG.pack(_CMSG.size + len(data), level, kind) + data).ljust(
        (_CMSG.size + len(data) + 7) & ~7, b"\0"
    )


_ERROR = struct.pack("=IBBBxII", 113, 2, 11, 0, 0, 0) + struct.pack("=HH4s8x", 2, 0, b"\xc0\0\2\3")
SEEDS = (
    b"\0" + _IP4 + icmp.request(False, 7, 1, b"nonce").replace(b"\x08", b"\0", 1),
    b"\0\x81\0\0\0\0\7\0\1nonce",
    b"\1" + _TCP,
    b"\2\x0b\0\0\0\0\0\0\0" + _IP4 + _TCP,
    b"\2\3\4\0\0\0\0\5\x78" + _IP4 + _TCP,
    b"\3\2\0\0\0\0\0\5\0" + _IP6 + _TCP,
    b"\4" + _cmsg(0, kernel.IP_RECVERR, _ERROR) + _cmsg(0, kernel.IP_TTL, b"\x40\0\0\0"),
    b"\4" + _cmsg(0, kernel.IP_PKTINFO, bytes(12)) + _cmsg(1, kernel.SCM_TIMESTAMPING, b"\1" * 48),
    b"\4" + _cmsg(41, kernel.IPV6_PKTINFO, bytes(20)) + _cmsg(0, kernel.IP_TOS, b"\xb8"),
    b"\4" + _cmsg(41, kernel.IPV6_TCLASS, b"\xb8\0\0\0") + _cmsg(41, kernel.IPV6_HOPLIMIT, b"\x40\0\0\0"),
)


#: Stand in for those who wait for an answer to packet 1.
_LANE = cast(
    Any,
    SimpleNamespace(
        sent={1: 0},
        port=443,
        local_port=40_000,
        is_target=lambda host: True,
        _method=RAW_SOCKET,
        _identifier=7,
        _checksum=None,
        local_address="192.0.2.2",
        told_by_icmp=lambda *_: None,
    ),
)
_LINE = cast(Any, SimpleNamespace(_identifier=7, _by_sequence={}))


def read(data: bytes) -> None:
    way, rest = pick(data, (_reply, _quoted, _whole4, _whole6, _control))
    way(rest)


def _reply(data: bytes) -> None:
    stripped = icmp.strip_ipv4_header(data)
    for packet in (data, *(() if stripped is None else stripped[:1])):
        for ipv6 in (False, True):
            for requests in (False, True):
                echo = icmp.read_echo(packet, ipv6, requests=requests)
                assert echo is None or len(echo.payload) == len(packet) - 8


def _quoted(data: bytes) -> None:
    quote = tcp_quote(data, _SENT)
    assert set(quote.changed) <= {"source-port", "port", "checksum", "mss"}
    quote = echo_quote(data, 7, 0x1234)
    assert set(quote.changed) <= {"identifier", "checksum"}


def _whole4(data: bytes) -> None:
    _whole(data, ipv6=False)


def _whole6(data: bytes) -> None:
    _whole(data, ipv6=True)


def _whole(data: bytes, ipv6: bool) -> None:
    quote = whole_quote(data, ipv6)
    if quote is not None:
        assert len(quote.tail) >= 8, "who hears it reads ports and sequence without looking again"
        socket.inet_pton(socket.AF_INET6 if ipv6 else socket.AF_INET, quote.target)
        for transport in (Transport.ICMP, Transport.TCP):
            ear = cast(Any, SimpleNamespace(_protocol=quote.protocol, _transport=transport, _lane=_LANE))
            assert Ear._number(ear, quote) in (None, 1)


def _control(data: bytes) -> None:
    messages = list(ancillary(data))
    assert messages == list(control_of(data))
    entry = kernel.queue_entry(data, messages, None)
    assert entry.offender is None or entry.offender.isprintable()
    assert EchoLine.quoted(_LINE, entry) is None
    EchoLane._error(_LANE, entry)
    arrived = control.read(messages)
    assert arrived.dscp is None or 0 <= arrived.dscp <= 63
