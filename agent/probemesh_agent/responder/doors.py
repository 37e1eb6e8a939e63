"""Sockets of a watch's own: on the watched port, and on a free one that stands in for it.

One socket for each family and transport, bound to all addresses, so that whichever address is dialled is
answered from that address; nothing is ever shared with (or taken from) another service's port.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from probemesh_shared.failures import errno_name
from probemesh_shared.model import Failure
from probemesh_shared.words import FailureKind, Origin, Stage

from probemesh_agent import kernel

LEAST_PORT = 1024
#: This host is short of something, which says nothing about anybody's port.
SHORTAGE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_BACKLOG = 256
_ATTEMPTS = 32


@dataclass(slots=True)
class Doors:
    """``other`` are UDP sockets on a second port, from which replies leave that are asked for from there."""

    port: int
    tcp: list[socket.socket] = field(default_factory=list)
    udp: list[socket.socket] = field(default_factory=list)
    other: list[socket.socket] = field(default_factory=list)

    def close(self) -> None:
        for sock in (*self.tcp, *self.udp, *self.other):
            sock.close()
        self.tcp, self.udp, self.other = [], [], []

    def inodes(self) -> frozenset[int]:
        """By which sock_diag knows them."""
        return frozenset(os.fstat(sock.fileno()).st_ino for sock in (*self.tcp, *self.udp, *self.other))


def on_port(port: int, kind: socket.SocketKind) -> Doors:
    """Listens on ``port``, TCP or UDP by ``kind``. Raises :class:`OSError` where any family's is taken."""
    doors = Doors(port)
    try:
        for family in families():
            opened = doors.tcp if kind is socket.SOCK_STREAM else doors.udp
            opened.append(_bound(family, kind, port))
        _listen(doors.tcp)
    except BaseException:
        doors.close()
        raise
    return doors


def surrogate() -> Doors:
    """TCP and UDP on one free port that needs no privilege, and UDP on another. Raises :class:`OSError`."""
    for _ in range(_ATTEMPTS):
        doors = Doors(0)
        try:
            _fill(doors)
        except OSError as error:
            doors.close()
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        except BaseException:
            doors.close()
            raise
        if doors.port >= LEAST_PORT:
            return doors
        doors.close()
    raise OSError(errno.EADDRINUSE, "no port is free for TCP and UDP")


def _fill(doors: Doors) -> None:
    for family in families():
        doors.tcp.append(_bound(family, socket.SOCK_STREAM, doors.port))
        doors.port = doors.tcp[0].getsockname()[1]
        doors.udp.append(_bound(family, socket.SOCK_DGRAM, doors.port))
    second = 0
    for family in families():
        doors.other.append(_bound(family, socket.SOCK_DGRAM, second))
        second = doors.other[0].getsockname()[1]
    _listen(doors.tcp)


def _listen(listeners: Iterable[socket.socket]) -> None:
    for listener in listeners:
        listener.listen(_BACKLOG)
        # only now, so that it shares with nobody who listens: a prober of ours may dial from this port
        with contextlib.suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def families() -> tuple[socket.AddressFamily, ...]:
    """Those that this host has at all."""
    return (socket.AF_INET, socket.AF_INET6) if _has_ipv6() else (socket.AF_INET,)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::", 0))
    except OSError as error:
        if error.errno in SHORTAGE:
            raise
        return False
    return True


def _bound(family: socket.AddressFamily, kind: socket.SocketKind, port: int) -> socket.socket:
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        six = family == socket.AF_INET6
        if six:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past TIME_WAIT, not past a listener
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, kernel.TCP_SAVE_SYN, 1)
        else:
            _tell_all(sock, six)
        sock.bind(("::" if six else "", port))
    except BaseException:
        sock.close()
        raise
    return sock


def _tell_all(sock: socket.socket, six: bool) -> None:
    """Where each datagram came to, its TTL and DSCP, ICMP errors and transmit stamps; what a kernel does not
    know it does not tell."""
    if six:
        level = socket.IPPROTO_IPV6
        wanted = (kernel.IPV6_RECVPKTINFO, kernel.IPV6_RECVHOPLIMIT, kernel.IPV6_RECVTCLASS)
        options = [*((one, 1) for one in wanted), (kernel.IPV6_RECVERR, 1)]
        options.append((kernel.IPV6_MTU_DISCOVER, kernel.PMTUDISC_DONT))
    else:
        level = socket.IPPROTO_IP
        wanted = (kernel.IP_PKTINFO, kernel.IP_RECVTTL, kernel.IP_RECVTOS)
        options = [*((one, 1) for one in wanted), (kernel.IP_RECVERR, 1)]
        options.append((kernel.IP_MTU_DISCOVER, kernel.PMTUDISC_DONT))
    for name, value in options:
        with contextlib.suppress(OSError):
            sock.setsockopt(level, name, value)
    stamps = kernel.TX_SOFTWARE | kernel.REPORT_SOFTWARE | kernel.OPT_ID | kernel.OPT_TSONLY
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, kernel.SO_TIMESTAMPING, stamps)


def why_not(port: int, error: OSError) -> Failure:
    """Why there is no listener on ``port``; raises ``error`` where this host is short of something."""
    number = error.errno or 0
    if number in SHORTAGE:
        raise error
    if number == errno.EADDRINUSE:
        return refused(FailureKind.LOCAL_RESOURCE, f"port {port} is in use on this host", number)
    if number == errno.EACCES:
        return refused(FailureKind.DENIED, f"this agent may not listen on port {port}", number)
    words = f"no listener on port {port}: {os.strerror(number)}"
    return refused(FailureKind.LOCAL_RESOURCE, words, number)


def refused(kind: FailureKind, words: str, number: int | None = None) -> Failure:
    """Nothing was opened."""
    name = errno_name(number) if number is not None else None
    return Failure(Stage.CONNECT, kind, Origin.AGENT, words, errno=name)
