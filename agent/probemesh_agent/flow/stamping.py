"""Whether a missing transmit stamp means anything: not every driver stamps what it sends."""

import ctypes
import fcntl
import socket
import struct
from collections.abc import Sequence
from ipaddress import ip_address

from probemesh_shared.words import Origin

from probemesh_agent import kernel
from probemesh_agent.flow.record import Record
from probemesh_agent.net.own import Routes

_TS_INFO = struct.Struct("=II36x")  # struct ethtool_ts_info: command, so_timestamping


def doubt(records: Sequence[Record]) -> None:
    """A shot that was answered has left. Where such a one has no stamp, or the interface says that it gives
    none, a missing stamp says nothing of the others either: it was not checked."""
    heard = [record for record in records if record.replies or _from_afar(record)]
    if any(record.scheduled is False for record in heard):
        for record in records:
            record.scheduled = record.sent = None
    elif any(record.sent is False for record in heard):
        for record in records:
            record.sent = None
    known: dict[str, bool] = {}
    for record in records:
        if record.sent is False:
            host = record.host
            if host not in known:
                known[host] = stamps(Routes().interface(ip_address(host)))
            record.sent = None if not known[host] else False


def stamps(interface: str | None) -> bool:
    """What the interface's driver says of itself; True where it cannot be asked."""
    if interface is None or interface == "lo":
        return True
    told = ctypes.create_string_buffer(_TS_INFO.pack(kernel.ETHTOOL_GET_TS_INFO, 0), _TS_INFO.size)
    asked = struct.pack("=16sQ16x", interface.encode(), ctypes.addressof(told))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, kernel.SIOCETHTOOL, asked)
    except OSError:
        return True
    return bool(_TS_INFO.unpack(told.raw)[1] & kernel.TX_SOFTWARE)


def _from_afar(record: Record) -> bool:
    failure = record.failure
    return failure is not None and failure.icmp is not None and failure.origin is not Origin.AGENT
