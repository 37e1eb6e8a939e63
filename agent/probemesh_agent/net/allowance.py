"""What this host's owner lets its agent send, kept: in all, by kind and to one address, and how many sockets
at once. Pure; the packet engine's thread and the event loop ask the same object.

It knows nothing of who asks: whatever a controller sends, no more leaves than this."""

import threading
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from ipaddress import ip_address
from math import inf

from probemesh_shared.model import Failure
from probemesh_shared.words import FailureKind, Kind, Origin, Stage

from probemesh_agent.net.policy import Limits
from probemesh_agent.net.ranges import embedded, unmapped

#: The kind for which a task sends. Tasks inherit it.
asking: ContextVar[Kind | None] = ContextVar("asking", default=None)

#: Of a second's packets these may leave in one instant; to one address more, as a probe of several ports has
#: them.
_AT_ONCE, _AT_ONCE_TO_ONE = 0.05, 0.1
#: For an engine without an owner.
UNLIMITED = Limits(inf, inf, 1 << 30, inf, inf)
_NEARLY = 1e-6
_MOST_KEYS = 16_384


@lru_cache(4096)
def place(host: str) -> str | None:
    """Under what an address is counted, however it is written or reached; None for loopback, which no packet
    leaves."""
    address = ip_address(host.partition("%")[0])
    if address.version == 6:
        inner = embedded(address)
        address = inner[0][1] if inner else unmapped(address)
    return None if address.is_loopback else str(address)


class Rate:
    """So many a second, for each key by itself: evenly spaced once ``at_once`` of a second's worth have gone
    in one instant. What was booked counts, used or not."""

    def __init__(self, per_s: float, words: str, at_once: float = _AT_ONCE) -> None:
        self.per_s = per_s
        self.words = words
        self._gap = 1.0 / per_s
        self._slack = (max(1.0, per_s * at_once) - 1.0) / per_s
        self._done: dict[str, float] = {}  # when all that was booked would have gone, evenly spaced
        self._most_keys = _MOST_KEYS
        self._lock = threading.Lock()

    def room(self, now: float, wanted: int, key: str = "") -> int:
        """How many of ``wanted`` may leave now."""
        left = self._slack - max(0.0, self._done.get(key, now) - now)
        return min(wanted, int(left * self.per_s + _NEARLY) + 1) if left > -_NEARLY else 0

    def wait_s(self, now: float, key: str = "") -> float:
        """Seconds until one may leave."""
        return max(0.0, self._done.get(key, now) - now - self._slack)

    def take(self, now: float, count: int, key: str = "") -> None:
        """``count`` left, or will."""
        with self._lock:
            self._done[key] = max(now, self._done.get(key, now)) + count * self._gap
            if len(self._done) > self._most_keys:
                self._done = {each: done for each, done in self._done.items() if done > now}
                self._most_keys = max(_MOST_KEYS, 2 * len(self._done))

    def book(self, now: float, until: float, key: str = "") -> float | None:
        """When the next one may leave, which counts from now on; None where that is after ``until``."""
        at = now + self.wait_s(now, key)
        if at > until:
            return None
        self.take(now, 1, key)
        return at

    def __len__(self) -> int:
        return len(self._done)


class Allowance:
    """``limit`` puts other limits in force; what is open stays counted."""

    def __init__(self, limits: Limits) -> None:
        self._streams: Counter[Kind | None] = Counter()
        #: Attempts of a kind that the packet engine has under way, and for None the sockets of all.
        self.engine_open: Callable[[Kind | None], int] = lambda kind: 0
        self.limit(limits)

    def limit(self, limits: Limits) -> None:
        self.limits = limits
        self._in_all = _Pair("in all", limits.packets_per_s, limits.connections_per_s)
        self._of_kinds = {
            kind: _Pair(f"of {kind}", own.packets_per_s, own.connections_per_s)
            for kind, own in limits.kinds.items()
        }
        self._targets = {
            False: _to_one(limits.target_packets_per_s, "packets"),
            True: _to_one(limits.target_connections_per_s, "connections"),
        }

    def rates(self, kind: Kind | None, connects: bool) -> tuple[Rate, ...]:
        """All that hold whatever the target: a connection counts as a packet, too."""
        own = self._of_kinds.get(kind) if kind is not None else None
        return (*(own.of(connects) if own is not None else ()), *self._in_all.of(connects))

    def target(self, connects: bool) -> Rate | None:
        """The rate to each address, loopback exempt."""
        return self._targets[connects]

    # --- sockets ---

    @property
    def streams(self) -> int:
        """Open outside of the packet engine."""
        return self._streams.total()

    def full(self, kind: Kind | None) -> Failure | None:
        """Why no more may be opened; None where they may."""
        if self.streams + self.engine_open(None) >= self.limits.concurrent:
            return capped(f"{self.limits.concurrent} sockets are open, and no more are allowed")
        most = self.concurrent(kind)
        if most is not None and kind is not None and self._streams[kind] + self.engine_open(kind) >= most:
            return capped(f"{most} of {kind} are under way, and no more are allowed")
        return None

    def concurrent(self, kind: Kind | None) -> int | None:
        own = self.limits.kinds.get(kind) if kind is not None else None
        return own.concurrent if own is not None else None

    def room(self, kind: Kind | None, wanted: int) -> int:
        """How many of ``wanted`` attempts the packet engine may begin besides those that it has."""
        most = self.concurrent(kind)
        if most is None or kind is None:
            return wanted
        return min(wanted, most - self._streams[kind] - self.engine_open(kind))

    def opened(self, kind: Kind | None) -> None:
        self._streams[kind] += 1

    def closed(self, kind: Kind | None) -> None:
        self._streams[kind] -= 1


class _Pair:
    def __init__(self, whose: str, packets: float, connections: float) -> None:
        self._packets = (Rate(packets, f"{packets:g} packets a second {whose}"),) * (packets < inf)
        more = (Rate(connections, f"{connections:g} connections a second {whose}"),) * (connections < inf)
        self._connects = self._packets + more

    def of(self, connects: bool) -> tuple[Rate, ...]:
        return self._connects if connects else self._packets


def _to_one(per_s: float, what: str) -> Rate | None:
    return Rate(per_s, f"{per_s:g} {what} a second to one address", _AT_ONCE_TO_ONE) if per_s < inf else None


def capped(detail: str) -> Failure:
    return Failure(Stage.CONNECT, FailureKind.LOCAL_RESOURCE, Origin.AGENT, f"this agent's own cap: {detail}")
