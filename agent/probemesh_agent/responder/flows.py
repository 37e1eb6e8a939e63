"""What the polls of this host's sockets add up to between two looks: half-open ones, connections, listeners.
Pure."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from probemesh_shared.model import Connection, HalfOpen, Listener

from probemesh_agent import kernel
from probemesh_agent.responder.sockdiag import SocketSeen

#: Of each, this many are kept and told at one look.
MOST: Final = 256
_HELD = 1024
_ANY_IPV4 = "0.0.0.0"  # noqa: S104 - told, not bound
_HAS_OWNER = frozenset({kernel.TCP_ESTABLISHED, kernel.TCP_CLOSE_WAIT})

Tuple = tuple[str, int, str, int]


@dataclass(slots=True)
class _Half:
    seen: SocketSeen
    first_ms: float
    last_ms: float
    retransmits: int


class Flows:
    """``peers`` and ``mss`` say whose connections come first where there are too many to tell."""

    def __init__(self, peers: Collection[str] = (), mss: int | None = None) -> None:
        self._peers = frozenset(peers)
        self._mss = mss
        self._halves: dict[Tuple, _Half] = {}
        self._connections: dict[Tuple, SocketSeen] = {}
        self._before: frozenset[Tuple] = frozenset()
        self._gone: set[Tuple] = set()
        self.cut = False

    @property
    def busy(self) -> bool:
        """Something is half open: look again soon."""
        return bool(self._halves)

    def begin(self, seen: Iterable[SocketSeen]) -> None:
        """Connections that were there before the watch: told last."""
        self._before = frozenset(one.tuple for one in seen if one.state != kernel.TCP_SYN_RECV)

    def poll(self, seen: Iterable[SocketSeen], at_ms: float, complete: bool = True) -> None:
        """One poll's sockets, but for listeners."""
        self.cut = self.cut or not complete
        now: set[Tuple] = set()
        for one in seen:
            if one.port == 0:  # nobody's doing but a forger's, and no message has room for it
                continue
            key = one.tuple
            now.add(key)
            if one.state == kernel.TCP_SYN_RECV:
                self._half(key, one, at_ms)
            elif key in self._connections or len(self._connections) < _HELD or self._wanted(one):
                self._connections[key] = one
            else:
                self.cut = True
        if complete:
            self._gone = self._connections.keys() - now

    def _half(self, key: Tuple, one: SocketSeen, at_ms: float) -> None:
        half = self._halves.get(key)
        if half is not None:
            half.last_ms, half.retransmits = at_ms, one.retransmits or 0
        elif len(self._halves) < MOST or one.address in self._peers:
            self._halves[key] = _Half(one, at_ms, at_ms, one.retransmits or 0)
        else:
            self.cut = True

    def _wanted(self, one: SocketSeen) -> bool:
        """Within reason: what strangers send must not fill the memory."""
        mine = one.address in self._peers or (self._mss is not None and one.mss == self._mss)
        return mine and len(self._connections) < 2 * _HELD

    def half_open(self) -> tuple[HalfOpen, ...]:
        """Those seen since the look before."""
        halves, self._halves = self._halves, {}
        told = sorted(halves.values(), key=lambda half: half.seen.address not in self._peers)
        return tuple(
            HalfOpen(
                half.seen.address,
                half.seen.port,
                half.seen.local_address,
                half.seen.local_port,
                half.first_ms,
                half.last_ms,
                half.retransmits,
            )
            for half in told[:MOST]
        )

    def connections(self) -> tuple[Connection, ...]:
        """Those seen since the look before, as they were last; the prober's and new ones first."""
        told = sorted(self._connections.values(), key=self._rank)
        self.cut = self.cut or len(told) > MOST
        for key in self._gone:
            self._connections.pop(key, None)
        self._gone = set()
        return tuple(_connection(one) for one in told[:MOST])

    def _rank(self, one: SocketSeen) -> tuple[bool, bool, bool]:
        mine = one.address in self._peers or (self._mss is not None and one.mss == self._mss)
        return not mine, one.tuple in self._before, one.inode != 0


def _connection(one: SocketSeen) -> Connection:
    return Connection(
        one.state,
        one.address,
        one.port,
        one.local_address,
        one.local_port,
        one.inode != 0 if one.state in _HAS_OWNER else None,
        one.receive_queue,
        one.send_queue,
        one.mss,
        one.retransmits,
        one.bytes_received,
    )


def listeners(seen: Iterable[SocketSeen], udp: bool, ours: Callable[[int], bool]) -> tuple[Listener, ...]:
    """A socket that takes both families is told as two."""
    told = [
        Listener(
            address,
            one.local_port,
            one.receive_queue,
            None if udp else one.send_queue,
            one.drops if udp else None,
            ours(one.inode),
        )
        for one in seen
        for address in ((one.local_address, _ANY_IPV4) if one.dual else (one.local_address,))
    ]
    return tuple(told[:MOST])
