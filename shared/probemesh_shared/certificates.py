"""Certificates that came as DER, read where they are shown. Every byte of them is a stranger's."""

import hashlib
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from probemesh_shared.jsonshape import CertificateJson


def parse_certificate(der: bytes) -> CertificateJson:
    """Never raises; ``error`` is set and the rest null where the DER cannot be read."""
    fingerprint = hashlib.sha256(der).hexdigest()
    try:
        certificate = x509.load_der_x509_certificate(der)
        return {
            "subject": certificate.subject.rfc4514_string(),
            "issuer": certificate.issuer.rfc4514_string(),
            "names": _names(certificate),
            "not_before": _time(certificate.not_valid_before_utc),
            "not_after": _time(certificate.not_valid_after_utc),
            "fingerprint_sha256": fingerprint,
            "serial": f"{certificate.serial_number:x}",
            "key_type": _key_type(certificate),
            "self_signed": certificate.subject == certificate.issuer,
            "error": None,
        }
    except Exception as error:  # the parser's exceptions are many, and none of them is our fault
        return {
            "subject": None,
            "issuer": None,
            "names": [],
            "not_before": None,
            "not_after": None,
            "fingerprint_sha256": fingerprint,
            "serial": None,
            "key_type": None,
            "self_signed": None,
            "error": f"cannot be read: {type(error).__name__}",
        }


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in extension.value if not isinstance(name, x509.OtherName)]


def _key_type(certificate: x509.Certificate) -> str:
    match certificate.public_key():
        case rsa.RSAPublicKey() as key:
            return f"RSA {key.key_size}"
        case ec.EllipticCurvePublicKey() as key:
            return f"EC {key.curve.name}"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case ed448.Ed448PublicKey():
            return "Ed448"
        case dsa.DSAPublicKey() as key:
            return f"DSA {key.key_size}"
        case other:
            return type(other).__name__


def _time(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
