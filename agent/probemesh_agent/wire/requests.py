"""Ready-made datagrams and how their answers are read: what all of them share, and the smaller ones. Pure.

Each request is made anew for each attempt, with an id that nobody can guess. A reader gives None for what is
not the answer to this very request (it may be forged, or late: the wait goes on), and a :class:`Reading`
that is not valid for an answer that carries our id and is broken. No bytes make a reader raise.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from probemesh_shared.escape import escape_bytes

#: 1900 to 1970, in seconds (RFC 5905).
_NTP_EPOCH = 2_208_988_800
_NTP = struct.Struct("!BBbb11I")
_KISS = 0
_KISSES = ("RATE", "DENY", "RSTR")  # go away, for a while or for good
_CLIENT_V4, _SERVER_MODE = 0x23, 4
_STUN_COOKIE = 0x2112A442
_STUN_REQUEST, _STUN_SUCCESS, _STUN_ERROR = 0x0001, 0x0101, 0x0111
_MAPPED, _ERROR_CODE, _XOR_MAPPED = 0x0001, 0x0009, 0x0020
_RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
#: ``. NS IN``: every name server knows the root, or refuses to say.
_ROOT_NS = b"\0" + struct.pack("!HH", 2, 1)


@dataclass(frozen=True, slots=True)
class Reading:
    """``text`` is one line: what the answer says, or what is wrong with it."""

    text: str
    is_valid: bool = True


@dataclass(frozen=True, slots=True)
class Asking:
    """What a request may need to know. ``random`` gives so many bytes."""

    host: str
    port: int
    local_host: str
    local_port: int
    now_ns: int
    random: Callable[[int], bytes]


#: From an answer and the wall clock at its arrival.
Reader = Callable[[bytes, int], Reading | None]


@dataclass(frozen=True, slots=True)
class Request:
    payload: bytes
    read: Reader


def invalid(text: str) -> Reading:
    return Reading(text, is_valid=False)


# --- dns ------------------------------------------------------------------------------------------------


def dns(asking: Asking) -> Request:
    """``. NS`` without recursion; any rcode is an answer."""
    number = asking.random(2)
    query = number + struct.pack("!HHHHH", 0, 1, 0, 0, 0) + _ROOT_NS
    return Request(query, lambda answer, at: _read_dns(answer, number))


def _read_dns(answer: bytes, number: bytes) -> Reading | None:
    if len(answer) < 12 or answer[:2] != number:
        return None
    flags, questions, answers, authorities, _ = struct.unpack_from("!HHHHH", answer, 2)
    if not flags & 0x8000:
        return invalid("our own question came back, not an answer")
    rcode = flags & 0xF
    echoed = questions == 1 and answer[12 : 12 + len(_ROOT_NS)] == _ROOT_NS
    if flags & 0x7800 or not (echoed or (questions == 0 and rcode)):
        return invalid("an answer to another question")
    name = _RCODES[rcode] if rcode < len(_RCODES) else f"rcode {rcode}"
    return Reading(f"{name}, {answers} answers, {authorities} authorities")


# --- ntp ------------------------------------------------------------------------------------------------


def ntp(asking: Asking) -> Request:
    """A client's request, version 4, whose transmit time is a random cookie: it comes back as the origin."""
    cookie, sent_ns = asking.random(8), asking.now_ns
    request = bytes((_CLIENT_V4,)) + bytes(39) + cookie
    return Request(request, lambda answer, at: _read_ntp(answer, cookie, sent_ns, at))


def _read_ntp(answer: bytes, cookie: bytes, sent_ns: int, received_ns: int) -> Reading | None:
    if len(answer) < 48 or answer[24:32] != cookie:
        return None
    first, stratum, _, _, *words = _NTP.unpack_from(answer)
    if first & 7 != _SERVER_MODE or not 1 <= first >> 3 & 7 <= 4:
        return invalid("an NTP packet that is no server's answer")
    reference = answer[12:16]
    if stratum == _KISS:
        code = _code(reference)
        return Reading(f"kiss-o'-death {code}" if code in _KISSES else f"not synchronised yet ({code})")
    if stratum > 16:
        return invalid(f"stratum {stratum} does not exist")
    refid = _code(reference) if stratum == 1 else ".".join(map(str, reference))
    offset_ms = (_since(words[7:9], sent_ns) + _since(words[9:11], received_ns)) / 2 / 1e6
    synchronised = "" if first >> 6 != 3 and stratum < 16 else ", not synchronised"
    return Reading(f"stratum {stratum}, refid {refid}, offset {offset_ms:+.3f} ms{synchronised}")


def _code(reference: bytes) -> str:
    return escape_bytes(reference.rstrip(b"\0"), 20) or "none"


def _since(stamp: list[int], wall_ns: int) -> int:
    """Nanoseconds from ``wall_ns`` to an NTP stamp, in the era that is nearest."""
    seconds = (stamp[0] - _NTP_EPOCH - wall_ns // 10**9 + (1 << 31)) % (1 << 32) - (1 << 31)
    return seconds * 10**9 + (stamp[1] * 10**9 >> 32) - wall_ns % 10**9


# --- stun -----------------------------------------------------------------------------------------------


def stun(asking: Asking) -> Request:
    """A Binding request (RFC 8489)."""
    number = asking.random(12)
    request = struct.pack("!HHI", _STUN_REQUEST, 0, _STUN_COOKIE) + number
    return Request(request, lambda answer, at: _read_stun(answer, number))


def _read_stun(answer: bytes, number: bytes) -> Reading | None:
    if len(answer) < 20 or answer[4:20] != struct.pack("!I", _STUN_COOKIE) + number:
        return None
    kind, length = struct.unpack_from("!HH", answer)
    if kind not in (_STUN_SUCCESS, _STUN_ERROR) or length > len(answer) - 20:
        return invalid("a STUN message that is no answer, or cut short")
    attributes = _attributes(answer[20 : 20 + length])
    if kind == _STUN_ERROR:
        code = attributes.get(_ERROR_CODE, b"")
        return Reading(f"error {code[2] * 100 + code[3] if len(code) >= 4 else 'without a code'}")
    mask = answer[4:20]
    mapped = _mapped(attributes.get(_XOR_MAPPED), mask) or _mapped(attributes.get(_MAPPED), bytes(16))
    return Reading(f"mapped address {mapped}") if mapped else invalid("a STUN answer without an address")


def _attributes(data: bytes) -> dict[int, bytes]:
    """The first of each type; what is cut short is left out."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        kind, size = struct.unpack_from("!HH", data, at)
        if at + 4 + size > len(data):
            break
        found.setdefault(kind, data[at + 4 : at + 4 + size])
        at += 4 + (size + 3 & ~3)
    return found


def _mapped(value: bytes | None, mask: bytes) -> str | None:
    """``(XOR-)MAPPED-ADDRESS`` as text."""
    size = {1: 4, 2: 16}.get(value[1]) if value is not None and len(value) >= 4 else None
    if value is None or size is None or len(value) != 4 + size:
        return None
    port = struct.unpack_from("!H", value, 2)[0] ^ int.from_bytes(mask[:2], "big")
    raw = bytes(one ^ two for one, two in zip(value[4:], mask, strict=False))
    if size == 4:
        return f"{'.'.join(map(str, raw))}:{port}"
    from ipaddress import IPv6Address

    return f"[{IPv6Address(raw)}]:{port}"
