"""BER as LDAP and SNMP write it: definite lengths, tags of one byte, nothing longer than its container."""

from collections.abc import Iterator

INTEGER, OCTET_STRING, NULL, OID, ENUMERATED, SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x0A, 0x30
_MOST_OID = 128  # arcs; SNMP allows as many


class BerError(ValueError):
    """Not BER, or cut short."""


def read(data: bytes, at: int = 0) -> tuple[int, bytes, int]:
    """``(tag, content, where the next element begins)``; raises :class:`BerError`."""
    if at + 2 > len(data):
        raise BerError("cut short in a tag")
    tag, first = data[at], data[at + 1]
    if tag & 0x1F == 0x1F:
        raise BerError("a tag of several bytes")
    start, size = at + 2, first
    if first >= 0x80:
        count = first & 0x7F
        if not 1 <= count <= 4:
            raise BerError("a length that nobody needs")
        start += count
        size = int.from_bytes(data[at + 2 : start], "big")
    if start + size > len(data):
        raise BerError("longer than what holds it")
    return tag, data[start : start + size], start + size


def whole_length(head: bytes) -> int | None:
    """Bytes of the element that begins so, its head included; None where the head is not there yet. Raises
    :class:`BerError` for a length of no definite or no sensible form."""
    if len(head) < 2:
        return None
    if head[1] < 0x80:
        return 2 + head[1]
    count = head[1] & 0x7F
    if not 1 <= count <= 4:
        raise BerError("a length that nobody needs")
    return 2 + count + int.from_bytes(head[2 : 2 + count], "big") if len(head) >= 2 + count else None


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """What a constructed element holds, in order."""
    at = 0
    while at < len(data):
        tag, content, at = read(data, at)
        yield tag, content


def integer(content: bytes) -> int:
    """At most 8 bytes and a sign; an unsigned value of 64 bits takes nine."""
    if not 1 <= len(content) <= 9:
        raise BerError("no integer")
    return int.from_bytes(content, "big", signed=True)


def oid(content: bytes) -> tuple[int, ...]:
    """The arcs of an object identifier."""
    if not content or content[-1] & 0x80:
        raise BerError("no object identifier")
    arcs, value = [content[0] // 40, content[0] % 40], 0
    for byte in content[1:]:
        value = value << 7 | byte & 0x7F
        if value >> 32 or len(arcs) > _MOST_OID:
            raise BerError("an object identifier without end")
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    return tuple(arcs)


def tlv(tag: int, *parts: bytes) -> bytes:
    """One element, its length in the shortest form."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def of_integer(value: int) -> bytes:
    """A non-negative INTEGER."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def of_oid(*arcs: int) -> bytes:
    """An OBJECT IDENTIFIER."""
    content = bytearray((arcs[0] * 40 + arcs[1],))
    for arc in arcs[2:]:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        content += bytes(reversed(groups))
    return tlv(OID, bytes(content))
