"""EDNS in an answer: sizes and flags, the server's id (RFC 5001), extended errors (RFC 8914). No I/O.

Options are walked here: a text in another encoding than it should have costs no more than its own characters,
where dnspython would give up the whole answer.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import dns.edns
import dns.flags
from probemesh_shared.model import DnsExtendedError

_LONGEST_NSID = 256
_LONGEST_TEXT = 500
_MOST_ERRORS = 8
_HEAD = struct.Struct("!HH")

Option = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Edns:
    """``size`` None: there is none. ``flags``: the whole field, the upper bits of the rcode and the version
    included (RFC 6891 §6.1.3)."""

    size: int | None = None
    flags: int = 0
    options: tuple[Option, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(dns.flags.edns_to_text(self.flags & 0xFFFF).lower().split())


def options_of(data: bytes) -> tuple[Option, ...]:
    """(code, data) in order; ValueError where lengths do not fit."""
    found: list[Option] = []
    place = 0
    while place < len(data):
        if place + _HEAD.size > len(data):
            raise ValueError("half an option")
        code, size = _HEAD.unpack_from(data, place)
        place += _HEAD.size + size
        if place > len(data):
            raise ValueError("an option that is longer than there is")
        found.append((code, data[place - size : place]))
    return tuple(found)


def nsid(options: Iterable[Option]) -> str | None:
    """As text where it is printable, else ``hex:…``; RFC 5001 leaves its meaning open."""
    data = next((data for code, data in options if code == dns.edns.NSID), None)
    if data is None:
        return None
    text = data.decode("ascii", "replace")
    return (text if data.isascii() and text.isprintable() else "hex:" + data.hex())[:_LONGEST_NSID]


def errors(options: Iterable[Option]) -> tuple[DnsExtendedError, ...]:
    """At most eight; one that is too short to have a code is none."""
    told = [data for code, data in options if code == dns.edns.EDE and len(data) >= 2]
    return tuple(_error(data) for data in told[:_MOST_ERRORS])


def _error(data: bytes) -> DnsExtendedError:
    code = int.from_bytes(data[:2])
    text = data[2 : 2 + 4 * _LONGEST_TEXT].rstrip(b"\0").decode("utf-8", "replace")
    return DnsExtendedError(code, _error_name(code), text[:_LONGEST_TEXT])


def _error_name(code: int) -> str | None:
    """``dnssec-bogus``; None for a code that is not registered."""
    name = dns.edns.EDECode.make(code).name
    return None if name is None or name.isdigit() else name.lower().replace("_", "-")
