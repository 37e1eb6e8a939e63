"""Floods of every HTTP/2 frame by somebody with a good certificate, and connections by somebody with none.

As a program, ``python -m tests.hostile.floods KIND ADDRESS FOLDER SOURCE``, it goes on until its stdin ends,
and then says how often it dialled and how many bytes it sent, as JSON. ``FOLDER`` holds a certificate of the
mesh, ``SOURCE`` is the address it comes from. Its priority is the lowest: a flood comes from elsewhere, and
what it costs there is nobody's concern.
"""

import contextlib
import json
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from probemesh_shared.identity.files import Identity, load_identity
from probemesh_shared.identity.names import controller_dns

from tests.hostile.rawh2 import END_HEADERS, END_STREAM, RawH2, Type, frame, request_headers

STATUS, ATTACH = "/probemesh.v1.Mesh/Status", "/probemesh.v1.Fleet/Attach"
EMPTY = b"\0\0\0\0\0"  # a message of no bytes
CANCEL = b"\0\0\0\x08"


def streams(each: Callable[[int, bytes], bytes], path: str = STATUS) -> Iterator[bytes]:
    headers = request_headers(path)
    number = 1
    while True:
        yield b"".join(each(number + 2 * i, headers) for i in range(20))
        number += 40


def resets() -> Iterator[bytes]:
    return streams(lambda n, h: frame(Type.HEADERS, END_HEADERS, n, h) + frame(Type.RST_STREAM, 0, n, CANCEL))


def resets_of_whole_calls() -> Iterator[bytes]:
    return streams(
        lambda n, h: (
            frame(Type.HEADERS, END_HEADERS, n, h)
            + frame(Type.DATA, END_STREAM, n, EMPTY)
            + frame(Type.RST_STREAM, 0, n, CANCEL)
        )
    )


def openings() -> Iterator[bytes]:
    return streams(lambda n, h: frame(Type.HEADERS, END_HEADERS, n, h), ATTACH)


def unknown_methods() -> Iterator[bytes]:
    return streams(
        lambda n, h: frame(Type.HEADERS, END_HEADERS, n, h) + frame(Type.DATA, END_STREAM, n, EMPTY), "/no"
    )


def endless_headers() -> Iterator[bytes]:
    yield frame(Type.HEADERS, 0, 1, request_headers(STATUS))
    while True:
        yield frame(Type.CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 200) * 20


def after_a_call(kind: int, payload: bytes, flags: int = 0, stream: int = 0) -> Iterator[bytes]:
    yield frame(Type.HEADERS, END_HEADERS, 1, request_headers(STATUS)) + frame(Type.DATA, 1, 1, EMPTY)
    while True:
        yield frame(kind, flags, stream, payload) * 500


FLOODS: dict[str, Callable[[], Iterator[bytes]]] = {
    "resets": resets,
    "resets-of-whole-calls": resets_of_whole_calls,
    "openings": openings,
    "unknown-methods": unknown_methods,
    "endless-headers": endless_headers,
    "headers-broken-off": endless_headers,
    "settings": lambda: after_a_call(Type.SETTINGS, b""),
    "pings": lambda: after_a_call(Type.PING, bytes(8)),
    "window-updates": lambda: after_a_call(Type.WINDOW_UPDATE, b"\0\0\0\1"),
    "priorities": lambda: after_a_call(Type.PRIORITY, bytes(5), stream=1),
    "resets-of-nothing": lambda: after_a_call(Type.RST_STREAM, CANCEL, stream=1),
    "unknown-frames": lambda: after_a_call(0x77, bytes(100)),
    "empty-data": lambda: after_a_call(Type.DATA, b"", stream=1),
}


#: In the middle of a header block nothing else may be said: these end when somebody ends them. Whoever
#: acknowledges settings there breaks his own connection, and grpc hands over the headers that it had.
UNANSWERING = {"endless-headers"}
#: Where floods come from: honest peers do not share it.
ELSEWHERE = "127.0.0.66"


def attack(
    address: str,
    identity: Identity,
    name: str,
    seconds: float = 20.0,
    source: str = ELSEWHERE,
    patience_s: float = 10.0,
    counted: Callable[[Iterator[bytes]], Iterator[bytes]] = lambda flood: flood,
) -> int | None:
    """Bytes that went out before the connection was cut; None where it never was."""
    sent = 0
    answers = name not in UNANSWERING
    with RawH2(address, identity, controller_dns(identity.mesh), patience_s, source, answers) as raw:
        end = time.monotonic() + seconds
        for data in counted(FLOODS[name]()):
            if not raw.send(data):
                return sent
            sent += len(data)
            raw.drain()
            if raw.goodbye:  # grpc's own: it reads no more
                return sent
            if time.monotonic() > end:
                return None
    return None


# --- as a program -------------------------------------------------------------------------------------------

#: Dialled in a second by whoever is cut off again and again: more is a firewall's to limit.
_REDIALS = 20
#: Connections that are held at a time by whoever has no certificate.
_HELD = 400
#: What every ClientHello begins with; the rest never comes.
_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


class Flooding:
    """``stop`` ends it."""

    def __init__(self, address: str, identity: Identity, source: str) -> None:
        self.stop = threading.Event()
        self.began = threading.Event()  # the far end has something of it
        self.dialled = 0
        self.sent = 0
        self._address = address
        self._identity = identity
        self._source = source

    def frames(self, kind: str) -> None:
        """Dials again when it was cut off."""
        while not self.stop.is_set():
            self.dialled += 1
            with contextlib.suppress(OSError):
                attack(self._address, self._identity, kind, source=self._source, counted=self._counted)
            self.stop.wait(1 / _REDIALS)

    def _counted(self, flood: Iterator[bytes]) -> Iterator[bytes]:
        """Until stopped."""
        for data in flood:
            if self.stop.is_set():
                return
            yield data
            self.sent += len(data)
            self.began.set()

    def connections(self, slow: bool) -> None:
        """Holds so many; those that are closed are made anew. ``slow``: they begin a handshake, by a byte
        every now and then, else they say nothing."""
        held: dict[socket.socket, int] = {}
        waiting = selectors.DefaultSelector()
        host, port = self._address.rsplit(":", 1)
        while not self.stop.wait(0.02):
            for key, _ in waiting.select(0):
                self._drop(waiting, held, key.fileobj)  # type: ignore[arg-type]
            for _ in range(min(20, _HELD - len(held))):
                with contextlib.suppress(OSError):
                    made = socket.create_connection((host, int(port)), 1.0, (self._source, 0))
                    held[made] = 0
                    waiting.register(made, selectors.EVENT_READ)
                    self.dialled += 1
                    self.began.set()
            for one, said in list(held.items()) if slow else ():
                with contextlib.suppress(OSError):
                    self.sent += one.send(_HELLO[said % len(_HELLO) :][:1])
                    held[one] = said + 1

    def _drop(
        self, waiting: selectors.BaseSelector, held: dict[socket.socket, int], one: socket.socket
    ) -> None:
        waiting.unregister(one)
        held.pop(one, None)
        one.close()


KINDS: dict[str, Callable[[Flooding], None]] = {
    "resets": lambda flooding: flooding.frames("resets"),
    "giant headers": lambda flooding: flooding.frames("endless-headers"),
    "headers broken off": lambda flooding: flooding.frames("headers-broken-off"),
    "connections": lambda flooding: flooding.connections(slow=False),
    "slow handshakes": lambda flooding: flooding.connections(slow=True),
}


def main() -> None:
    kind, address, folder, source = sys.argv[1:]
    os.nice(19)
    flooding = Flooding(address, load_identity(Path(folder)), source)
    thread = threading.Thread(target=KINDS[kind], args=(flooding,))
    thread.start()
    flooding.began.wait()
    print("began", flush=True)
    sys.stdin.read()
    flooding.stop.set()
    thread.join(10)
    print(json.dumps({"dialled": flooding.dialled, "sent": flooding.sent}), flush=True)


if __name__ == "__main__":
    main()
