"""This host's sockets on the watched ports, polled: what they were between two looks, and what they are."""

import socket
from collections.abc import Callable, Collection, Iterable
from typing import Final

from probemesh_shared.failures import errno_name
from probemesh_shared.model import Connection, HalfOpen, Listener

from probemesh_agent import kernel
from probemesh_agent.responder import flows
from probemesh_agent.responder.doors import SHORTAGE
from probemesh_agent.responder.flows import Flows
from probemesh_agent.responder.procnet import ProcNet
from probemesh_agent.responder.sockdiag import SockDiag, SocketSeen

#: What an account cannot tell where sockets cannot be read.
BLIND: Final = ("connections", "half-open", "listeners")
#: All states of TCP but those of listeners, of sockets without an owner or a peer, and TIME_WAIT.
_STATES = frozenset(range(1, 12)) - {
    kernel.TCP_LISTEN,
    kernel.TCP_CLOSE,
    kernel.TCP_TIME_WAIT,
    kernel.TCP_SYN_SENT,
}


class SocketTrack:
    """``ports``: of TCP, to be polled. ``sock_diag`` False: as on a kernel without it. Raises
    :class:`OSError` only where this host is short of descriptors or memory."""

    def __init__(self, found: Flows, ports: Collection[int], *, sock_diag: bool = True) -> None:
        self._flows, self._ports = found, ports
        self._problems: list[str] = []
        self._way = _readable([SockDiag, ProcNet] if sock_diag else [ProcNet])
        if (seen := self._ask(socket.IPPROTO_TCP, _STATES, ports)) is not None:
            found.begin(seen[0])

    @property
    def blind(self) -> bool:
        """Nobody can be asked (any more)."""
        return self._way is None

    @property
    def busy(self) -> bool:
        return self._flows.busy

    def poll(self, at_ms: float) -> None:
        if (seen := self._ask(socket.IPPROTO_TCP, _STATES, self._ports)) is not None:
            self._flows.poll(seen[0], at_ms, seen[1])

    def look(self) -> tuple[tuple[HalfOpen, ...], tuple[Connection, ...], list[str]]:
        """What was seen since the look before, and problems for people."""
        half_open, connections = self._flows.half_open(), self._flows.connections()
        problems, self._problems = self._problems, []
        if self._flows.cut:
            self._flows.cut = False
            problems.append("not all sockets on the port are told: there are too many")
        return half_open, connections, problems

    def listeners(self, port: int, udp: bool, ours: Callable[[int], bool]) -> tuple[Listener, ...]:
        """What is bound to ``port`` now. ``ours`` says of an inode whether it is the watch's own."""
        state = kernel.TCP_CLOSE if udp else kernel.TCP_LISTEN  # of UDP: bound and not connected
        seen = self._ask(socket.IPPROTO_UDP if udp else socket.IPPROTO_TCP, {state}, (port,))
        return flows.listeners(seen[0] if seen is not None else (), udp, ours)

    def _ask(
        self, protocol: int, states: Collection[int], ports: Collection[int]
    ) -> tuple[list[SocketSeen], bool] | None:
        if self._way is None:
            return None
        try:
            return self._way.sockets(protocol, states, ports)
        except OSError as error:
            self._problems.append(f"sockets could not be read: {errno_name(error.errno or 0)}")
            self.close()
            return None

    def close(self) -> None:
        if self._way is not None:
            self._way.close()
            self._way = None


def _readable(ways: Iterable[Callable[[], SockDiag | ProcNet]]) -> SockDiag | ProcNet | None:
    """The first way that this kernel knows."""
    for way in ways:
        made: SockDiag | ProcNet | None = None
        try:
            made = way()
            made.sockets(socket.IPPROTO_TCP, {kernel.TCP_LISTEN}, (1,))
        except OSError as error:
            if made is not None:
                made.close()
            if error.errno in SHORTAGE:
                raise
            continue
        return made
    return None
