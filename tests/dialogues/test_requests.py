"""Ready-made datagrams without a socket: what a good answer says, what is none, and what breaks nothing."""

import contextlib
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_agent.probes.udprequests import MAKERS
from probemesh_agent.wire import ber
from probemesh_agent.wire.requests import Asking, Request
from probemesh_shared.words import UdpRequest

NOW_NS = 1_790_000_000_250_000_000
NTP_NOW = NOW_NS // 10**9 + 2_208_988_800
SPAWNED = bytes(range(1, 251)) * 8


def asking(host: str = "192.0.2.1", port: int = 53) -> Asking:
    return Asking(host, port, "192.0.2.9", 40_000, NOW_NS, lambda size: SPAWNED[:size])


def request(kind: UdpRequest) -> Request:
    return MAKERS[kind](asking())


def ntp_answer(query: bytes, stratum: int = 1, refid: bytes = b"GPS\0", first: int = 0x24) -> bytes:
    """A server whose clock is 500 ms ahead, and that answers at once."""
    stamp = struct.pack("!II", NTP_NOW, 3 << 30)
    return bytes((first, stratum, 6, 236)) + bytes(8) + refid + bytes(8) + query[40:48] + stamp + stamp


def stun_answer(query: bytes) -> bytes:
    mask = query[4:20]
    address = bytes(a ^ b for a, b in zip(bytes((203, 0, 113, 7)), mask, strict=False))
    port = struct.pack("!H", 4242 ^ int.from_bytes(mask[:2], "big"))
    value = b"\0\1" + port + address
    return (
        struct.pack("!HH", 0x0101, 12 + 8) + mask + b"\x80\x22\0\3abc\0" + struct.pack("!HH", 0x20, 8) + value
    )


def snmp_answer(query: bytes) -> bytes:
    """The same message as a response, with values."""
    parts = list(ber.elements(ber.read(query)[1]))
    fields = list(ber.elements(parts[2][1]))
    up = ber.tlv(0x30, ber.of_oid(1, 3, 6, 1, 2, 1, 1, 3, 0), ber.tlv(0x43, b"\x04\xd2"))
    description = ber.tlv(0x30, ber.of_oid(1, 3, 6, 1, 2, 1, 1, 1, 0), ber.tlv(4, b"Linux\x1b[2J"))
    pdu = ber.tlv(0xA2, *(ber.tlv(*field) for field in fields[:3]), ber.tlv(0x30, up, description))
    return ber.tlv(0x30, ber.tlv(*parts[0]), ber.tlv(*parts[1]), pdu)


def snmp3_answer(query: bytes) -> bytes:
    parts = list(ber.elements(ber.read(query)[1]))
    engine = ber.tlv(4, bytes.fromhex("80001f8804"))
    nothing = ber.tlv(4)
    security = ber.tlv(0x30, engine, ber.of_integer(3), ber.of_integer(77), nothing, nothing, nothing)
    report = ber.tlv(0xA8, ber.of_integer(0), ber.of_integer(0), ber.of_integer(0), ber.tlv(0x30))
    return ber.tlv(
        0x30, *(ber.tlv(*p) for p in parts[:2]), ber.tlv(4, security), ber.tlv(0x30, nothing, nothing, report)
    )


def sip_answer(query: bytes) -> bytes:
    kept = [line for line in query.split(b"\r\n") if line.startswith((b"Via", b"From", b"Call-ID", b"CSeq"))]
    return b"\r\n".join((b"SIP/2.0 200 OK", *kept, b"", b""))


def quic_answer(
    query: bytes, versions: bytes = bytes.fromhex("00000001 6b3343cf ff00001d 1a2a3a4a")
) -> bytes:
    return b"\xca" + bytes(4) + query[14:23] + query[5:14] + versions


GOOD: dict[UdpRequest, tuple[Callable[[bytes], bytes], str]] = {
    UdpRequest.DNS: (
        lambda query: query[:2] + bytes.fromhex("8005 0001 0000 0000 0000") + query[12:],
        "REFUSED, 0 answers, 0 authorities",
    ),
    UdpRequest.NTP: (ntp_answer, "stratum 1, refid GPS, offset +500.000 ms"),
    UdpRequest.STUN: (stun_answer, "mapped address 203.0.113.7:4242"),
    UdpRequest.SNMP: (snmp_answer, r"up 12 s, Linux\x1b[2J"),
    UdpRequest.SNMP3: (snmp3_answer, "engine 80001f8804, 3 boots, up 77 s"),
    UdpRequest.SIP: (sip_answer, "SIP/2.0 200 OK"),
    UdpRequest.QUIC: (quic_answer, "versions 1, 2, draft-29"),
}
KINDS = sorted(MAKERS)


def test_every_request_is_tried() -> None:
    assert set(GOOD) == set(MAKERS) == set(UdpRequest) - {UdpRequest.NONE}


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_answer_in_a_line(kind: UdpRequest) -> None:
    made = request(kind)
    answer, text = GOOD[kind]
    reading = made.read(answer(made.payload), NOW_NS)
    assert reading is not None and (reading.text, reading.is_valid) == (text, True)


@pytest.mark.parametrize("kind", KINDS)
def test_another_id_is_not_ours(kind: UdpRequest) -> None:
    made = request(kind)
    other = MAKERS[kind](Asking("192.0.2.1", 53, "192.0.2.9", 40_000, NOW_NS, lambda size: SPAWNED[-size:]))
    assert other.payload != made.payload, "each attempt has an id of its own"
    assert made.read(GOOD[kind][0](other.payload), NOW_NS) is None


@pytest.mark.parametrize("kind", KINDS)
def test_our_own_request_that_comes_back_is_no_answer(kind: UdpRequest) -> None:
    made = request(kind)
    reading = made.read(made.payload, NOW_NS)
    assert reading is None or not reading.is_valid


def test_quic_asks_as_rfc_9000_wants_it() -> None:
    payload = request(UdpRequest.QUIC).payload
    assert len(payload) == 1200 and payload[0] & 0xC0 == 0xC0
    assert all(byte & 0x0F == 0x0A for byte in payload[1:5]) and payload[5] == payload[14] == 8


@pytest.mark.parametrize(
    ("kind", "answer", "text"),
    [
        (UdpRequest.NTP, lambda q: ntp_answer(q, 0, b"RATE"), "kiss-o'-death RATE"),
        (UdpRequest.NTP, lambda q: ntp_answer(q, 0, b"INIT"), "not synchronised yet (INIT)"),
        (UdpRequest.NTP, lambda q: ntp_answer(q, 2, bytes((192, 0, 2, 5))), "refid 192.0.2.5"),
        (UdpRequest.NTP, lambda q: ntp_answer(q, 16, b"\0\0\0\0", 0xE4), "not synchronised"),
        (
            UdpRequest.STUN,
            lambda q: struct.pack("!HH", 0x0111, 8) + q[4:20] + b"\0\x09\0\4\0\0\4\1",
            "error 401",
        ),
        (UdpRequest.QUIC, lambda q: quic_answer(q, b"\x1a\x2a\x3a\x4a"), "reserved ones only"),
        (UdpRequest.QUIC, lambda q: quic_answer(q, b"\0\0\0\1" * 99), "and 83 more"),
        (UdpRequest.SIP, lambda q: sip_answer(q).replace(b"200 OK", b"486 Busy"), "SIP/2.0 486 Busy"),
    ],
)
def test_what_else_is_valid(kind: UdpRequest, answer: Callable[[bytes], bytes], text: str) -> None:
    made = request(kind)
    reading = made.read(answer(made.payload), NOW_NS)
    assert reading is not None and reading.is_valid and text in reading.text


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (UdpRequest.DNS, lambda q: q[:2] + bytes.fromhex("8000 0001 0000 0000 0000 0161 00 0001 0001")),
        (UdpRequest.NTP, lambda q: ntp_answer(q, first=0x23)),
        (UdpRequest.NTP, lambda q: ntp_answer(q, 200)),
        (UdpRequest.STUN, lambda q: struct.pack("!HH", 0x0101, 0) + q[4:20]),
        (UdpRequest.QUIC, lambda q: quic_answer(q, b"")),
        (UdpRequest.QUIC, lambda q: b"\xca\0\0\0\1" + quic_answer(q)[5:]),
        (UdpRequest.SIP, lambda q: sip_answer(q).replace(b"SIP/2.0 200", b"HTTP/1.1 200")),
        (UdpRequest.SNMP3, lambda q: snmp3_answer(q).replace(b"\x80\0\x1f\x88\4", b"\x80\0")),
    ],
)
def test_an_answer_with_our_id_that_is_broken(kind: UdpRequest, answer: Callable[[bytes], bytes]) -> None:
    made = request(kind)
    reading = made.read(answer(made.payload), NOW_NS)
    assert reading is None or not reading.is_valid


@pytest.mark.parametrize("kind", KINDS)
def test_answers_cut_short_anywhere(kind: UdpRequest) -> None:
    made = request(kind)
    answer = GOOD[kind][0](made.payload)
    for end in range(len(answer)):
        check(made, answer[:end])


def check(made: Request, answer: bytes) -> None:
    reading = made.read(answer, NOW_NS)
    assert reading is None or (reading.text.isprintable() and len(reading.text) < 1000)


@given(st.sampled_from(KINDS), st.binary(max_size=600))
def test_any_bytes(kind: UdpRequest, answer: bytes) -> None:
    check(request(kind), answer)


@given(st.sampled_from(KINDS), st.data())
def test_mutated_answers(kind: UdpRequest, data: st.DataObject) -> None:
    made = request(kind)
    answer = bytearray(GOOD[kind][0](made.payload))
    for _ in range(data.draw(st.integers(1, 6))):
        answer[data.draw(st.integers(0, len(answer) - 1))] = data.draw(st.integers(0, 255))
    check(made, bytes(answer) + data.draw(st.binary(max_size=8)))


@given(st.binary(max_size=200))
def test_ber_ends(data: bytes) -> None:
    for parse in (lambda: list(ber.elements(data)), lambda: ber.oid(data), lambda: ber.integer(data)):
        with contextlib.suppress(ber.BerError):
            parse()


@given(st.integers(0, (1 << 63) - 1), st.binary(max_size=300))
def test_ber_reads_what_it_writes(number: int, content: bytes) -> None:
    assert ber.integer(ber.read(ber.of_integer(number))[1]) == number
    written = ber.tlv(4, content)
    assert ber.read(written) == (4, content, len(written))
    assert ber.whole_length(written[:6]) == len(written) or len(written) < 2
