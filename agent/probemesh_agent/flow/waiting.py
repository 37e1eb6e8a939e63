"""Waits for one descriptor on the asyncio loop, without a transport: the socket stays ours."""

import asyncio
import socket
from collections.abc import Callable


async def writable(sock: socket.socket, seconds: float) -> bool:
    """True when it can be written, or has failed; False after ``seconds``."""
    loop = asyncio.get_running_loop()
    return await _ready(sock.fileno(), loop.add_writer, loop.remove_writer, seconds)


async def readable(sock: socket.socket, seconds: float) -> bool:
    """True when there is something to read, in its error queue too; False after ``seconds``."""
    loop = asyncio.get_running_loop()
    return await _ready(sock.fileno(), loop.add_reader, loop.remove_reader, seconds)


async def _ready(fd: int, add: Callable[..., None], remove: Callable[[int], bool], seconds: float) -> bool:
    if seconds <= 0:
        return False
    event = asyncio.Event()

    def fired() -> None:
        remove(fd)  # level-triggered: it would fire on and on
        event.set()

    add(fd, fired)
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    finally:
        remove(fd)
    return True
