"""Ways into a network namespace for sockets of this very process: so a foe in a test meets an agent."""

import contextlib
import ctypes
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tests.lab.netlab import Host

_NEWNET = 0x40000000
T = TypeVar("T")
Dial = Callable[[], socket.socket]


def within(host: Host, make: Callable[[], T]) -> T:
    """What ``make`` comes to in that namespace: a socket belongs to where it was made."""

    def work() -> T:
        with (Path("/run/netns") / host.namespace).open() as there:
            if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), _NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        return make()

    with ThreadPoolExecutor(1) as thread:  # it moves for good, and ends
        return thread.submit(work).result()


@contextlib.contextmanager
def way_in(host: Host, address: tuple[str, int]) -> Iterator[str]:
    """A local HOST:PORT; who dials it comes to ``address`` as seen from ``host``."""

    def dial() -> socket.socket:
        return within(host, lambda: socket.create_connection(address, 5))

    with socket.create_server(("127.0.0.1", 0), backlog=256) as door, _relay(door, dial):
        yield f"127.0.0.1:{door.getsockname()[1]}"


@contextlib.contextmanager
def way_out(host: Host, address: tuple[str, int], port: int) -> Iterator[None]:
    """Who dials ``address`` of ``host`` comes to ``port`` here."""

    def dial() -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), 5)

    with within(host, lambda: socket.create_server(address, backlog=256)) as door, _relay(door, dial):
        yield


@contextlib.contextmanager
def _relay(door: socket.socket, dial: Dial) -> Iterator[None]:
    over, end = os.pipe()  # readable once the other end is closed
    threads: list[threading.Thread] = []

    def accept() -> None:
        while over not in select.select([door, over], [], [])[0]:
            ours, _ = door.accept()
            threads.append(threading.Thread(target=_pass, args=(ours, dial, over), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield
    finally:
        os.close(end)
        for thread in (accepting, *threads):
            thread.join()
        os.close(over)


def _pass(ours: socket.socket, dial: Dial, over: int) -> None:
    """Bytes both ways, each way held back by who does not read, until one side is gone."""
    with ours, contextlib.suppress(OSError), dial() as theirs:
        other = {ours: theirs, theirs: ours}
        waiting = {ours: b"", theirs: b""}  # for each to be sent
        for one in other:
            one.setblocking(False)
        while True:
            reading = [one for one in other if not waiting[other[one]]]
            writing = [one for one in other if waiting[one]]
            readable, writable, _ = select.select([*reading, over], writing, [])
            if over in readable:
                return
            for one in writable:
                waiting[one] = waiting[one][one.send(waiting[one]) :]
            for one in readable:
                data = one.recv(1 << 16)
                if not data:
                    return
                waiting[other[one]] = data
