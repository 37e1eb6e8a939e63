"""ICMP and ICMPv6 echo on the wire (RFC 792, RFC 4443 §4): packing, checksums, reading. Pure.

Everything that is read came from a stranger: short, padded or forged packets give None.
"""

import struct
import sys
from array import array
from dataclasses import dataclass

ECHO_REQUEST_V4, ECHO_REPLY_V4 = 8, 0
ECHO_REQUEST_V6, ECHO_REPLY_V6 = 128, 129
HEADER_SIZE = 8

_ECHO = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence


@dataclass(frozen=True, slots=True)
class Echo:
    """An echo request or reply."""

    type: int
    identifier: int
    sequence: int
    payload: bytes


def word_sum(data: bytes) -> int:
    """The sum of the 16-bit words of ``data`` (an odd last byte padded with zero), not yet folded."""
    if len(data) % 2:
        data += b"\0"
    return sum(struct.unpack(f"!{len(data) // 2}H", data))


def fold(total: int) -> int:
    """The Internet checksum (RFC 1071) of a sum of words."""
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def payload(nonce: bytes, size: int) -> bytes:
    """``size`` bytes that begin with as much of ``nonce`` as fits, then count up."""
    filler = bytes(range(256)) * (max(size - len(nonce), 0) // 256 + 1)
    return (nonce + filler)[:size]


def request(ipv6: bool, identifier: int, sequence: int, body: bytes) -> bytes:
    """An echo request. The ICMPv6 checksum is left to the kernel, which knows the addresses."""
    if ipv6:
        return _ECHO.pack(ECHO_REQUEST_V6, 0, 0, identifier, sequence) + body
    checksum = fold((ECHO_REQUEST_V4 << 8) + identifier + sequence + word_sum(body))
    return _ECHO.pack(ECHO_REQUEST_V4, 0, checksum, identifier, sequence) + body


def request_headers(kind: int, identifier: int, total: int, first: int, count: int) -> bytes:
    """The first eight bytes of ``count`` echo requests numbered from ``first``, which does not wrap.

    ``total`` is the word sum of all their other bytes; 0 leaves the checksum to the kernel (ICMPv6)."""
    words = array("H", bytes(HEADER_SIZE * count))
    words[0::4] = array("H", (kind << 8,)) * count
    if total:
        base = fold(total) ^ 0xFFFF
        sums = [base + sequence for sequence in range(first, first + count)]
        words[1::4] = array("H", [0xFFFF - ((one & 0xFFFF) + (one >> 16)) for one in sums])
    words[2::4] = array("H", (identifier,)) * count
    words[3::4] = array("H", range(first, first + count))
    if sys.byteorder == "little":
        words.byteswap()
    return words.tobytes()


def strip_ipv4_header(packet: bytes) -> tuple[bytes, int] | None:
    """``(what follows the IPv4 header, its TTL)``; options are skipped; None for anything malformed."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    length = (packet[0] & 0x0F) * 4
    if length < 20 or len(packet) < length:
        return None
    return packet[length:], packet[8]


def read_echo(packet: bytes, ipv6: bool, *, requests: bool = False) -> Echo | None:
    """The echo reply (or with ``requests`` the request) in an ICMP packet without IP header; None for
    others."""
    if len(packet) < HEADER_SIZE:
        return None
    kind, code, _, identifier, sequence = _ECHO.unpack_from(packet)
    if requests:
        wanted = ECHO_REQUEST_V6 if ipv6 else ECHO_REQUEST_V4
    else:
        wanted = ECHO_REPLY_V6 if ipv6 else ECHO_REPLY_V4
    if kind != wanted or code != 0:
        return None
    return Echo(kind, identifier, sequence, packet[HEADER_SIZE:])


__all__ = [
    "ECHO_REPLY_V4",
    "ECHO_REPLY_V6",
    "ECHO_REQUEST_V4",
    "ECHO_REQUEST_V6",
    "HEADER_SIZE",
    "Echo",
    "fold",
    "payload",
    "read_echo",
    "request",
    "request_headers",
    "strip_ipv4_header",
    "word_sum",
]
