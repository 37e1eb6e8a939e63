"""What the programs under test measure: a server on loopback that keeps its own account of who came, and
when.

``GET /MARK/SECONDS`` is answered with 200 after that time, so that the rows of one run come one after the
other; who says nothing is held until it leaves.
"""

import asyncio
import contextlib
import re
import threading
import time
from collections import Counter

_REQUEST = re.compile(rb"\AGET /[a-z0-9]+/([0-9.]+) ")
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"


class Origin:
    """Runs in a thread of its own; everything public may be called from any other."""

    def __init__(self) -> None:
        self.port = 0
        self._arrivals: list[tuple[float, str]] = []
        self._answers: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        assert self._up.wait(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    def forget(self) -> None:
        """Counts from nothing again."""
        self._arrivals, self._answers = [], Counter()

    def arrived(self, source: str) -> int:
        """Connections accepted from an address."""
        return sum(1 for _, address in self._arrivals if address == source)

    def answered(self, source: str) -> int:
        """Requests answered to an address."""
        return self._answers[source]

    def after(self, moment: float) -> list[float]:
        """Seconds from ``moment`` (of ``time.monotonic``) to each connection accepted later."""
        return [at - moment for at, _ in self._arrivals if at > moment]

    def quiet_s(self) -> float:
        """Seconds since the last connection."""
        return time.monotonic() - max((at for at, _ in self._arrivals), default=float("-inf"))

    def urls(self, mark: str, delays: list[float]) -> list[str]:
        return [f"http://127.0.0.1:{self.port}/{mark}/{delay:.3f}" for delay in delays]

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._one, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._over.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = str(writer.get_extra_info("peername")[0])
        self._arrivals.append((time.monotonic(), source))
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            asked = _REQUEST.match(await reader.readuntil(b"\r\n\r\n"))
            if asked:
                await asyncio.sleep(float(asked[1]))
                self._answers[source] += 1
                writer.write(_ANSWER)
                await writer.drain()
        writer.close()
