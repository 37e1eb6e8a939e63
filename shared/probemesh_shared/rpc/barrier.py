"""Who may not even dial: a filter in the kernel, at a listening socket, that drops what comes from some
addresses before anybody is asked. No privilege is needed, and nothing is left behind: it goes with the
socket.

Classic BPF (linux/filter.h), as ``SO_ATTACH_FILTER`` takes it. Connections that stand are not touched: each
keeps the filter that there was when it was made.
"""

import ctypes
import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network

#: More are not barred at once: two instructions for each of IPv4, five of IPv6, 4,096 is the kernel's most.
MOST = 256
_ATTACH, _DETACH = 26, 27  # SO_ATTACH_FILTER, SO_DETACH_FILTER: alike on x86, ARM, RISC-V
_NETWORK_HEADER = 0xFFF00000  # SKF_NET_OFF: offsets count from the IP header
_LOAD_BYTE, _LOAD_WORD = 0x30, 0x20  # BPF_LD | BPF_ABS, with BPF_B or BPF_W
_SHIFT_RIGHT, _JUMP, _JUMP_IF_EQUAL, _RETURN = 0x74, 0x05, 0x15, 0x06
_PASS, _DROP = 0xFFFFFFFF, 0
_SOURCE4, _SOURCE6 = 12, 8  # where the source address is, in a header of either kind
_INSTRUCTION = struct.Struct("=HBBI")

_Code = list[tuple[int, int, int, int]]  # operation, jump if true, jump if false, operand


def program(barred: Iterable[str]) -> bytes:
    """Drops packets whose source is one of ``barred``: IPv4 addresses, and /64 of IPv6. Raises
    ``ValueError`` for other words."""
    networks = [ip_network(where) for where in barred]
    four = [step for one in networks if isinstance(one, IPv4Network) for step in _of_four(one)]
    six = [step for one in networks if isinstance(one, IPv6Network) for step in _of_six(one)]
    four.insert(0, (_LOAD_WORD, 0, 0, _NETWORK_HEADER + _SOURCE4))
    code: _Code = [
        (_LOAD_BYTE, 0, 0, _NETWORK_HEADER),
        (_SHIFT_RIGHT, 0, 0, 4),
        (_JUMP_IF_EQUAL, 1, 0, 4),
        (_JUMP, 0, 0, len(four) + 1),
        *four,
        (_RETURN, 0, 0, _PASS),
        *six,
        (_RETURN, 0, 0, _PASS),
    ]
    return b"".join(_INSTRUCTION.pack(*step) for step in code)


def _of_four(one: IPv4Network) -> Iterator[tuple[int, int, int, int]]:
    if one.prefixlen != one.max_prefixlen:
        raise ValueError(f"{one} is no address")
    yield _JUMP_IF_EQUAL, 0, 1, int(one.network_address)
    yield _RETURN, 0, 0, _DROP


def _of_six(one: IPv6Network) -> Iterator[tuple[int, int, int, int]]:
    if one.prefixlen != 64:
        raise ValueError(f"{one} is no /64")
    high, low = divmod(int(one.network_address) >> 64, 1 << 32)
    yield _LOAD_WORD, 0, 0, _NETWORK_HEADER + _SOURCE6
    yield _JUMP_IF_EQUAL, 0, 3, high
    yield _LOAD_WORD, 0, 0, _NETWORK_HEADER + _SOURCE6 + 4
    yield _JUMP_IF_EQUAL, 0, 1, low
    yield _RETURN, 0, 0, _DROP


def bar(listener: socket.socket, barred: Iterable[str]) -> None:
    """In place of who was barred before. Raises ``OSError`` where the kernel will not."""
    barred = list(barred)
    if not barred:
        listener.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
        return
    code = program(barred)
    held = ctypes.create_string_buffer(code, len(code))
    listener.setsockopt(
        socket.SOL_SOCKET,
        _ATTACH,
        struct.pack("@HP", len(code) // _INSTRUCTION.size, ctypes.addressof(held)),
    )
