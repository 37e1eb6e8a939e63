"""The ranges of addresses that are special, and the addresses that hide inside others. Pure.

``ipaddress.is_global`` and its relatives are not enough: they call the NAT64, 6to4 and IPv4-compatible
spellings of 169.254.169.254 global. Sources: the IANA special-purpose registries (RFC 6890), RFC 6052, RFC
4291, RFC 3056, RFC 4380, RFC 5214, and the clouds' own documentation for their metadata services.
"""

from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[IPNetwork, ...]:
    return tuple(ip_network(text) for text in texts)


class Way(Enum):
    """Where a packet to an address would go. ``UNKNOWN``: the kernel could not be asked, or refused in a
    way that a real send explains better."""

    OWN = "own"
    BROADCAST = "broadcast"
    ELSEWHERE = "elsewhere"
    NO_ROUTE = "no-route"
    UNKNOWN = "unknown"


LOOPBACK = _networks("127.0.0.0/8", "::1/128")

#: Denied until the host's owner says otherwise, by the rule's name. Documentation ranges, 100.64.0.0/10 and
#: 198.18.0.0/15 are ordinary unicast to us: private networks do use them.
DENIED: tuple[tuple[str, tuple[IPNetwork, ...]], ...] = (
    ("link-local", _networks("169.254.0.0/16", "fe80::/10")),
    ("multicast", _networks("224.0.0.0/4", "ff00::/8")),
    (
        "cloud-metadata",
        # Oracle; Alibaba; Azure; AWS (::254 is metadata, ::23 has credentials of pods); Google; Scaleway; by
        # others' lists Oracle, Linode, Alibaba. 169.254.169.254 is link-local already.
        _networks(
            "192.0.0.192/32",
            "100.100.100.200/32",
            "168.63.129.16/32",
            "fd00:ec2::/32",
            "fd20:ce::254/128",
            "fd00:42::42/128",
            "fd00:c1::a9fe:a9fe/128",
            "fd00:a9fe:a9fe::1/128",
            "fd00:100::100:200/128",
        ),
    ),
    ("reserved", _networks("0.0.0.0/8", "192.0.0.0/24", "240.0.0.0/4", "::/128", "100::/64")),
)

_MAPPED = IPv6Network("::ffff:0:0/96")
_LAST_32_BITS: tuple[tuple[str, IPv6Network], ...] = (
    ("IPv4-compatible", IPv6Network("::/96")),
    ("IPv4-translated", IPv6Network("::ffff:0:0:0/96")),
    ("NAT64", IPv6Network("64:ff9b::/96")),
)
_6TO4 = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_ISATAP = (0x00005EFE, 0x02005EFE)


def strip_scope(address: IPAddress) -> IPAddress:
    """The address without its zone: ranges know none."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return IPv6Address(int(address))
    return address


def unmapped(address: IPAddress) -> IPAddress:
    """``::ffff:a.b.c.d`` is IPv4 on the wire, so it is IPv4 to us; anything else stays."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def unmapped_network(network: IPNetwork) -> IPNetwork:
    """A block of mapped IPv4 as IPv4: addresses are judged unmapped, so the block would never match."""
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((_low(int(network.network_address)), network.prefixlen - 96))
    return network


def embedded(address: IPAddress) -> tuple[tuple[str, IPv4Address], ...]:
    """``(how, IPv4 address)`` for every IPv4 address that a packet to ``address`` may end at:
    IPv4-compatible and -translated, NAT64 (RFC 6052, /96, and /48 for the local prefix), 6to4, Teredo
    (server and client), ISATAP."""
    if not isinstance(address, IPv6Address):
        return ()
    number = int(address)
    bare = IPv6Address(number)
    if number in (0, 1):
        return ()
    low = _low(number)
    found = [(how, low) for how, network in _LAST_32_BITS if bare in network]
    if bare in _6TO4:
        found.append(("6to4", _low(number >> 80)))
    if bare in _TEREDO:
        found.append(("Teredo server", _low(number >> 64)))
        found.append(("Teredo client", _low(~number)))
    if bare in _LOCAL_NAT64:  # whether it is cut at /48 or at /96 is its network's affair
        wide = _low((number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF)
        found.extend(("NAT64", one) for one in (low, wide) if int(one))
    if number >> 32 & 0xFFFFFFFF in _ISATAP:
        found.append(("ISATAP", _low(number)))
    return tuple(found)


def _low(number: int) -> IPv4Address:
    return IPv4Address(number & 0xFFFFFFFF)
