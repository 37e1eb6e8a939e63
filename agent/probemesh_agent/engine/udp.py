"""Datagrams: answered, refused by an ICMP error, or silence.

Every attempt has a connected socket of its own with ``IP_RECVERR``, so that errors are its own and none is
lost. The round trip is between the kernel's transmit and receive stamps where both arrive, else between our
own system calls."""

from __future__ import annotations

import errno
import secrets
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from probemesh_shared import failures
from probemesh_shared.model import Failure, Options, Sample, UdpDetail
from probemesh_shared.words import FailureKind, Family, Origin, Outcome, Stage, Timing, UdpRequest

from probemesh_agent import kernel
from probemesh_agent.engine.item import Item
from probemesh_agent.engine.schedule import Schedule, Shortage, cut_or_silent
from probemesh_agent.engine.sockets import (
    CannotOpen,
    Recipe,
    classify,
    port_failure,
    recipe,
    refusal,
    source_port,
)
from probemesh_agent.net.sources import sourced
from probemesh_agent.wire.requests import Asking, Reader, Reading, Request, invalid

if TYPE_CHECKING:
    from probemesh_agent.engine.loop import Engine

OPEN, CLOSED, SILENT = "open", "closed", "open|filtered"
KEPT_ANSWER = 512
_EVENTS = select.EPOLLIN | select.EPOLLERR
_MOST = 65_535
_READ_AT_ONCE = 32  # datagrams of one socket, before others have a turn
_perf_ns = time.perf_counter_ns


class Questions(Protocol):
    """What is sent to which port: one datagram for all attempts, or one that is made for each."""

    def protocol(self, port: int) -> UdpRequest | None:
        """The ready-made request for this port; None: :meth:`own`."""

    def own(self) -> Request: ...

    def made(self, request: UdpRequest, asking: Asking) -> Request: ...


class UdpDriver:
    """Sends for one run."""

    most_open: int | None = None
    burst = 128
    is_stalled = False

    def __init__(self, schedule: Schedule, engine: Engine, options: Options, questions: Questions) -> None:
        self.schedule = schedule
        self.engine = engine
        self._questions = questions
        self._options = options
        self._ports: set[tuple[Item, int]] = set()  # source ports that an attempt waits on
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
        port = source_port(self._options, seq)
        try:
            if (item, port) in self._ports:
                raise CannotOpen(_waited_on(port))
            sock = self._recipe(item).open(port)
            sock.connect(item.address)
            request, protocol = self._request(item, sock)
            begun = _perf_ns()
            sock.send(request.payload)
        except CannotOpen as error:
            self._fail(item, seq, begun, error.failure)
            return
        except OSError as error:
            assert sock is not None
            self._send_failed(item, seq, begun, sock, error)
            return
        attempt = UdpAttempt(self, item, seq, sock, begun, request.read, protocol)
        if port:
            self._ports.add((item, port))
            attempt.port = port
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

    def free(self, item: Item, port: int) -> None:
        """Nothing waits on this source port any more."""
        self._ports.discard((item, port))

    def _request(self, item: Item, sock: socket.socket) -> tuple[Request, UdpRequest | None]:
        """The datagram of one attempt, and the protocol whose answer is validated."""
        port = item.port or 0
        protocol = self._questions.protocol(port)
        if protocol is None:
            return self._questions.own(), None
        local = sock.getsockname()
        asking = Asking(item.host, port, local[0], local[1], time.time_ns(), secrets.token_bytes)
        return self._questions.made(protocol, asking), protocol

    def _recipe(self, item: Item) -> Recipe:
        family = Family.IPV4 if len(item.address) == 2 else Family.IPV6
        key = family, item.is_loopback
        if key not in self._recipes:
            options = sourced(self._options, self.engine.source, item.host)
            self._recipes[key] = recipe(family, socket.SOCK_DGRAM, 0, options, stamps=True)
        return self._recipes[key]

    def _send_failed(self, item: Item, seq: int, begun: int, sock: socket.socket, error: OSError) -> None:
        number = error.errno or 0
        if (port := source_port(self._options, seq)) and (busy := port_failure(number, port)) is not None:
            sock.close()
            self._fail(item, seq, begun, busy)
            return
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
    """One datagram under way. What is not its answer is kept as evidence, and the wait goes on."""

    __slots__ = (
        "begun_ns",
        "driver",
        "expires",
        "full_expiry",
        "item",
        "port",
        "protocol",
        "read",
        "sent_ns",
        "seq",
        "sock",
        "stranger",
        "strangers",
    )

    def __init__(
        self,
        driver: UdpDriver,
        item: Item,
        seq: int,
        sock: socket.socket,
        begun_ns: int,
        read: Reader,
        protocol: UdpRequest | None,
    ) -> None:
        self.driver = driver
        self.item = item
        self.seq = seq
        self.sock = sock
        self.begun_ns = begun_ns
        self.read = read
        self.protocol = protocol
        self.port = 0  # the source port, where it was chosen
        self.stranger: bytes | None = None  # the first answer that is not to this request
        self.strangers = 0
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
        if self.stranger is not None:
            self._answered(self.stranger, self._strange(), None, None, None)
            return
        outcome, failure = cut_or_silent(Stage.RECEIVE, waited_s, cut)
        if outcome is Outcome.TIMEOUT:
            failure = self._honest(failure)
            if self.item.detail is None:
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
        """Takes what is there, up to the answer; True where that came."""
        for _ in range(_READ_AT_ONCE):
            try:
                answer, ancillary, _, _ = self.sock.recvmsg(_MOST, 256)
            except OSError:  # nothing there, or the error that is classified next
                return False
            reading = self.read(answer, time.time_ns())
            if reading is None:
                self.strangers += 1
                self.stranger = answer if self.stranger is None else self.stranger
                continue
            received_ns, ttl = kernel.arrival(ancillary)
            if self.sent_ns is None:
                self._drain()
            rtt_ms, timing = (arrived_ns - self.begun_ns) / 1e6, Timing.USER
            if self.sent_ns is not None and received_ns is not None and received_ns >= self.sent_ns:
                rtt_ms, timing = (received_ns - self.sent_ns) / 1e6, Timing.KERNEL
            self._answered(answer, reading, rtt_ms, timing, ttl)
            return True
        return False

    def _answered(
        self, answer: bytes, reading: Reading, rtt_ms: float | None, timing: Timing | None, ttl: int | None
    ) -> None:
        known = self.item.detail
        if reading.is_valid or not (isinstance(known, UdpDetail) and known.state == OPEN):
            named = self.protocol is not None and reading.is_valid
            self.item.detail = UdpDetail(
                OPEN,
                answer[:KEPT_ANSWER],
                len(answer),
                str(self.protocol) if named else None,
                reading.text if named else None,
                "udp-response",
            )
        failure: Failure | None = None
        outcome = Outcome.OK
        if not reading.is_valid:
            failure = Failure(
                Stage.RECEIVE, FailureKind.ANSWER_UNEXPECTED, Origin.TARGET, self._named(reading.text)
            )
            outcome = failures.outcome_of(failure)
        self._end(Sample(self.seq, self._offset, rtt_ms, outcome, failure, timing, ttl))

    def _named(self, words: str) -> str:
        return f"{self.protocol}: {words}" if self.protocol is not None else words

    def _strange(self) -> Reading:
        came = "an answer" if self.strangers == 1 else f"{self.strangers} answers"
        return invalid(f"{came} came, none to this very request (another id, or another protocol)")

    def _honest(self, failure: Failure) -> Failure:
        """Silence says less the less a server had reason to answer."""
        what = f"a valid {self.protocol} request" if self.protocol is not None else "a datagram that"
        more = "" if self.protocol is not None else " no server need answer"
        return replace(failure, detail=f"{failure.detail} to {what}{more}: open or filtered")

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
        if self.port:
            driver.free(self.item, self.port)
        driver.engine.unwatch(fd)
        if driver.schedule.waiting.pop(fd, None) is not None:
            driver.engine.sockets -= 1
        self.sock.close()


def _waited_on(port: int) -> Failure:
    """Two sockets on one path would take each other's answers."""
    words = f"the source port {port} still waits for the answer to an earlier sample"
    return Failure(Stage.CONNECT, FailureKind.LOCAL_RESOURCE, Origin.AGENT, words)
