"""A trace by ICMP echo: one identifier, and a checksum that stays, since routers with several ways may choose
by it. A quotation always holds our sequence number, so several packets may be on their way."""

import os
import socket
import struct
from dataclasses import replace

from probemesh_shared import failures
from probemesh_shared.model import HopAnswer, Options
from probemesh_shared.words import Stage

from probemesh_agent import kernel
from probemesh_agent.engine.echo import PING_SOCKET, RAW_SOCKET
from probemesh_agent.env import Address, Clock
from probemesh_agent.net.literals import sockaddr_of
from probemesh_agent.path.lane import (
    Lane,
    LaneFailed,
    Tell,
    own_address,
    resend,
    set_hop,
    unwatch,
    watch,
)
from probemesh_agent.path.quotes import echo_quote
from probemesh_agent.path.told import Told
from probemesh_agent.path.walk import Heard
from probemesh_agent.wire import icmp

_OWN_SIZE = 32
_NONCE = 8


class EchoLane(Lane):
    window = 8

    def __init__(self, address: Address, port: int, options: Options, clock: Clock, tell: Tell) -> None:
        super().__init__(address, port, options, clock, tell)
        self._socket: socket.socket | None = None
        self._method = PING_SOCKET
        self._identifier = 0
        self._checksum: int | None = None
        self._nonce = os.urandom(_NONCE)
        self.size = _OWN_SIZE if options.size is None else options.size

    def send(self, number: int, hop: int) -> None:
        sock = self._opened()
        set_hop(sock, self.ipv6, hop)
        packet = icmp.request(self.ipv6, self._identifier, number & 0xFFFF, self._body(number))
        self._checksum = int.from_bytes(packet[2:4], "big") if not self.ipv6 else None
        self.leaves(number, hop)
        resend(sock, packet, sockaddr_of(self.address.host, 0)[1])

    def close(self) -> None:
        sock, self._socket = self._socket, None
        if sock is not None:
            unwatch(sock)
            sock.close()

    def _opened(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        sock, self._method = self._open()
        self._socket = sock
        if self._method == PING_SOCKET and not sock.getsockname()[1]:
            sock.bind(("::" if self.ipv6 else "0.0.0.0", 0))  # noqa: S104  (gives the identifier)
        raw = self._method == RAW_SOCKET
        self._identifier = int.from_bytes(os.urandom(2), "big") if raw else sock.getsockname()[1]
        self.local_address = own_address(self.address)
        watch(sock, self._look)
        return sock

    def _open(self) -> tuple[socket.socket, str]:
        protocol = socket.IPPROTO_ICMPV6 if self.ipv6 else socket.IPPROTO_ICMP
        for kind, method in ((socket.SOCK_DGRAM, PING_SOCKET), (socket.SOCK_RAW, RAW_SOCKET)):
            made = self.recipe(kind, protocol)
            try:
                return self.opened(made), method
            except LaneFailed as failed:
                if failed.failure.errno not in ("EACCES", "EPERM", "EPROTONOSUPPORT", None):
                    raise
        detail = "no ICMP socket is allowed here; widen net.ipv4.ping_group_range or give CAP_NET_RAW"
        raise LaneFailed(replace(failures.unsupported(Stage.SEND, detail), errno="EACCES"))

    def _body(self, number: int) -> bytes:
        """Two bytes that make up for the sequence number in the checksum, then the nonce."""
        size = self.size or 0
        balance = struct.pack("!H", 0xFFFF - (number & 0xFFFF))
        return (balance + icmp.payload(self._nonce, max(size - 2, 0)))[:size]

    def _look(self) -> None:
        sock = self._socket
        if sock is None:
            return
        for entry in kernel.drain_errors(sock):
            if entry.is_icmp:
                self._error(entry)
        self._replies(sock)

    def _error(self, entry: kernel.QueueEntry) -> None:
        if len(entry.payload) < icmp.HEADER_SIZE:
            return
        identifier, number = struct.unpack_from("!HH", entry.payload, 4)
        if number not in self.sent or (self._method == RAW_SOCKET and identifier != self._identifier):
            return
        told = self.told_by_icmp(number, entry, self.local_address)
        if told is None:
            return
        self.shrink(told)
        quote = echo_quote(entry.payload, self._identifier, self._checksum)
        self.tell(number, replace(told, answer=replace(told.answer, changed=quote.changed)))

    def _replies(self, sock: socket.socket) -> None:
        for _ in range(64):
            try:
                packet, ancillary, _, where = sock.recvmsg(2048, 512)
            except OSError:
                return
            stamp, ttl = kernel.arrival(ancillary)
            if self._method == RAW_SOCKET and not self.ipv6:
                stripped = icmp.strip_ipv4_header(packet)
                if stripped is None:
                    continue
                packet, header_ttl = stripped
                ttl = header_ttl if ttl is None else ttl
            echo = icmp.read_echo(packet, self.ipv6)
            if echo is None or echo.identifier != self._identifier or echo.sequence not in self.sent:
                continue
            if (
                self.is_target(where[0])
                and echo.payload[2 : 2 + _NONCE] == self._nonce[: max(0, len(echo.payload) - 2)]
            ):
                answer = HopAnswer(where[0], self.trip_ms(echo.sequence, stamp), ttl=ttl, how="echo-reply")
                self.tell(echo.sequence, Told(answer, Heard.TARGET))
