"""A trace by UDP: one socket, one pair of ports. A router that quotes no payload leaves only the order by
which its answer is told, so one packet is on its way at a time."""

import os
import socket
from dataclasses import dataclass, replace

from probemesh_shared.model import HopAnswer, Options, UdpSpec

from probemesh_agent import kernel
from probemesh_agent.engine.sockets import source_port
from probemesh_agent.env import Address, Clock
from probemesh_agent.net.literals import sockaddr_of
from probemesh_agent.path.lane import Lane, Tell, own_address, resend, set_hop, unwatch, watch
from probemesh_agent.path.told import Told
from probemesh_agent.path.walk import Heard
from probemesh_agent.probes.udprequests import Questions
from probemesh_agent.wire.requests import Asking

#: The first of those that traceroute asks: nobody is expected to listen.
USUAL_PORT = 33_434
_OWN_SIZE = 32
_LARGEST = 65_535


@dataclass(slots=True)
class _Outstanding:
    payload: bytes
    answered: bool = False


class UdpLane(Lane):
    def __init__(self, address: Address, port: int, options: Options, clock: Clock, tell: Tell) -> None:
        super().__init__(address, port, options, clock, tell)
        self._socket: socket.socket | None = None
        self._out: dict[int, _Outstanding] = {}

    def send(self, number: int, hop: int) -> None:
        sock = self._opened()
        set_hop(sock, self.ipv6, hop)
        payload = self._payload(number)
        self._out[number] = _Outstanding(payload)
        self.leaves(number, hop)
        resend(sock, payload, sockaddr_of(self.address.host, self.port)[1])

    def close(self) -> None:
        sock, self._socket = self._socket, None
        if sock is not None:
            unwatch(sock)
            sock.close()

    def _opened(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        sock = self.opened(self.recipe(socket.SOCK_DGRAM), source_port(self.options, 0))
        self._socket = sock
        if not source_port(self.options, 0) and not sock.getsockname()[1]:
            sock.bind(("::" if self.ipv6 else "0.0.0.0", 0))  # noqa: S104
        self.local_port = sock.getsockname()[1]
        self.local_address = own_address(self.address)
        watch(sock, self._look)
        return sock

    def _payload(self, number: int) -> bytes:
        """What the port's service answers, where it is known; each with an id of its own."""
        if self.size is not None:
            return os.urandom(min(self.size, 8)).ljust(self.size, b"\0")
        questions = Questions(UdpSpec())
        request = questions.protocol(self.port)
        if request is None:
            return os.urandom(_OWN_SIZE)
        local = self.local_address or ""
        asking = Asking(
            self.address.host, self.port, local, self.local_port or 0, self._clock.wall_ns(), os.urandom
        )
        return questions.made(request, asking).payload

    def _look(self) -> None:
        sock = self._socket
        if sock is None:
            return
        for entry in kernel.drain_errors(sock):
            if not entry.is_icmp:
                continue
            number = self._number(entry.payload)
            if number is None:
                number = self._guessed(entry)
            if number is not None:
                self._error(number, entry)
        self._datagrams(sock)

    def _error(self, number: int, entry: kernel.QueueEntry) -> None:
        told = self.told_by_icmp(number, entry, self.local_address)
        if told is None:
            return
        self.shrink(told)
        self._out[number].answered = True
        if entry.destination is not None and not self.is_target(entry.destination):
            told = replace(told, answer=replace(told.answer, changed=("destination",)))
        self.tell(number, told)

    def _datagrams(self, sock: socket.socket) -> None:
        for _ in range(32):
            try:
                data, ancillary, _, where = sock.recvmsg(_LARGEST, 512)
            except OSError:
                return
            number = self._answered(data)
            if number is None or not self.is_target(where[0]):
                continue
            stamp, ttl = kernel.arrival(ancillary)
            self._out[number].answered = True
            answer = HopAnswer(where[0], self.trip_ms(number, stamp), ttl=ttl, how="datagram")
            self.tell(number, Told(answer, Heard.TARGET))

    def _answered(self, data: bytes) -> int | None:
        """Which packet a datagram answers: the last one on its way, as only one is."""
        waiting = [number for number, out in self._out.items() if not out.answered]
        return waiting[-1] if waiting else None

    def _number(self, quoted: bytes) -> int | None:
        """By the quoted payload; a short quotation is about the last packet if all before it were
        answered."""
        waiting = [number for number, out in self._out.items() if not out.answered]
        fitting = [number for number in waiting if quoted and self._out[number].payload.startswith(quoted)]
        if len(fitting) == 1:
            return fitting[0]
        return waiting[0] if len(waiting) == 1 and not (quoted and not fitting) else None

    def _guessed(self, entry: kernel.QueueEntry) -> int | None:
        """Which packet an error is about that quotes too little to tell."""
        return None
