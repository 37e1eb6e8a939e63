"""TCP connects: what answered, how long the handshake took, and the evidence where it failed.

The handshake's time is the kernel's (``tcpi_rtt``), so that a busy loop does not report its own delay.
After a lost SYN that number is wrong (it reads 1,000 microseconds, or 0): then the sample is reached, its
RTT unknown, and the retransmits are told. ``SO_ERROR`` is read before the error queue is drained, which
would clear it."""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from probemesh_shared import failures
from probemesh_shared.model import Failure, Options, Sample, TcpDetail
from probemesh_shared.portstate import OPEN
from probemesh_shared.words import Family, Outcome, Stage, Timing

from probemesh_agent import kernel
from probemesh_agent.engine.item import Item
from probemesh_agent.engine.outcomes import quick_sample
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

if TYPE_CHECKING:
    from probemesh_agent.engine.loop import Engine

_EVENTS = select.EPOLLOUT | select.EPOLLERR
_PENDING = frozenset({errno.EINPROGRESS, errno.EAGAIN})
SCANNED = TcpDetail(scan=True, state=OPEN, reason="syn-ack")  # unless it fails
_RESET_ON_CLOSE = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
# Python 3.11 looks an enumeration's member up in a quarter of a microsecond
_OK, _TCP_INFO, _USER = Outcome.OK, Timing.TCP_INFO, Timing.USER
_perf_ns = time.perf_counter_ns


class TcpDriver:
    """Connects for one run. Connections of a scan end by RST and only the answer is kept; others by FIN."""

    most_open: int | None = None
    burst = 128
    is_stalled = False

    def __init__(self, schedule: Schedule, engine: Engine, options: Options) -> None:
        self.schedule = schedule
        self.engine = engine
        self._options = options
        self._recipes: dict[tuple[int, bool, bool], Recipe] = {}

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
        """Connects. On loopback the answer may be there already: then no event is waited for."""
        if seq == 0:
            item.started_ns = time.time_ns()
            item.base_ns = _perf_ns()
            item.detail = SCANNED if item.is_scan else None
        try:
            sock = self._recipe(item).open(source_port(self._options, seq))
        except CannotOpen as error:
            self.fail(item, seq, _perf_ns(), error.failure)
            return
        begun = _perf_ns()
        number = sock.connect_ex(item.address)
        attempt = TcpAttempt(self, item, seq, sock, begun)
        if number and number not in _PENDING:
            self._at_once(attempt, number)
            return
        attempt.full_expiry = now + self._options.timeout_s
        attempt.expires = self.schedule.expiry(now)
        fd = sock.fileno()
        self.schedule.waiting[fd] = attempt
        self.engine.sockets += 1
        if item.is_loopback and attempt.look():
            return
        self.engine.watch(fd, _EVENTS, attempt.on_event)

    def flush(self, now: float) -> None:
        """Connects are sent when they start."""

    def close(self) -> None:
        for attempt in list(self.schedule.waiting.values()):
            attempt.drop()

    def fail(self, item: Item, seq: int, begun_ns: int, failure: Failure) -> None:
        """Ends an attempt that has no socket (any more)."""
        offset = (begun_ns - item.base_ns) / 1e6
        self.schedule.sample(item, Sample(seq, offset, None, failures.outcome_of(failure), failure))

    def _recipe(self, item: Item) -> Recipe:
        """IPv4 socket addresses are pairs, those of IPv6 have four parts."""
        key = len(item.address), item.is_scan, item.is_loopback
        found = self._recipes.get(key)
        if found is None:
            family = Family.IPV4 if len(item.address) == 2 else Family.IPV6
            options = sourced(self._options, self.engine.source, item.host)
            found = recipe(family, socket.SOCK_STREAM, 0, options)
            if item.is_scan:
                settings = (*found.settings, _RESET_ON_CLOSE)
                found = Recipe(found.family, found.kind, found.protocol, settings, found.source)
            self._recipes[key] = found
        return found

    def _at_once(self, attempt: TcpAttempt, number: int) -> None:
        """``connect`` itself failed: by the queue (a local reject), or by our own routing, or a refusal on
        loopback."""
        sock, item = attempt.sock, attempt.item
        entries = kernel.drain_errors(sock)
        failure = classify(Stage.CONNECT, number, entries, item.host, sock) if entries else None
        sock.close()
        if failure is None and (port := source_port(self._options, attempt.seq)):
            failure = port_failure(number, port)
        if failure is None:
            error = refusal(OSError(number, ""))
            if isinstance(error, Shortage):
                raise error
            failure = failures.from_errno(Stage.CONNECT, number, at_once=True)
        self.fail(item, attempt.seq, attempt.begun_ns, failure)


class TcpAttempt:
    """One connection under way; ``driver.schedule.waiting`` holds it by its descriptor."""

    __slots__ = ("begun_ns", "driver", "expires", "full_expiry", "item", "seq", "sock")

    def __init__(self, driver: TcpDriver, item: Item, seq: int, sock: socket.socket, begun_ns: int) -> None:
        self.driver = driver
        self.item = item
        self.seq = seq
        self.sock = sock
        self.begun_ns = begun_ns
        self.expires = 0.0
        self.full_expiry = 0.0

    def look(self) -> bool:
        """Ends the attempt if the handshake is over, well or badly."""
        state, mss, pmtu, rtt_us, retransmits = self._info()
        if state in kernel.TCP_CONNECTED:
            self._connected(mss, pmtu, rtt_us, retransmits)
            return True
        if state != kernel.TCP_CLOSE:
            return False
        self.on_event(select.EPOLLERR)
        return True

    def on_event(self, events: int) -> None:
        """Connected, refused, or an ICMP error."""
        ended_ns = _perf_ns()
        if not events & (select.EPOLLERR | select.EPOLLHUP):
            self.look()
            return
        number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # first: draining clears it
        entries = kernel.drain_errors(self.sock)
        failure = classify(Stage.CONNECT, number, entries, self.item.host, self.sock)
        if failure is not None:
            self._failed(failure, ended_ns)
            return
        state, mss, pmtu, rtt_us, retransmits = self._info()
        if state in kernel.TCP_CONNECTED:
            self._connected(mss, pmtu, rtt_us, retransmits)
        elif state == kernel.TCP_CLOSE:  # reset between handshake and now: it was reached, and is gone
            self._failed(failures.from_errno(Stage.CONNECT, errno.ECONNRESET), ended_ns)

    def expire(self, waited_s: float, cut: bool) -> None:
        """Silence, unless the answer came while the loop was busy elsewhere."""
        if self.look():
            return
        retransmits = self._info()[4]
        outcome, failure = cut_or_silent(Stage.CONNECT, waited_s, cut)
        self._close()
        self._sample(Sample(self.seq, self._offset, None, outcome, failure, syn_retransmits=retransmits))

    def drop(self) -> None:
        self._close()

    @property
    def _offset(self) -> float:
        return (self.begun_ns - self.item.base_ns) / 1e6

    def _info(self) -> tuple[int, int, int, int, int]:
        raw = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, kernel.TCP_INFO_SIZE)
        return kernel.unpack_tcp_info(raw)

    def _connected(self, mss: int, pmtu: int, rtt_us: int, retransmits: int) -> None:
        item = self.item
        if item.is_loopback and self.sock.getsockname()[:2] == item.address[:2]:
            # the kernel chose the very port that was asked for, and the socket met itself: nobody listens
            self._failed(failures.from_errno(Stage.CONNECT, errno.ECONNREFUSED), _perf_ns())
            return
        if item.detail is None:
            where = self.sock.getsockname()
            item.detail = TcpDetail(
                local_address=where[0],
                local_port=where[1],
                mss=mss,
                pmtu=pmtu or None,
                state=OPEN,
                reason="syn-ack",
            )
        self._close()
        rtt_ms: float | None = None
        timing: Timing | None = None
        if retransmits == 0 and rtt_us:
            rtt_ms, timing = rtt_us / 1e3, _TCP_INFO
        elif retransmits == 0:
            rtt_ms, timing = (_perf_ns() - self.begun_ns) / 1e6, _USER
        self._sample(quick_sample(self.seq, self._offset, rtt_ms, _OK, None, timing, None, retransmits))

    def _failed(self, failure: Failure, ended_ns: int) -> None:
        """A refusal has a round trip too: how far away the one is that refused."""
        refused = failure.icmp is None and failure.errno == "ECONNREFUSED"
        retransmits = self._info()[4]
        self._close()
        rtt_ms = (ended_ns - self.begun_ns) / 1e6 if refused and not retransmits else None
        timing = _USER if rtt_ms is not None else None
        outcome = failures.outcome_of(failure)
        self._sample(Sample(self.seq, self._offset, rtt_ms, outcome, failure, timing, None, retransmits))

    def _sample(self, sample: Sample) -> None:
        self.driver.schedule.sample(self.item, sample)

    def _close(self) -> None:
        driver = self.driver
        fd = self.sock.fileno()
        driver.engine.unwatch(fd)
        if driver.schedule.waiting.pop(fd, None) is not None:
            driver.engine.sockets -= 1
        self.sock.close()
