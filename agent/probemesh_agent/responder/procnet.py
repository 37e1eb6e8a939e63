"""This host's sockets on given ports by ``/proc/net/{tcp,udp}{,6}``: for kernels that have no sock_diag.

Tells neither MSS nor bytes, and of a socket bound to ``::`` not whether it takes IPv4 too: the usual is
assumed, that it does."""

import socket
import struct
from collections.abc import Collection, Iterator
from pathlib import Path

from probemesh_agent import kernel
from probemesh_agent.responder.sockdiag import MOST, SocketSeen, literal

_FILES = {socket.IPPROTO_TCP: ("tcp", "tcp6"), socket.IPPROTO_UDP: ("udp", "udp6")}


class ProcNet:
    """As :class:`probemesh_agent.responder.sockdiag.SockDiag`."""

    def __init__(self, folder: Path = Path("/proc/net")) -> None:
        self._folder = folder

    def sockets(
        self, protocol: int, states: Collection[int], ports: Collection[int]
    ) -> tuple[list[SocketSeen], bool]:
        """Raises :class:`OSError` where there are no such files."""
        found: list[SocketSeen] = []
        plain, six = _FILES[protocol]
        for name, family in ((plain, socket.AF_INET), (six, socket.AF_INET6)):
            for seen in self._read(name, family):
                if seen.local_port not in ports or seen.state not in states:
                    continue
                if len(found) >= MOST:
                    return found, False
                found.append(seen)
        return found, True

    def _read(self, name: str, family: int) -> Iterator[SocketSeen]:
        try:
            with (self._folder / name).open() as file:
                next(file, "")
                for line in file:
                    if (seen := parse(line, family)) is not None:
                        yield seen
        except FileNotFoundError:
            if family == socket.AF_INET:
                raise

    def close(self) -> None:
        """Nothing is held open."""


def parse(line: str, family: int) -> SocketSeen | None:
    """One line; None where it is none."""
    words = line.split()
    if len(words) < 10:
        return None
    try:
        local, local_port = _place(words[1], family)
        address, port = _place(words[2], family)
        state = int(words[3], 16)
        sending, _, receiving = words[4].partition(":")
        retransmits = int(words[6], 16) if state == kernel.TCP_SYN_RECV else None
        inode, drops = int(words[9]), int(words[12]) if len(words) == 13 else None
        queues = int(receiving, 16), int(sending, 16)
    except (ValueError, struct.error):
        return None
    dual = local == "::" and address == "::"
    return SocketSeen(
        state, address, port, local, local_port, *queues, inode, retransmits, drops=drops, dual=dual
    )


def _place(text: str, family: int) -> tuple[str, int]:
    """``0100007F:1F90``: words of four bytes in this host's order."""
    address, _, port = text.partition(":")
    size = 8 if family == socket.AF_INET else 32
    if len(address) != size:
        raise ValueError(text)
    packed = b"".join(struct.pack("=I", int(address[i : i + 8], 16)) for i in range(0, size, 8))
    return literal(family, packed), int(port, 16)
