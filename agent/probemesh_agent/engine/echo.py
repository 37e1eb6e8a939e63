"""One ICMP socket of one family, shared by all targets of a run: batches out, replies, errors and stamps in.

A ping socket (SOCK_DGRAM) where ``net.ipv4.ping_group_range`` lets us, else a raw one. A raw socket hears
every echo reply of the host, a ping socket only its own; in both, a reply counts only with our identifier
and nonce."""

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from probemesh_shared import failures
from probemesh_shared.model import Options
from probemesh_shared.words import Family, Stage

from probemesh_agent import kernel
from probemesh_agent.engine.item import SockAddr
from probemesh_agent.engine.mmsg import CONTROL_SIZE, IS_AVAILABLE, NAME_SIZE, Incoming, Outgoing
from probemesh_agent.engine.schedule import Shortage
from probemesh_agent.engine.sockets import CannotOpen, recipe
from probemesh_agent.wire import icmp

PING_SOCKET, RAW_SOCKET = "ping-socket", "raw-socket"
BATCH = 64
_ROOM = 192  # enough of each packet: IP header with options, ICMP header, nonce
_RECEIVE_BUFFER = 4 << 20
_STAMPS = kernel.RX_SOFTWARE | kernel.TX_SOFTWARE | kernel.REPORT_SOFTWARE
_HEADER = struct.Struct("!BBHHH")
# control data as the kernel writes it: software stamps first, then a TTL or an extended error
_CMSG = struct.Struct("=Qii")
_IS_STAMP = (64, socket.SOL_SOCKET, kernel.SCM_TIMESTAMPING)
# on the error queue of a sent packet: stamps, then an extended error of origin ORIGIN_TIMESTAMPING
_SENT = struct.Struct("=Qiiqq32xQii4xB171x")
_SENT_SIZE = 64 + 16 + 16
_NONCE_SIZE = 16
_PLAIN_HEADER = 0x45  # IPv4, twenty bytes


@dataclass(frozen=True, slots=True)
class _Layout:
    """A slot of each buffer as one kind of socket fills it. ``packet``: first byte, TTL (both only behind
    an IP header of ``header`` bytes), then type, code, identifier, sequence, nonce. ``control``: stamp and
    hop limit, of ``control_size`` bytes."""

    packet: struct.Struct
    control: struct.Struct
    name: struct.Struct
    header: int
    control_size: int


_CONTROL = struct.Struct("=Qiiqq32x16xi172x")
_NAME_V4, _NAME_V6 = struct.Struct("=4x4s20x"), struct.Struct("=8x16s4x")
_BARE_PACKET = struct.Struct("!BB2xHH16s168x")
_RAW_V4 = _Layout(struct.Struct("!B7xB11xBB2xHH16s148x"), _CONTROL, _NAME_V4, 20, 64)
_PING_V4 = _Layout(_BARE_PACKET, _CONTROL, _NAME_V4, 0, 84)
_V6 = _Layout(_BARE_PACKET, _CONTROL, _NAME_V6, 0, 84)


#: An echo reply with our identifier and nonce: sequence, source as packed in a sockaddr, arrival (wall
#: clock, ns), TTL. A tuple, for there are very many.
Reply = tuple[int, bytes, int | None, int | None]


@dataclass(frozen=True, slots=True)
class Queued:
    """``stamps``: (sequence, wall clock ns) of packets that left; ``errors``: (sequence, entry)."""

    stamps: list[tuple[int, int]]
    errors: list[tuple[int, kernel.QueueEntry]]
    is_full: bool  # there may be more


class EchoSocket:
    """Raises :class:`CannotOpen` where neither socket is allowed, :class:`Shortage` where it may be later."""

    def __init__(self, family: Family, options: Options, size: int) -> None:
        self.ipv6 = family is Family.IPV6
        self.sock, self.method = _open(family, options)
        self.fd = self.sock.fileno()
        raw = self.method == RAW_SOCKET
        recverr = kernel.IPV6_RECVERR if self.ipv6 else kernel.IP_RECVERR
        level = socket.IPPROTO_IPV6 if self.ipv6 else socket.IPPROTO_IP
        self._sent_mark = (level, recverr, kernel.ORIGIN_TIMESTAMPING)
        self._layout = _V6 if self.ipv6 else _RAW_V4 if raw else _PING_V4
        self._kind = icmp.ECHO_REQUEST_V6 if self.ipv6 else icmp.ECHO_REQUEST_V4
        self._reply = icmp.ECHO_REPLY_V6 if self.ipv6 else icmp.ECHO_REPLY_V4
        self._name_size = 28 if self.ipv6 else 16
        self._nonce = os.urandom(_NONCE_SIZE)[:size]
        body = icmp.payload(self._nonce, size)
        self._identifier = int.from_bytes(os.urandom(2), "big") if raw else self.sock.getsockname()[1]
        self._sum = icmp.word_sum(body) + (self._kind << 8) + self._identifier
        self._size = icmp.HEADER_SIZE + size
        self._out = Outgoing(BATCH, self._size, self._name_size)
        for slot in range(BATCH):
            start = slot * self._size
            self._out.data[start + icmp.HEADER_SIZE : start + self._size] = body
        self._in = Incoming(BATCH, _ROOM)

    def close(self) -> None:
        self.sock.close()

    def sockaddr(self, address: SockAddr) -> bytes:
        """``struct sockaddr_in`` or ``sockaddr_in6``."""
        if self.ipv6:
            packed = socket.inet_pton(socket.AF_INET6, address[0])
            return struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, packed, address[3])
        return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address[0]))

    def fill(self, slot: int, name: bytes, sequence: int) -> None:
        """Puts a request into a slot of the outgoing batch."""
        out = self._out
        checksum = 0 if self.ipv6 else icmp.fold(self._sum + sequence)
        _HEADER.pack_into(out.data, slot * self._size, self._kind, 0, checksum, self._identifier, sequence)
        start = slot * NAME_SIZE
        out.names[start : start + self._name_size] = name

    def send(self, first: int, end: int) -> int:
        """Sends slots; how many went. Raises :class:`OSError` where the first one could not be sent.

        An ICMP error that arrived meanwhile fails the next send of a socket, whoever that is for: so try
        again."""
        for _ in range(3):
            try:
                return self._out.send(self.fd, first, end)
            except BlockingIOError:
                raise
            except OSError:
                continue
        return self._out.send(self.fd, first, end)

    def replies(self) -> tuple[list[Reply], bool]:
        """What is there, at most one batch, and whether there may be more; strangers' packets are left
        out."""
        batch, layout, nonce = self._in, self._layout, self._nonce
        sizes = batch.receive(self.fd)
        count = len(sizes)
        packets = layout.packet.iter_unpack(memoryview(batch.data)[: count * _ROOM])
        controls = layout.control.iter_unpack(memoryview(batch.controls)[: count * CONTROL_SIZE])
        names = layout.name.iter_unpack(memoryview(batch.names)[: count * NAME_SIZE])
        mine = (self._reply, 0, self._identifier)
        least, short = layout.header + icmp.HEADER_SIZE + len(nonce), len(nonce) < _NONCE_SIZE
        found: list[Reply] = []
        slots = zip(sizes, packets, controls, names, strict=True)
        for slot, ((control_size, size), packet, control, (source,)) in enumerate(slots):
            *head, kind, code, identifier, sequence, quoted = packet
            if head and head[0] != _PLAIN_HEADER:
                if (reply := self._with_options(slot, size, control_size, source)) is not None:
                    found.append(reply)
                continue
            if size < least or (kind, code, identifier) != mine:
                continue
            if (quoted[: len(nonce)] if short else quoted) != nonce:
                continue
            if control[:3] == _IS_STAMP and control_size >= layout.control_size:
                stamp = control[3] * 1_000_000_000 + control[4]
                found.append((sequence, source, stamp, head[1] if head else control[5]))
            else:
                stamp, hops = self._arrival(slot, control_size)
                found.append((sequence, source, stamp, head[1] if head else hops))
        return found, count == BATCH

    def stamps_and_errors(self) -> Queued:
        """One batch of the error queue."""
        stamps: list[tuple[int, int]] = []
        errors: list[tuple[int, kernel.QueueEntry]] = []
        batch = self._in
        data = batch.data
        sizes = batch.receive(self.fd, socket.MSG_ERRQUEUE)
        controls = _SENT.iter_unpack(memoryview(batch.controls)[: len(sizes) * CONTROL_SIZE])
        for slot, ((control_size, size), told) in enumerate(zip(sizes, controls, strict=True)):
            start = slot * _ROOM
            if told[6:] == self._sent_mark and told[:3] == _IS_STAMP and control_size >= _SENT_SIZE:
                sent = self._sequence_sent(start, size)
                if sent is not None:
                    stamps.append((sent, told[3] * 1_000_000_000 + told[4]))
                continue
            packet = bytes(data[start : start + size])
            entry = kernel.queue_entry(packet, self._messages(slot, control_size), None)
            if entry.origin == kernel.ORIGIN_TIMESTAMPING:
                sent = self._sequence_sent(start, size)
                if sent is not None and entry.stamp_ns is not None:
                    stamps.append((sent, entry.stamp_ns))
            elif len(packet) >= icmp.HEADER_SIZE:
                _, _, _, identifier, sequence = _HEADER.unpack_from(packet)
                if identifier == self._identifier:
                    errors.append((sequence, entry))
        return Queued(stamps, errors, len(sizes) == BATCH)

    def _sequence_sent(self, start: int, size: int) -> int | None:
        """The sequence in a stamped packet, which begins with a link header of some length: found by the
        nonce, or from its end where it is too small to have one."""
        data, end = self._in.data, start + size
        if len(self._nonce) >= 8:
            header = data.find(self._nonce, start, end) - icmp.HEADER_SIZE
        else:
            header = end - self._size
        if header < start or header + icmp.HEADER_SIZE > end:
            return None
        return (data[header + 6] << 8) | data[header + 7]

    def _with_options(self, slot: int, size: int, control_size: int, source: bytes) -> Reply | None:
        """A reply whose IPv4 header is not of the usual length."""
        start = slot * _ROOM
        stripped = icmp.strip_ipv4_header(bytes(self._in.data[start : start + size]))
        echo = icmp.read_echo(stripped[0], self.ipv6) if stripped is not None else None
        if stripped is None or echo is None or echo.identifier != self._identifier:
            return None
        if not echo.payload.startswith(self._nonce):
            return None
        stamp, _ = self._arrival(slot, control_size)
        return echo.sequence, source, stamp, stripped[1]

    def _messages(self, slot: int, size: int) -> list[tuple[int, int, bytes]]:
        start = slot * CONTROL_SIZE
        return list(ancillary(self._in.controls[start : start + min(size, CONTROL_SIZE)]))

    def _arrival(self, slot: int, control_size: int) -> tuple[int | None, int | None]:
        return kernel.arrival(self._messages(slot, control_size))


def ancillary(control: bytes | bytearray) -> Iterator[tuple[int, int, bytes]]:
    """The control messages in a control buffer: ``(level, type, data)``; ends at the first that is no
    message."""
    start = 0
    while start + _CMSG.size <= len(control):
        length, level, kind = _CMSG.unpack_from(control, start)
        if length < _CMSG.size or start + length > len(control):
            return
        yield level, kind, bytes(control[start + _CMSG.size : start + length])
        start += (length + 7) & ~7


def _open(family: Family, options: Options) -> tuple[socket.socket, str]:
    protocol = socket.IPPROTO_ICMPV6 if family is Family.IPV6 else socket.IPPROTO_ICMP
    if not IS_AVAILABLE:
        detail = "the packet engine knows the message layouts of 64-bit Linux only"
        raise CannotOpen(failures.unsupported(Stage.SEND, detail))
    refused: list[str] = []
    for kind, method in ((socket.SOCK_DGRAM, PING_SOCKET), (socket.SOCK_RAW, RAW_SOCKET)):
        try:
            sock = recipe(family, kind, protocol, options).open()
        except Shortage:
            raise
        except CannotOpen as error:
            if error.failure.errno not in ("EACCES", "EPERM", "EPROTONOSUPPORT"):
                raise
            refused.append(f"{method}: {error.failure.errno}")
            continue
        _settle(sock, family, method)
        return sock, method
    detail = (
        f"no ICMP socket is allowed here ({', '.join(refused)}); "
        "widen net.ipv4.ping_group_range or give CAP_NET_RAW"
    )
    raise CannotOpen(failures.unsupported(Stage.SEND, detail))


def _settle(sock: socket.socket, family: Family, method: str) -> None:
    sock.setsockopt(socket.SOL_SOCKET, kernel.SO_TIMESTAMPING, _STAMPS)
    try:
        sock.setsockopt(socket.SOL_SOCKET, kernel.SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    if method == PING_SOCKET:
        if sock.getsockname()[1] == 0:
            sock.bind(("::" if family is Family.IPV6 else "0.0.0.0", 0))  # noqa: S104  (gives the identifier)
    elif family is Family.IPV6:
        blocked = [0xFFFFFFFF] * 8
        blocked[icmp.ECHO_REPLY_V6 >> 5] &= ~(1 << (icmp.ECHO_REPLY_V6 & 31)) & 0xFFFFFFFF
        sock.setsockopt(socket.IPPROTO_ICMPV6, kernel.ICMPV6_FILTER, struct.pack("=8I", *blocked))
    else:
        allowed = ~(1 << icmp.ECHO_REPLY_V4) & 0xFFFFFFFF
        sock.setsockopt(kernel.SOL_RAW, kernel.ICMP_FILTER, struct.pack("=I", allowed))
