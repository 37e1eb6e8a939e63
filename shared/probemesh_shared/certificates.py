"""Certificates that came as DER, read where they are shown. Every byte of them is a stranger's."""

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from probemesh_shared.chainjudge import REVOKED_BY_STAPLE, covers
from probemesh_shared.chains import UNKNOWN, issuer_missing
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
            "signature_hash": _signature_hash(certificate),
            "is_authority": _is_authority(certificate),
            "spki_sha256": _pin(certificate),
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
            "signature_hash": None,
            "is_authority": None,
            "spki_sha256": None,
            "error": f"cannot be read: {type(error).__name__}",
        }


#: X509_V_ERR of OpenSSL's x509_vfy.h, as far as the leaf itself does not tell; others are shown by number.
_CHAIN = {
    18: "self-signed",
    19: "signed by a root that is not trusted",
    2: UNKNOWN,
    20: UNKNOWN,
    21: UNKNOWN,
    23: "revoked",
    24: "signed by what is no authority",
    26: "made for another purpose",
    67: "refused for the weak key of an authority in its chain",
    68: "refused for a signature by a weak hash in its chain",
}
_WEAK_KEY = 66
_DATES = {9: "not yet valid", 10: "expired"}
_OTHER_NAME = {62: "not valid for the name asked for", 64: "not valid for the address asked for"}
_NAMES_SHOWN = 4


#: OpenSSL met a certificate whose issuer it could not find.
_ISSUER_MISSING = frozenset({2, 20, 21})


def certificate_problems(
    leaf: bytes | None,
    verify_code: int | None,
    server_name: str | None,
    at_ns: int,
    *,
    sent: Sequence[bytes] = (),
    known: Sequence[bytes] = (),
    staple: str | None = None,
) -> tuple[str, ...]:
    """Everything that is wrong with a certificate that did not verify: its chain, its dates, its names.

    OpenSSL stops at the first: chain, then names, then dates. ``at_ns`` (Unix) is when it was seen,
    ``server_name`` whom it was to speak for, ``sent`` what came after the leaf, ``known`` the chains of those
    for whom it verified, ``staple`` what its server's OCSP answer says. Never raises; never empty.
    """
    code = verify_code or 0
    found = [_CHAIN[code]] if code in _CHAIN else []
    if staple == "revoked" and code not in _CHAIN:
        found.append(REVOKED_BY_STAPLE)
    read = parse_certificate(leaf) if leaf is not None else None
    if read is None or read["error"] is not None or read["not_before"] is None or read["not_after"] is None:
        by_code = {**_DATES, **_OTHER_NAME, _WEAK_KEY: "refused for its weak key"}
        return tuple(found) or (by_code.get(code, _by_number(code)),)
    if leaf is not None and code in _ISSUER_MISSING:
        found = [issuer_missing(leaf, sent, known)]
    if code == _WEAK_KEY:
        found.append(f"refused for its weak key ({read['key_type']})")
    seen = _time(datetime.fromtimestamp(at_ns / 1e9, UTC))
    if seen > read["not_after"]:
        found.append(f"expired on {read['not_after'][:10]}")
    elif seen < read["not_before"]:
        found.append(f"not yet valid until {read['not_before'][:10]}")
    elif code in _DATES:
        found.append(f"{_DATES[code]} somewhere in its chain, or by the clock of who looked")
    if server_name and (
        code in _OTHER_NAME or (code not in _DATES and not covers(read["names"], server_name))
    ):
        found.append(f"not valid for {server_name} (its names: {_listed(read['names'])})")
    return tuple(found) or (_by_number(code),)


def _by_number(code: int) -> str:
    return f"refused by OpenSSL with code {code}" if code else "refused"


def _listed(names: list[str]) -> str:
    shown = [name[:80] for name in names[:_NAMES_SHOWN]]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "") if shown else "none"


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


def _signature_hash(certificate: x509.Certificate) -> str | None:
    """None where the signature has no digest of its own (Ed25519), or one that is not known."""
    try:
        digest = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    return digest.name if digest is not None else None


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _pin(certificate: x509.Certificate) -> str:
    """RFC 7469: base64 of the SHA-256 of the key with its algorithm."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode("ascii")


__all__ = ["certificate_problems", "covers", "parse_certificate"]
