"""The few facts of an X.509 certificate that every process needs, read without ``cryptography``.

The agent never loads that library (it costs 18 MB), and all it wants is: serial, dates, alternative names.
Signatures are not looked at here: TLS has done that before these bytes are believed. RFC 5280, DER of X.690.
"""

import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

_MAX = 16 << 10
_SAN = bytes.fromhex("551d11")
_SEQUENCE, _OID, _INTEGER, _OCTETS = 0x30, 0x06, 0x02, 0x04
_UTC_TIME, _GENERAL_TIME = 0x17, 0x18
_SAN_DNS, _SAN_URI = 0x82, 0x86


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """``serial`` is lower-case hexadecimal without leading zeros; instants are Unix nanoseconds."""

    serial: str
    not_before_ns: int
    not_after_ns: int
    uris: tuple[str, ...]
    dns_names: tuple[str, ...]


def head(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Tag, start and end of the value of the element at ``at``. Raises ``ValueError``."""
    if at + 2 > end:
        raise ValueError("truncated DER")
    tag, size, start = data[at], data[at + 1], at + 2
    if size & 0x80:
        count = size & 0x7F
        if not 1 <= count <= 3 or start + count > end:
            raise ValueError("DER length out of range")
        size, start = int.from_bytes(data[start : start + count], "big"), start + count
    if start + size > end:
        raise ValueError("DER element longer than its container")
    return tag, start, start + size


def children(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The elements between ``start`` and ``end``, one after the other. Raises ``ValueError``."""
    while start < end:
        tag, inner, start = head(data, start, end)
        yield tag, inner, start


def time_ns(tag: int, text: str) -> int:
    """Unix nanoseconds of a UTCTime or GeneralizedTime. Raises ``ValueError``."""
    if tag == _UTC_TIME:  # two digits: 50-99 are the 1900s (RFC 5280 4.1.2.5.1)
        text = ("19" if text >= "50" else "20") + text
    elif tag != _GENERAL_TIME:
        raise ValueError("not a time")
    try:
        when = datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:  # its words would have the bytes in them
        raise ValueError("a date that is none") from None
    return int(when.timestamp()) * 1_000_000_000


def _alternative_names(data: bytes, start: int, end: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    uris: list[str] = []
    names: list[str] = []
    for _, extension, extension_end in children(data, start, end):
        parts = list(children(data, extension, extension_end))
        if len(parts) < 2 or parts[0][0] != _OID or data[parts[0][1] : parts[0][2]] != _SAN:
            continue
        tag, value, value_end = parts[-1]
        if tag != _OCTETS:
            raise ValueError("extension without a value")
        _, value, value_end = head(data, value, value_end)
        for kind, at, stop in children(data, value, value_end):
            if kind in (_SAN_DNS, _SAN_URI):
                (uris if kind == _SAN_URI else names).append(data[at:stop].decode("ascii"))
    return tuple(uris), tuple(names)


def read_der(data: bytes) -> CertificateFacts:
    """Raises ``ValueError`` for anything that is not a certificate of version 3, of at most 16 KiB."""
    if len(data) > _MAX:
        raise ValueError("certificate too large")
    try:
        _, outer, outer_end = head(data, 0, len(data))
        _, start, end = head(data, outer, outer_end)
        fields = list(children(data, start, end))
        if len(fields) < 7 or fields[0][0] != 0xA0 or fields[1][0] != _INTEGER or fields[4][0] != _SEQUENCE:
            raise ValueError("not a certificate of version 3")
        serial = int.from_bytes(data[fields[1][1] : fields[1][2]], "big")
        before, after = (time_ns(t, data[a:z].decode("ascii")) for t, a, z in children(data, *fields[4][1:]))
        uris: tuple[str, ...] = ()
        names: tuple[str, ...] = ()
        for tag, at, _ in fields[7:]:
            if tag == 0xA3:
                _, inner, inner_end = head(data, at, end)
                uris, names = _alternative_names(data, inner, inner_end)
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError("malformed certificate") from error
    return CertificateFacts(f"{serial:x}", before, after, uris, names)


def read_pem(pem: bytes) -> CertificateFacts:
    """Facts of the first certificate of a PEM file. Raises ``ValueError``."""
    return read_der(pem_to_der(pem))


def pem_to_der(pem: bytes) -> bytes:
    """The first certificate of a PEM text. Raises ``ValueError``."""
    begin, finish = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    start = pem.find(begin)
    end = pem.find(finish, start)
    if start < 0 or end < 0:
        raise ValueError("no certificate in PEM form")
    return binascii.a2b_base64(pem[start + len(begin) : end])


#: Attribute types of a name that people write by letters (RFC 4514 §3); others by number.
_ATTRIBUTES = {
    "550403": "CN",
    "550406": "C",
    "550407": "L",
    "550408": "ST",
    "55040a": "O",
    "55040b": "OU",
    "0992268993f22c640119": "DC",
}
_NAME_MOST = 500


def name_text(data: bytes) -> str:
    """A distinguished name for people, as RFC 4514 orders it: ``CN=R3,O=Let's Encrypt,C=US``; cut at 500
    characters. Raises ``ValueError``."""
    _, start, end = head(data, 0, len(data))
    parts: list[str] = []
    for _, at, stop in children(data, start, end):
        parts.append("+".join(_attribute(data, *one[1:]) for one in children(data, at, stop)))
    return ",".join(reversed(parts))[:_NAME_MOST]


def _attribute(data: bytes, start: int, end: int) -> str:
    (_, at, stop), (_, value, value_end) = children(data, start, end)
    kind = data[at:stop].hex()
    text = data[value:value_end].decode("utf-8", "backslashreplace")
    return f"{_ATTRIBUTES.get(kind, kind)}={text}"


def serial_of(certificate: bytes) -> bytes:
    """The serial number's own bytes, for comparison. Raises ``ValueError``."""
    _, outer, outer_end = head(certificate, 0, len(certificate))
    _, start, end = head(certificate, outer, outer_end)
    fields = children(certificate, start, end)
    tag, at, stop = next(fields, (0, 0, 0))
    if tag == 0xA0:  # the version stands first, but for version 1
        tag, at, stop = next(fields, (0, 0, 0))
    if tag != _INTEGER:
        raise ValueError("not a certificate")
    return certificate[at:stop]
