"""IP packets as a packet socket gives them, from the IP header on: what a watch tells of one. Pure."""

import socket
import struct
from dataclasses import dataclass

from probemesh_shared.words import Transport

from probemesh_agent.responder.savedsyn import options

_V4 = struct.Struct(">BBHHHBBH4s4s")
_V6 = struct.Struct(">IHBB16s16s")
_TCP = struct.Struct(">HHIIBBHHH")
_PORTS = struct.Struct(">HH")
_FLAGS = ((0x02, "S"), (0x10, "A"), (0x01, "F"), (0x04, "R"), (0x08, "P"), (0x20, "U"))
_ECHO = {(1, 8): "echo-request", (1, 0): "echo-reply", (58, 128): "echo-request", (58, 129): "echo-reply"}
_ERRORS = {
    (1, 3): "unreachable",
    (1, 5): "redirect",
    (1, 11): "time-exceeded",
    (1, 12): "parameter-problem",
    (58, 1): "unreachable",
    (58, 2): "packet-too-big",
    (58, 3): "time-exceeded",
    (58, 4): "parameter-problem",
}
FRAGMENT = "fragment"


@dataclass(frozen=True, slots=True)
class Packet:
    """``kind``: flags of TCP, ``echo-request`` and the like, ``unreachable/13``; of UDP nothing, or
    ``fragment`` for a later one, which has no ports."""

    transport: Transport
    source: str
    source_port: int | None
    destination: str
    destination_port: int | None
    kind: str
    ttl: int
    mss: int | None = None


def parse(data: bytes) -> Packet | None:
    """None for what a watch does not tell of, and for what is cut short or malformed."""
    try:
        if data[0] >> 4 == 4:
            return _v4(data)
        return _v6(data) if data[0] >> 4 == 6 else None
    except (struct.error, IndexError):
        return None


def _v4(data: bytes) -> Packet | None:
    head, _, _, _, fragment, ttl, protocol, _, src, dst = _V4.unpack_from(data)
    source, destination = (socket.inet_ntop(socket.AF_INET, one) for one in (src, dst))
    if fragment & 0x1FFF:
        return _later_fragment(protocol, source, destination, ttl)
    return _upper(protocol, data[(head & 15) * 4 :], source, destination, ttl)


def _v6(data: bytes) -> Packet | None:
    _, _, protocol, ttl, src, dst = _V6.unpack_from(data)
    source, destination = (socket.inet_ntop(socket.AF_INET6, one) for one in (src, dst))
    rest = data[_V6.size :]
    if protocol == 44:  # fragment header: next, reserved, offset and flags, identification
        protocol, offset, rest = rest[0], int.from_bytes(rest[2:4], "big") >> 3, rest[8:]
        if offset:
            return _later_fragment(protocol, source, destination, ttl)
    return _upper(protocol, rest, source, destination, ttl)


def _later_fragment(protocol: int, source: str, destination: str, ttl: int) -> Packet | None:
    if protocol != socket.IPPROTO_UDP:
        return None
    return Packet(Transport.UDP, source, None, destination, None, FRAGMENT, ttl)


def _upper(protocol: int, data: bytes, source: str, destination: str, ttl: int) -> Packet | None:
    if protocol == socket.IPPROTO_TCP:
        sport, dport, _, _, offset, flags, _, _, _ = _TCP.unpack_from(data)
        kind = "".join(letter for bit, letter in _FLAGS if flags & bit)
        mss = _mss(data[_TCP.size : (offset >> 4) * 4]) if flags & 0x02 else None
        return Packet(Transport.TCP, source, sport, destination, dport, kind, ttl, mss)
    if protocol == socket.IPPROTO_UDP:
        sport, dport = _PORTS.unpack_from(data)
        return Packet(Transport.UDP, source, sport, destination, dport, "", ttl)
    name = _ECHO.get((protocol, data[0]))
    if name is None:
        error = _ERRORS.get((protocol, data[0]))
        if error is None:
            return None
        name = f"{error}/{data[1]}"
    return Packet(Transport.ICMP, source, None, destination, None, name, ttl)


def _mss(raw: bytes) -> int | None:
    for kind, value in options(raw):
        if kind == 2 and len(value) == 2:
            return int.from_bytes(value, "big")
    return None
