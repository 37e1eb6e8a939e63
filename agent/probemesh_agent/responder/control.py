"""Control messages of the responder's datagrams: whereto one came, and from where the reply is to leave."""

import socket
import struct
from dataclasses import dataclass

from probemesh_agent import kernel

_INFO4 = struct.Struct("=i4s4s")  # in_pktinfo: interface, address that a reply would leave from, destination
_INFO6 = struct.Struct("=16si")  # in6_pktinfo: address, interface
_INT = struct.Struct("=i")


@dataclass(frozen=True, slots=True)
class Arrived:
    """``local`` is the address that was dialled."""

    local: str | None = None
    ttl: int | None = None
    dscp: int | None = None


def read(ancillary: kernel.Ancillary) -> Arrived:
    """What is malformed is left out."""
    local = ttl = dscp = None
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, kernel.IP_PKTINFO) and len(data) >= _INFO4.size:
            local = socket.inet_ntop(socket.AF_INET, _INFO4.unpack_from(data)[1])
        elif (level, kind) == (socket.IPPROTO_IPV6, kernel.IPV6_PKTINFO) and len(data) >= _INFO6.size:
            local = socket.inet_ntop(socket.AF_INET6, _INFO6.unpack_from(data)[0])
        elif (level, kind) == (socket.IPPROTO_IP, kernel.IP_TOS) and data:
            dscp = data[0] >> 2
        elif (level, kind) == (socket.IPPROTO_IPV6, kernel.IPV6_TCLASS) and len(data) >= 4:
            dscp = _INT.unpack_from(data)[0] >> 2 & 63
    _, ttl = kernel.arrival(ancillary)
    return Arrived(local, ttl, dscp)


def leaving_from(local: str | None) -> list[tuple[int, int, bytes]]:
    """So that a reply leaves from ``local``."""
    if local is None:
        return []
    if ":" in local:
        info = _INFO6.pack(socket.inet_pton(socket.AF_INET6, local), 0)
        return [(socket.IPPROTO_IPV6, kernel.IPV6_PKTINFO, info)]
    info = _INFO4.pack(0, socket.inet_pton(socket.AF_INET, local), bytes(4))
    return [(socket.IPPROTO_IP, kernel.IP_PKTINFO, info)]
