"""A stapled OCSP response (RFC 6960 §4.2), read without ``cryptography`` and without belief.

Its signature is not looked at: what is told is what the server staples, as ``openssl s_client -status`` does.
Pure, and bounded by the size of what is handed in.
"""

from dataclasses import dataclass

from probemesh_shared.identity.der import children, head, serial_of, time_ns

_MOST = 64 << 10
_LATEST_NS = (1 << 63) - 1
_RESPONSES_MOST = 64
_SEQUENCE, _INTEGER, _OCTETS, _ENUMERATED, _GENERAL_TIME = 0x30, 0x02, 0x04, 0x0A, 0x18
_STATUS = {0x80: "good", 0xA1: "revoked", 0x82: "unknown"}
_REFUSED = {1: "malformedRequest", 2: "internalError", 3: "tryLater", 5: "sigRequired", 6: "unauthorized"}


@dataclass(frozen=True, slots=True)
class Staple:
    """``status``: ``good``, ``revoked``, ``unknown`` or ``malformed``; ``note`` says what is odd about it."""

    status: str
    this_update_ns: int | None = None
    next_update_ns: int | None = None
    note: str | None = None


def read_staple(data: bytes, leaf: bytes | None) -> Staple:
    """What the response says of ``leaf`` (DER). Never raises."""
    try:
        return _read(data, leaf)
    except (ValueError, IndexError):
        return Staple("malformed", note="the stapled OCSP response cannot be read")


def _read(data: bytes, leaf: bytes | None) -> Staple:
    if len(data) > _MOST:
        raise ValueError("too large")
    _, start, end = head(data, 0, len(data))
    parts = list(children(data, start, end))
    if not parts or parts[0][0] != _ENUMERATED:
        raise ValueError("no status")
    refused = int.from_bytes(data[parts[0][1] : parts[0][2]], "big")
    if refused:
        said = _REFUSED.get(refused, str(refused))
        return Staple("malformed", note=f"the stapled OCSP response is an error: {said}")
    serial = serial_of(leaf) if leaf is not None else None
    for one in _responses(data, parts[1]):
        if serial is None or _serial(data, one) == serial:
            return _single(data, one)
    return Staple("malformed", note="the stapled OCSP response speaks of another certificate")


def _responses(data: bytes, explicit: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """The SingleResponses of a BasicOCSPResponse within ResponseBytes."""
    _, start, end = head(data, explicit[1], explicit[2])
    _, octets = children(data, start, end)
    if octets[0] != _OCTETS:
        raise ValueError("no response within")
    _, start, end = head(data, octets[1], octets[2])
    _, start, end = head(data, start, end)  # tbsResponseData
    fields = list(children(data, start, end))
    listed = next((one for one in fields if one[0] == _SEQUENCE), (0, 0, 0))
    return list(children(data, listed[1], listed[2]))[:_RESPONSES_MOST]


def _serial(data: bytes, single: tuple[int, int, int]) -> bytes:
    _, start, end = head(data, single[1], single[2])
    tag, at, stop = list(children(data, start, end))[-1]
    if tag != _INTEGER:
        raise ValueError("no serial number")
    return data[at:stop]


def _single(data: bytes, single: tuple[int, int, int]) -> Staple:
    _, status, this_update, *more = children(data, single[1], single[2])
    next_update = next((head(data, one[1], one[2]) for one in more if one[0] == 0xA0), None)
    return Staple(
        _STATUS.get(status[0], "malformed"),
        _time(data, this_update),
        _time(data, next_update) if next_update is not None else None,
    )


def _time(data: bytes, element: tuple[int, int, int]) -> int:
    if element[0] != _GENERAL_TIME:
        raise ValueError("no time")
    told = time_ns(element[0], data[element[1] : element[2]].decode("ascii"))
    if told < 0:
        raise ValueError("a time before 1970")
    return min(told, _LATEST_NS)
