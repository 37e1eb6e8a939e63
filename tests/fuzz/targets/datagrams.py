"""Answers to the ready-made datagrams, read by whoever asked."""

from probemesh_agent.probes.udprequests import MAKERS
from probemesh_agent.wire import ber
from probemesh_agent.wire.requests import Asking
from probemesh_shared.words import UdpRequest

from tests.fuzz.checks import is_line, pick

REQUESTS = tuple(MAKERS)


def _fixed(size: int) -> bytes:
    return bytes(range(0x41, 0x41 + 26)) * (size // 26 + 1)


ASKING = Asking("192.0.2.1", 53, "192.0.2.2", 4711, 1_790_000_000 * 10**9, lambda size: _fixed(size)[:size])
MADE = {request: MAKERS[request](ASKING) for request in REQUESTS}
_STUN = b"\x21\x12\xa4\x42" + _fixed(12)[:12]
_SNMP_VALUE = bytes.fromhex("3011060a2b06010201010300430300") + b"\1\2"
_GOOD = {
    UdpRequest.DNS: b"AB\x84\0\0\1\0\2\0\0\0\0\0\0\2\0\1",
    UdpRequest.NTP: b"\x24\2\0\xec" + bytes(8) + b"\xc0\0\2\1" + bytes(8) + _fixed(8)[:8] + bytes(16),
    UdpRequest.STUN: b"\1\1\0\x0c" + _STUN + b"\0\x20\0\x08\0\1\x12\x34\xe1\x12\xa6\x43",
    UdpRequest.SIP: b"SIP/2.0 200 OK\r\nVia: x\r\nCall-ID: " + _fixed(12)[:12].hex().encode() + b"@h\r\n\r\n",
    UdpRequest.QUIC: b"\xc0\0\0\0\0\x08" + _fixed(8)[:8] + b"\x08" + _fixed(8)[:8] + b"\0\0\0\1\xff\0\0\x1d",
}


def _snmp(request: UdpRequest) -> bytes:
    """Our own question with the tag of an answer."""
    return MADE[request].payload.replace(b"\xa0", b"\xa2", 1)


def _report() -> bytes:
    inner = ber.tlv(0xA8, *(ber.of_integer(n) for n in (1, 0, 0)), ber.tlv(ber.SEQUENCE))
    security = ber.tlv(ber.SEQUENCE, ber.tlv(4, b"\x80\0\x1f\x88\4ab"), ber.of_integer(3), ber.of_integer(99))
    number = int.from_bytes(_fixed(4)[:4], "big") & 0x7FFFFFFF
    header = ber.tlv(ber.SEQUENCE, *(ber.of_integer(n) for n in (number, 1, 1, 3)))
    scoped = ber.tlv(ber.SEQUENCE, ber.tlv(4), ber.tlv(4), inner)
    return ber.tlv(ber.SEQUENCE, ber.of_integer(3), header, ber.tlv(4, security), scoped)


_NTP = bytes((REQUESTS.index(UdpRequest.NTP),)) + b"\x24"
_NTP_REST = b"\0\xec" + bytes(8) + b"RATE" + bytes(8) + _fixed(8)[:8] + bytes(16)
SEEDS = (
    _NTP + b"\0" + _NTP_REST,
    _NTP + b"\1" + _NTP_REST,
    *(bytes((REQUESTS.index(request),)) + answer for request, answer in _GOOD.items()),
    bytes((REQUESTS.index(UdpRequest.SNMP),)) + _snmp(UdpRequest.SNMP),
    bytes((REQUESTS.index(UdpRequest.SNMP3),)) + _report(),
    *(bytes((REQUESTS.index(request),)) + made.payload for request, made in MADE.items()),
    bytes((len(REQUESTS),)) + _SNMP_VALUE,
    bytes((len(REQUESTS),)) + b"\x02\x01\x05",
)


def read(data: bytes) -> None:
    request, answer = pick(data, (*REQUESTS, None))
    if request is None:
        _element(answer)
        return
    reading = MADE[request].read(answer, ASKING.now_ns + 10**7)
    if reading is not None:
        is_line(reading.text)


def _element(data: bytes) -> None:
    """BER by itself, to any depth that a reader goes."""
    try:
        assert ber.whole_length(data[:6]) is None or len(data) >= 2
        for tag, content in ber.elements(data):
            again = ber.tlv(tag, content)
            assert ber.read(again)[:2] == (tag, content)
            for reader in (ber.integer, ber.oid):
                try:
                    reader(content)
                except ber.BerError:
                    continue
    except ber.BerError:
        return
