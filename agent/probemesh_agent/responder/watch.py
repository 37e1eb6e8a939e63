"""One watch: what this host sees of a prober, kept from look to look; beside a foreign service it touches
nothing.

What the counters rise by in time that was quiet is their baseline; whoever looks says which was.
Sockets are polled all the time, often at first and after every look, for a half-open one of a healthy
handshake lives no longer than a round trip; a poll never takes more than a tenth of the time.
"""

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from probemesh_shared import failures
from probemesh_shared.model import Counter, Failure, Listener, WatchDetail, WatchSpec
from probemesh_shared.words import FailureKind, Origin, Stage, Transport

from probemesh_agent import kernel, signals
from probemesh_agent.addresses import interface_addresses
from probemesh_agent.env import Clock
from probemesh_agent.responder import doors, flows
from probemesh_agent.responder.counters import PERIOD_MS, CounterFiles, CounterTrack, conntrack
from probemesh_agent.responder.datagrams import DatagramSide
from probemesh_agent.responder.doors import Doors
from probemesh_agent.responder.flows import Flows
from probemesh_agent.responder.procnet import ProcNet
from probemesh_agent.responder.sockdiag import SockDiag, SocketSeen
from probemesh_agent.responder.streams import StreamSide

_OFTEN_S, _SELDOM_S = 0.012, 0.05
_BRISK_S = 5.0  # after arming, and after every look
_SHARE = 10.0
_MOST_ADDRESSES = 256
_UDP_UNCONNECTED = kernel.TCP_CLOSE
#: All states but those of listeners, of sockets without an owner or a peer, and TIME_WAIT.
_STATES = frozenset(range(1, 12)) - {kernel.TCP_LISTEN, kernel.TCP_CLOSE, kernel.TCP_TIME_WAIT, 2}
SHORTAGE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class Place:
    """What is watched. ``may_listen``: this host's policy lets its agent open listeners."""

    port: int | None
    may_listen: bool = True


class Watch:
    """Armed by being made; raises :class:`OSError` where this host is short of descriptors or memory, and
    has then opened nothing."""

    def __init__(self, spec: WatchSpec, place: Place, clock: Clock) -> None:
        self._spec, self._place, self._clock = spec, place, clock
        self._began = self._brisk_from = clock.monotonic()
        self._hidden = signals.masked()
        self._nonce = os.urandom(8)
        self._looks = 0
        self._problems: list[str] = []
        self._blind: set[str] = {"packets"}
        self._doors: list[Doors] = []
        self._listen_failure: Failure | None = None
        self._surrogate: int | None = None
        self._counters: CounterTrack | None = None
        self._sockets: SockDiag | ProcNet | None = None
        self._flows = Flows(spec.peers, spec.mss)
        self._poll_s = 0.0
        self._datagrams = DatagramSide(spec.token, self._nonce, self._now_ms)
        saved_syn = signals.SAVED_SYN not in self._hidden
        self._streams = StreamSide(spec.token, self._nonce, self._now_ms, saved_syn)
        try:
            self._arm()
        except BaseException:
            self.close()
            raise

    # --- arming ---

    def _arm(self) -> None:
        self._counters = CounterTrack(CounterFiles(self._hidden), self._began)
        self._sockets = self._open_sockets()
        if self._spec.surrogate:
            self._open_surrogate()
        if self._spec.listen:
            self._open_listener()
        for opened in self._doors:
            self._streams.serve(opened.tcp)
            self._datagrams.serve(opened.udp, opened.other)
        self._begin_flows()

    def _open_sockets(self) -> SockDiag | ProcNet | None:
        ways: list[Callable[[], SockDiag | ProcNet]] = [ProcNet]
        if signals.SOCK_DIAG not in self._hidden:
            ways.insert(0, SockDiag)
        for way in ways:
            try:
                made = way()
                made.sockets(socket.IPPROTO_TCP, {kernel.TCP_LISTEN}, {self._place.port or 1})
            except OSError as error:
                if error.errno in SHORTAGE:
                    raise
                continue
            return made
        self._blind |= {"listeners", "half-open", "connections"}
        return None

    def _open_surrogate(self) -> None:
        if not self._place.may_listen:
            self._problems.append("no surrogate listeners: this host's policy allows none")
            return
        try:
            opened = doors.surrogate()
        except OSError as error:
            _reraise_shortage(error)
            self._problems.append(f"no surrogate listeners: {failures.errno_name(error.errno or 0)}")
            return
        self._doors.append(opened)
        self._surrogate = opened.port

    def _open_listener(self) -> None:
        port, transport = self._place.port, self._spec.transport
        if port is None or transport is Transport.ICMP:
            return
        if not self._place.may_listen:
            self._listen_failure = _not_opened(FailureKind.DENIED, "this host's policy allows no listeners")
            return
        kind = socket.SOCK_STREAM if transport is Transport.TCP else socket.SOCK_DGRAM
        try:
            self._doors.append(doors.on_port(port, kind))
        except OSError as error:
            _reraise_shortage(error)
            self._listen_failure = _listen_failure(port, error)

    # --- while it lasts ---

    async def keep(self, deadline: float) -> None:
        """Polls until ``deadline`` (of the clock)."""
        sample_due = self._clock.monotonic() + PERIOD_MS / 1000
        while (now := self._clock.monotonic()) < deadline:
            self._poll(now)
            if self._counters is not None and now >= sample_due:
                self._counters.sample(now)
                sample_due = now + PERIOD_MS / 1000
            await self._clock.sleep(min(deadline - now, self._pause(now)))

    def _pause(self, now: float) -> float:
        brisk = now - self._brisk_from < _BRISK_S or self._flows.busy
        return max(_OFTEN_S if brisk else _SELDOM_S, self._poll_s * _SHARE)

    def _poll(self, now: float) -> None:
        found = self._ask(socket.IPPROTO_TCP, _STATES, self._tcp_ports())
        if found is not None:
            self._flows.poll(found[0], self._now_ms(), found[1])
        self._poll_s = self._clock.monotonic() - now

    def _begin_flows(self) -> None:
        found = self._ask(socket.IPPROTO_TCP, _STATES, self._tcp_ports())
        if found is not None:
            self._flows.begin(found[0])

    def _tcp_ports(self) -> list[int]:
        watched = self._place.port if self._spec.transport is Transport.TCP else None
        return [port for port in (watched, self._surrogate) if port is not None]

    def _ask(self, protocol: int, states: Any, ports: list[int]) -> tuple[list[SocketSeen], bool] | None:
        """None where nobody can be asked (any more)."""
        if self._sockets is None:
            return None
        try:
            return self._sockets.sockets(protocol, states, ports)
        except OSError as error:
            self._problems.append(f"sockets could not be read: {failures.errno_name(error.errno or 0)}")
            self._sockets.close()
            self._sockets = None
            self._blind |= {"listeners", "half-open", "connections"}
            return None

    def _now_ms(self) -> float:
        return (self._clock.monotonic() - self._began) * 1000

    # --- looks ---

    def armed(self) -> WatchDetail:
        """The first account: what there is."""
        return self._account(self._counters.begin() if self._counters is not None else ())

    def look(self) -> WatchDetail:
        """What is new since the look before."""
        self._looks += 1
        now = self._brisk_from = self._clock.monotonic()
        self._poll(now)
        return self._account(self._counters.look(now) if self._counters is not None else ())

    def quiet(self) -> WatchDetail:
        """Nothing was sent since the look before; tells what there is, and nothing of what is new."""
        now = self._brisk_from = self._clock.monotonic()
        counters: tuple[Counter, ...] = ()
        if self._counters is not None:
            self._counters.sample(now)
            self._counters.quiet(now)
            counters = self._counters.begin()
        return self._standing(counters)

    def _standing(self, counters: tuple[Counter, ...]) -> WatchDetail:
        """What is as it is, whatever was told before."""
        used, most = conntrack()
        return WatchDetail(
            look=self._looks,
            at_ms=self._now_ms(),
            quiet_ms=self._counters.quiet_ms if self._counters is not None else 0.0,
            span_ms=self._counters.span_ms if self._counters is not None else 0.0,
            agent=self._nonce.hex(),
            addresses=tuple(map(str, interface_addresses()[:_MOST_ADDRESSES])),
            listeners=self._listeners(),
            listen_failure=self._listen_failure,
            surrogate_port=self._surrogate,
            counters=counters,
            blind=tuple(sorted(self._blind)),
            conntrack=used,
            conntrack_most=most,
        )

    def _account(self, counters: tuple[Counter, ...]) -> WatchDetail:
        datagrams, errors, more_datagrams = self._datagrams.look()
        accepted, more_accepted = self._streams.look()
        half_open, connections = self._flows.half_open(), self._flows.connections()
        problems = [
            *self._problems,
            *_more(more_datagrams, "datagrams"),
            *_more(more_accepted, "connections"),
        ]
        if self._flows.cut:
            problems.append("not all sockets on the port are told: there are too many")
        self._problems, self._flows.cut = [], False
        return replace(
            self._standing(counters),
            half_open=half_open,
            connections=connections,
            accepted=accepted,
            datagrams=datagrams,
            errors=errors,
            problems=tuple(problems),
        )

    def _listeners(self) -> tuple[Listener, ...]:
        port, udp = self._place.port, self._spec.transport is Transport.UDP
        if port is None or self._spec.transport is Transport.ICMP:
            return ()
        protocol = socket.IPPROTO_UDP if udp else socket.IPPROTO_TCP
        found = self._ask(protocol, {_UDP_UNCONNECTED if udp else kernel.TCP_LISTEN}, [port])
        ours = frozenset[int]().union(*(opened.inodes() for opened in self._doors))
        return flows.listeners(found[0] if found else (), udp, ours.__contains__)

    def close(self) -> None:
        """Gives everything back; may be called twice."""
        self._streams.close()
        self._datagrams.close()
        for opened in self._doors:
            opened.close()
        self._doors = []
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None
        if self._counters is not None:
            self._counters.close()
            self._counters = None


def _more(count: int, what: str) -> list[str]:
    return [f"{count} {what} more were not told"] if count else []


def _reraise_shortage(error: OSError) -> None:
    if error.errno in SHORTAGE:
        raise error


def _listen_failure(port: int, error: OSError) -> Failure:
    number = error.errno or 0
    if number == errno.EADDRINUSE:
        return _not_opened(FailureKind.LOCAL_RESOURCE, f"port {port} is in use on this host", number)
    if number == errno.EACCES:
        return _not_opened(FailureKind.DENIED, f"this agent may not listen on port {port}", number)
    return _not_opened(
        FailureKind.LOCAL_RESOURCE, f"no listener on port {port}: {os.strerror(number)}", number
    )


def _not_opened(kind: FailureKind, words: str, number: int | None = None) -> Failure:
    name = failures.errno_name(number) if number is not None else None
    return Failure(Stage.CONNECT, kind, Origin.AGENT, words, errno=name)
