"""Where the kernel would send a packet: to this host itself, to another, or nowhere.

One RTM_GETROUTE question on a netlink socket per address (rtnetlink(7); about 10 µs, no privilege, no
packet sent). The kernel's own answer covers what a list of interface addresses misses: all of 127.0.0.0/8,
anycast, AnyIP routes, and addresses that came a second ago.
"""

import errno
import fcntl
import socket
import struct
from ipaddress import IPv6Address

from probemesh_agent.net.ranges import IPAddress, Way

_NETLINK_ROUTE = 0
_RTM_NEWROUTE, _RTM_GETROUTE = 24, 26
_NLMSG_ERROR = 2
_NLM_F_REQUEST = 1
_RTA_DST, _RTA_OIF = 1, 4
_RTN_LOCAL, _RTN_BROADCAST, _RTN_ANYCAST = 2, 3, 4
_SIOCGIFMTU = 0x8921
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr


class Routes:
    """Asks the kernel; holds no answer, since addresses come and go. Without netlink, trying to bind tells
    enough."""

    def way(self, address: IPAddress) -> Way:
        try:
            return _answer(_asked(address))
        except OSError:
            return Way.OWN if _can_bind(address) else Way.UNKNOWN

    def interface(self, address: IPAddress) -> str | None:
        """The name of the interface by which packets leave; None where the kernel does not tell."""
        try:
            index = _interface_index(_asked(address))
            return None if index is None else socket.if_indextoname(index)
        except (OSError, struct.error):
            return None


def _asked(address: IPAddress) -> bytes:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE) as link:
        link.settimeout(0.1)
        link.send(_question(address))
        return link.recv(65536)


def interface_mtu(address: IPAddress) -> int | None:
    """Of the interface by which packets to ``address`` leave, in bytes of IP packet; None where nobody
    says."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE) as link:
            link.settimeout(0.1)
            link.send(_question(address))
            index = _outgoing(link.recv(65536))
        if index is None:
            return None
        name = socket.if_indextoname(index).encode()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            answer = fcntl.ioctl(asking, _SIOCGIFMTU, struct.pack("16si12x", name[:15], 0))
    except OSError:
        return None
    return int(struct.unpack_from("=i", answer, 16)[0])


def _outgoing(message: bytes) -> int | None:
    """The index in RTA_OIF of a RTM_NEWROUTE."""
    length, kind, _, _, _ = _HEADER.unpack_from(message)
    if kind != _RTM_NEWROUTE:
        return None
    at, end = _HEADER.size + _ROUTE.size, min(length, len(message))
    while at + _ATTRIBUTE.size <= end:
        size, attribute = _ATTRIBUTE.unpack_from(message, at)
        if size < _ATTRIBUTE.size:
            return None
        if attribute == _RTA_OIF and size >= _ATTRIBUTE.size + 4:
            return int(struct.unpack_from("=I", message, at + _ATTRIBUTE.size)[0])
        at += (size + 3) & ~3
    return None


def _question(address: IPAddress) -> bytes:
    six = isinstance(address, IPv6Address)
    attributes = _attribute(_RTA_DST, address.packed)
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        scope = address.scope_id
        index = int(scope) if scope.isdigit() else socket.if_nametoindex(scope)
        attributes += _attribute(_RTA_OIF, struct.pack("=I", index))
    family = socket.AF_INET6 if six else socket.AF_INET
    body = _ROUTE.pack(family, address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0) + attributes
    return _HEADER.pack(_HEADER.size + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value


def _answer(message: bytes) -> Way:
    _, kind, _, _, _ = _HEADER.unpack_from(message)
    if kind == _NLMSG_ERROR:
        code = -struct.unpack_from("=i", message, _HEADER.size)[0]
        return Way.NO_ROUTE if code == errno.ENETUNREACH else Way.UNKNOWN
    if kind != _RTM_NEWROUTE:
        return Way.UNKNOWN
    route_type = _ROUTE.unpack_from(message, _HEADER.size)[7]
    if route_type in (_RTN_LOCAL, _RTN_ANYCAST):
        return Way.OWN
    return Way.BROADCAST if route_type == _RTN_BROADCAST else Way.ELSEWHERE


def _interface_index(message: bytes) -> int | None:
    if _HEADER.unpack_from(message)[1] != _RTM_NEWROUTE:
        return None
    at = _HEADER.size + _ROUTE.size
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if length < _ATTRIBUTE.size:
            return None
        if kind == _RTA_OIF:
            return int(struct.unpack_from("=I", message, at + _ATTRIBUTE.size)[0])
        at += (length + 3) & ~3
    return None


def _can_bind(address: IPAddress) -> bool:
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
