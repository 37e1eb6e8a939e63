"""One watch: what this host sees of a prober, kept from look to look; beside a foreign service it touches
nothing.

What the counters rise by in time that was quiet is their baseline; whoever looks says which was. Sockets are
polled all the time, often at first and after every look, for a half-open one of a healthy handshake lives no
longer than a round trip; a poll never takes more than a tenth of the time.
"""

import os
import socket
from dataclasses import dataclass, replace

from probemesh_shared.failures import errno_name
from probemesh_shared.model import Counter, Failure, Listener, WatchDetail, WatchSpec
from probemesh_shared.twoends import MOST_ADDRESSES
from probemesh_shared.words import FailureKind, Transport

from probemesh_agent import signals
from probemesh_agent.addresses import interface_addresses
from probemesh_agent.env import Clock
from probemesh_agent.responder import doors
from probemesh_agent.responder.counters import PERIOD_MS, CounterFiles, CounterTrack, conntrack
from probemesh_agent.responder.datagrams import DatagramSide, MayAnswer
from probemesh_agent.responder.doors import SHORTAGE, Doors
from probemesh_agent.responder.fitting import fitted
from probemesh_agent.responder.flows import Flows
from probemesh_agent.responder.packets import PacketSide
from probemesh_agent.responder.sockets import BLIND, SocketTrack
from probemesh_agent.responder.streams import StreamSide

_OFTEN_S, _SELDOM_S = 0.012, 0.05
_BRISK_S = 5.0  # after arming, and after every look
_SHARE = 10.0


def _anybody(_: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Place:
    """What is watched. ``may_listen``: this host's policy lets its agent open listeners; ``may_answer``: and
    answer who asks from this address."""

    port: int | None
    may_listen: bool = True
    may_answer: MayAnswer = _anybody


class Watch:
    """Armed by being made; raises :class:`OSError` where this host is short of descriptors or memory, and
    has then opened nothing."""

    def __init__(self, spec: WatchSpec, place: Place, clock: Clock) -> None:
        self._spec, self._may_listen, self._clock = spec, place.may_listen, clock
        self._port = place.port if spec.transport is not Transport.ICMP else None
        self._began = self._brisk_from = clock.monotonic()
        self._hidden = signals.masked()
        self._nonce = os.urandom(8)
        self._looks = 0
        self._poll_s = 0.0
        self._problems: list[str] = []
        self._doors: list[Doors] = []
        self._listen_failure: Failure | None = None
        self._surrogate: int | None = None
        self._counters: CounterTrack | None = None
        self._sockets: SocketTrack | None = None
        self._packets: PacketSide | None = None
        self._datagrams = DatagramSide(spec.token, self._nonce, self._now_ms, place.may_answer)
        saved_syn = signals.SAVED_SYN not in self._hidden
        self._streams = StreamSide(spec.token, self._nonce, self._now_ms, saved_syn, place.may_answer)
        try:
            self._arm()
        except BaseException:
            self.close()
            raise

    # --- arming ---

    def _arm(self) -> None:
        spec = self._spec
        self._counters = CounterTrack(CounterFiles(self._hidden), self._began)
        if spec.surrogate:
            self._open_surrogate()
        if spec.listen and self._port is not None:
            self._open_listener(self._port)
        for opened in self._doors:
            self._streams.serve(opened.tcp)
            self._datagrams.serve(opened.udp, opened.other)
        ports = (*_some(self._port if spec.transport is Transport.TCP else None), *_some(self._surrogate))
        sock_diag = signals.SOCK_DIAG not in self._hidden
        self._sockets = SocketTrack(Flows(spec.peers, spec.mss), ports, sock_diag=sock_diag)
        self._packets = self._open_packets()

    def _open_surrogate(self) -> None:
        if not self._may_listen:
            self._problems.append("no surrogate listeners: this host's policy allows none")
            return
        try:
            opened = doors.surrogate()
        except OSError as error:
            if error.errno in SHORTAGE:
                raise
            self._problems.append(f"no surrogate listeners: {errno_name(error.errno or 0)}")
            return
        self._doors.append(opened)
        self._surrogate = opened.port

    def _open_listener(self, port: int) -> None:
        if not self._may_listen:
            words = "this host's policy allows no listeners"
            self._listen_failure = doors.refused(FailureKind.DENIED, words)
            return
        tcp = self._spec.transport is Transport.TCP
        try:
            self._doors.append(doors.on_port(port, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM))
        except OSError as error:
            self._listen_failure = doors.why_not(port, error)

    def _open_packets(self) -> PacketSide | None:
        if signals.PACKETS in self._hidden:
            return None
        try:
            return PacketSide(_some(self._port), _some(self._surrogate), self._now_ms)
        except OSError as error:
            if error.errno in SHORTAGE:
                raise
            return None

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
        busy = self._sockets is not None and self._sockets.busy
        brisk = busy or now - self._brisk_from < _BRISK_S
        return max(_OFTEN_S if brisk else _SELDOM_S, self._poll_s * _SHARE)

    def _poll(self, now: float) -> None:
        if self._sockets is not None:
            self._sockets.poll(self._now_ms())
        self._poll_s = self._clock.monotonic() - now

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
        addresses = interface_addresses()
        listeners = self._listeners()
        return WatchDetail(
            look=self._looks,
            at_ms=self._now_ms(),
            quiet_ms=self._counters.quiet_ms if self._counters is not None else 0.0,
            span_ms=self._counters.span_ms if self._counters is not None else 0.0,
            agent=self._nonce.hex(),
            addresses=tuple(map(str, addresses[:MOST_ADDRESSES])),
            listeners=listeners,
            listen_failure=self._listen_failure,
            surrogate_port=self._surrogate,
            counters=counters,
            blind=self._blind(),
            conntrack=used,
            conntrack_most=most,
            problems=tuple(_more(len(addresses) - MOST_ADDRESSES, "addresses of this host")),
        )

    def _account(self, counters: tuple[Counter, ...]) -> WatchDetail:
        datagrams, errors, more_datagrams = self._datagrams.look()
        accepted, more_accepted = self._streams.look()
        packets, more_packets = self._packets.look() if self._packets is not None else ((), 0)
        standing = self._standing(counters)
        half_open, connections, troubles = self._sockets.look() if self._sockets is not None else ((), (), [])
        problems = [
            *standing.problems,
            *self._problems,
            *troubles,
            *_more(more_datagrams, "datagrams"),
            *_more(more_accepted, "connections"),
            *_more(more_packets, "packets on the wire"),
        ]
        self._problems = []
        return fitted(
            replace(
                standing,
                half_open=half_open,
                connections=connections,
                accepted=accepted,
                datagrams=datagrams,
                errors=errors,
                packets=packets,
                problems=tuple(problems),
            )
        )

    def _blind(self) -> tuple[str, ...]:
        found = list(BLIND) if self._sockets is None or self._sockets.blind else []
        if self._packets is None:
            found.append("packets")
        if not self._counters:
            found.append("counters")
        return tuple(found)

    def _listeners(self) -> tuple[Listener, ...]:
        if self._port is None or self._sockets is None:
            return ()
        ours = frozenset[int]().union(*(opened.inodes() for opened in self._doors))
        udp = self._spec.transport is Transport.UDP
        return self._sockets.listeners(self._port, udp, ours.__contains__)

    def close(self) -> None:
        """Gives everything back; may be called twice."""
        self._streams.close()
        self._datagrams.close()
        parts = (*self._doors, self._packets, self._sockets, self._counters)
        self._doors, self._packets, self._sockets, self._counters = [], None, None, None
        for part in parts:
            if part is not None:
                part.close()


def _some(port: int | None) -> tuple[int, ...]:
    return () if port is None else (port,)


def _more(count: int, what: str) -> list[str]:
    return [f"{count} {what} more were not told"] if count > 0 else []
