"""This host's sockets on given ports, by sock_diag (netlink; no privilege): sock_diag(7), inet_diag.h.

The kernel filters by port itself (a little program of its own kind, as ``ss`` sends it), so that a busy host
is not copied into this process.
"""

import errno
import socket
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from probemesh_agent import kernel

#: More sockets than this of one question are not read.
MOST: Final = 4096

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port id
_QUESTION = struct.Struct("=BBBxI48x")  # inet_diag_req_v2: family, protocol, extensions, states, socket
_ANSWER = struct.Struct("=BBBB2s2s16s16s12xIIIII")  # inet_diag_msg
_ATTRIBUTE = struct.Struct("=HH")
_SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP = 20, 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_BYTECODE, _INFO, _SKMEMINFO, _SKV6ONLY = 1, 2, 7, 11
_CODE_JUMP, _CODE_SOURCE = 1, 7  # INET_DIAG_BC_JMP, INET_DIAG_BC_S_COND
_OP = struct.Struct("=BBH")
_CONDITION = struct.Struct("=BB2xi")  # inet_diag_hostcond: family 0 is any, prefix length 0, port
_INT = struct.Struct("=i")
_MAPPED = bytes(10) + b"\xff\xff"
# tcp_info: options at 5, snd_mss at 16, total_retrans at 100, bytes_received at 128
_SND_MSS, _RETRANS, _RECEIVED = struct.Struct("=I"), struct.Struct("=I"), struct.Struct("=Q")
_WITH_TIMESTAMPS, _TIMESTAMPS_SIZE = 1, 12


@dataclass(frozen=True, slots=True)
class SocketSeen:
    """One socket. ``inode`` 0: no process has it (yet, or any more). ``dual``: bound to all addresses of both
    families. ``mss`` is what the peer announced, as far as this side makes use of it."""

    state: int
    address: str
    port: int
    local_address: str
    local_port: int
    receive_queue: int = 0
    send_queue: int = 0
    inode: int = 0
    retransmits: int | None = None
    mss: int | None = None
    bytes_received: int | None = None
    drops: int | None = None
    dual: bool = False

    @property
    def tuple(self) -> tuple[str, int, str, int]:
        return self.address, self.port, self.local_address, self.local_port


class SockDiag:
    """One netlink socket, held open; not for use by two threads. Raises :class:`OSError` where the kernel
    does not answer."""

    def __init__(self) -> None:
        self._link: socket.socket | None = self._open()

    @staticmethod
    def _open() -> socket.socket:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        link = socket.socket(socket.AF_NETLINK, kind, kernel.NETLINK_SOCK_DIAG)
        link.settimeout(0.5)
        return link

    def sockets(
        self, protocol: int, states: Collection[int], ports: Collection[int]
    ) -> tuple[list[SocketSeen], bool]:
        """Sockets of both families in one of ``states`` bound to one of ``ports``, and whether those are
        all: at most :data:`MOST`."""
        found: list[SocketSeen] = []
        if not ports:
            return found, True
        mask = sum(1 << state for state in states)
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                complete = self._dump(_question(family, protocol, mask, ports), protocol, found)
            except OSError as error:
                if error.errno == errno.ENOENT and family == socket.AF_INET6:
                    continue  # a kernel without IPv6
                raise
            if not complete:
                return found, False
        return found, True

    def _dump(self, question: bytes, protocol: int, found: list[SocketSeen]) -> bool:
        link = self._link = self._link or self._open()
        try:
            link.send(question)
            while True:
                for kind, body in _messages(link.recv(1 << 16)):
                    if kind == _NLMSG_DONE:
                        return True
                    if kind == _NLMSG_ERROR:
                        raise OSError(-_INT.unpack_from(body)[0], "sock_diag")
                    if (seen := parse(body, protocol)) is not None:
                        found.append(seen)
                if len(found) >= MOST:
                    self.close()  # the rest of the answer goes with it
                    return False
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


def _question(family: int, protocol: int, states: int, ports: Collection[int]) -> bytes:
    # INET_DIAG_INFO, INET_DIAG_SKMEMINFO
    extensions = 1 << (_INFO - 1) if protocol == socket.IPPROTO_TCP else 1 << (_SKMEMINFO - 1)
    program = port_filter(ports)
    body = _QUESTION.pack(family, protocol, extensions, states)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(program), _BYTECODE) + program
    return _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + body


def port_filter(ports: Collection[int]) -> bytes:
    """Accepts sockets with one of these local ports. A condition that holds goes on to the next operation,
    a jump to the end; one that does not skips the jump; the last one's "no" leads beyond the end: refused."""
    condition = _OP.size + _CONDITION.size
    program = b""
    left = (condition + _OP.size) * len(ports)
    for port in ports:
        last = left == condition + _OP.size
        program += _OP.pack(_CODE_SOURCE, condition, left + 4 if last else condition + _OP.size)
        program += _CONDITION.pack(0, 0, port)
        program += _OP.pack(_CODE_JUMP, _OP.size, left - condition)
        left -= condition + _OP.size
    return program


def parse(body: bytes, protocol: int) -> SocketSeen | None:
    """One ``inet_diag_msg`` with its attributes; None where it is cut short."""
    if len(body) < _ANSWER.size:
        return None
    family, state, _, retrans, sport, dport, src, dst, _, rqueue, wqueue, _, inode = _ANSWER.unpack_from(body)
    attributes = dict(_attributes(body[_ANSWER.size :]))
    info, memory = attributes.get(_INFO, b""), attributes.get(_SKMEMINFO, b"")
    local = literal(family, src)
    retransmits = retrans if state == kernel.TCP_SYN_RECV else None
    mss = received = None
    if protocol == socket.IPPROTO_TCP and state != kernel.TCP_LISTEN and len(info) >= 104:
        retransmits, mss = _RETRANS.unpack_from(info, 100)[0], _peer_mss(info)
        received = _RECEIVED.unpack_from(info, 128)[0] if len(info) >= 136 else None
    return SocketSeen(
        state,
        literal(family, dst),
        int.from_bytes(dport, "big"),
        local,
        int.from_bytes(sport, "big"),
        rqueue,
        wqueue,
        inode,
        retransmits,
        mss,
        received,
        drops=_INT.unpack_from(memory, 32)[0] if len(memory) >= 36 else None,
        dual=local == "::" and attributes.get(_SKV6ONLY, b"\1")[:1] == b"\0",
    )


def _peer_mss(info: bytes) -> int | None:
    """Each segment's timestamps are taken off what the peer announced."""
    used = int(_SND_MSS.unpack_from(info, 16)[0])
    mss = used + (_TIMESTAMPS_SIZE if info[5] & _WITH_TIMESTAMPS else 0)
    return mss if 0 < mss < 65_536 else None


def literal(family: int, packed: bytes) -> str:
    """The address, one that is mapped into IPv6 as what it is."""
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, packed[:4])
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            return
        yield kind, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > len(data):
            return
        yield kind, data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
