"""A ClientHello of our own, for what OpenSSL will not ask: old versions, single ciphers, an OCSP staple.

Nothing is ever computed with what comes back: such a handshake is looked at, and left. RFC 8446, 5246, 6066,
7301. Pure.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from probemesh_agent.wire.tlsciphers import SSL3, TLS10, TLS12, TLS13

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _STATUS_REQUEST, _GROUPS, _POINTS, _SIGNATURES, _ALPN = 0, 5, 10, 11, 13, 16
_PADDING, _VERSIONS, _KEY_SHARE, _RENEGOTIATION = 21, 43, 51, 0xFF01
_OFFERED_GROUPS = (0x001D, 0x0017, 0x0018, 0x0019, 0x001E, 0x0100, 0x0101)
_X25519 = 0x001D
#: ECDSA, RSA-PSS, Ed25519, Ed448, RSA, then SHA-1 with RSA, ECDSA and DSA, for what is old.
_OFFERED_SIGNATURES = (
    *(0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0809, 0x080A, 0x080B, 0x0807, 0x0808),
    *(0x0401, 0x0501, 0x0601, 0x0201, 0x0203, 0x0202, 0x0402),
)


@dataclass(frozen=True, slots=True)
class Hello:
    """``version`` is the only one offered. ``random``: 64 fresh bytes, the hello's own and a key share."""

    version: int
    ciphers: Sequence[int]
    random: bytes
    server_name: str | None = None  # a DNS name; addresses are not asked for (RFC 6066 §3)
    alpn: Sequence[str] = ()
    status_request: bool = False


def client_hello(hello: Hello) -> bytes:
    """One record. ValueError for a name or protocol that the format cannot carry."""
    session = hello.random[32:64] if hello.version == TLS13 else b""  # for middleboxes: RFC 8446 D.4
    suites = b"".join(struct.pack("!H", one) for one in hello.ciphers)
    body = struct.pack("!H", min(hello.version, TLS12)) + hello.random[:32]
    body += _sized(session, 1) + _sized(suites, 2) + b"\x01\x00"
    if hello.version > SSL3:
        body += _sized(_padded(_extensions(hello), len(body)), 2)
    message = bytes([_CLIENT_HELLO]) + _sized(body, 3)
    return struct.pack("!BH", _HANDSHAKE, min(hello.version, TLS10)) + _sized(message, 2)


def _extensions(hello: Hello) -> bytes:
    found = [(_RENEGOTIATION, b"\x00")]
    if hello.server_name is not None:
        name = hello.server_name.encode("ascii")
        found.append((_SERVER_NAME, _sized(b"\x00" + _sized(name, 2), 2)))
    found.append((_GROUPS, _sized(_numbers(_OFFERED_GROUPS), 2)))
    found.append((_POINTS, b"\x01\x00"))
    if hello.version >= TLS12:
        found.append((_SIGNATURES, _sized(_numbers(_OFFERED_SIGNATURES), 2)))
    if hello.alpn:
        names = b"".join(_sized(one.encode("ascii"), 1) for one in hello.alpn)
        found.append((_ALPN, _sized(names, 2)))
    if hello.status_request:
        found.append((_STATUS_REQUEST, b"\x01\x00\x00\x00\x00"))
    if hello.version == TLS13:
        share = struct.pack("!H", _X25519) + _sized(hello.random[32:64], 2)
        found += [(_VERSIONS, _sized(struct.pack("!H", TLS13), 1)), (_KEY_SHARE, _sized(share, 2))]
    return b"".join(struct.pack("!H", kind) + _sized(data, 2) for kind, data in found)


def _padded(extensions: bytes, before: int) -> bytes:
    """Some servers hang on hellos of 256 to 511 bytes (RFC 7685 §1)."""
    size = before + 2 + len(extensions) + 4
    if not 0xFF < size < 0x200:
        return extensions
    return extensions + struct.pack("!H", _PADDING) + _sized(bytes(max(1, 0x200 - size - 4)), 2)


def _numbers(values: Iterable[int]) -> bytes:
    return b"".join(struct.pack("!H", one) for one in values)


def _sized(data: bytes, width: int) -> bytes:
    if len(data) >= 1 << (8 * width):
        raise ValueError("too long for its length field")
    return len(data).to_bytes(width, "big") + data


def goodbye(version: int) -> bytes:
    """The alert close_notify, as a warning, in the clear."""
    return struct.pack("!BHHBB", 21, min(max(version, TLS10), TLS12), 2, 1, 0)
