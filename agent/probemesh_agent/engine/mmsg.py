"""``sendmmsg`` and ``recvmmsg``: many datagrams a system call, which Python's socket module does not have.

Buffers are laid out once; a batch costs one call, without the interpreter's lock. 64-bit Linux only, as the
layouts of ``struct mmsghdr`` here are; :data:`IS_AVAILABLE` says whether this machine is one."""

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Sequence

IS_AVAILABLE = sys.platform == "linux" and struct.calcsize("P") == 8
#: Room for a name and for control data in each slot of :class:`Incoming`, before the packet.
NAME_ROOM, CONTROL_ROOM = 32, 192

_MSG_DONTWAIT = 0x40
_NAME_SIZE = 28  # struct sockaddr_in6
# struct mmsghdr: name, its length, iov, their number, control, its length, flags; bytes received
_MESSAGE = struct.Struct("=QI4xQQQQi4xI4x")
_LENGTHS = struct.Struct("=40xQ8xI4x")  # msg_controllen and msg_len of it
_IOVEC = struct.Struct("=QQ")

_libc = ctypes.CDLL(None, use_errno=True)
_sendmmsg, _recvmmsg = _libc.sendmmsg, _libc.recvmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)


class _Buffer:
    """A bytearray that stays where it is, and where that is."""

    def __init__(self, content: bytes | bytearray) -> None:
        self.data = bytearray(content) or bytearray(1)
        self._hold = (ctypes.c_char * len(self.data)).from_buffer(self.data)
        self.address = ctypes.addressof(self._hold)


class Outgoing:
    """Up to ``count`` datagrams: a head of its own for each, one ``body`` for all.

    Slot ``i`` of ``heads`` (``head_size`` bytes) and ``names`` (``name_size`` bytes) make datagram ``i``.
    Those whose number ``stride`` divides carry the control message ``control``.
    """

    def __init__(
        self, count: int, head_size: int, body: bytes, name_size: int, control: bytes, stride: int
    ) -> None:
        self.count = count
        heads, names = _Buffer(bytes(count * head_size)), _Buffer(bytes(count * name_size))
        shared, asked = _Buffer(body), _Buffer(control)
        vectors = _Buffer(
            b"".join(
                _IOVEC.pack(heads.address + i * head_size, head_size) + _IOVEC.pack(shared.address, len(body))
                for i in range(count)
            )
        )
        first, size = vectors.address, 2 * _IOVEC.size
        self._messages = _Buffer(
            b"".join(
                _MESSAGE.pack(
                    names.address + i * name_size,
                    name_size,
                    first + i * size,
                    2 if body else 1,
                    0 if i % stride else asked.address,
                    0 if i % stride else len(control),
                    0,
                    0,
                )
                for i in range(count)
            )
        )
        self._held = heads, names, shared, asked, vectors
        self.heads, self.names = heads.data, names.data

    def send(self, fd: int, first: int, end: int) -> int:
        """Sends slots ``first`` to ``end``; how many went. Raises :class:`OSError` where the first one
        fails."""
        sent: int = _sendmmsg(fd, self._messages.address + first * _MESSAGE.size, end - first, _MSG_DONTWAIT)
        if sent < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return sent


class Incoming:
    """Room for ``count`` datagrams: slot ``i`` of ``data`` (``slot_size`` bytes) holds the sender's name, the
    control data from :data:`NAME_ROOM` on, and from ``start`` on at most ``room`` bytes of the packet."""

    def __init__(self, count: int, room: int) -> None:
        self.count = count
        self.start = NAME_ROOM + CONTROL_ROOM
        self.slot_size = size = self.start + room
        arena = _Buffer(bytes(count * size))
        self.data = arena.data
        slots = [arena.address + i * size for i in range(count)]
        vectors = _Buffer(b"".join(_IOVEC.pack(slot + self.start, room) for slot in slots))
        self._pristine = b"".join(
            _MESSAGE.pack(
                slot, _NAME_SIZE, vectors.address + i * _IOVEC.size, 1, slot + NAME_ROOM, CONTROL_ROOM, 0, 0
            )
            for i, slot in enumerate(slots)
        )
        self._messages = _Buffer(self._pristine)
        self._view = memoryview(self._messages.data)
        self._held = arena, vectors
        self._used = 0

    def receive(self, fd: int, flags: int = 0) -> Sequence[tuple[int, int]]:
        """``(control length, length)`` of what was there, empty for nothing; what lies behind a length is
        from an earlier packet. Raises :class:`OSError` but for an empty queue."""
        if self._used:  # lengths were written over
            used = self._used * _MESSAGE.size
            self._view[:used] = self._pristine[:used]
            self._used = 0
        count = _recvmmsg(fd, self._messages.address, self.count, flags | _MSG_DONTWAIT, None)
        if count < 0:
            number = ctypes.get_errno()
            if number in (errno.EAGAIN, errno.EINTR):
                return ()
            raise OSError(number, os.strerror(number))
        self._used = count
        return list(_LENGTHS.iter_unpack(self._view[: count * _LENGTHS.size]))
