"""The kernel's own filter of what a packet socket is given: a classic BPF program (linux/filter.h).

It sees packets from their IP header on. ICMP passes whole; TCP to or from the watched ports where it opens,
closes or resets, so that a busy service's data stays in the kernel; everything to or from the surrogate port;
of UDP what goes to or from either. Later fragments of UDP pass, for they bear no ports.
"""

import struct
from collections.abc import Collection
from typing import Final

_INSTRUCTION = struct.Struct("=HBBI")  # sock_filter: code, jump if true, jump if false, operand
_LOAD_BYTE, _LOAD_HALF, _BYTE_AT_X, _HALF_AT_X = 0x30, 0x28, 0x50, 0x48
_X_IS_IP_LENGTH, _RIGHT, _EQUAL, _HAS_BITS, _RETURN = 0xB1, 0x74, 0x15, 0x45, 0x06
_TCP, _UDP, _ICMP, _ICMP6, _FRAGMENT = 6, 17, 1, 58, 44
_FIN_SYN_RST: Final = 0x07
_WHOLE: Final = 0x40000
SIZE: Final = _INSTRUCTION.size

_Line = tuple[int, int, str | None, str | None]  # code, operand, labels to go to


class _Program:
    """Instructions with labels; a jump to None is to the next."""

    def __init__(self) -> None:
        self._lines: list[_Line] = []
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        self._labels[name] = len(self._lines)

    def new_label(self) -> str:
        return f"at {len(self._lines)}"

    def do(self, code: int, operand: int, yes: str | None = None, no: str | None = None) -> None:
        self._lines.append((code, operand, yes, no))

    def assembled(self) -> bytes:
        return b"".join(
            _INSTRUCTION.pack(code, self._far(at, yes), self._far(at, no), operand)
            for at, (code, operand, yes, no) in enumerate(self._lines)
        )

    def _far(self, at: int, label: str | None) -> int:
        return 0 if label is None else self._labels[label] - at - 1


def program(watched: Collection[int], whole: Collection[int]) -> bytes:
    """``watched``: ports of which TCP's beginnings and ends pass; ``whole``: ports of which all passes."""
    made = _Program()
    made.do(_LOAD_BYTE, 0)
    made.do(_RIGHT, 4)
    made.do(_EQUAL, 4, "v4")
    made.do(_EQUAL, 6, "v6", "drop")
    made.label("v4")
    made.do(_LOAD_BYTE, 9)
    made.do(_EQUAL, _ICMP, "pass")
    for name, number in (("tcp4", _TCP), ("udp4", _UDP)):
        made.do(_EQUAL, number, name)
    made.do(_RETURN, 0)
    made.label("tcp4")
    made.do(_LOAD_HALF, 6)
    made.do(_HAS_BITS, 0x1FFF, "drop")
    made.do(_X_IS_IP_LENGTH, 0)
    _ports(made, _HALF_AT_X, 0, whole, watched)
    made.do(_BYTE_AT_X, 13)
    made.do(_HAS_BITS, _FIN_SYN_RST, "pass", "drop")
    made.label("udp4")
    made.do(_LOAD_HALF, 6)
    made.do(_HAS_BITS, 0x1FFF, "pass")
    made.do(_X_IS_IP_LENGTH, 0)
    _ports(made, _HALF_AT_X, 0, {*whole, *watched}, ())
    made.label("v6")
    made.do(_LOAD_BYTE, 6)
    for number in (_ICMP6, _FRAGMENT):
        made.do(_EQUAL, number, "pass")
    for name, number in (("tcp6", _TCP), ("udp6", _UDP)):
        made.do(_EQUAL, number, name)
    made.do(_RETURN, 0)
    made.label("tcp6")
    _ports(made, _LOAD_HALF, 40, whole, watched)
    made.do(_LOAD_BYTE, 53)
    made.do(_HAS_BITS, _FIN_SYN_RST, "pass", "drop")
    made.label("udp6")
    _ports(made, _LOAD_HALF, 40, {*whole, *watched}, ())
    made.label("drop")
    made.do(_RETURN, 0)
    made.label("pass")
    made.do(_RETURN, _WHOLE)
    return made.assembled()


def _ports(made: _Program, load: int, at: int, whole: Collection[int], watched: Collection[int]) -> None:
    """Passes what bears a port of ``whole``, drops what bears none of ``watched`` either, goes on else."""
    here = made.new_label()
    for offset in (at, at + 2):
        made.do(load, offset)
        for port in sorted(whole):
            made.do(_EQUAL, port, "pass")
        for port in sorted(watched):
            made.do(_EQUAL, port, here)
    made.do(_RETURN, 0)
    made.label(here)
