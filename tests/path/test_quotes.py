"""What routers quote of a SYN, byte for byte as a kernel showed it, and as liars would."""

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_agent.path.quotes import Quote, Syn, echo_quote, tcp_quote, whole_quote

#: As quoted by the first of three routers over veth links: the checksum is that of the pseudo header alone.
PARTIAL = bytes.fromhex("d5be176fb15ebede00000000a002faf014360000020405b40402080a05648cce000000000103030a")
SENT = Syn("10.1.0.1", 0xD5BE, "10.4.0.2", 5999, 1460)


def full(header: bytes, source: str = "10.1.0.1", target: str = "10.4.0.2") -> bytes:
    """The same with the checksum that real hardware would have put in."""
    parts = [bytes(int(octet) for octet in one.split(".")) for one in (source, target)]
    bare = header[:16] + b"\0\0" + header[18:]
    data = b"".join(parts) + struct.pack("!II", len(bare), 6) + bare
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return header[:16] + struct.pack("!H", ~total & 0xFFFF) + header[18:]


@pytest.mark.parametrize("header", [PARTIAL, full(PARTIAL)])
def test_an_untouched_syn_is_told_as_such(header: bytes) -> None:
    assert tcp_quote(header, SENT) == Quote(0xD5BE, 1460, ())


def test_eight_bytes_are_enough_for_the_ports() -> None:
    assert tcp_quote(PARTIAL[:8], SENT) == Quote(0xD5BE, None, ())
    assert tcp_quote(PARTIAL[:7], SENT) == Quote()


def test_a_clamped_mss_is_seen_where_the_checksum_was_mended() -> None:
    clamped = full(PARTIAL[:20] + bytes.fromhex("02040514") + PARTIAL[24:])
    assert tcp_quote(clamped, SENT) == Quote(0xD5BE, 1300, ("mss",))


def test_an_address_that_was_translated_back_shows_in_the_checksum() -> None:
    translated = full(PARTIAL, source="198.51.100.1")  # only the addresses were put back
    assert tcp_quote(translated, SENT).changed == ("checksum",)


def test_other_ports_are_seen() -> None:
    other = full(struct.pack("!HH", 4711, 80) + PARTIAL[4:])
    assert tcp_quote(other, SENT).changed == ("source-port", "port")


def test_options_that_lie_about_their_length_do_no_harm() -> None:
    for options in (b"\x02\xff\x05\xb4", b"\x02\x00\x00\x00", b"\x02\x01\x01\x02"):
        header = full(PARTIAL[:12] + b"\x60" + PARTIAL[13:20] + options)
        assert tcp_quote(header, SENT) == Quote(0xD5BE, None, ("mss",))


@given(st.binary(max_size=80))
def test_no_quotation_makes_it_raise(data: bytes) -> None:
    tcp_quote(data, SENT)
    echo_quote(data, 7, 7)
    for ipv6 in (False, True):
        whole_quote(data, ipv6)
        whole_quote((b"\x03" if ipv6 else b"\x0b") + bytes(7) + (b"\x60" if ipv6 else b"\x4f") + data, ipv6)


def test_an_echo_request_is_known_by_identifier_and_checksum() -> None:
    quoted = bytes.fromhex("0800e3ba570e0007") + os.urandom(8)
    assert echo_quote(quoted, 0x570E, 0xE3BA).changed == ()
    assert echo_quote(quoted, 0x570F, 0xE3BA).changed == ("identifier",)
    assert echo_quote(quoted, 0x570E, 0xE3BB).changed == ("checksum",)
    assert echo_quote(quoted, 0x570E, None).changed == ()


def test_a_whole_quotation_has_the_addresses_that_were_under_way() -> None:
    inner = (
        bytes.fromhex("45000028000040000106000 0".replace(" ", ""))
        + bytes([10, 3, 0, 1, 10, 4, 0, 2])
        + PARTIAL[:8]
    )
    told = whole_quote(bytes([11, 0, 0, 0, 0, 0, 0, 0]) + inner, False)
    assert told is not None and (told.source, told.target, told.protocol) == ("10.3.0.1", "10.4.0.2", 6)
    assert told.tail == PARTIAL[:8] and told.info == 0
    narrow = whole_quote(bytes([3, 4, 0, 0, 0, 0, 5, 0x78]) + inner, False)
    assert narrow is not None and narrow.info == 1400
    assert whole_quote(bytes([8, 0, 0, 0, 0, 0, 0, 0]) + inner, False) is None, "a ping is no error"
