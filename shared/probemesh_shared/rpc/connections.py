"""The connections of our own listener, which grpc does not show: found among the descriptors of this
process, counted by the kernel, and shut when need be.

A descriptor may be closed and taken by another connection at any moment. Everything is therefore done on
a duplicate, which stays what it is, and which is closed again at once: it never keeps alive what grpc gave
up.
"""

import contextlib
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from urllib.parse import unquote

_FOLDER = Path("/proc/self/fd")
#: ``struct tcp_info``: tcpi_bytes_received, from Linux 4.1 on.
_BYTES_RECEIVED = struct.Struct("=128xQ")
#: What one host, or one customer, has of IPv6.
_PREFIX = 64

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Key:
    """The far end of a connection, which names it for as long as it lives."""

    address: Address
    port: int

    @property
    def where(self) -> str:
        """Whom a limit per address is for: an IPv4 address, or the /64 of an IPv6 one."""
        if isinstance(self.address, IPv4Address):
            return str(self.address)
        return str(ip_network((self.address, _PREFIX), strict=False))


def key_of(host: str, port: int) -> Key:
    """An IPv4 address in IPv6 clothes is the IPv4 address. Raises ``ValueError``."""
    address = ip_address(host.partition("%")[0])
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return Key(inner or address, port)


def key_of_peer(peer: str) -> Key | None:
    """From grpc's spelling: ``ipv4:192.0.2.1:4711``, ``ipv6:%5B2001:db8::1%5D:4711``."""
    family, _, rest = peer.partition(":")
    host, _, port = unquote(rest).rpartition(":")
    if family not in {"ipv4", "ipv6"} or not port.isdecimal():
        return None
    try:
        return key_of(host.strip("[]"), int(port))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Seen:
    """``received`` is what the kernel has taken in, bytes, since the connection began."""

    key: Key
    descriptor: int
    inode: str
    received: int


class Connections:
    """Those whose own end has ``port``. Nothing is seen where there is no ``/proc``."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._others: dict[int, str] = {}  # descriptors, with their inode, that are not ours
        self._listening: set[int] = set()  # of these, those that listen at our port

    def __iter__(self) -> Iterator[Seen]:
        """Lazily, so that a long table can be looked through in slices."""
        try:
            descriptors = [int(entry.name) for entry in _FOLDER.iterdir()]
        except OSError:
            return
        self._others = {fd: self._others[fd] for fd in descriptors if fd in self._others}
        for descriptor in descriptors:
            seen = self._look(descriptor)
            if seen is not None:
                yield seen

    def _look(self, descriptor: int) -> Seen | None:
        try:
            inode = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - thousands of times
        except OSError:
            return None  # closed meanwhile
        if not inode.startswith("socket:") or self._others.get(descriptor) == inode:
            return None
        key, listens = None, False
        found = _duplicate(descriptor)
        if found is not None:
            with found:
                key = self._key(found)
                listens = key is None and self._listens(found)
                received = _received(found)
        if key is None:
            self._others[descriptor] = inode
            self._listening.discard(descriptor)
            if listens:
                self._listening.add(descriptor)
            return None
        return Seen(key, descriptor, inode, received)

    def _key(self, found: socket.socket) -> Key | None:
        try:
            if found.family not in (socket.AF_INET, socket.AF_INET6) or found.type != socket.SOCK_STREAM:
                return None
            if found.getsockname()[1] != self._port:
                return None
            return key_of(*found.getpeername()[:2])
        except (OSError, ValueError):
            return None  # it listens, or is over

    def _listens(self, found: socket.socket) -> bool:
        try:
            accepts = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            return bool(accepts) and found.getsockname()[1] == self._port
        except (OSError, IndexError):
            return False

    def bar(self, barred: Iterable[str]) -> bool:
        """Nobody from these addresses (:attr:`Key.where`) may dial, and everybody else may; False where
        that cannot be had."""
        from probemesh_shared.rpc import barrier  # ctypes: who is never flooded does without

        barred, done = list(barred)[-barrier.MOST :], 0
        for descriptor in self._listening:
            found = _duplicate(descriptor)
            if found is None:
                continue
            with found, contextlib.suppress(OSError):
                if self._listens(found):
                    barrier.bar(found, barred)
                    done += 1
        return bool(done)

    def shut(self, seen: Seen) -> bool:
        """Ends one, if it still is what was seen; grpc then frees it and fails its calls."""
        found = _duplicate(seen.descriptor)
        if found is None:
            return False
        with found:
            if self._key(found) != seen.key:
                return False
            try:
                found.shutdown(socket.SHUT_RDWR)
            except OSError:
                return False
        return True


def _duplicate(descriptor: int) -> socket.socket | None:
    try:
        copy = os.dup(descriptor)
    except OSError:
        return None
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None


def _received(found: socket.socket) -> int:
    try:
        data = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.size)
    except (OSError, AttributeError):
        return 0
    return int(_BYTES_RECEIVED.unpack(data)[0]) if len(data) == _BYTES_RECEIVED.size else 0
