"""The CAs of a mesh as they stand in a controller's folder: which one issues, which are trusted.

Keys are read when something is signed, and not held: one that is taken away is gone at once, and one that is
put back is used at once, while the controller runs.
"""

from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from probemesh_shared.errors import StateError
from probemesh_shared.identity.files import read_private, write_private
from probemesh_shared.identity.names import Subject

from probemesh_controller import castate
from probemesh_controller.castate import CaState, Phase
from probemesh_controller.pki.ca import CertificateAuthority, Issued, load_key, mesh_of


class Authority:
    """``folder`` is STATE/controller. Raises :class:`StateError` where it cannot be read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.reload()

    def reload(self) -> None:
        """As it stands on disk."""
        found = castate.read_state(self._folder)
        if found is None:
            first = _read_certificate(self._folder / "ca.pem")
            self._certificates = {_fingerprint(first): first}
            self.state = CaState(Phase.STEADY, _fingerprint(first))
        else:
            paths = {one: castate.certificate_path(self._folder, one) for one in found.kept}
            self._certificates = {one: _read_certificate(path) for one, path in paths.items()}
            self.state = found
        self._legacy = found is None
        self.mesh = mesh_of(self.certificate)

    # --- what it is -------------------------------------------------------------------------------------

    @property
    def certificate(self) -> x509.Certificate:
        """Of the CA that issues."""
        return self._certificates[self.state.issuing]

    @property
    def issuer(self) -> str:
        """Fingerprint of the CA that issues, hexadecimal."""
        return self.state.issuing

    @property
    def fingerprint(self) -> bytes:
        return bytes.fromhex(self.state.issuing)

    @property
    def trust(self) -> tuple[str, ...]:
        return self.state.trusted

    @property
    def bundle_pem(self) -> bytes:
        """All CAs that are trusted, the issuing one first."""
        return b"".join(
            self._certificates[one].public_bytes(serialization.Encoding.PEM) for one in self.state.trusted
        )

    def certificate_of(self, fingerprint: str) -> x509.Certificate:
        return self._certificates[fingerprint]

    def ends_ns(self, fingerprint: str) -> int:
        return int(self._certificates[fingerprint].not_valid_after_utc.timestamp()) * 1_000_000_000

    def key_path(self, fingerprint: str) -> Path:
        return self._folder / "ca.key" if self._legacy else castate.key_path(self._folder, fingerprint)

    def has_key(self, fingerprint: str) -> bool:
        return self.key_path(fingerprint).exists()

    # --- issuing ----------------------------------------------------------------------------------------

    def signing(self) -> CertificateAuthority:
        """The CA that issues, with its key. Raises :class:`StateError` where that is not here."""
        path = self.key_path(self.state.issuing)
        if not path.exists():
            raise StateError(
                "the CA's key is not on this controller: it issues no certificates, and renews none",
                "put it back: meshctl controller ca restore FILE --passphrase-file F",
            )
        return CertificateAuthority(
            self.certificate, load_key(read_private(path), self.certificate), self.mesh
        )

    def issue(
        self,
        subject: Subject,
        public_key: ec.EllipticCurvePublicKey,
        life: timedelta | None = None,
        now: datetime | None = None,
    ) -> Issued:
        """See :meth:`CertificateAuthority.issue`."""
        return self.signing().issue(subject, public_key, life, now)

    def is_issuer_of(self, certificate_pem: bytes) -> bool:
        """Whether the CA that issues now has made this one."""
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        theirs = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        ours = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return theirs.key_identifier == ours.digest

    # --- changing ---------------------------------------------------------------------------------------

    def forward(self) -> None:
        """One phase on; a change begins with a new CA of the same name. Raises :class:`InvalidRequest`,
        :class:`StateError`."""
        if self.state.phase is not Phase.STEADY:
            self._become(castate.forward(self.state))
            return
        made = CertificateAuthority.create(self.mesh)
        fingerprint = made.fingerprint.hex()
        self._keep(fingerprint, made.certificate_pem, made.key_pem())
        if self._legacy:
            signing = self.signing()
            self._keep(self.state.new, signing.certificate_pem, signing.key_pem())
        self._become(castate.forward(self.state, fingerprint))

    def back(self) -> None:
        self._become(castate.back(self.state))

    def finish(self) -> None:
        self._become(castate.finish(self.state))

    def _keep(self, fingerprint: str, certificate_pem: bytes, key_pem: bytes) -> None:
        try:
            write_private(castate.certificate_path(self._folder, fingerprint), certificate_pem)
            write_private(castate.key_path(self._folder, fingerprint), key_pem)
        except OSError as error:
            raise StateError(f"{error.filename} cannot be written: {error.strerror}") from error

    def _become(self, after: CaState) -> None:
        """One file decides; what it no longer names is removed after it was written."""
        gone = [one for one in self.state.kept if one not in after.kept]
        try:
            castate.write_state(self._folder, after)
            (self._folder / "ca.key").unlink(missing_ok=True)
            for one in gone:
                castate.key_path(self._folder, one).unlink(missing_ok=True)
                castate.certificate_path(self._folder, one).unlink(missing_ok=True)
        except OSError as error:
            raise StateError(f"{error.filename} cannot be written: {error.strerror}") from error
        self.reload()


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise StateError(f"the mesh's CA in {path} cannot be read: {error}") from error


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()
