"""HTTP/2 as no library of good manners writes it: frames by hand over mutual TLS.

Blocking. What the server answers is read away by :meth:`RawH2.drain`, or the kernel's buffers would do the
limiting for it.
"""

import contextlib
import select
import socket
import ssl
import struct
import time
from enum import IntEnum
from typing import Self

import hpack
from probemesh_shared.identity.files import Identity
from probemesh_shared.identity.tlsprobe import _client_context, _load_own

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1


class Type(IntEnum):
    """RFC 9113, section 6."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def request_headers(path: str, authority: str = "x", extra: tuple[tuple[str, str], ...] = ()) -> bytes:
    """A header block that names nothing of the dynamic table, so that it can be sent any number of times."""
    fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *extra,
    ]
    encoder = hpack.Encoder()
    return encoder.encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields], huffman=False)


class RawH2:
    """One connection, its preface sent. ``closed`` is set by :meth:`drain` and by a write that failed.
    ``source`` is the address that it comes from; where it does not ``answer`` settings and pings, it may be
    in the middle of a header block."""

    def __init__(
        self,
        address: str,
        identity: Identity,
        server_name: str,
        timeout_s: float = 10.0,
        source: str = "",
        answers: bool = True,
    ) -> None:
        host, port = address.rsplit(":", 1)
        context = _client_context()
        context.load_verify_locations(cadata=identity.ca_pem.decode("ascii"))
        _load_own(context, identity)
        plain = socket.create_connection((host, int(port)), timeout_s, (source, 0) if source else None)
        self.socket: ssl.SSLSocket = context.wrap_socket(plain, server_hostname=server_name)
        self.closed = False
        self.goodbye = False
        self._answers = answers
        self._unread = b""
        self.heard = b""  # the last of what the server said
        self.send(PREFACE + frame(Type.SETTINGS, 0, 0))

    def send(self, data: bytes) -> bool:
        """False where the connection is over."""
        if not self.closed:
            try:
                self.socket.sendall(data)
            except OSError:
                self.closed = True
        return not self.closed

    def drain(self, seconds: float = 0.0) -> None:
        """Reads what is there, waiting for it at most ``seconds``."""
        while not self.closed:
            if not self.socket.pending() and not select.select([self.socket], [], [], seconds)[0]:
                return
            try:
                data = self.socket.recv(1 << 16)
            except OSError:
                data = b""
            self.heard = (self.heard + data)[-65_536:]
            self.closed = self.closed or not data
            self._acknowledge(data)

    def _acknowledge(self, data: bytes) -> None:
        """Settings and pings: until then grpc counts streams that were reset as if they were open."""
        self._unread += data
        while len(self._unread) >= 9:
            size, kind, flags = int.from_bytes(self._unread[:3], "big"), self._unread[3], self._unread[4]
            if len(self._unread) < 9 + size:
                return
            payload, self._unread = self._unread[9 : 9 + size], self._unread[9 + size :]
            if kind == Type.PING and not flags & ACK and self._answers:
                self.send(frame(Type.PING, ACK, 0, payload))
            elif kind == Type.GOAWAY:
                self.goodbye = True
            elif kind == Type.SETTINGS and not flags & ACK and self._answers:
                self.send(frame(Type.SETTINGS, ACK, 0))

    def hear(self, what: bytes, seconds: float = 10.0) -> bool:
        """Whether the server says ``what`` before time is up or the connection is over."""
        end = time.monotonic() + seconds
        while not self.closed and what not in self.heard and time.monotonic() < end:
            self.drain()
            select.select([self.socket], [], [], 0.05)
        return what in self.heard

    def close(self) -> None:
        self.closed = True
        with contextlib.suppress(OSError):
            self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
