"""Issuing: P-256 everywhere, one URI name, at most one DNS name, dates a little in the past for slow clocks.

RFC 5280 with SPIFFE's form of the URI name. Whoever calls has decided that the subject may have a
certificate.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.identity.der import CertificateFacts, read_der
from probemesh_shared.identity.names import Subject, agent_dns, controller_dns, subject_uri
from probemesh_shared.words import OPERATORS, Role

BACKDATE = timedelta(minutes=5)
CA_LIFE = timedelta(days=3650)
LIFE = {
    Role.AGENT: timedelta(days=30),
    Role.CONTROLLER: timedelta(days=90),
    # what a stolen laptop can still do at agents that it dials itself, which ask nobody
    **dict.fromkeys(OPERATORS, timedelta(hours=12)),
    # how long a laptop may stay shut and still come back by itself; each use is asked of the controller
    Role.RENEWAL: timedelta(days=30),
}
_SERVES = frozenset({Role.AGENT, Role.CONTROLLER})
_MAX_CSR = 4 << 10


@dataclass(frozen=True, slots=True)
class Issued:
    """A new certificate and what is in it."""

    certificate_pem: bytes
    facts: CertificateFacts


class Issuer(Protocol):
    """What makes certificates: one CA, or those of a mesh as they stand (:mod:`.authority`). ``trust`` are
    the fingerprints of what is in ``bundle_pem``, ``issuer`` of the one that issues."""

    @property
    def mesh(self) -> str: ...

    @property
    def fingerprint(self) -> bytes: ...

    @property
    def issuer(self) -> str: ...

    @property
    def trust(self) -> tuple[str, ...]: ...

    @property
    def bundle_pem(self) -> bytes: ...

    def issue(
        self,
        subject: Subject,
        public_key: ec.EllipticCurvePublicKey,
        life: timedelta | None = None,
        now: datetime | None = None,
    ) -> Issued:
        """Raises :class:`StateError` where there is no key to sign with."""


class CertificateAuthority:
    """The CA of one mesh. ``now`` is passed where a certificate of another time is wanted (tests,
    renewal)."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, mesh: str) -> None:
        self.mesh = mesh
        self.certificate_pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.fingerprint = certificate.fingerprint(hashes.SHA256())
        self._certificate = certificate
        self._key = key

    @classmethod
    def create(cls, mesh: str, now: datetime | None = None) -> "CertificateAuthority":
        """A new CA, in memory."""
        start = (now or datetime.now(UTC)).replace(microsecond=0) - BACKDATE
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "probemesh"),
                x509.NameAttribute(NameOID.COMMON_NAME, mesh),
            ]
        )
        builder = (
            _builder(name, name, key.public_key(), start, start + BACKDATE + CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(certifies=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(builder.sign(key, hashes.SHA256()), key, mesh)

    @property
    def issuer(self) -> str:
        return self.fingerprint.hex()

    @property
    def trust(self) -> tuple[str, ...]:
        return (self.issuer,)

    @property
    def bundle_pem(self) -> bytes:
        return self.certificate_pem

    def key_pem(self) -> bytes:
        """The CA's key, for writing it down once."""
        return private_pem(self._key)

    def issue(
        self,
        subject: Subject,
        public_key: ec.EllipticCurvePublicKey,
        life: timedelta | None = None,
        now: datetime | None = None,
    ) -> Issued:
        """A certificate for ``subject`` with the life of its role, or of ``life`` (role ``join`` needs
        one)."""
        start = (now or datetime.now(UTC)).replace(microsecond=0)
        names: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(subject_uri(self.mesh, subject.role, subject.id))
        ]
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if subject.role in _SERVES:
            uses.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
            dns = controller_dns(self.mesh)
            names.append(
                x509.DNSName(dns if subject.role is Role.CONTROLLER else agent_dns(subject.name, self.mesh))
            )
        signer = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = (
            _builder(
                x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject.name[:64])]),
                self._certificate.subject,
                public_key,
                start - BACKDATE,
                start + (life or LIFE[subject.role]),
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(certifies=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer), critical=False
            )
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        der = certificate.public_bytes(serialization.Encoding.DER)
        return Issued(certificate.public_bytes(serialization.Encoding.PEM), read_der(der))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    start: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _usage(certifies: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certifies,
        key_cert_sign=certifies,
        crl_sign=certifies,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def mesh_of(certificate: x509.Certificate) -> str:
    """The mesh that a CA's certificate names. Raises :class:`StateError`."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise StateError("the CA's certificate does not name a mesh")
    return str(names[0].value)


def load_key(key_pem: bytes, certificate: x509.Certificate) -> ec.EllipticCurvePrivateKey:
    """A CA's key from PEM. Raises :class:`StateError`."""
    try:
        key = serialization.load_pem_private_key(key_pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StateError(f"the CA's key cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise StateError("the CA's certificate and its key do not belong together")
    return key


def new_key() -> ec.EllipticCurvePrivateKey:
    """P-256: with it, and our cipher list, TLS 1.2 cannot complete."""
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def check_csr(csr_der: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a request signed by itself (RFC 2986): P-256 only; its names are not looked at.

    Raises :class:`InvalidRequest`.
    """
    if len(csr_der) > _MAX_CSR:
        raise InvalidRequest("the certificate request is too large")
    try:
        request = x509.load_der_x509_csr(csr_der)
        key = request.public_key()
        signed = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise InvalidRequest("the certificate request cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidRequest("the certificate request has a key that is not P-256")
    if not signed:
        raise InvalidRequest("the certificate request is not signed by its own key")
    return key
