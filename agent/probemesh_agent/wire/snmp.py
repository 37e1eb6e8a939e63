"""SNMP requests that change nothing: v2c sysUpTime and sysDescr (RFC 3416), v3 discovery (RFC 3414). Pure."""

from probemesh_shared.escape import escape_bytes

from probemesh_agent.wire import ber
from probemesh_agent.wire.requests import Asking, Reading, Request, invalid

_UPTIME, _DESCRIPTION = (1, 3, 6, 1, 2, 1, 1, 3, 0), (1, 3, 6, 1, 2, 1, 1, 1, 0)
_V2C, _V3 = 1, 3
_GET, _RESPONSE, _REPORT = 0xA0, 0xA2, 0xA8
_TICKS = 0x43
_USM, _REPORTABLE = 3, b"\x04"
_MOST = 65_507


def snmp(asking: Asking) -> Request:
    """GET of sysUpTime.0 and sysDescr.0, community ``public``. Agents are silent to a wrong community."""
    number = _number(asking)
    names = (ber.tlv(ber.SEQUENCE, ber.of_oid(*arcs), ber.tlv(ber.NULL)) for arcs in (_UPTIME, _DESCRIPTION))
    get = ber.tlv(_GET, ber.of_integer(number), ber.of_integer(0), ber.of_integer(0), _sequence(*names))
    message = _sequence(ber.of_integer(_V2C), ber.tlv(ber.OCTET_STRING, b"public"), get)
    return Request(message, lambda answer, at: _read(answer, number, _V2C))


def snmp3(asking: Asking) -> Request:
    """An empty request by nobody, which an engine answers with a report of who it is."""
    number = _number(asking)
    header = _sequence(
        ber.of_integer(number),
        ber.of_integer(_MOST),
        ber.tlv(ber.OCTET_STRING, _REPORTABLE),
        ber.of_integer(_USM),
    )
    nothing = ber.tlv(ber.OCTET_STRING)
    security = _sequence(nothing, ber.of_integer(0), ber.of_integer(0), nothing, nothing, nothing)
    get = ber.tlv(_GET, ber.of_integer(number), ber.of_integer(0), ber.of_integer(0), _sequence())
    message = _sequence(
        ber.of_integer(_V3), header, ber.tlv(ber.OCTET_STRING, security), _sequence(nothing, nothing, get)
    )
    return Request(message, lambda answer, at: _read(answer, number, _V3))


def _number(asking: Asking) -> int:
    return int.from_bytes(asking.random(4), "big") & 0x7FFFFFFF


def _sequence(*parts: bytes) -> bytes:
    return ber.tlv(ber.SEQUENCE, *parts)


def _read(answer: bytes, number: int, version: int) -> Reading | None:
    """None where the id is another, or cannot be found."""
    try:
        parts = _parts(answer, ber.SEQUENCE, 3)
        if ber.integer(parts[0][1]) != version:
            return None
        if version == _V3:
            return _read_report(parts, number)
        return _read_response(parts[2], number)
    except ber.BerError:
        return None


def _parts(data: bytes, tag: int, least: int) -> list[tuple[int, bytes]]:
    """What one constructed element holds, at least so many."""
    found, content, _ = ber.read(data)
    parts = list(ber.elements(content))
    if found != tag or len(parts) < least:
        raise ber.BerError("something else")
    return parts


def _read_response(pdu: tuple[int, bytes], number: int) -> Reading | None:
    fields = list(ber.elements(pdu[1]))
    if len(fields) < 4 or ber.integer(fields[0][1]) != number:
        return None
    if pdu[0] != _RESPONSE:
        return invalid("an SNMP message that is no response")
    if status := ber.integer(fields[1][1]):
        return Reading(f"error status {status}")
    try:
        values = [_value(binding) for _, binding in ber.elements(fields[3][1])]
    except ber.BerError as error:
        return invalid(f"values that cannot be read: {error}")
    return Reading(", ".join(values[:2]) or "no values")


def _value(binding: bytes) -> str:
    (_, name), (tag, content), *_ = [*ber.elements(binding), (ber.NULL, b""), (ber.NULL, b"")]
    arcs = ber.oid(name)
    if arcs == _UPTIME and tag == _TICKS:
        return f"up {ber.integer(content) / 100:.0f} s"
    if arcs == _DESCRIPTION and tag == ber.OCTET_STRING:
        return escape_bytes(content, 160)
    return f"no such object (0x{tag:02x})" if tag >= 0x80 else f"a value of type 0x{tag:02x}"


def _read_report(parts: list[tuple[int, bytes]], number: int) -> Reading | None:
    header = list(ber.elements(parts[1][1]))
    if len(header) < 4 or ber.integer(header[0][1]) != number:
        return None
    try:
        security = _parts(parts[2][1], ber.SEQUENCE, 3)
        engine, boots, seconds = security[0][1], ber.integer(security[1][1]), ber.integer(security[2][1])
        pdu = _parts(ber.tlv(*parts[3]), ber.SEQUENCE, 3)[2] if len(parts) > 3 else (0, b"")
    except ber.BerError as error:
        return invalid(f"security parameters that cannot be read: {error}")
    if pdu[0] != _REPORT or not 5 <= len(engine) <= 32:
        return invalid("an SNMPv3 message that is no report")
    return Reading(f"engine {engine.hex()}, {boots} boots, up {seconds} s")
