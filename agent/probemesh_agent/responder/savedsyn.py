"""What the kernel kept of a SYN (TCP_SAVED_SYN) and of the handshake's last segment. Pure but for asking."""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from probemesh_agent import kernel

_V4 = struct.Struct(">BBHHHBBH4s4s")
_V6 = struct.Struct(">IHBB16s16s")
_TCP = struct.Struct(">HHIIBBHHH")
_INT = struct.Struct("=i")
_OPTIONS = {1: "nop", 2: "mss", 3: "wscale", 4: "sack", 8: "ts", 34: "fastopen"}


@dataclass(frozen=True, slots=True)
class Syn:
    """``id`` is that of IPv4. ``options`` are their kinds in their order."""

    source: str
    ttl: int
    id: int | None
    dscp: int
    window: int
    mss: int | None
    options: tuple[str, ...]


def parse(raw: bytes) -> Syn | None:
    """An IP packet that holds a SYN; None for anything else, and for what is cut short."""
    try:
        if not raw or raw[0] >> 4 == 4:
            _, tos, _, ident, _, ttl, _, _, source, _ = _V4.unpack_from(raw)
            return _tcp(raw[(raw[0] & 15) * 4 :], socket.inet_ntop(socket.AF_INET, source), ttl, ident, tos)
        first, _, _, hops, source6, _ = _V6.unpack_from(raw)
        source_text = socket.inet_ntop(socket.AF_INET6, source6)
        return _tcp(raw[_V6.size :], source_text, hops, None, first >> 20 & 0xFF)
    except (struct.error, IndexError):
        return None


def _tcp(segment: bytes, source: str, ttl: int, ident: int | None, tos: int) -> Syn:
    _, _, _, _, offset, _, window, _, _ = _TCP.unpack_from(segment)
    names: list[str] = []
    mss: int | None = None
    for kind, value in options(segment[_TCP.size : (offset >> 4) * 4]):
        names.append(_OPTIONS.get(kind, str(kind)))
        if kind == 2 and len(value) == 2:
            mss = int.from_bytes(value, "big")
    return Syn(source, ttl, ident, tos >> 2, window, mss, tuple(names))


def options(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and value of each TCP option; ends where they end or make no sense."""
    at = 0
    while at < len(raw) and raw[at] != 0:
        if raw[at] == 1:
            yield 1, b""
            at += 1
            continue
        length = raw[at + 1] if at + 1 < len(raw) else 0
        if length < 2 or at + length > len(raw):
            return
        yield raw[at], raw[at + 2 : at + length]
        at += length


def saved(connection: socket.socket) -> Syn | None:
    """The SYN of an accepted connection; may be asked once. None where the kernel did not keep it."""
    try:
        return parse(connection.getsockopt(socket.IPPROTO_TCP, kernel.TCP_SAVED_SYN, 512))
    except OSError:
        return None


def ack_ttl(connection: socket.socket) -> int | None:
    """TTL or hop limit of the segment that completed the handshake, or of a later one."""
    six = connection.family == socket.AF_INET6
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    wanted = kernel.IPV6_RECVHOPLIMIT if six else kernel.IP_RECVTTL
    try:
        connection.setsockopt(level, wanted, 1)
        raw = connection.getsockopt(level, kernel.IPV6_2292PKTOPTIONS if six else kernel.IP_PKTOPTIONS, 256)
    except OSError:
        return None
    for found_level, kind, data in control(raw):
        if (found_level, kind) == (level, kernel.IPV6_HOPLIMIT if six else kernel.IP_TTL) and len(data) >= 4:
            ttl = int(_INT.unpack_from(data)[0])
            return ttl if 0 <= ttl <= 255 else None
    return None


def control(raw: bytes) -> Iterator[tuple[int, int, bytes]]:
    """``(level, type, data)`` of each control message in a buffer (cmsg(3))."""
    at = 0
    header = struct.calcsize("@Nii")
    while at + header <= len(raw):
        length, level, kind = struct.unpack_from("@Nii", raw, at)
        if length < header or at + length > len(raw):
            return
        yield level, kind, raw[at + header : at + length]
        at += (length + 7) & ~7
