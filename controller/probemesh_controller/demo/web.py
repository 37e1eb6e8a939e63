"""The demo's target: a small web server on loopback whose listener drops the SYNs of one source address.

The drop is a socket filter on the listening socket (SO_ATTACH_FILTER, classic BPF, no privilege): the kernel
throws the handshake away before anybody answers, as a host firewall's DROP does. Everybody else is served.
"""

import asyncio
import contextlib
import ctypes
import ipaddress
import re
import socket
import struct

_SO_ATTACH_FILTER = 26
_SKF_NET_OFF = 0xFFF00000  # SKF_NET_OFF: offsets from the start of the network header
_LOAD_WORD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_SOURCE_OFFSET = 12  # of an IPv4 header

_REQUEST_LIMIT, _REQUEST_S = 16_384, 10.0
_STATUS = re.compile(rb"\A(?:GET|HEAD) /status/([2-5][0-9][0-9])(?:\s|\?)")
_PAGE = b"probemesh demo: you reached it.\n"


def drop_source(sock: socket.socket, source: str) -> None:
    """The kernel drops what arrives from ``source`` (IPv4) at this socket, silently. Raises OSError."""
    address = int(ipaddress.IPv4Address(source))
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (_LOAD_WORD, 0, 0, _SKF_NET_OFF + _SOURCE_OFFSET),
            (_JUMP_EQUAL, 0, 1, address),
            (_RETURN, 0, 0, 0),
            (_RETURN, 0, 0, 0xFFFFFFFF),
        )
    )
    held = ctypes.create_string_buffer(program, len(program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 4, ctypes.addressof(held)))


class Website:
    """``GET /`` is 200; ``GET /status/503`` is 503, and so on from 200 to 599. Listens from :meth:`start`
    on."""

    def __init__(self, dropped: str) -> None:
        self._dropped = dropped
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """On 127.0.0.1, at a port of the kernel's choice."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            drop_source(sock, self._dropped)
            sock.bind(("127.0.0.1", 0))
            self._server = await asyncio.start_server(self._serve, sock=sock, limit=_REQUEST_LIMIT)
        except BaseException:
            sock.close()
            raise
        self.port = sock.getsockname()[1]

    async def close(self) -> None:
        """Stops listening; connections that are open end by their own deadline."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(answer(head))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that only looked, or went away, or sent no request
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def answer(head: bytes) -> bytes:
    """The whole response to a request's head."""
    found = _STATUS.match(head)
    status = int(found[1]) if found else 200
    body = b"" if head.startswith(b"HEAD ") or status in (204, 304) else _PAGE
    fields = f"HTTP/1.1 {status} Demo\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    return fields.encode() + b"Connection: close\r\n\r\n" + body
