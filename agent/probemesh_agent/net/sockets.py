"""Non-blocking sockets for streams and datagrams, with the options that every probe kind obeys."""

import errno
import ipaddress
import socket
from typing import Any

from probemesh_shared.model import Options, PortRange
from probemesh_shared.words import Family

from probemesh_agent import kernel
from probemesh_agent.env import Address
from probemesh_agent.net.literals import parse_literal, sockaddr_of


def open_socket(kind: socket.SocketKind, address: Address, options: Options) -> socket.socket:
    """Not yet connected. Raises OSError, and leaves no descriptor behind then."""
    six = address.family is Family.IPV6
    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind)
    try:
        sock.setblocking(False)
        (_set_six if six else _set_four)(sock, options)
        if options.source is not None:
            _bind(sock, options.source, six, options.source_ports)
        elif options.source_ports is not None:
            bind_port(sock, None, options.source_ports.first)
    except BaseException:
        sock.close()
        raise
    return sock


def _set_four(sock: socket.socket, options: Options) -> None:
    ip = socket.IPPROTO_IP
    sock.setsockopt(ip, kernel.IP_RECVERR, 1)
    if options.dscp is not None:
        sock.setsockopt(ip, kernel.IP_TOS, options.dscp << 2)
    if options.ttl is not None:
        sock.setsockopt(ip, kernel.IP_TTL, options.ttl)
    if options.dont_fragment:
        sock.setsockopt(ip, kernel.IP_MTU_DISCOVER, kernel.PMTUDISC_DO)


def _set_six(sock: socket.socket, options: Options) -> None:
    ip = socket.IPPROTO_IPV6
    sock.setsockopt(ip, socket.IPV6_V6ONLY, 1)
    sock.setsockopt(ip, kernel.IPV6_RECVERR, 1)
    if options.dscp is not None:
        sock.setsockopt(ip, kernel.IPV6_TCLASS, options.dscp << 2)
    if options.ttl is not None:
        sock.setsockopt(ip, kernel.IPV6_UNICAST_HOPS, options.ttl)
    if options.dont_fragment:
        sock.setsockopt(ip, kernel.IPV6_MTU_DISCOVER, kernel.PMTUDISC_DO)


def _bind(sock: socket.socket, source: str, six: bool, ports: PortRange | None) -> None:
    """``source`` is an address of this host, or an interface's name; of ``ports`` the first is taken."""
    address = parse_literal(source)
    if address is None:
        sock.setsockopt(socket.SOL_SOCKET, kernel.SO_BINDTODEVICE, source.encode("ascii", "replace") + b"\0")
        if ports is not None:
            bind_port(sock, None, ports.first)
        return
    if isinstance(address, ipaddress.IPv6Address) is not six:
        raise OSError(errno.EAFNOSUPPORT, "the source is of another family")
    where = sockaddr_of(str(address), 0)[1]
    if ports is not None:
        bind_port(sock, where, ports.first)
        return
    if sock.type is socket.SOCK_STREAM:
        sock.setsockopt(socket.IPPROTO_IP, kernel.IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind(where)


def bind_port(sock: socket.socket, source: tuple[Any, ...] | None, port: int) -> None:
    """Binds to a source port that was asked for; several sockets of ours may share it, to other targets."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    anywhere: tuple[Any, ...] = ("::", 0, 0, 0) if sock.family == socket.AF_INET6 else ("0.0.0.0", 0)  # noqa: S104
    host, _, *rest = source or anywhere
    sock.bind((host, port, *rest))
