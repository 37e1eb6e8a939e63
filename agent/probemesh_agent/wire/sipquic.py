"""SIP OPTIONS (RFC 3261 §11) and QUIC version negotiation (RFC 9000 §6, RFC 8999). Pure."""

from probemesh_shared.escape import escape_bytes

from probemesh_agent.wire.requests import Asking, Reading, Request, invalid

_LONG_HEADER = 0x80
_ID_BYTES = 8
_PADDED = 1200  # a server need not answer to less
_NAMES = {0x00000001: "1", 0x6B3343CF: "2"}
_DRAFT = 0xFF000000
_MOST_VERSIONS = 16
_MOST_HEADERS = 100


def sip(asking: Asking) -> Request:
    """OPTIONS to the server itself; the branch and Call-ID are new each time."""
    token = asking.random(12).hex()
    target, here = _bracketed(asking.host), _bracketed(asking.local_host)
    lines = (
        f"OPTIONS sip:{target}:{asking.port} SIP/2.0",
        f"Via: SIP/2.0/UDP {here}:{asking.local_port};branch=z9hG4bK{token};rport",
        "Max-Forwards: 70",
        f"From: <sip:probe@{here}>;tag={token[:8]}",
        f"To: <sip:{target}:{asking.port}>",
        f"Call-ID: {token}@{here}",
        "CSeq: 1 OPTIONS",
        f"Contact: <sip:probe@{here}:{asking.local_port}>",
        "Accept: application/sdp",
        "Content-Length: 0",
    )
    payload = "\r\n".join((*lines, "", "")).encode("ascii", "replace")
    return Request(payload, lambda answer, at: _read_sip(answer, token.encode()))


def _bracketed(host: str) -> str:
    host = host.partition("%")[0]
    return f"[{host}]" if ":" in host else host


def _read_sip(answer: bytes, token: bytes) -> Reading | None:
    head, *headers = answer.split(b"\r\n\r\n", 1)[0].split(b"\r\n", _MOST_HEADERS)
    values = [line.partition(b":") for line in headers]
    ids = [value.strip() for name, _, value in values if name.strip().lower() in (b"call-id", b"i")]
    if not any(one.startswith(token + b"@") or one == token for one in ids):
        return None
    if not head.startswith(b"SIP/2.0 ") or not head[8:11].isdigit() or head[11:12] not in (b" ", b""):
        return invalid("our own request came back, or a status line that cannot be read")
    return Reading(escape_bytes(head, 120))


def quic(asking: Asking) -> Request:
    """A packet of a version that is reserved so that servers answer with those they speak."""
    ours, theirs, spice = asking.random(_ID_BYTES), asking.random(_ID_BYTES), asking.random(5)
    version = bytes(byte & 0xF0 | 0x0A for byte in spice[:4])
    head = bytes((0xC0 | spice[4] & 0x0F,)) + version
    packet = head + bytes((_ID_BYTES,)) + theirs + bytes((_ID_BYTES,)) + ours
    packet += asking.random(_PADDED - len(packet))
    return Request(packet, lambda answer, at: _read_quic(answer, ours, theirs))


def _read_quic(answer: bytes, ours: bytes, theirs: bytes) -> Reading | None:
    """The ids come back, ours as the destination."""
    ids = bytes((_ID_BYTES,)) + ours + bytes((_ID_BYTES,)) + theirs
    if len(answer) < 5 or not answer[0] & _LONG_HEADER or answer[5 : 5 + len(ids)] != ids:
        return None
    if answer[1:5] != bytes(4):
        return invalid("a QUIC packet that is no version negotiation")
    listed = answer[5 + len(ids) :]
    if not listed or len(listed) % 4:
        return invalid("a version negotiation without versions, or cut short")
    numbers = [int.from_bytes(listed[at : at + 4], "big") for at in range(0, len(listed), 4)]
    named = [_version(number) for number in numbers if number & 0x0F0F0F0F != 0x0A0A0A0A]
    more = f" and {len(named) - _MOST_VERSIONS} more" if len(named) > _MOST_VERSIONS else ""
    return Reading(f"versions {', '.join(named[:_MOST_VERSIONS]) or 'reserved ones only'}{more}")


def _version(number: int) -> str:
    if number & 0xFFFFFF00 == _DRAFT:
        return f"draft-{number & 0xFF}"
    return _NAMES.get(number, f"0x{number:08x}")
