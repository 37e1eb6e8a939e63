"""``sendmmsg`` and ``recvmmsg``: many datagrams a system call, which Python's socket module does not have.

Buffers are laid out once; a batch costs one call, without the interpreter's lock. 64-bit Linux only, as the
layouts of ``struct mmsghdr`` here are; :data:`IS_AVAILABLE` says whether this machine is one."""

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Sequence

NAME_SIZE = 28  # struct sockaddr_in6
CONTROL_SIZE = 256
IS_AVAILABLE = sys.platform == "linux" and struct.calcsize("P") == 8

_MSG_DONTWAIT = 0x40
_LENGTHS = struct.Struct("=40xQ8xI4x")  # msg_controllen and msg_len in struct mmsghdr


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iov_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("received", ctypes.c_uint32),
        ("_pad", ctypes.c_uint32),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_sendmmsg, _recvmmsg = _libc.sendmmsg, _libc.recvmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)


class _Batch:
    """``count`` messages of ``size`` bytes with room for names and, where asked, control data."""

    def __init__(self, count: int, size: int, name_size: int, control_size: int) -> None:
        self.count, self.size, self.name_size, self.control_size = count, size, name_size, control_size
        self.data = bytearray(max(count * size, 1))
        self.names = bytearray(count * NAME_SIZE)
        self.controls = bytearray(max(count * control_size, 1))
        self._buffers = [
            (ctypes.c_char * len(b)).from_buffer(b) for b in (self.data, self.names, self.controls)
        ]
        data, names, controls = (ctypes.addressof(buffer) for buffer in self._buffers)
        self._iov = (_Iovec * count)(*[_Iovec(data + i * size, size) for i in range(count)])
        iov, iov_size = ctypes.addressof(self._iov), ctypes.sizeof(_Iovec)
        self._messages = (_Message * count)(
            *[
                _Message(
                    names + i * NAME_SIZE,
                    name_size,
                    iov + i * iov_size,
                    1,
                    controls + i * control_size if control_size else None,
                    control_size,
                    0,
                )
                for i in range(count)
            ]
        )
        self._address = ctypes.addressof(self._messages)


class Outgoing(_Batch):
    """Datagrams to be sent: fill slot ``i`` of ``data`` and ``names``, then :meth:`send`."""

    def __init__(self, count: int, size: int, name_size: int) -> None:
        super().__init__(count, size, name_size, 0)

    def send(self, fd: int, first: int, end: int) -> int:
        """Sends slots ``first`` to ``end``; how many went. Raises :class:`OSError` where the first one
        fails."""
        address = self._address + first * ctypes.sizeof(_Message)
        sent: int = _sendmmsg(fd, address, end - first, _MSG_DONTWAIT)
        if sent < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return sent


class Incoming(_Batch):
    """Room for datagrams that arrive: after :meth:`receive`, slot ``i`` of ``data``, ``names`` and
    ``controls``."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__(count, size, NAME_SIZE, CONTROL_SIZE)
        self._pristine = bytes(self._messages)
        self._view = memoryview(self._messages).cast("B")

    def receive(self, fd: int, flags: int = 0) -> Sequence[tuple[int, int]]:
        """``(control length, length)`` of what was there, empty for nothing; what lies behind a length is
        from an earlier packet. Raises :class:`OSError` but for an empty queue."""
        ctypes.memmove(self._address, self._pristine, len(self._pristine))
        count = _recvmmsg(fd, self._address, self.count, flags | _MSG_DONTWAIT, None)
        if count < 0:
            number = ctypes.get_errno()
            if number in (errno.EAGAIN, errno.EINTR):
                return ()
            raise OSError(number, os.strerror(number))
        size = _LENGTHS.size
        return list(_LENGTHS.iter_unpack(self._view[: count * size]))
