"""Address literals as the system reads them, and their canonical spelling.

The C library decides what is a literal (``0x7f.1``, ``2130706433`` and ``0177.1`` are), for it is the C
library that would dial it; asked with ``AI_NUMERICHOST`` it never asks a nameserver and never blocks.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

from probemesh_shared.words import Family

from probemesh_agent.net.ranges import IPAddress, unmapped


def from_sockaddr(sockaddr: tuple[object, ...]) -> IPAddress:
    """The address of a ``getaddrinfo`` row; the zone by name where the system knows one; mapped IPv4 as
    IPv4."""
    host = str(sockaddr[0])
    scope = sockaddr[3] if len(sockaddr) == 4 else 0
    address = unmapped(ip_address(host.partition("%")[0]))
    if scope and isinstance(address, IPv6Address) and (address.is_link_local or address.is_multicast):
        return IPv6Address(f"{address}%{_scope_name(int(str(scope)))}")  # elsewhere a zone says nothing
    return address


def parse_literal(text: str) -> IPAddress | None:
    """None: not a literal, so a name. Brackets round IPv6 are taken off."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") and ":" in text else text
    try:
        rows = socket.getaddrinfo(bare, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError, ValueError):
        return None
    return from_sockaddr(rows[0][4])


def zone_missing(text: str) -> str | None:
    """Why an IPv6 address with an interface is no literal here; None where ``text`` is no such address."""
    host, percent, zone = text.strip("[]").partition("%")
    try:
        address = IPv6Address(host) if percent else None
    except ValueError:
        return None
    if address is None:
        return None
    try:
        _scope_number(zone)
    except (OSError, ValueError):
        return f"there is no interface {zone} here"
    return "only a link-local address has an interface"


def family_of(address: IPAddress) -> Family:
    return Family.IPV4 if isinstance(address, IPv4Address) else Family.IPV6


def sockaddr_of(
    host: str, port: int
) -> tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]:
    """``(family, sockaddr)`` of a canonical literal. Raises OSError for a zone that this host does not
    have."""
    address = ip_address(host)
    if isinstance(address, IPv4Address):
        return socket.AF_INET, (host, port)
    return socket.AF_INET6, (str(IPv6Address(int(address))), port, 0, _scope_number(address.scope_id))


def _scope_name(number: int) -> str:
    try:
        return socket.if_indextoname(number)
    except OSError:
        return str(number)


def _scope_number(scope: str | None) -> int:
    if scope is None:
        return 0
    return int(scope) if scope.isascii() and scope.isdigit() else socket.if_nametoindex(scope)
