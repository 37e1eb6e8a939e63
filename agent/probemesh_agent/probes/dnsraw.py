"""Where the records of a DNS message lie, found without unpacking any: a message of 64 KiB can hold thousands
of records whose names are long chains of pointers, and minutes of work for who reads them all. Pure.
"""

import struct
from dataclasses import dataclass

ANSWER, AUTHORITY, ADDITIONAL = range(3)
OPT, TSIG, RRSIG = 41, 250, 46
_HEADER = struct.Struct("!HHHHHH")
_FIXED = struct.Struct("!HHIH")  # type, class, TTL, length of the data
_EXPIRES = struct.Struct("!8xI")  # of an RRSIG's data (RFC 4034 §3.1)


@dataclass(frozen=True, slots=True)
class Raw:
    """One record: ``at`` is where its name begins, ``start`` and ``size`` where its data lie."""

    section: int
    at: int
    kind: int
    klass: int
    ttl: int
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Layout:
    """``opt`` is the EDNS record, kept apart; TSIG is left out."""

    records: tuple[Raw, ...]
    opt: Raw | None = None


def has_one_question_at_most(data: bytes) -> bool:
    return len(data) >= _HEADER.size and _HEADER.unpack_from(data)[2] <= 1


def layout(data: bytes) -> Layout | None:
    """None: cut short, longer than it says, or with EDNS where it may not be (RFC 6891 §6.1.1)."""
    try:
        return _layout(data)
    except (struct.error, IndexError):
        return None


def _layout(data: bytes) -> Layout | None:
    _, _, questions, *counts = _HEADER.unpack_from(data)
    place = _HEADER.size
    for _ in range(questions):
        place = _after_name(data, place) + 4
    found: list[Raw] = []
    opts: list[Raw] = []
    for section, count in enumerate(counts):
        for _ in range(count):
            raw = _record(data, place, section)
            place = raw.start + raw.size
            if place > len(data):
                return None
            if raw.kind == OPT:
                opts.append(raw)
            elif raw.kind != TSIG:
                found.append(raw)
    if place != len(data) or len(opts) > 1 or any(one.section != ADDITIONAL or data[one.at] for one in opts):
        return None
    return Layout(tuple(found), opts[0] if opts else None)


def _record(data: bytes, at: int, section: int) -> Raw:
    fixed = _after_name(data, at)
    kind, klass, ttl, size = _FIXED.unpack_from(data, fixed)
    return Raw(section, at, kind, klass, ttl, fixed + _FIXED.size, size)


def _after_name(data: bytes, place: int) -> int:
    """Pointers are not followed: a name ends with one."""
    while size := data[place]:
        if size >= 0xC0:
            return place + 2
        if size >= 0x40:
            raise IndexError("no kind of label that there is")
        place += 1 + size
    return place + 1


def expires_s(data: bytes, raw: Raw) -> int | None:
    """When a signature ends, Unix time; None for what is too short to be one."""
    if raw.kind != RRSIG or raw.size < 18:
        return None
    return int(_EXPIRES.unpack_from(data, raw.start)[0])
