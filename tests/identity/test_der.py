"""The small DER reader against cryptography, and against garbage."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from probemesh_shared.identity.der import pem_to_der, read_der, read_pem
from probemesh_shared.words import Role

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(serial: int, start: dt.datetime, end: dt.datetime, names: list[x509.GeneralName]) -> bytes:
    name = x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    builder = builder.serial_number(serial).not_valid_before(start).not_valid_after(end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


FIRST = dt.datetime(1951, 1, 1, tzinfo=dt.UTC)
instants = st.integers(0, 249 * 365 * 86400).map(lambda s: FIRST + dt.timedelta(seconds=s))


@given(
    serial=st.integers(1, 2**159 - 1),
    start=instants,
    life=st.timedeltas(dt.timedelta(seconds=1), dt.timedelta(days=9000)),
    uris=st.lists(st.from_regex(r"[a-z]{1,20}://[a-z/]{1,30}", fullmatch=True), max_size=3),
    hosts=st.lists(st.from_regex(r"[a-z]{1,60}\.[a-z]{1,60}", fullmatch=True), max_size=3),
)
def test_reads_what_cryptography_writes(
    serial: int, start: dt.datetime, life: dt.timedelta, uris: list[str], hosts: list[str]
) -> None:
    end = (start + life).replace(microsecond=0) + dt.timedelta(seconds=1)
    names = [*map(x509.UniformResourceIdentifier, uris), *map(x509.DNSName, hosts)]
    facts = read_der(certificate(serial, start, end, names))
    assert facts.serial == f"{serial:x}"
    assert facts.not_before_ns == int(start.timestamp()) * 10**9
    assert facts.not_after_ns == int(end.timestamp()) * 10**9
    assert (facts.uris, facts.dns_names) == (tuple(uris), tuple(hosts))


@given(st.binary(max_size=200))
def test_garbage_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_der(data)


def test_every_truncation_and_bit_flip_is_a_value_error_or_facts(make) -> None:
    der = pem_to_der(make(Role.AGENT).certificate_pem)
    for cut in range(len(der)):
        with pytest.raises(ValueError):
            read_der(der[:cut])
    for at in range(len(der)):
        for flip in (0x01, 0x80, 0xFF):
            changed = bytearray(der)
            changed[at] ^= flip
            try:
                read_der(bytes(changed))
            except ValueError:
                continue


def test_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        read_der(b"\x30" * (17 << 10))


def test_pem_without_a_certificate() -> None:
    with pytest.raises(ValueError, match="no certificate"):
        read_pem(b"-----BEGIN RUBBISH-----")
