"""One ICMP socket of one family and source, shared by many targets of a run: batches out, replies, errors
and stamps in.

A ping socket (SOCK_DGRAM) where ``net.ipv4.ping_group_range`` lets us, else a raw one. A raw socket hears
every echo reply of the host, a ping socket only its own; in both, a reply counts only with our identifier
and nonce."""

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from probemesh_shared import failures
from probemesh_shared.model import Failure, Options
from probemesh_shared.words import Family, Stage

from probemesh_agent import kernel
from probemesh_agent.engine.item import Item, SockAddr
from probemesh_agent.engine.mmsg import CONTROL_ROOM, IS_AVAILABLE, NAME_ROOM, Incoming, Outgoing
from probemesh_agent.engine.schedule import Shortage
from probemesh_agent.engine.sockets import CannotOpen, recipe
from probemesh_agent.wire import icmp

#: ``errno`` of the failure where this process may have no ICMP socket at all: another program may.
NO_SOCKET = ("ENOSYS", "EACCES")
PING_SOCKET, RAW_SOCKET = "ping-socket", "raw-socket"
#: Requests that leave with one system call, at most.
CROWD = 1024
#: Up to so many at once all have a transmit stamp, of more every sixteenth: a stamp costs as much as a reply.
FEW, STRIDE = 64, 16
BATCH = 256  # read with one system call
_ROOM = 160  # enough of each packet: a link header, an IP header with options, ICMP header, nonce
_RECEIVE_BUFFER = 4 << 20
_STAMPS = kernel.RX_SOFTWARE | kernel.REPORT_SOFTWARE
# the control message that asks for the transmit stamp of one packet
_STAMP_THIS = struct.pack("=QiiI4x", 20, socket.SOL_SOCKET, kernel.SO_TIMESTAMPING, kernel.TX_SOFTWARE)
_HEADER = struct.Struct("!BBHHH")
# control data as the kernel writes it: software stamps first, then a TTL or an extended error
_CMSG = struct.Struct("=Qii")
_IS_STAMP = _CMSG.pack(64, socket.SOL_SOCKET, kernel.SCM_TIMESTAMPING)
_ARRIVED_SIZE = 64 + 20
# on the error queue of a sent packet: stamps, then an extended error of origin ORIGIN_TIMESTAMPING
_SENT = struct.Struct("=16sqq32x8xii4xB")
_SENT_SIZE = 64 + 16 + 16
_NONCE_SIZE = 16


#: An echo reply with our identifier and nonce: sequence, source as packed in a sockaddr, arrival on the wall
#: clock in seconds and nanoseconds (None: no stamp), TTL. A tuple, for there are very many.
Reply = tuple[int, bytes, int | None, int, int | None]


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
        self.sock, self.method = open_echo(family, options)
        self.fd = self.sock.fileno()
        raw = self.method == RAW_SOCKET
        recverr = kernel.IPV6_RECVERR if self.ipv6 else kernel.IP_RECVERR
        level = socket.IPPROTO_IPV6 if self.ipv6 else socket.IPPROTO_IP
        self._sent_mark = (level, recverr, kernel.ORIGIN_TIMESTAMPING)
        self._kind = icmp.ECHO_REQUEST_V6 if self.ipv6 else icmp.ECHO_REQUEST_V4
        self._name_size = 28 if self.ipv6 else 16
        self._nonce = os.urandom(_NONCE_SIZE)[:size]
        self._body = icmp.payload(self._nonce, size)
        self._identifier = int.from_bytes(os.urandom(2), "big") if raw else self.sock.getsockname()[1]
        self._sum = 0 if self.ipv6 else icmp.word_sum(self._body) + (self._kind << 8) + self._identifier
        self._size = icmp.HEADER_SIZE + size
        self._has_header = raw and not self.ipv6
        self._slot = _slot_layout(self.ipv6, self._has_header, len(self._nonce))
        self._mine = _first_bytes(self.ipv6, self._has_header, self._identifier)
        self.few = self._outgoing(FEW, 1)
        self._in = Incoming(BATCH, _ROOM)

    def crowd(self) -> Outgoing:
        """Buffers for :data:`CROWD` requests; ``few`` has room for :data:`FEW`."""
        return self._outgoing(CROWD, STRIDE)

    def _outgoing(self, count: int, stride: int) -> Outgoing:
        return Outgoing(count, icmp.HEADER_SIZE, self._body, self._name_size, _STAMP_THIS, stride)

    def close(self) -> None:
        self.sock.close()

    def sockaddr(self, address: SockAddr) -> tuple[bytes, bytes]:
        """``struct sockaddr_in`` or ``sockaddr_in6``, and the address in it."""
        if self.ipv6:
            packed = socket.inet_pton(socket.AF_INET6, address[0])
            return struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, packed, address[3]), packed
        packed = socket.inet_aton(address[0])
        return struct.pack("=HH4s8x", socket.AF_INET, 0, packed), packed

    def host_of(self, packed: bytes) -> str:
        """The literal of an address as :data:`Reply` has it."""
        return socket.inet_ntop(socket.AF_INET6 if self.ipv6 else socket.AF_INET, packed)

    def load(self, out: Outgoing, items: Sequence[Item], first: int) -> None:
        """Puts requests to ``items``, numbered from ``first``, into ``out``."""
        count = len(items)
        heads = icmp.request_headers(self._kind, self._identifier, self._sum, first, count)
        out.heads[: len(heads)] = heads
        out.names[: count * self._name_size] = b"".join([item.name for item in items])

    def send(self, out: Outgoing, first: int, end: int) -> int:
        """Sends slots; how many went. Raises :class:`OSError` where the first one could not be sent.

        An ICMP error that arrived meanwhile fails the next send of a socket, whoever that is for: so try
        again."""
        for _ in range(3):
            try:
                return out.send(self.fd, first, end)
            except BlockingIOError:
                raise
            except OSError:
                continue
        return out.send(self.fd, first, end)

    def replies(self) -> tuple[list[Reply], bool]:
        """What is there, at most one batch, and whether there may be more; strangers' packets are left
        out."""
        batch, nonce = self._in, self._nonce
        our_head, our_kind, our_identifier = self._mine
        sizes = batch.receive(self.fd)
        count = len(sizes)
        slots = self._slot.iter_unpack(memoryview(batch.data)[: count * batch.slot_size])
        least = (20 if self._has_header else 0) + icmp.HEADER_SIZE + len(nonce)
        found: list[Reply] = []
        add = found.append
        for number, ((control_size, size), slot) in enumerate(zip(sizes, slots, strict=True)):
            source, cmsg, seconds, nanoseconds, ttl, head, kind, identifier, high, low, quoted = slot
            if (
                quoted == nonce
                and cmsg == _IS_STAMP
                and kind == our_kind
                and identifier == our_identifier
                and head == our_head
                and size >= least
                and control_size >= _ARRIVED_SIZE
            ):
                add(((high << 8) | low, source, seconds, nanoseconds, ttl))
            elif (reply := self._unusual(number, size, control_size, source)) is not None:
                add(reply)
        return found, count == batch.count

    def stamps_and_errors(self) -> Queued:
        """One batch of the error queue."""
        stamps: list[tuple[int, int]] = []
        errors: list[tuple[int, kernel.QueueEntry]] = []
        batch = self._in
        sizes = batch.receive(self.fd, socket.MSG_ERRQUEUE)
        for slot, (control_size, size) in enumerate(sizes):
            start = slot * batch.slot_size
            told = _SENT.unpack_from(batch.data, start + NAME_ROOM)
            start += batch.start
            if told[3:] == self._sent_mark and told[0] == _IS_STAMP and control_size >= _SENT_SIZE:
                sent = self._sequence_sent(start, size)
                if sent is not None:
                    stamps.append((sent, told[1] * 1_000_000_000 + told[2]))
                continue
            packet = bytes(batch.data[start : start + size])
            entry = kernel.queue_entry(packet, self._messages(slot, control_size), None)
            if entry.origin == kernel.ORIGIN_TIMESTAMPING:
                sent = self._sequence_sent(start, size)
                if sent is not None and entry.stamp_ns is not None:
                    stamps.append((sent, entry.stamp_ns))
            elif len(packet) >= icmp.HEADER_SIZE:
                _, _, _, identifier, sequence = _HEADER.unpack_from(packet)
                if identifier == self._identifier:
                    errors.append((sequence, entry))
        return Queued(stamps, errors, len(sizes) == batch.count)

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

    def _unusual(self, slot: int, size: int, control_size: int, source: bytes) -> Reply | None:
        """A reply without a stamp or TTL, or whose IPv4 header is not of the usual length."""
        start = slot * self._in.slot_size + self._in.start
        packet = bytes(self._in.data[start : start + size])
        header_ttl: int | None = None
        if self._has_header:
            stripped = icmp.strip_ipv4_header(packet)
            if stripped is None:
                return None
            packet, header_ttl = stripped
        echo = icmp.read_echo(packet, self.ipv6)
        if echo is None or echo.identifier != self._identifier or not echo.payload.startswith(self._nonce):
            return None
        stamp, ttl = kernel.arrival(self._messages(slot, control_size))
        ttl = header_ttl if ttl is None else ttl
        if stamp is None:
            return echo.sequence, source, None, 0, ttl
        return echo.sequence, source, *divmod(stamp, 1_000_000_000), ttl

    def _messages(self, slot: int, size: int) -> list[tuple[int, int, bytes]]:
        start = slot * self._in.slot_size + NAME_ROOM
        return list(ancillary(self._in.data[start : start + min(size, CONTROL_ROOM)]))


def _slot_layout(ipv6: bool, has_header: bool, nonce_size: int) -> struct.Struct:
    """A slot of :class:`Incoming` that holds a reply: source, control message of the stamp, seconds,
    nanoseconds, TTL, first byte of a plain IPv4 header (or nothing), type and code, identifier, two bytes of
    sequence, nonce."""
    name = "8x16s8x" if ipv6 else "4x4s24x"
    control = f"16sqq32x16xi{CONTROL_ROOM - _ARRIVED_SIZE}x"
    head, length = ("1s19x", 20) if has_header else ("0s", 0)
    rest = _ROOM - length - icmp.HEADER_SIZE - nonce_size
    return struct.Struct(f"={name}{control}{head}2s2x2sBB{nonce_size}s{rest}x")


def _first_bytes(ipv6: bool, has_header: bool, identifier: int) -> tuple[bytes, bytes, bytes]:
    """What a reply to us has in the places of :func:`_slot_layout`."""
    kind = icmp.ECHO_REPLY_V6 if ipv6 else icmp.ECHO_REPLY_V4
    return b"\x45" if has_header else b"", bytes((kind, 0)), identifier.to_bytes(2, "big")


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


def open_echo(family: Family, options: Options) -> tuple[socket.socket, str]:
    """A socket for ICMP echo and how it was had; raises as :class:`EchoSocket`."""
    protocol = socket.IPPROTO_ICMPV6 if family is Family.IPV6 else socket.IPPROTO_ICMP
    if not IS_AVAILABLE:
        detail = "the packet engine knows the message layouts of 64-bit Linux only"
        raise CannotOpen(_barred(detail, "ENOSYS"))
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
    raise CannotOpen(_barred(detail, "EACCES"))


def _barred(detail: str, number: str) -> Failure:
    """``errno`` tells this from a source or an option that cannot be had, which no other way would mend."""
    return replace(failures.unsupported(Stage.SEND, detail), errno=number)


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
