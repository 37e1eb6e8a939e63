"""Certificates as a test wants them: any issuer, any dates, any names."""

import datetime
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Made:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def issue(self, name: str, *names: str, **more) -> "Made":
        return make(name, *names, issuer=self, **more)

    def save(self, folder: Path, *above: "Made") -> tuple[Path, Path]:
        """The chain's file and the key's."""
        number = len(list(folder.iterdir()))
        chain, key = folder / f"{number}.pem", folder / f"{number}.key"
        chain.write_bytes(b"".join(one.pem for one in (self, *above)))
        key.write_bytes(self.key_pem)
        return chain, key


def make(
    name: str,
    *names: str,
    issuer: Made | None = None,
    authority: bool = False,
    days: tuple[int, int] = (-1, 90),
    rsa_bits: int | None = None,
) -> Made:
    """``days`` from now: from, to. ``names``: DNS names and addresses."""
    key = rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + days[0] * DAY)
        .not_valid_after(NOW + days[1] * DAY)
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(one) for one in names]), False)
    return Made(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)
