"""By which addresses the others may probe this agent: those it was told to advertise, else its interfaces'.

Interface addresses come from the kernel by netlink (RTM_GETADDR, rtnetlink(7)); no loopback, no link-local,
no temporary or tentative IPv6 addresses. They are claims: whoever uses them has to judge them.
"""

import ipaddress
import socket
import struct
from collections.abc import Iterator, Sequence

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape

MAX_ADDRESSES = 64

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port id
_IFADDR = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, interface index
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
_RTM_NEWADDR, _RTM_GETADDR, _NLMSG_DONE = 20, 22, 3
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_UNWANTED = 0x01 | 0x08 | 0x20 | 0x40  # temporary, failed duplicate detection, deprecated, tentative


def candidates(advertised: Sequence[str]) -> tuple[str, ...]:
    """The advertised addresses alone, where there are any; else those of the interfaces, IPv4 first."""
    if advertised:
        return tuple(dict.fromkeys(check_advertised(text) for text in advertised))
    found = {address for address in interface_addresses() if _usable(address)}
    ordered = sorted(found, key=lambda address: (address.version, int(address)))
    return tuple(str(address) for address in ordered[:MAX_ADDRESSES])


def check_advertised(text: str) -> str:
    """One ``--advertise ADDR`` in canonical spelling; raises :class:`InvalidRequest`."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        message = f"--advertise '{escape(text, 60)}' is not an IP address"
        raise InvalidRequest(message, "write an IPv4 or IPv6 address, without a port") from None
    if address.is_unspecified or address.is_multicast:
        raise InvalidRequest(f"--advertise {address}: nobody can dial that address")
    return str(address)


def interface_addresses() -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...]:
    """Every address of every interface, as the kernel lists them; none where netlink is denied."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
            netlink.settimeout(2.0)
            netlink.bind((0, 0))
            body = _IFADDR.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
            header = _HEADER.pack(_HEADER.size + len(body), _RTM_GETADDR, _REQUEST_DUMP, 1, 0)
            netlink.sendall(header + body)
            return tuple(_read_all(netlink))
    except OSError:
        return ()


def _read_all(netlink: socket.socket) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    while True:
        for kind, body in messages(netlink.recv(1 << 16)):
            if kind != _RTM_NEWADDR:
                return
            address = parse_address(body)
            if address is not None:
                yield address


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """``(type, body)`` of each netlink message in one datagram; stops at what is cut short."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            return
        yield kind, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def parse_address(body: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address of an ``RTM_NEWADDR`` body; None where it is not fit to be advertised or not complete."""
    if len(body) < _IFADDR.size:
        return None
    family, _, flags, _, _ = _IFADDR.unpack_from(body)
    raw: dict[int, bytes] = dict(_attributes(body[_IFADDR.size :]))
    if len(raw.get(_IFA_FLAGS, b"")) == 4:
        flags = int.from_bytes(raw[_IFA_FLAGS], "little" if _LITTLE else "big")
    packed = raw.get(_IFA_LOCAL) or raw.get(_IFA_ADDRESS) or b""
    if family == socket.AF_INET and len(packed) == 4:
        return ipaddress.IPv4Address(packed)
    if family == socket.AF_INET6 and len(packed) == 16 and not flags & _UNWANTED:
        return ipaddress.IPv6Address(packed)
    return None


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > len(data):
            return
        yield kind, data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def _usable(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return not (
        address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    )


_LITTLE = struct.pack("=H", 1) == b"\x01\x00"
