"""The wire itself, with CAP_NET_RAW: packets on the watched ports and ICMP before this host's own filter (but
after XDP), counted by tuple, direction and kind."""

import asyncio
import contextlib
import ctypes
import socket
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from probemesh_shared.model import PacketSeen

from probemesh_agent import kernel
from probemesh_agent.responder import bpf, frames
from probemesh_agent.responder.frames import Packet

#: Lines told at one look.
MOST: Final = 512
_READ_AT_ONCE = 256
#: More packets a second than this are left to the kernel, which counts them as dropped.
_RATE_PER_S, _PAUSE_S = 5000.0, 0.1
_BUFFER = 1 << 20
_HEAD = 256  # bytes of each packet
_STATISTICS = struct.Struct("=II")  # packets, dropped

_Key = tuple[bool, Packet]


@dataclass(slots=True)
class _Line:
    first_ms: float
    by_interface: dict[str, int] = field(default_factory=dict)


class PacketSide:
    """Raises :class:`PermissionError` without the privilege, :class:`OSError` where the kernel knows no
    packet sockets. ``now`` gives milliseconds since the watch was armed."""

    def __init__(self, watched: Collection[int], whole: Collection[int], now: Callable[[], float]) -> None:
        self._now = now
        self._lines: dict[_Key, _Line] = {}
        self._untold = 0
        self._left, self._left_at = _RATE_PER_S, 0.0
        self._pause: asyncio.TimerHandle | None = None
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._sock = socket.socket(socket.AF_PACKET, kind, socket.htons(kernel.ETH_P_ALL))
        try:
            attach(self._sock, bpf.program(watched, whole))
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._forget()
        except BaseException:
            self._sock.close()
            raise
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), self._readable)

    def _forget(self) -> None:
        """What came before there was a filter."""
        for _ in range(4 * _READ_AT_ONCE):
            try:
                self._sock.recv(1)
            except OSError:
                return

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()

    def look(self) -> tuple[tuple[PacketSeen, ...], int]:
        """What came and went since the look before, and how many packets more there were."""
        if self._pause is None:
            self._readable()
        lines, self._lines = self._lines, {}
        untold, self._untold = self._untold, 0
        with contextlib.suppress(OSError, struct.error):
            raw = self._sock.getsockopt(kernel.SOL_PACKET, kernel.PACKET_STATISTICS, _STATISTICS.size)
            untold += _STATISTICS.unpack(raw)[1]
        return tuple(_told(key, line) for key, line in lines.items()), untold

    def _readable(self) -> None:
        now = self._now()
        self._left = min(_RATE_PER_S, self._left + (now - self._left_at) / 1000 * _RATE_PER_S)
        self._left_at = now
        for _ in range(_READ_AT_ONCE):
            if self._left < 1:
                self._rest()
                return
            try:
                data, (interface, _, direction, *_) = self._sock.recvfrom(_HEAD)
            except OSError:  # nothing there, or an interface went down
                return
            self._left -= 1
            packet = frames.parse(data)
            if packet is not None:
                self._count((direction == kernel.PACKET_OUTGOING, packet), str(interface))

    def _rest(self) -> None:
        self._loop.remove_reader(self._sock.fileno())

        def go_on() -> None:
            self._pause = None
            self._loop.add_reader(self._sock.fileno(), self._readable)

        self._pause = self._loop.call_later(_PAUSE_S, go_on)

    def _count(self, key: _Key, interface: str) -> None:
        line = self._lines.get(key)
        if line is None:
            if len(self._lines) >= MOST:
                self._untold += 1
                return
            line = self._lines[key] = _Line(self._now())
        line.by_interface[interface] = line.by_interface.get(interface, 0) + 1


def _told(key: _Key, line: _Line) -> PacketSeen:
    """A packet that passes several interfaces of this host (a bridge and its port) counts once."""
    outgoing, packet = key
    near = packet.source, packet.source_port
    far = packet.destination, packet.destination_port
    (address, port), (local, local_port) = (far, near) if outgoing else (near, far)
    return PacketSeen(
        packet.transport,
        outgoing,
        address,
        port or None,
        local,
        local_port,
        packet.kind,
        packet.ttl,
        max(line.by_interface.values()),
        line.first_ms,
        packet.mss,
    )


def attach(sock: socket.socket, program: bytes) -> None:
    """The kernel copies it."""
    held = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("@HP", len(program) // bpf.SIZE, ctypes.addressof(held))
    sock.setsockopt(socket.SOL_SOCKET, kernel.SO_ATTACH_FILTER, fprog)
