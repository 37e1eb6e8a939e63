"""Sockets for shots: what the flow's options ask for, and what the single shot adds."""

import socket
from collections.abc import Sequence
from dataclasses import replace

from probemesh_shared import failures
from probemesh_shared.model import Failure, Options, Shot
from probemesh_shared.words import Family, Stage

from probemesh_agent import kernel, signals
from probemesh_agent.engine.item import socket_address
from probemesh_agent.engine.schedule import Shortage
from probemesh_agent.engine.sockets import CannotOpen, recipe, source_port
from probemesh_agent.env import Address
from probemesh_agent.net.sources import sourced

#: What TCP_MAXSEG takes.
LEAST_MSS, MOST_MSS = 88, 32_767
_Setting = tuple[int, int, int]


class NotOpened(Exception):
    """The socket cannot be had; carries the failure of its shots."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


def for_shot(options: Options, source: str | None, host: str, shot: Shot) -> Options:
    """The options of one shot: its own TTL, and the agent's own ``source`` where none is asked for."""
    made = sourced(options, source, host)
    return made if shot.ttl is None else replace(made, ttl=shot.ttl)


def port_of(options: Options, index: int, shot: Shot) -> int:
    """The source port that is asked for; 0 for none."""
    return shot.source_port or source_port(options, index)


def tcp_socket(options: Options, family: Family, shot: Shot, port: int) -> socket.socket:
    """Not yet connected. Several may share a source port, with a listener of our own too where that allows
    it (SO_REUSEPORT). Raises :class:`NotOpened`."""
    more: list[_Setting] = []
    if port:
        more.append((socket.SOL_SOCKET, socket.SO_REUSEPORT, 1))
    if shot.mss is not None:
        if not LEAST_MSS <= shot.mss <= MOST_MSS:
            detail = f"an MSS of {shot.mss}: the kernel takes {LEAST_MSS} to {MOST_MSS}"
            raise NotOpened(failures.unsupported(Stage.CONNECT, detail))
        more.append((socket.IPPROTO_TCP, socket.TCP_MAXSEG, shot.mss))
    return _open(family, socket.SOCK_STREAM, options, port, more)


def udp_socket(options: Options, family: Family, port: int) -> socket.socket:
    """Unconnected, bound to ``port`` where one is asked for. Raises :class:`NotOpened`."""
    return _open(family, socket.SOCK_DGRAM, options, port, ())


def _open(family: Family, kind: int, options: Options, port: int, more: Sequence[_Setting]) -> socket.socket:
    try:
        found = recipe(family, kind, 0, replace(options, dont_fragment=False))
        return replace(found, settings=(*found.settings, *more)).open(port)
    except (CannotOpen, Shortage) as error:
        raise NotOpened(error.failure) from None


def stamp_sends(sock: socket.socket) -> bool:
    """Asks for transmit stamps that are numbered from 0 on, from the next datagram. False: not to be had."""
    if signals.TX_TIMESTAMPS in signals.masked():
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, kernel.SO_TIMESTAMPING, 0)
        sock.setsockopt(socket.SOL_SOCKET, kernel.SO_TIMESTAMPING, kernel.TX_STAMPS)
    except OSError:
        return False
    return True


def shape(sock: socket.socket, family: Family, ttl: int | None, dont_fragment: bool) -> None:
    """TTL (-1, the default, for None) and the DF bit of the next datagram. Without DF nothing of the
    remembered path limits it either; with DF it is the path itself that is asked."""
    discover = kernel.PMTUDISC_PROBE if dont_fragment else kernel.PMTUDISC_DONT
    if family is Family.IPV6:
        level = socket.IPPROTO_IPV6
        sock.setsockopt(level, kernel.IPV6_UNICAST_HOPS, -1 if ttl is None else ttl)
        sock.setsockopt(level, kernel.IPV6_MTU_DISCOVER, discover)
        sock.setsockopt(level, kernel.IPV6_DONTFRAG, int(dont_fragment))
    else:
        level = socket.IPPROTO_IP
        sock.setsockopt(level, kernel.IP_TTL, -1 if ttl is None else ttl)
        sock.setsockopt(level, kernel.IP_MTU_DISCOVER, discover)


def local_address(options: Options, address: Address, port: int) -> str | None:
    """From which address the kernel sends there; connecting a datagram socket asks it, and sends nothing."""
    try:
        sock = udp_socket(options, address.family, 0)
    except NotOpened:
        return None
    with sock:
        try:
            sock.connect(socket_address(address.host, address.family, port or 9)[0])
            return str(sock.getsockname()[0]).partition("%")[0]
        except OSError:
            return None
