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
from probemesh_shared.model import Failure, Options, Sample
from probemesh_shared.words import FailureKind, Family, Origin, Stage, UdpRequest

from probemesh_agent import kernel
from probemesh_agent.engine.item import Item
from probemesh_agent.engine.schedule import Schedule, Shortage
from probemesh_agent.engine.sockets import (
    CannotOpen,
    Recipe,
    classify,
    port_failure,
    recipe,
    refusal,
    source_port,
)
from probemesh_agent.engine.udpattempt import UdpAttempt
from probemesh_agent.net.sources import sourced
from probemesh_agent.wire.requests import Asking, Request

if TYPE_CHECKING:
    from probemesh_agent.engine.loop import Engine

_EVENTS = select.EPOLLIN | select.EPOLLERR
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


def _waited_on(port: int) -> Failure:
    """Two sockets on one path would take each other's answers."""
    words = f"the source port {port} still waits for the answer to an earlier sample"
    return Failure(Stage.CONNECT, FailureKind.LOCAL_RESOURCE, Origin.AGENT, words)
