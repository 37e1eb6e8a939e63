"""The demo's web server: who is served, who is dropped, and what a stranger may send it."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from probemesh_controller.demo.web import Website, answer


async def fetch(port: int, request: bytes, source: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    writer.write(request)
    writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def site() -> AsyncIterator[Website]:
    made = Website("127.0.1.2")
    await made.start()
    yield made
    await made.close()


async def test_others_are_served(site: Website) -> None:
    assert (await fetch(site.port, b"GET / HTTP/1.1\r\n\r\n", "127.0.1.1")).startswith(b"HTTP/1.1 200 ")
    assert (await fetch(site.port, b"GET /status/503 HTTP/1.1\r\n\r\n", "127.0.0.1")).startswith(
        b"HTTP/1.1 503 "
    )


async def test_the_dropped_source_hears_nothing_at_all(site: Website) -> None:
    """Neither accepted nor refused: the handshake is still open after another has been through it."""
    with socket.socket() as sock:
        sock.bind(("127.0.1.2", 0))
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", site.port))
        await fetch(site.port, b"GET / HTTP/1.1\r\n\r\n", "127.0.1.3")
        with pytest.raises(OSError, match="not connected"):
            sock.getpeername()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


async def test_no_request_and_too_much_of_one_end_the_connection(site: Website) -> None:
    assert await fetch(site.port, b"", "127.0.1.1") == b""
    assert await fetch(site.port, b"garbage\r\n", "127.0.1.1") == b""


def test_answers() -> None:
    assert answer(b"HEAD / HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")
    assert b"Content-Length: 0\r\n" in answer(b"GET /status/204 HTTP/1.1\r\n\r\n")
    assert answer(b"GET /status/999 HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 ")
