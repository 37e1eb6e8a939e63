"""What a prober and the far responder say to each other on the path itself: a request that begins with the
flow's token, a reply that says who answered and from where the request came. Pure.

A reply is never larger than its request: a request is padded to at least the size of a reply, and says its
own length, so that one that was cut short on the way is no request. The same bytes are a datagram, or a
connection's first words. Nothing here is secret or trusted: the token only keeps strangers from being
answered, and answers of strangers from being counted.
"""

import struct
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv6Address, ip_address
from typing import Final

TOKEN_SIZE: Final = 16
NONCE_SIZE: Final = 8
LONGEST: Final = 65_000
MOST_DELAY_MS: Final = 60_000

_ASKING: Final = b"pmQ1"
_SAYING: Final = b"pmR1"
_REQUEST: Final = struct.Struct(">16s4sIHHBx")  # token, magic, shot, length, delay_ms, flags
_REPLY: Final = struct.Struct(">16s4sIH8s16sH")  # token, magic, shot, length, nonce, address, port

#: As many bytes of a stream tell how long the request is.
HEAD_SIZE: Final = _REQUEST.size
REPLY_SIZE: Final = _REPLY.size
#: The smallest request: what is shorter gets no reply.
LEAST: Final = REPLY_SIZE


class Asked(IntFlag):
    """How the reply is to be. ``LARGE``: as long as the request, for sizes on the way back.
    ``OTHER_PORT``: from another port of the responder (UDP), for the filtering of a NAT. ``WHOLE``: with
    don't-fragment (UDP), without it the way back may cut it into fragments."""

    LARGE = 1
    OTHER_PORT = 2
    WHOLE = 4


PLAIN: Final = Asked(0)
_KNOWN: Final = int(Asked.LARGE | Asked.OTHER_PORT | Asked.WHOLE)


@dataclass(frozen=True, slots=True)
class Request:
    """``length`` is that of the whole, ``delay_ms`` how long the responder is to wait before it replies."""

    token: bytes
    shot: int = 0
    length: int = LEAST
    asked: Asked = PLAIN
    delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """``agent`` is the responder's nonce, hex; ``address`` and ``port`` are where the request came from, as
    the responder saw it."""

    shot: int
    agent: str
    address: str
    port: int
    length: int = REPLY_SIZE


def pack_request(request: Request) -> bytes:
    """``request.length`` bytes; ValueError where the request is no request (our own fault)."""
    if len(request.token) != TOKEN_SIZE:
        raise ValueError(f"a token has {TOKEN_SIZE} bytes")
    if not LEAST <= request.length <= LONGEST or not 0 <= request.delay_ms <= MOST_DELAY_MS:
        raise ValueError(f"a request has {LEAST} to {LONGEST} bytes and waits at most a minute")
    head = _REQUEST.pack(
        request.token, _ASKING, request.shot, request.length, request.delay_ms, int(request.asked)
    )
    return head.ljust(request.length, b"\0")


def read_head(data: bytes, token: bytes) -> Request | None:
    """The request that a stream begins with, of which at least :data:`HEAD_SIZE` bytes are there (its whole
    length may be still to come); None where it is none, or another's."""
    if len(data) < HEAD_SIZE or len(token) != TOKEN_SIZE:
        return None
    theirs, magic, shot, length, delay_ms, flags = _REQUEST.unpack_from(data)
    if theirs != token or magic != _ASKING or flags & ~_KNOWN:
        return None
    if not LEAST <= length <= LONGEST or delay_ms > MOST_DELAY_MS:
        return None
    return Request(token, shot, length, Asked(flags), delay_ms)


def read_request(datagram: bytes, token: bytes) -> Request | None:
    """The request that ``datagram`` is; None for anything else, and for one that was cut or grew."""
    request = read_head(datagram, token)
    return request if request is not None and request.length == len(datagram) else None


def pack_reply(request: Request, nonce: bytes, address: str, port: int) -> bytes:
    """The reply to ``request``, which came from ``address`` (a literal; a scope is left out) and ``port``.
    ValueError where they are none (our own fault)."""
    seen = ip_address(address.partition("%")[0])
    packed = seen.packed if isinstance(seen, IPv6Address) else bytes(10) + b"\xff\xff" + seen.packed
    length = request.length if Asked.LARGE in request.asked else REPLY_SIZE
    head = _REPLY.pack(request.token, _SAYING, request.shot, length, nonce, packed, port)
    return head.ljust(length, b"\0")


def read_reply(data: bytes, token: bytes) -> Answer | None:
    """The reply that ``data`` is, or that a stream's first bytes are; None for anything else."""
    if len(data) < REPLY_SIZE or len(token) != TOKEN_SIZE:
        return None
    theirs, magic, shot, length, nonce, packed, port = _REPLY.unpack_from(data)
    if theirs != token or magic != _SAYING or not REPLY_SIZE <= length <= LONGEST or len(data) < length:
        return None
    seen = IPv6Address(packed)
    return Answer(shot, nonce.hex(), str(seen.ipv4_mapped or seen), port, length)
