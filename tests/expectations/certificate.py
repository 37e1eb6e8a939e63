"""A leaf certificate that expires at a known instant."""

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_EXPIRES = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
EXPIRES_NS = int(_EXPIRES.timestamp()) * 10**9


def _leaf() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x.example")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(_EXPIRES - dt.timedelta(days=90))
        .not_valid_after(_EXPIRES)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("x.example")]), critical=False)
    )
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


LEAF = _leaf()
