"""One datagram socket with the shots on it: sends, reads what comes back and says whose it is.

The socket is not connected, so that a reply from another address than was dialled is seen too. A pending
ICMP error fails the next send of a socket, whoever that is for: so the queue is emptied before each."""

import asyncio
import errno
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace

from probemesh_shared import failures
from probemesh_shared.model import Failure, Reply
from probemesh_shared.words import Family, Outcome, Stage

from probemesh_agent import kernel
from probemesh_agent.engine.item import socket_address
from probemesh_agent.engine.sockets import judged
from probemesh_agent.flow.opening import shape, stamp_sends
from probemesh_agent.flow.record import Record

KEPT_ANSWER = 256
_MOST = 65_535
_AT_ONCE = 64  # read of one socket before others have a turn
_DRAINED = 32  # what kernel.drain_errors takes at a time
#: Errnos that an ICMP error may have left behind for the next send.
_LEFT_BEHIND = frozenset(
    {
        errno.ECONNREFUSED,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EACCES,
        errno.EMSGSIZE,
    }
)
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Arrived:
    """A packet that came. ``stamp_ns`` is the kernel's, wall clock; ``now_ns`` our own perf clock."""

    data: bytes
    source: str
    port: int
    stamp_ns: int | None
    ttl: int | None
    now_ns: int


class Line(ABC):
    """Reads on its own from the constructor on, until :meth:`close`."""

    def __init__(self, sock: socket.socket, family: Family, own: frozenset[str]) -> None:
        self.sock = sock
        self.family = family
        self.shots: list[Record] = []  # in the order they were sent
        self._own = own
        self._numbered: list[Record] = []  # by the number of their transmit stamp
        self._stamps = stamp_sends(sock)
        self._sending: Record | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self.catch_up)

    @abstractmethod
    def packet(self, record: Record, size: int | None) -> bytes:
        """What a shot sends."""

    @abstractmethod
    def arrived(self, came: Arrived) -> None:
        """Something that was received."""

    @abstractmethod
    def quoted(self, entry: kernel.QueueEntry) -> Record | None:
        """Whose packet an error is about."""

    def send(self, record: Record, size: int | None, ttl: int | None, dont_fragment: bool) -> None:
        """Sends a shot; what our own host refuses ends it."""
        self.catch_up()
        self.shots.append(record)
        record.scheduled = record.sent = False if self._stamps else None
        place = socket_address(record.host, record.address.family, record.port)[0]
        shape(self.sock, self.family, ttl, dont_fragment)
        packet = self.packet(record, size)
        self._sending = record
        number = self._sent(record, packet, place)
        self._sending = None
        if number:
            self._drain()
            self._not_sent(record, number)
            self._stamps = stamp_sends(self.sock)  # whether a failed one was counted, kernels disagree on
            self._numbered.clear()
        elif record.entries:
            self._judge(record)

    def catch_up(self) -> None:
        """Reads what has come. Errors and stamps first, so that a reply finds the stamp of its request."""
        self._drain()
        for _ in range(_AT_ONCE):
            try:
                data, ancillary, _, where = self.sock.recvmsg(_MOST, 256)
            except BlockingIOError:
                return
            except OSError:
                self._drain()
                continue
            stamp, ttl = kernel.arrival(ancillary)
            source = str(where[0]).partition("%")[0]
            self.arrived(Arrived(data, source, int(where[1]), stamp, ttl, time.perf_counter_ns()))

    def close(self) -> None:
        """Reads what is there, and closes."""
        if self.sock.fileno() < 0:
            return
        self._loop.remove_reader(self.sock.fileno())
        self.catch_up()
        self.sock.close()

    def replied(self, record: Record, came: Arrived, reply: Reply, *, counts: bool) -> None:
        """A reply to a shot; ``counts``: the shot is answered by it."""
        told = replace(
            reply,
            at_ms=record.at_ms + (came.now_ns - record.begun_ns) / 1e6,
            source=came.source,
            source_port=came.port,
            size=len(came.data),
            ttl=came.ttl,
        )
        record.reply(told)
        if counts and record.outcome is None:
            record.rtt_ms = _round_trip(record, came)
            record.ttl = came.ttl
            record.end(Outcome.OK)

    def latest(self, host: str | None, port: int) -> Record | None:
        """The last shot to that place, one that still waits before others."""
        there = [one for one in self.shots if _bare(one.host) == host and one.port == port]
        waiting = [one for one in there if one.outcome is None] or there
        return waiting[-1] if waiting else None

    def _sent(self, record: Record, packet: bytes, place: tuple[object, ...]) -> int:
        """0, or the errno that our own host answered with."""
        number = 0
        for _ in range(_TRIES):
            record.begun_ns = time.perf_counter_ns()
            self._numbered.append(record)
            try:
                self.sock.sendto(packet, place)
                return 0
            except OSError as error:
                number = error.errno or 0
            self._drain()
            if number not in _LEFT_BEHIND or len(self.shots) == 1 or record.entries:
                break
        return number

    def _not_sent(self, record: Record, number: int) -> None:
        failure: Failure | None = None
        if record.errors:
            failure = judged(Stage.SEND, number, record.entries, record.host, self._own)
        if failure is None or number == errno.EPERM:  # our own filter, whatever its ICMP error says
            told = failure.icmp if failure is not None else None
            failure = replace(failures.from_errno(Stage.SEND, number, at_once=True), icmp=told)
        record.fail(failure)

    def _drain(self) -> None:
        number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # first: draining clears it
        while entries := kernel.drain_errors(self.sock, _DRAINED):
            self._take(entries, number)
            if len(entries) < _DRAINED:
                return

    def _take(self, entries: Iterable[kernel.QueueEntry], number: int) -> None:
        for entry in entries:
            if entry.origin == kernel.ORIGIN_TIMESTAMPING:
                if entry.number < len(self._numbered):
                    self._numbered[entry.number].stamped(entry)
                continue
            record = self._sending if entry.origin == kernel.ORIGIN_LOCAL else self.quoted(entry)
            if record is None:
                continue
            record.note(number, (entry,))
            if record is not self._sending:
                self._judge(record)

    def _judge(self, record: Record) -> None:
        failure = judged(Stage.RECEIVE, 0, record.entries, record.host, self._own)
        if failure is not None and record.outcome is None:
            record.rtt_ms = (time.perf_counter_ns() - record.begun_ns) / 1e6
            record.fail(failure)


def _round_trip(record: Record, came: Arrived) -> float:
    """Between the kernel's stamps where both came and no clock was set meanwhile."""
    by_our_clock = (came.now_ns - record.begun_ns) / 1e6
    if record.sent_ns is None or came.stamp_ns is None:
        return by_our_clock
    by_stamps = (came.stamp_ns - record.sent_ns) / 1e6
    return by_stamps if 0 <= by_stamps <= by_our_clock + 1.0 else by_our_clock


def _bare(host: str) -> str:
    return host.partition("%")[0]
