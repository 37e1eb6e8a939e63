"""Datagrams: answered, refused by an ICMP error, or silence.

Every attempt has a connected socket of its own with ``IP_RECVERR``, so that errors are its own and none is
lost. The round trip is between the kernel's transmit and receive stamps where both arrive, else between our
own system calls."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from probemesh_shared import failures
from probemesh_shared.model import Failure, Options, Sample, UdpDetail
from probemesh_shared.words import FailureKind, Family, Origin, Outcome, Stage, Timing

from probemesh_agent import kernel
from probemesh_agent.engine.item import Item
from probemesh_agent.engine.schedule import Schedule, Shortage, cut_or_silent
from probemesh_agent.engine.sockets import CannotOpen, Recipe, classify, recipe, refusal
from probemesh_agent.net.sources import sourced

if TYPE_CHECKING:
    from probemesh_agent.engine.loop import Engine

OPEN, CLOSED, SILENT = "open", "closed", "open|filtered"
KEPT_ANSWER = 512
_EVENTS = select.EPOLLIN | select.EPOLLERR
_MOST = 65_535
_perf_ns = time.perf_counter_ns


@dataclass(frozen=True, slots=True)
class Question:
    """What is sent, and what the answer must contain (None: any answer will do)."""

    payload: bytes
    expect: tuple[bytes, ...] = ()  # all of them in one answer


class UdpDriver:
    """Sends for one run."""

    most_open: int | None = None
    burst = 128
    is_stalled = False

    def __init__(self, schedule: Schedule, engine: Engine, options: Options, question: Question) -> None:
        self.schedule = schedule
        self.engine = engine
        self.question = question
        self._options = options
        self._recipes: dict[tuple[Family, bool], Recipe] = {}

    def start(self, items: Sequence[Item], seq: int, now: float) -> list[tuple[Item, Failure]]:
        """See :class:`probemesh_agent.engine.schedule.Driver`."""
        short: list[tuple[Item, Failure]] = []
        for item in items:
            try:
                self._start(item, seq, now)
            except Shortage as shortage:
                short.append((item, shortage.failure))
        return short

    def _start(self, item: Item, seq: int, now: float) -> None:
        """Connects and sends; what our own host refuses ends the attempt at once."""
        if seq == 0:
            item.started_ns = time.time_ns()
            item.base_ns = _perf_ns()
        begun = _perf_ns()
        sock: socket.socket | None = None
        try:
            sock = self._recipe(item).open()
            sock.connect(item.address)
            begun = _perf_ns()
            sock.send(self.question.payload)
        except CannotOpen as error:
            self._fail(item, seq, begun, error.failure)
            return
        except OSError as error:
            assert sock is not None
            self._send_failed(item, seq, begun, sock, error)
            return
        attempt = UdpAttempt(self, item, seq, sock, begun)
        attempt.full_expiry = now + self._options.timeout_s
        attempt.expires = self.schedule.expiry(now)
        self.schedule.waiting[sock.fileno()] = attempt
        self.engine.sockets += 1
        self.engine.watch(sock.fileno(), _EVENTS, attempt.on_event)

    def flush(self, now: float) -> None:
        """Datagrams are sent when they start."""

    def close(self) -> None:
        for attempt in list(self.schedule.waiting.values()):
            attempt.drop()

    def _recipe(self, item: Item) -> Recipe:
        family = Family.IPV4 if len(item.address) == 2 else Family.IPV6
        key = family, item.is_loopback
        if key not in self._recipes:
            options = sourced(self._options, self.engine.source, item.host)
            self._recipes[key] = recipe(family, socket.SOCK_DGRAM, 0, options, stamps=True)
        return self._recipes[key]

    def _send_failed(self, item: Item, seq: int, begun: int, sock: socket.socket, error: OSError) -> None:
        number = error.errno or 0
        entries = [entry for entry in kernel.drain_errors(sock) if entry.is_icmp]
        failure = classify(Stage.SEND, number, entries, item.host, sock) if entries else None
        sock.close()
        if failure is not None and number == errno.EPERM:  # our own filter, whatever its ICMP error says
            failure = replace(failures.from_errno(Stage.SEND, number), icmp=failure.icmp)
        if failure is None:
            refused = refusal(error, Stage.SEND)
            if not isinstance(refused, CannotOpen):
                raise refused
            failure = refused.failure
        self._fail(item, seq, begun, failure)

    def _fail(self, item: Item, seq: int, begun_ns: int, failure: Failure) -> None:
        offset = (begun_ns - item.base_ns) / 1e6
        self.schedule.sample(item, Sample(seq, offset, None, failures.outcome_of(failure), failure))


class UdpAttempt:
    """One datagram under way."""

    __slots__ = ("begun_ns", "driver", "expires", "full_expiry", "item", "sent_ns", "seq", "sock")

    def __init__(self, driver: UdpDriver, item: Item, seq: int, sock: socket.socket, begun_ns: int) -> None:
        self.driver = driver
        self.item = item
        self.seq = seq
        self.sock = sock
        self.begun_ns = begun_ns
        self.sent_ns: int | None = None  # the kernel's transmit stamp
        self.expires = 0.0
        self.full_expiry = 0.0

    def on_event(self, events: int) -> None:
        """An answer, an ICMP error, or a transmit stamp. An answer that is there wins over an error."""
        arrived_ns = _perf_ns()
        number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # first: draining clears it
        entries = self._drain()
        if events & select.EPOLLIN and self._receive(arrived_ns):
            return
        failure = classify(Stage.RECEIVE, number, entries, self.item.host, self.sock)
        if failure is not None:
            self._refused(failure)

    def expire(self, waited_s: float, cut: bool) -> None:
        """Silence, unless the answer came while the loop was busy elsewhere."""
        entries = self._drain()
        if self._receive(_perf_ns()):
            return
        failure = classify(Stage.RECEIVE, 0, entries, self.item.host, self.sock)
        if failure is not None:
            self._refused(failure)
            return
        outcome, failure = cut_or_silent(Stage.RECEIVE, waited_s, cut)
        if outcome is Outcome.TIMEOUT and self.item.detail is None:
            self.item.detail = UdpDetail(SILENT)
        self._end(Sample(self.seq, self._offset, None, outcome, failure))

    def drop(self) -> None:
        self._close()

    @property
    def _offset(self) -> float:
        return (self.begun_ns - self.item.base_ns) / 1e6

    def _drain(self) -> list[kernel.QueueEntry]:
        entries = kernel.drain_errors(self.sock)
        for entry in entries:
            if entry.origin == kernel.ORIGIN_TIMESTAMPING and entry.stamp_ns:
                self.sent_ns = entry.stamp_ns
        return entries

    def _receive(self, arrived_ns: int) -> bool:
        try:
            answer, ancillary, _, _ = self.sock.recvmsg(_MOST, 256)
        except OSError:  # nothing there, or the error that is classified next
            return False
        received_ns, ttl = kernel.arrival(ancillary)
        if self.sent_ns is None:
            self._drain()
        rtt_ms, timing = (arrived_ns - self.begun_ns) / 1e6, Timing.USER
        if self.sent_ns is not None and received_ns is not None and received_ns >= self.sent_ns:
            rtt_ms, timing = (received_ns - self.sent_ns) / 1e6, Timing.KERNEL
        self.item.detail = UdpDetail(OPEN, answer[:KEPT_ANSWER], len(answer))
        expect = self.driver.question.expect
        failure: Failure | None = None
        outcome = Outcome.OK
        if not all(part in answer for part in expect):
            detail = f"an answer of {len(answer)} bytes without what was expected"
            failure = Failure(Stage.RECEIVE, FailureKind.ANSWER_UNEXPECTED, Origin.TARGET, detail)
            outcome = failures.outcome_of(failure)
        self._end(Sample(self.seq, self._offset, rtt_ms, outcome, failure, timing, ttl))
        return True

    def _refused(self, failure: Failure) -> None:
        closed = failure.kind is FailureKind.REFUSED and failure.origin is Origin.TARGET
        if closed and not (isinstance(self.item.detail, UdpDetail) and self.item.detail.state == OPEN):
            self.item.detail = UdpDetail(CLOSED)
        self._end(Sample(self.seq, self._offset, None, failures.outcome_of(failure), failure))

    def _end(self, sample: Sample) -> None:
        self._close()
        self.driver.schedule.sample(self.item, sample)

    def _close(self) -> None:
        driver, fd = self.driver, self.sock.fileno()
        driver.engine.unwatch(fd)
        if driver.schedule.waiting.pop(fd, None) is not None:
            driver.engine.sockets -= 1
        self.sock.close()
