"""The way of one trace's packets: sockets of one flow, and what is heard of each packet, told by its number.

A lane has constant ports (or an ICMP identifier and checksum that stay), so that routers with several ways
send all packets the same one. It waits for nothing: sockets are watched by the running loop, and
:attr:`Lane.tell` is called when something came.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from probemesh_shared import failures, icmpcodes
from probemesh_shared.model import Failure, HopAnswer, IcmpError, Options
from probemesh_shared.words import Family, Stage

from probemesh_agent import kernel
from probemesh_agent.engine.schedule import Shortage
from probemesh_agent.engine.sockets import CannotOpen, Recipe, icmp_error, recipe, refusal
from probemesh_agent.env import Address, Clock
from probemesh_agent.net.literals import sockaddr_of
from probemesh_agent.path.told import Told
from probemesh_agent.path.walk import Heard

_RX_STAMPS = kernel.RX_SOFTWARE | kernel.REPORT_SOFTWARE


class LaneFailed(Exception):
    """This host could not send; carries the failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


#: Number of the packet, and what was heard.
Tell = Callable[[int, Told], None]


@dataclass(frozen=True, slots=True)
class Sent:
    """When a packet left, by both clocks."""

    hop: int
    wall_ns: int
    perf_ns: int


class Lane:
    """What all lanes share. ``window`` packets may be on their way at once."""

    window = 1
    size: int | None  # payload bytes of what is sent next; None: the lane's own choice
    fragment_for: int | None = None  # packets may be fragmented, for a path of this MTU

    def __init__(self, address: Address, port: int, options: Options, clock: Clock, tell: Tell) -> None:
        self.address = address
        self.port = port
        self.options = options
        self.tell = tell
        self.ipv6 = address.family is Family.IPV6
        self.size = options.size
        self.sent: dict[int, Sent] = {}
        self._clock = clock
        self.local_address: str | None = None
        self.local_port: int | None = None

    def send(self, number: int, hop: int) -> None:
        """One packet with TTL ``hop``, 0 for the system's own. Raises :class:`LaneFailed`."""
        raise NotImplementedError

    def close(self) -> None:
        """Everything; may be called twice."""
        raise NotImplementedError

    # --- for the lanes themselves -------------------------------------------------------------------------

    def recipe(self, kind: int, protocol: int = 0) -> Recipe:
        try:
            return recipe(self.address.family, kind, protocol, self.options)
        except CannotOpen as error:
            raise LaneFailed(error.failure) from None

    def opened(self, made: Recipe, port: int = 0) -> socket.socket:
        """Told how, and one flow: IPv6 sockets get no flow label of their own."""
        try:
            sock = made.open(port)
        except (CannotOpen, Shortage) as error:
            raise LaneFailed(error.failure) from None
        sock.setsockopt(socket.SOL_SOCKET, kernel.SO_TIMESTAMPING, _RX_STAMPS)
        if self.ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, kernel.IPV6_AUTOFLOWLABEL, 0)
            if self.options.dont_fragment and sock.type != socket.SOCK_STREAM:
                sock.setsockopt(socket.IPPROTO_IPV6, kernel.IPV6_DONTFRAG, 1)
        if self.fragment_for is not None:
            let_fragment(sock, self.ipv6, self.fragment_for)
        return sock

    def leaves(self, number: int, hop: int) -> None:
        self.sent[number] = Sent(hop, self._clock.wall_ns(), self._clock.perf_ns())

    def trip_ms(self, number: int, stamp_ns: int | None) -> float:
        """By the kernel's stamp of the answer where that is sound, else by our own clock."""
        left = self.sent[number]
        own_ms = (self._clock.perf_ns() - left.perf_ns) / 1e6
        if stamp_ns is None:
            return own_ms
        by_stamp_ms = (stamp_ns - left.wall_ns) / 1e6
        return by_stamp_ms if 0.0 <= by_stamp_ms <= own_ms else own_ms

    @property
    def headers(self) -> int:
        """Bytes of IP packet before the payload of an echo request or a datagram."""
        return 48 if self.ipv6 else 28

    def shrink(self, told: Told) -> None:
        """What a router named as its MTU is not exceeded again."""
        if told.too_big and told.answer.mtu is not None and self.size is not None:
            self.size = max(0, min(self.size - 1, told.answer.mtu - self.headers))

    def is_target(self, host: str) -> bool:
        return host.partition("%")[0] == self.address.host.partition("%")[0]

    def told_by_icmp(self, number: int, entry: kernel.QueueEntry, own: str | None) -> Told | None:
        """An error about packet ``number``; None where it ends nothing."""
        error = icmp_error(entry)
        target = self.address.host.partition("%")[0]
        failure = failures.from_icmp(
            Stage.SEND, error, target=target, own=(own,) if own else (), number=entry.errno
        )
        if failure is None:
            return None
        too_big = _is_too_big(error)
        answer = HopAnswer(
            address=error.sender,
            rtt_ms=self.trip_ms(number, entry.stamp_ns),
            icmp=error,
            ttl=entry.ttl,
            mtu=(error.info or None) if too_big else None,
        )
        if icmpcodes.is_time_exceeded(error.family, error.type, error.code):
            return Told(answer, Heard.HOP, failure)
        if error.sender == target and not too_big:
            return Told(answer, Heard.TARGET)
        return Told(answer, Heard.REFUSAL, failure, too_big and answer.mtu is not None)


def _is_too_big(error: IcmpError) -> bool:
    return (error.type, error.code) == (3, 4) if error.family is Family.IPV4 else error.type == 2


def set_hop(sock: socket.socket, ipv6: bool, hop: int) -> None:
    """TTL or hop limit of what is sent next; 0: the system's own."""
    level, option = (
        (socket.IPPROTO_IPV6, kernel.IPV6_UNICAST_HOPS) if ipv6 else (socket.IPPROTO_IP, kernel.IP_TTL)
    )
    sock.setsockopt(level, option, hop or -1)


def let_fragment(sock: socket.socket, ipv6: bool, mtu: int) -> None:
    """Packets may be fragmented: by routers (IPv4), or here, for links of ``mtu`` bytes (IPv6)."""
    if ipv6:
        sock.setsockopt(socket.IPPROTO_IPV6, kernel.IPV6_MTU, max(mtu, 1280))
    else:
        sock.setsockopt(socket.IPPROTO_IP, kernel.IP_MTU_DISCOVER, kernel.PMTUDISC_DONT)


def resend(sock: socket.socket, data: bytes, where: tuple[str, int] | tuple[str, int, int, int]) -> None:
    """An ICMP error that came meanwhile fails the next send of a socket, whatever that is: so try again.

    Raises :class:`LaneFailed`."""
    error: OSError | None = None
    for _ in range(3):
        try:
            sock.sendto(data, where)
        except OSError as failed:
            error = failed
        else:
            return
    assert error is not None
    raise LaneFailed(failure_of(error))


def failure_of(error: OSError) -> Failure:
    wrapped = refusal(error, Stage.SEND)
    assert isinstance(wrapped, CannotOpen | Shortage)
    return wrapped.failure


def watch(sock: socket.socket, act: Callable[[], None], *, writable: bool = False) -> None:
    """Errors wake readers, too."""
    loop = asyncio.get_running_loop()
    loop.add_reader(sock, act)
    if writable:
        loop.add_writer(sock, act)


def unwatch(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    loop.remove_reader(sock)
    loop.remove_writer(sock)


def own_address(address: Address, port: int = 9) -> str | None:
    """The address from which packets there leave; connecting a datagram socket asks, and sends nothing."""
    family, where = sockaddr_of(address.host, port)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect(where)
            return str(asking.getsockname()[0]).partition("%")[0]
    except OSError:
        return None
