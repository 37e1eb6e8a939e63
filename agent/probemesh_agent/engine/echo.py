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
from probemesh_agent.engine.mmsg import CONTROL_SIZE, NAME_SIZE, Incoming, Outgoing
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
_STAMP = struct.Struct("=Qiiqq")
_IS_STAMP = (64, socket.SOL_SOCKET, kernel.SCM_TIMESTAMPING)
# on the error queue of a sent packet: stamps, then an extended error of origin ORIGIN_TIMESTAMPING
_SENT = struct.Struct("=Qiiqq32xQii4xB")


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
        self._has_ip_header = raw and not self.ipv6
        self._kind = icmp.ECHO_REQUEST_V6 if self.ipv6 else icmp.ECHO_REQUEST_V4
        self._reply = icmp.ECHO_REPLY_V6 if self.ipv6 else icmp.ECHO_REPLY_V4
        self._name_size = 28 if self.ipv6 else 16
        self._nonce = os.urandom(16)[:size]
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
        batch = self._in
        data, names = batch.data, batch.names
        nonce, wanted = self._nonce, self._reply
        found: list[Reply] = []
        lengths = batch.receive(self.fd)
        for slot, length in enumerate(lengths):
            start, end = slot * _ROOM, slot * _ROOM + length
            ttl = None
            if self._has_ip_header:
                if length < 20:
                    continue
                ttl = data[start + 8]
                start += (data[start] & 0x0F) * 4
            body = start + 8
            if body > end:
                continue
            kind, _, _, identifier, sequence = _HEADER.unpack_from(data, start)
            if kind != wanted or identifier != self._identifier or data[body : body + len(nonce)] != nonce:
                continue
            name = slot * NAME_SIZE
            source = bytes(names[name + 8 : name + 24] if self.ipv6 else names[name + 4 : name + 8])
            stamp, hops = self._control(slot)
            found.append((sequence, source, stamp, ttl if ttl is not None else hops))
        return found, len(lengths) == BATCH

    def stamps_and_errors(self) -> "Queued":
        """One batch of the error queue."""
        stamps: list[tuple[int, int]] = []
        errors: list[tuple[int, kernel.QueueEntry]] = []
        batch = self._in
        controls, data = batch.controls, batch.data
        lengths = batch.receive(self.fd, socket.MSG_ERRQUEUE)
        for slot, length in enumerate(lengths):
            start = slot * CONTROL_SIZE
            packet = data[slot * _ROOM : slot * _ROOM + length]
            told = _SENT.unpack_from(controls, start)
            if told[:3] == _IS_STAMP and told[6:] == self._sent_mark:
                sent = self._sequence_sent(packet)
                if sent is not None:
                    stamps.append((sent, told[3] * 1_000_000_000 + told[4]))
                continue
            control = controls[start : start + CONTROL_SIZE]
            entry = kernel.queue_entry(bytes(packet), list(ancillary(control)), None)
            if entry.origin == kernel.ORIGIN_TIMESTAMPING:
                sent = self._sequence_sent(packet)
                if sent is not None and entry.stamp_ns is not None:
                    stamps.append((sent, entry.stamp_ns))
            elif len(packet) >= 8:
                _, _, _, identifier, sequence = _HEADER.unpack_from(packet)
                if identifier == self._identifier:
                    errors.append((sequence, entry))
        return Queued(stamps, errors, len(lengths) == BATCH)

    def _sequence_sent(self, packet: bytearray) -> int | None:
        """The sequence in a stamped packet, which begins with a link header of some length: found by the
        nonce, or from its end where it is too small to have one."""
        has_nonce = len(self._nonce) >= 8
        start = packet.find(self._nonce) - 8 if has_nonce else len(packet) - self._size
        if start < 0 or len(packet) < start + 8:
            return None
        sequence: int = _HEADER.unpack_from(packet, start)[4]
        return sequence

    def _control(self, slot: int) -> tuple[int | None, int | None]:
        start = slot * CONTROL_SIZE
        controls = self._in.controls
        length, level, kind, seconds, nanoseconds = _STAMP.unpack_from(controls, start)
        if (length, level, kind) != _IS_STAMP:
            return kernel.arrival(list(ancillary(controls[start : start + CONTROL_SIZE])))
        if self._has_ip_header:
            return seconds * 1_000_000_000 + nanoseconds, None
        _, ttl = kernel.arrival(list(ancillary(controls[start + 64 : start + CONTROL_SIZE])))
        return seconds * 1_000_000_000 + nanoseconds, ttl


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
