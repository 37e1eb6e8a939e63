"""Hellos and flights of our own: what a real server answers is read, and what is mutated, cut or endless is
bounded and raises nothing."""

import contextlib
import os
import ssl

import pytest
import trustme
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from probemesh_agent.wire import ocsp, tlsflight
from probemesh_agent.wire.tlsciphers import (
    CIPHER_NAMES,
    SSL3,
    TLS10,
    TLS11,
    TLS12,
    TLS13,
    cipher_name,
    group_name,
    suites,
)
from probemesh_agent.wire.tlsflight import Flight, FlightReader
from probemesh_agent.wire.tlshello import Hello, client_hello
from probemesh_shared.identity.der import name_text

CA = trustme.CA()
LEAF = CA.issue_cert("web.example")


def answer(hello: Hello, *, asking: bool = False) -> bytes:
    """What OpenSSL says to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    LEAF.configure_cert(context)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_alpn_protocols(["h2"])
    if asking:
        context.verify_mode = ssl.CERT_OPTIONAL
        CA.configure_trust(context)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(client_hello(hello))
    with pytest.raises(ssl.SSLError):
        session.do_handshake()
    return outgoing.read()


def hello(version: int, **more) -> Hello:
    return Hello(version, more.pop("ciphers", suites(version)[:64]), os.urandom(64), "web.example", **more)


def read(data: bytes, step: int = 1 << 20) -> Flight:
    reader = FlightReader()
    for first in range(0, len(data), step):
        reader.feed(data[first : first + step])
    return reader.flight


@pytest.mark.parametrize("version", [TLS10, TLS11, TLS12])
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_a_flight_in_the_clear_is_read_to_its_end(version: int, step: int) -> None:
    flight = read(answer(hello(version, alpn=("h2",)), asking=True), step)
    assert flight.fault is None and flight.done and flight.hello is not None
    assert flight.hello.version == version and flight.hello.alpn == "h2"
    assert flight.hello.cipher in suites(version)
    sent = LEAF.cert_chain_pems[0].bytes().decode()
    assert flight.chain[0] == ssl.PEM_cert_to_DER_cert(sent)
    assert flight.requested is True
    assert flight.group is not None and group_name(flight.group) == "x25519"


def test_the_authorities_of_a_request_are_names_for_people() -> None:
    name = x509.Name.from_rfc4514_string("CN=Ca\u00e9,L=b+OU=a,C=DE,DC=example").public_bytes()
    listed = (len(name) + 2).to_bytes(2, "big") + len(name).to_bytes(2, "big") + name
    old, new = b"\x01\x40" + listed, b"\x01\x40\x00\x02\x04\x03" + listed
    text = ("CN=Ca\u00e9,L=b+OU=a,C=DE,DC=example",)
    assert tlsflight.authorities(old, TLS11) == tlsflight.authorities(new, TLS12) == text
    extension = b"\x00\x2f" + len(listed).to_bytes(2, "big") + listed
    assert tlsflight.authorities(b"\x00" + len(extension).to_bytes(2, "big") + extension, TLS13) == text


def test_tls_1_3_is_read_up_to_where_it_is_encrypted() -> None:
    flight = read(answer(hello(TLS13)))
    assert flight.done and flight.hello is not None
    assert (flight.hello.version, flight.hello.retry) == (TLS13, False)
    assert cipher_name(flight.hello.cipher).startswith("TLS_AES")
    assert flight.requested is None, "it cannot be seen"


def test_a_retry_tells_the_cipher_too() -> None:
    """OpenSSL is made to want another group than the one of the key share."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    LEAF.configure_cert(context)
    context.set_ecdh_curve("secp384r1")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(client_hello(hello(TLS13)))
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    flight = read(outgoing.read())
    assert flight.hello is not None and flight.hello.retry
    assert flight.group == 0x0018 and flight.hello.version == TLS13


def test_refusals_are_alerts() -> None:
    assert read(answer(hello(TLS12, ciphers=(0x0016,)))).alert == 40
    assert read(answer(hello(SSL3))).alert is not None
    warned = b"\x15\x03\x03\x00\x02\x01\x70"  # unrecognized_name, as a warning: it goes on
    assert read(warned + answer(hello(TLS12))).hello is not None


def test_every_hello_is_one_record_and_none_of_the_sizes_that_hang() -> None:
    for version in (SSL3, TLS10, TLS11, TLS12, TLS13):
        for count in (1, 8, 30, 64):
            data = client_hello(hello(version, ciphers=suites(version)[:count], status_request=True))
            assert int.from_bytes(data[3:5], "big") == len(data) - 5
            assert version == SSL3 or not 0x100 <= len(data) - 5 < 0x200
    assert len(CIPHER_NAMES) == len(set(CIPHER_NAMES.values())) == 190


def test_what_a_hello_cannot_carry_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        client_hello(Hello(TLS12, (1,), bytes(64), alpn=("x" * 256,)))
    with pytest.raises(ValueError):
        client_hello(Hello(TLS12, (1,), bytes(64), server_name="ü"))


RECORD = b"\x16\x03\x03"


def record(body: bytes, claimed: int | None = None) -> bytes:
    return RECORD + (len(body) if claimed is None else claimed).to_bytes(2, "big") + body


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"SSH-2.0-x\r\n", "does not speak TLS"),
        (b"HTTP/1.1 400 Bad\r\n\r\n", "does not speak TLS"),
        (record(b"", 0), "a record of 0 bytes"),
        (record(b"x" * 9, 0xFFFF), "a record of 65535 bytes"),
        (record(b"\x02\xff\xff\xff"), "a handshake message of 16777215 bytes"),
        (record(b"\x0b\x00\x00\x00"), "does not begin with a ServerHello"),
        (record(b"\x02\x00\x00\x02\x03\x03"), "cut short"),
        (b"\x15\x03\x03\x00\x03\x02\x28\x00", "an alert that is none"),
        (b"\x15\x03\x03\x00\x02\x01\x70" * 9, "warnings without end"),
        (record(b"\x02\x01\x00\x00" + b"x" * 1000) + record(b"x" * 16000) * 40, "goes on beyond 256 KiB"),
    ],
)
def test_what_cannot_be_is_told(said: bytes, fault: str) -> None:
    flight = read(said)
    assert flight.fault is not None and fault in flight.fault


def test_an_endless_handshake_is_left_and_little_of_it_kept() -> None:
    reader = FlightReader()
    good = answer(hello(TLS12))
    start = good[: 5 + int.from_bytes(good[3:5], "big")]
    reader.feed(start)
    fed = 0
    while not reader.flight.over:
        fed += len(reader.feed(record(b"\x16\x00\x00\x04\x01\x00\x00\x00")) and b"x" * 13)
    assert reader.flight.fault and fed <= tlsflight.FLIGHT_MOST
    assert len(reader._pending) + len(reader._message) < 1 << 18


def test_one_byte_a_record_is_read_and_empty_ones_are_not() -> None:
    good = answer(hello(TLS12))
    bodies, at = b"", 0
    while at < len(good):
        size = int.from_bytes(good[at + 3 : at + 5], "big")
        bodies, at = bodies + good[at + 5 : at + 5 + size], at + 5 + size
    flight = read(b"".join(record(bodies[i : i + 1]) for i in range(len(bodies))), 7)
    assert flight.done and flight.chain


GOOD = answer(hello(TLS12, status_request=True, alpn=("h2",)), asking=True)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_flights_raise_nothing(data: st.DataObject) -> None:
    mutated = bytearray(GOOD[: data.draw(st.integers(0, len(GOOD)))])
    for _ in range(data.draw(st.integers(0, 8))):
        if mutated:
            mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    mutated += data.draw(st.binary(max_size=64))
    flight = read(bytes(mutated), data.draw(st.integers(1, 400)))
    assert len(flight.chain) <= tlsflight.CHAIN_MOST
    assert len(flight.authorities) <= tlsflight.NAMES_MOST
    if flight.staple is not None:
        ocsp.read_staple(flight.staple, flight.chain[0] if flight.chain else None)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.binary(max_size=200))
def test_foreign_bytes_are_a_malformed_staple_and_no_name(data: bytes, leaf: bytes) -> None:
    assert ocsp.read_staple(data, leaf).status == "malformed"
    with contextlib.suppress(ValueError):
        assert len(name_text(data)) <= 500
