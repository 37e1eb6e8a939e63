"""A trace by TCP: connects to the very port with small TTLs, all from one source port.

Unprivileged: the error queue of a socket in SYN_SENT tells who let the SYN run out of hops, and quotes its
header (Linux 5.4 on; "tcp: allow traceroute -Mtcp for unpriv users"). A connection that stands is closed by
RST: FIN would leave TIME_WAIT, and the same four-tuple could not be used for the next packet.
"""

import errno
import os
import socket
import struct
from dataclasses import replace

from probemesh_shared import failures
from probemesh_shared.model import HopAnswer
from probemesh_shared.words import Stage

from probemesh_agent import kernel
from probemesh_agent.engine.sockets import source_port
from probemesh_agent.net.literals import sockaddr_of
from probemesh_agent.path.lane import Lane, LaneFailed, failure_of, set_hop, unwatch, watch
from probemesh_agent.path.quotes import Syn, tcp_quote
from probemesh_agent.path.told import Told
from probemesh_agent.path.walk import Heard

_RESET = struct.pack("=ii", 1, 0)
_PENDING = (errno.EINPROGRESS, errno.EAGAIN)
_NO_RTT_US = (0, 1000)


class TcpLane(Lane):
    """One connect at a time: two with the same four-tuple cannot be."""

    _socket: socket.socket | None = None
    _keeper: socket.socket | None = None
    _mss: int | None = None

    def send(self, number: int, hop: int) -> None:
        self._drop()
        made = self.recipe(socket.SOCK_STREAM)
        if self._keeper is None:  # holds the port while no connection does
            self._keeper = self.opened(made, source_port(self.options, 0) or _free_port(made.family))
            self.local_port = self._keeper.getsockname()[1]
        sock = self.opened(made, self.local_port or 0)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            set_hop(sock, self.ipv6, hop)
            self.leaves(number, hop)
            error = sock.connect_ex(sockaddr_of(self.address.host, self.port)[1])
            self.local_address = sock.getsockname()[0].partition("%")[0]
            self._mss = kernel.advertised_mss(sock)
        except OSError as failed:
            sock.close()
            raise LaneFailed(failure_of(failed)) from None
        self._socket = sock
        if error and error not in _PENDING and error != errno.ECONNREFUSED:
            self._refused_at_once(number, sock, error)
            return
        watch(sock, lambda: self._look(number, sock, 0), writable=True)
        if error == errno.ECONNREFUSED:
            self._look(number, sock, error)

    def close(self) -> None:
        self._drop()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def _drop(self) -> None:
        sock, self._socket = self._socket, None
        if sock is not None:
            unwatch(sock)
            sock.close()

    def _refused_at_once(self, number: int, sock: socket.socket, error: int) -> None:
        """By our own routes or filter; a filter that rejects leaves its ICMP error."""
        entries = [entry for entry in kernel.drain_errors(sock) if entry.is_icmp]
        told = self.told_by_icmp(number, entries[0], self.local_address) if entries else None
        self._drop()
        raise LaneFailed(
            told.failure if told and told.failure else failure_of(OSError(error, os.strerror(error)))
        )

    def _look(self, number: int, sock: socket.socket, known: int) -> None:
        """SO_ERROR first: draining the queue clears it."""
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or known
        entries = [entry for entry in kernel.drain_errors(sock) if entry.is_icmp]
        told = self._by_queue(number, entries[0]) if entries else self._by_state(number, sock, error)
        if told is None:
            return
        self._drop()
        self.tell(number, told)

    def _by_queue(self, number: int, entry: kernel.QueueEntry) -> Told | None:
        told = self.told_by_icmp(number, entry, self.local_address)
        if told is None or told.too_big:
            return None
        sent = Syn(self.local_address or "::", self.local_port or 0, self.address.host, self.port, self._mss)
        quote = tcp_quote(entry.payload, sent)
        answer = replace(told.answer, quoted_port=quote.port, quoted_mss=quote.mss, changed=quote.changed)
        return replace(told, answer=answer)

    def _by_state(self, number: int, sock: socket.socket, error: int) -> Told | None:
        target = self.address.host
        if error in (errno.ECONNREFUSED, errno.ECONNRESET):
            return Told(HopAnswer(target, self.trip_ms(number, None), how="reset"), Heard.TARGET)
        if error:
            failure = failures.from_errno(Stage.CONNECT, error)
            return Told(HopAnswer(None, self.trip_ms(number, None)), Heard.REFUSAL, failure)
        info = kernel.tcp_info(sock)
        if info.state not in kernel.TCP_CONNECTED:
            return None
        trip_ms: float | None = (
            info.rtt_us / 1e3 if info.rtt_us not in _NO_RTT_US else self.trip_ms(number, None)
        )
        if info.retransmits:
            trip_ms = None
        return Told(HopAnswer(target, trip_ms, how="syn-ack"), Heard.TARGET)


def _free_port(family: int) -> int:
    """A source port that nobody uses now."""
    with socket.socket(family, socket.SOCK_STREAM) as asking:
        asking.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", 0))  # noqa: S104
        return int(asking.getsockname()[1])
