"""Sockets as the options ask for them: source, DSCP, TTL, don't-fragment, error queue, time stamps.

The options are compiled once a run and family; opening a socket is then a handful of system calls.
"""

import errno
import ipaddress
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from probemesh_shared import failures
from probemesh_shared.model import Failure, IcmpError, Options
from probemesh_shared.words import FailureKind, Family, Origin, Stage

from probemesh_agent import kernel
from probemesh_agent.addresses import interface_addresses
from probemesh_agent.engine.item import SockAddr, socket_address
from probemesh_agent.engine.schedule import Shortage
from probemesh_agent.net.sockets import bind_port

_STAMPS = kernel.RX_SOFTWARE | kernel.TX_SOFTWARE | kernel.REPORT_SOFTWARE | kernel.OPT_TSONLY | kernel.OPT_ID


class CannotOpen(Exception):
    """The socket cannot be had as asked, now or later; carries the failure for every sample."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to open one kind of socket for one run and family."""

    family: int
    kind: int
    protocol: int
    settings: tuple[tuple[int, int, int | bytes], ...]
    source: SockAddr | None

    def open(self, port: int = 0) -> socket.socket:
        """A non-blocking socket, bound to ``port`` where that is not 0. Raises :class:`Shortage` or
        :class:`CannotOpen`; leaves nothing open then."""
        try:
            sock = socket.socket(self.family, self.kind | socket.SOCK_NONBLOCK, self.protocol)
        except OSError as error:
            raise refusal(error) from None
        try:
            for level, option, value in self.settings:
                sock.setsockopt(level, option, value)
            if port:
                bind_port(sock, self.source, port)
            elif self.source is not None:
                sock.bind(self.source)
        except OSError as error:
            sock.close()
            raise self._unsettled(error, port) from None
        return sock

    def _unsettled(self, error: OSError, port: int) -> Exception:
        if error.errno == errno.EADDRNOTAVAIL and self.source is not None:
            detail = f"the source address {self.source[0]} is not on this host"
            return CannotOpen(failures.unsupported(Stage.CONNECT, detail))
        if error.errno == errno.ENODEV:
            return CannotOpen(failures.unsupported(Stage.CONNECT, "the source interface is not on this host"))
        if error.errno == errno.EPERM:
            detail = "binding to an interface wants CAP_NET_RAW on this kernel"
            return CannotOpen(failures.unsupported(Stage.CONNECT, detail))
        if port and (failure := port_failure(error.errno or 0, port)) is not None:
            return CannotOpen(failure)
        return refusal(error)


def port_failure(number: int, port: int) -> Failure | None:
    """Why a source port that was asked for cannot be had; None where ``number`` is about something else."""
    if number in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
        words = f"the source port {port} is in use on this host, or was so a moment ago for the same target"
        return Failure(
            Stage.CONNECT,
            FailureKind.LOCAL_RESOURCE,
            Origin.AGENT,
            words,
            errno=failures.errno_name(number),
        )
    if number == errno.EACCES:
        return failures.unsupported(Stage.CONNECT, f"the source port {port} wants CAP_NET_BIND_SERVICE")
    return None


def source_port(options: Options, seq: int) -> int:
    """The port of sample ``seq``: the range in turn; 0 where none was asked for."""
    span = options.source_ports
    return span.first + seq % (span.last - span.first + 1) if span is not None else 0


def refusal(error: OSError, stage: Stage = Stage.CONNECT) -> Exception:
    """The exception for an error of this host: :class:`Shortage` where trying again may help."""
    failure = failures.from_errno(stage, error.errno or 0, at_once=True)
    return Shortage(failure) if error.errno in failures.RESOURCE_ERRNOS else CannotOpen(failure)


def recipe(family: Family, kind: int, protocol: int, options: Options, *, stamps: bool = False) -> Recipe:
    """Compiles ``options``; raises :class:`CannotOpen` where they cannot be met (a source of the other
    family)."""
    settings: list[tuple[int, int, int | bytes]] = []
    if family is Family.IPV6:
        level, number = socket.IPPROTO_IPV6, socket.AF_INET6
        settings += [(level, kernel.IPV6_RECVERR, 1), (level, kernel.IPV6_RECVHOPLIMIT, 1)]
        ttl, tos, mtu = kernel.IPV6_UNICAST_HOPS, kernel.IPV6_TCLASS, kernel.IPV6_MTU_DISCOVER
    else:
        level, number = socket.IPPROTO_IP, socket.AF_INET
        settings += [(level, kernel.IP_RECVERR, 1), (level, kernel.IP_RECVTTL, 1)]
        ttl, tos, mtu = kernel.IP_TTL, kernel.IP_TOS, kernel.IP_MTU_DISCOVER
    if options.ttl is not None:
        settings.append((level, ttl, options.ttl))
    if options.dscp is not None:
        settings.append((level, tos, options.dscp << 2))
    if options.dont_fragment and kind != socket.SOCK_STREAM:
        settings.append((level, mtu, kernel.PMTUDISC_PROBE))
    if stamps:
        settings.append((socket.SOL_SOCKET, kernel.SO_TIMESTAMPING, _STAMPS))
    source, device = _source(options.source, family)
    if device is not None:
        settings.append((socket.SOL_SOCKET, kernel.SO_BINDTODEVICE, device))
    if source is not None and kind == socket.SOCK_STREAM:
        settings.append((socket.IPPROTO_IP, kernel.IP_BIND_ADDRESS_NO_PORT, 1))
    return Recipe(number, kind, protocol, tuple(settings), source)


def _source(text: str | None, family: Family) -> tuple[SockAddr | None, bytes | None]:
    if text is None:
        return None, None
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None, text.encode() + b"\0"
    if (parsed.version == 6) != (family is Family.IPV6):
        detail = f"the source address {text} is of another family than the target"
        raise CannotOpen(failures.unsupported(Stage.CONNECT, detail))
    try:
        return socket_address(text, family, 0)[0], None
    except OSError as error:
        raise CannotOpen(failures.unsupported(Stage.CONNECT, f"the source address {text}: {error}")) from None


def own_address(sock: socket.socket) -> frozenset[str]:
    """The local address of a connected socket: an ICMP error from there is this host's own."""
    try:
        return frozenset((sock.getsockname()[0].partition("%")[0],))
    except OSError:
        return frozenset()


def own_addresses() -> frozenset[str]:
    """Every address of this host, for sockets that are not connected."""
    return frozenset(str(address) for address in interface_addresses())


def icmp_error(entry: kernel.QueueEntry) -> IcmpError:
    """An error-queue entry of ICMP origin as evidence."""
    family = Family.IPV6 if entry.origin == kernel.ORIGIN_ICMP6 else Family.IPV4
    return IcmpError(family, entry.type, entry.code, entry.offender, entry.ttl, entry.info or None)


def classify(
    stage: Stage, number: int, entries: list[kernel.QueueEntry], target: str, sock: socket.socket
) -> Failure | None:
    """As :func:`judged`, for a connected socket."""
    own = own_address(sock) if any(entry.is_icmp for entry in entries) else frozenset[str]()
    return judged(stage, number, entries, target, own)


def judged(
    stage: Stage, number: int, entries: Sequence[kernel.QueueEntry], target: str, own: Collection[str]
) -> Failure | None:
    """The failure that a socket's ``SO_ERROR`` and error queue tell: by the ICMP code first, then by errno.

    ``number`` must have been read before the queue was drained; ``own`` are this host's addresses. None:
    nothing that ends an attempt.
    """
    for entry in entries:
        if entry.is_icmp:
            found = failures.from_icmp(
                stage, icmp_error(entry), target=target, own=own, number=number or entry.errno
            )
            if found is not None:
                return found
    if number:
        return failures.from_errno(stage, number)
    for entry in entries:
        if entry.origin == kernel.ORIGIN_LOCAL and entry.errno:
            return failures.from_errno(stage, entry.errno, at_once=True)
    return None
