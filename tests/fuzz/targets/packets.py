"""Packets as a packet socket and TCP_SAVED_SYN give them, and the kernel's answers by netlink and /proc."""

import socket
import struct

from probemesh_agent import addresses
from probemesh_agent.responder import frames, procnet, savedsyn, sockdiag

from tests.fuzz.checks import pick

_IP4 = bytes.fromhex("4500003c00004000400600c0c0000202c0000201")
_IP6 = bytes.fromhex("6000000000142c40") + bytes(15) + b"\2" + bytes(15) + b"\1"
_TCP = struct.pack("!HHIIHHHH", 40_000, 443, 1, 0, 0x7002, 64_240, 0, 0) + b"\2\4\5\xb4\1\3\3\7"
_DIAG = struct.pack("=BBBB2s2s16s16s12xIIIII", 2, 1, 0, 0, b"\1\2", b"\3\4", bytes(16), bytes(16), *range(5))
_LINE = b"0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1 0 100 0 0 10 0"
SEEDS = (
    b"\0" + _IP4 + _TCP,
    b"\0" + _IP4.replace(b"\x40\6", b"\x40\x11") + b"\1\2\3\4\0\x08\0\0",
    b"\0" + _IP4.replace(b"\x40\6", b"\x40\1") + b"\3\x0d\0\0\0\0\0\0",
    b"\0" + _IP6 + b"\6\0\0\0\0\0\0\1" + _TCP,
    b"\0" + _IP6 + b"\x11\0\0\x08\0\0\0\1",
    b"\1" + _DIAG + struct.pack("=HH", 140, 2) + bytes(136) + struct.pack("=HH", 40, 7) + bytes(36),
    b"\1" + _DIAG.replace(b"\2\1", b"\x0a\1", 1) + struct.pack("=HH", 5, 11) + b"\0\0\0\0",
    b"\2" + _LINE,
    b"\3"
    + struct.pack("=IHHII", 44, 20, 0, 1, 0)
    + struct.pack("=BBBBI", 2, 24, 128, 0, 1)
    + struct.pack("=HH4s", 8, 1, b"\xc0\0\2\1")
    + struct.pack("=HHI", 8, 8, 128)
    + bytes(4),
)


def read(data: bytes) -> None:
    way, rest = pick(data, (_packet, _diag, _proc, _netlink))
    way(rest)


def _packet(data: bytes) -> None:
    seen = frames.parse(data)
    if seen is not None:
        for place in (seen.source, seen.destination):
            socket.inet_pton(socket.AF_INET6 if ":" in place else socket.AF_INET, place)
        assert 0 <= seen.ttl <= 255 and len(seen.kind) <= len("parameter-problem/255")
    syn = savedsyn.parse(data)
    if syn is not None:
        assert len(syn.options) <= 40 and 0 <= syn.dscp <= 63 and 0 <= syn.ttl <= 255


def _diag(data: bytes) -> None:
    for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
        seen = sockdiag.parse(data, protocol)
        assert seen is None or (seen.mss is None or 0 < seen.mss < 65_536)


def _proc(data: bytes) -> None:
    text = data.decode("latin-1")
    for family in (socket.AF_INET, socket.AF_INET6):
        procnet.parse(text, family)


def _netlink(data: bytes) -> None:
    ours = list(addresses.messages(data))
    assert ours == list(sockdiag._messages(data))
    for _, body in ours:
        addresses.parse_address(body)
