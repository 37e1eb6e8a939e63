"""What listens in a lab: ordinary servers, healthy and sick, several in one process.

::

    python services.py "echo 5001" "silent 5002" …       says ready, serves until it is ended

    echo PORT            TCP and UDP: gives back what it gets; UDP from the address that was asked
    echo-tcp, echo-udp   only that
    banner PORT          TCP: says a line first, then echoes
    silent PORT          TCP and UDP: takes everything, says nothing
    limited PORT BURST   echo; of each client's datagrams a burst of so many, and then one a second
    picky PORT           UDP: answers requests of its own protocol (PICKY…) and nothing else
    wildcard PORT        UDP echo that answers from whatever address routing picks (a common fault)
    loopback PORT        echo, bound to 127.0.0.1 and ::1 only
    at PORT ADDRESS      echo, bound to that address only
    http PORT            HTTP/1.0: 200 with a body
    tls PORT FILE        TLS, then echo; FILE holds certificate and key
    full PORT            TCP: accepts nothing, and its queue is full
    stopped PORT         TCP: a listening process that was stopped (SIGSTOP)
    refuse PORT          TCP: accepts and closes at once with a reset
    relay PORT TO        TCP: dials TO (ADDRESS:PORT, or "original": where the client wanted to go) and passes
                         everything on; where that fails, closes
    tlsrelay PORT TO FILE  as relay, but ends the TLS with its own certificate
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import ssl
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

ANY4, ANY6 = "0.0.0.0", "::"
SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h, and ip6_tables.h
IP_PKTINFO = 8
PR_SET_PDEATHSIG = 1
BODY = b"it works\n"
PICKY = b"picky?"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


# --- TCP -----------------------------------------------------------------------------------------


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, greeting: bytes = b"") -> None:
    writer.write(greeting)
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        pass


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY))


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    _abort(writer)


async def relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: str, onward: ssl.SSLContext | None = None
) -> None:
    host, port = original(writer) if to == "original" else (to.rpartition(":")[0], int(to.rpartition(":")[2]))
    try:
        far = await asyncio.open_connection(host, port, ssl=onward)
    except OSError:
        _abort(writer)
        return
    async with asyncio.TaskGroup() as both:
        both.create_task(_pump(reader, far[1]))
        both.create_task(_pump(far[0], writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def original(writer: asyncio.StreamWriter) -> tuple[str, int]:
    """Where the client of a redirected connection wanted to go."""
    sock = writer.get_extra_info("socket")
    if sock.family == socket.AF_INET:
        raw = sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        return socket.inet_ntoa(raw[4:8]), struct.unpack("!H", raw[2:4])[0]
    raw = sock.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
    return socket.inet_ntop(socket.AF_INET6, raw[8:24]), struct.unpack("!H", raw[2:4])[0]


def _abort(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _served(handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Whatever a client does, the server goes on."""
    try:
        with contextlib.suppress(OSError, EOFError, ssl.SSLError, ExceptionGroup):
            await handler(reader, writer)
    finally:
        writer.close()


async def listen(
    handler: Handler, port: int, *addresses: str, context: ssl.SSLContext | None = None
) -> list[asyncio.Server]:
    return [
        await asyncio.start_server(
            partial(_served, handler), sock=bound(socket.SOCK_STREAM, address, port), ssl=context
        )
        for address in addresses
    ]


def bound(kind: int, address: str, port: int, backlog: int = 128) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((address, port))
    if kind == socket.SOCK_STREAM:
        sock.listen(backlog)
    return sock


# --- UDP -----------------------------------------------------------------------------------------


#: Of a datagram and its sender's address: whether it is answered.
Answers = Callable[[bytes, str], bool]


def everything(data: bytes, client: str) -> bool:
    return True


def nothing(data: bytes, client: str) -> bool:
    return False


def picky(data: bytes, client: str) -> bool:
    return data.startswith(PICKY)


class Limited:
    """Answers a client so many times at once, and then once a second."""

    def __init__(self, burst: int) -> None:
        self._burst = float(burst)
        self._left: dict[str, tuple[float, float]] = {}

    def __call__(self, data: bytes, client: str) -> bool:
        now = time.monotonic()
        left, last = self._left.get(client, (self._burst, now))
        left = min(self._burst, left + now - last)
        answers = left >= 1.0
        self._left[client] = (left - answers, now)
        return answers


def udp(port: int, *addresses: str, answers: Answers = everything, pinned: bool = True) -> None:
    """``pinned``: answers leave from the address that was asked (IP_PKTINFO)."""
    for address in addresses:
        sock = bound(socket.SOCK_DGRAM, address, port)
        sock.setblocking(False)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.SOL_IP, IP_PKTINFO, 1)
        asyncio.get_running_loop().add_reader(sock, _datagrams, sock, answers, pinned)


def _datagrams(sock: socket.socket, answers: Answers, pinned: bool) -> None:
    with contextlib.suppress(OSError):  # whatever becomes of an answer
        while True:
            data, controls, _, peer = sock.recvmsg(65536, 256)
            if answers(data, peer[0]):
                sock.sendmsg([data], [_pin(*control) for control in controls] if pinned else [], 0, peer)


def _pin(level: int, kind: int, data: bytes) -> tuple[int, int, bytes]:
    """The control message that sends from where it came to; by which interface is routing's choice."""
    if level == socket.SOL_IP:
        return level, kind, struct.pack("=i4s4s", 0, data[4:8], b"\0" * 4)
    return level, kind, data[:16] + struct.pack("=i", 0)


# --- sick ones -----------------------------------------------------------------------------------


def full(port: int) -> None:
    """A listener for each family whose accept queue (of one) is full, from its own host."""
    for address, own in ((ANY4, "127.0.0.1"), (ANY6, "::1")):
        KEPT.append(bound(socket.SOCK_STREAM, address, port, backlog=0))
        for _ in range(3):
            client = socket.socket(KEPT[-1].family)
            client.setblocking(False)
            client.connect_ex((own, port))
            KEPT.append(client)


def stopped(port: int) -> int:
    """The process id of a child that listens and was stopped."""
    ready, say = os.pipe()
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _kept = [bound(socket.SOCK_STREAM, address, port) for address in (ANY4, ANY6)]
        os.write(say, b".")
        while True:
            os.kill(os.getpid(), signal.SIGSTOP)
    os.read(ready, 1)
    return child


KEPT: list[object] = []


def context_of(file: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def anything() -> ssl.SSLContext:
    """A client's context that takes any certificate: it belongs to a box that reads along."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def serve(line: str) -> None:
    kind, port_text, *words = line.split()
    port = int(port_text)
    if kind in HANDLERS:
        KEPT.append(await listen(HANDLERS[kind], port, ANY4, ANY6))
    if kind in ("echo", "echo-udp"):
        udp(port, ANY4, ANY6)
    elif kind in SPARING:
        udp(port, ANY4, ANY6, answers=SPARING[kind](words))
    elif kind == "wildcard":
        udp(port, ANY4, ANY6, pinned=False)
    elif kind in ("loopback", "at"):
        where = tuple(words) or ("127.0.0.1", "::1")
        KEPT.append(await listen(echo, port, *where))
        udp(port, *where)
    elif kind == "tls":
        KEPT.append(await listen(echo, port, ANY4, ANY6, context=context_of(words[0])))
    elif kind == "relay":
        KEPT.append(await listen(partial(relay, to=words[0]), port, ANY4, ANY6))
    elif kind == "tlsrelay":
        handler = partial(relay, to=words[0], onward=anything())
        KEPT.append(await listen(handler, port, ANY4, ANY6, context=context_of(words[1])))
    elif kind == "full":
        full(port)
    elif kind == "stopped":
        KEPT.append(stopped(port))
    elif kind not in (*HANDLERS, *SPARING):
        raise SystemExit(f"there is no service {kind}")


HANDLERS: dict[str, Handler] = {
    "echo": echo,
    "echo-tcp": echo,
    "limited": echo,
    "banner": partial(echo, greeting=b"220 lab ready\r\n"),
    "silent": silent,
    "http": http,
    "refuse": refuse,
}


#: By UDP they do not answer everything.
SPARING: dict[str, Callable[[list[str]], Answers]] = {
    "silent": lambda words: nothing,
    "limited": lambda words: Limited(int(words[0])),
    "picky": lambda words: picky,
}


async def main(lines: list[str]) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    for line in lines:
        await serve(line)
    print("ready", flush=True)
    await over.wait()
    for kept in KEPT:
        if isinstance(kept, int):
            os.kill(kept, signal.SIGKILL)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1:]))
