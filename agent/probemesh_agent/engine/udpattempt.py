"""One datagram under way: its answer, an ICMP error, what is not its answer, or silence."""

from __future__ import annotations

import select
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from probemesh_shared import failures
from probemesh_shared.model import Failure, Sample, UdpDetail
from probemesh_shared.portstate import CLOSED, OPEN
from probemesh_shared.portstate import OPEN_FILTERED as SILENT
from probemesh_shared.words import FailureKind, Origin, Outcome, Stage, Timing, UdpRequest

from probemesh_agent import kernel
from probemesh_agent.engine.item import Item
from probemesh_agent.engine.schedule import cut_or_silent
from probemesh_agent.engine.sockets import classify
from probemesh_agent.wire.requests import Reader, Reading, invalid

if TYPE_CHECKING:
    from probemesh_agent.engine.udp import UdpDriver

KEPT_ANSWER = 512
_MOST = 65_535
_READ_AT_ONCE = 32  # datagrams of one socket, before others have a turn
_perf_ns = time.perf_counter_ns


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
