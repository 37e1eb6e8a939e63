"""A folder with ``ca.pem``, ``cert.pem`` and ``key.pem``: read strictly, written so that no crash breaks it.

An operator's has ``renewal.pem`` too: for the same key, with a longer life, good for nothing but renewing.

A key that others may read is refused (0600, folder 0700). All of them change together: they are first written
as ``*.next``, then moved; a crash in between is mended by the next :func:`load_identity`.
"""

import os
import ssl
import stat
from binascii import a2b_base64
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from probemesh_shared.errors import StateError
from probemesh_shared.identity.der import CertificateFacts, pem_to_der, read_pem
from probemesh_shared.identity.names import subject_of
from probemesh_shared.words import Role

CA, CERTIFICATE, KEY, RENEWAL = "ca.pem", "cert.pem", "key.pem", "renewal.pem"
#: The order in which they are moved into place. The certificate comes last: while it is still to come,
#: ``cert.pem.next`` tells that the move was begun.
_ORDER = (KEY, RENEWAL, CA, CERTIFICATE)
_MAX_FILE = 64 << 10
_TRIES = 4  # of a reader, while somebody writes
_P256_KEY = 138  # bytes of a P-256 key in PKCS #8, its public half included
_P256_PUBLIC = bytes.fromhex("a144034200")


@dataclass(frozen=True, slots=True)
class Identity:
    """A key with its certificate, and the CAs it trusts (several while the mesh changes its CA). Dates may be
    over: see :mod:`probemesh_shared.rpc.explain`."""

    mesh: str
    role: Role
    id: str
    name: str
    serial: str
    not_before_ns: int
    not_after_ns: int
    certificate_pem: bytes
    ca_pem: bytes
    key_pem: bytes = field(repr=False)
    renewal_pem: bytes = b""

    @property
    def renew_at_ns(self) -> int:
        """One third of its life: time enough for two more tries of the same length."""
        return self.not_before_ns + (self.not_after_ns - self.not_before_ns) // 3


def read_private(path: Path) -> bytes:
    """The bytes of a file that only its owner may read. Raises :class:`StateError`, also where others may
    read it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise StateError(
                    f"{path} may be read by others (mode {mode:04o}): it holds a private key",
                    f"chmod 600 {path}",
                )
            return file.read(_MAX_FILE)
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error


def private_folder(folder: Path) -> None:
    """Makes it, and what is missing above it, with mode 0700 and :func:`hand_down`'s owner."""
    if folder.is_dir():
        return
    private_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    hand_down(folder, folder.parent)


def hand_down(path: Path, parent: Path) -> None:
    """What root makes belongs to the owner of the folder it is in: root joins a host again, the service
    (which systemd runs as somebody else) must be able to read the result."""
    if os.geteuid() == 0:
        owner = parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def write_private(path: Path, data: bytes) -> None:
    """Atomic, mode 0600, on disk when this returns."""
    private_folder(path.parent)
    staged = path.with_name(path.name + ".tmp")
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    hand_down(staged, path.parent)
    staged.rename(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_identity(
    certificate_pem: bytes, key_pem: bytes, ca_pem: bytes, renewal_pem: bytes = b""
) -> Identity:
    """Raises :class:`StateError` where the certificate is not one of ours."""
    try:
        facts: CertificateFacts = read_pem(certificate_pem)
        subject = subject_of(facts.uris, facts.dns_names)
        read_pem(ca_pem)
    except ValueError as error:
        raise StateError(f"a certificate cannot be used: {error}") from error
    return Identity(
        mesh=subject.mesh,
        role=subject.role,
        id=subject.id,
        name=subject.name,
        serial=facts.serial,
        not_before_ns=facts.not_before_ns,
        not_after_ns=facts.not_after_ns,
        certificate_pem=certificate_pem,
        ca_pem=ca_pem,
        key_pem=key_pem,
        renewal_pem=renewal_pem,
    )


def renewing_identity(identity: Identity) -> Identity:
    """Who asks for an operator's next certificate: the longer-lived one, where there is one."""
    if not identity.renewal_pem:
        return identity
    return make_identity(identity.renewal_pem, identity.key_pem, identity.ca_pem)


def save_identity(folder: Path, identity: Identity) -> None:
    """Writes the folder (0700); a crash leaves the old pair or the new one."""
    private_folder(folder)
    folder.chmod(0o700)
    content = {CA: identity.ca_pem, CERTIFICATE: identity.certificate_pem, KEY: identity.key_pem}
    if identity.renewal_pem:
        content[RENEWAL] = identity.renewal_pem
    else:
        (folder / (RENEWAL + ".next")).unlink(missing_ok=True)
    for name, data in content.items():
        write_private(folder / (name + ".next"), data)
    _move_next(folder)


def _move_next(folder: Path) -> None:
    for name in _ORDER:
        with suppress(FileNotFoundError):  # a reader may be mending what its writer is still moving
            (folder / (name + ".next")).rename(folder / name)
    _sync_folder(folder)


def _pair_matches(certificate_pem: bytes, certificate: Path, key_pem: bytes, key: Path) -> bool:
    """OpenSSL is asked only of keys that :mod:`.keygen` did not make: it costs an idle agent 1.3 MiB, and
    reads files alone."""
    try:
        point = _public_point(key_pem)
        if point is not None:
            return point in pem_to_der(certificate_pem)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=_no_passphrase)
    except (ssl.SSLError, OSError, ValueError):
        return False
    return True


def _public_point(key_pem: bytes) -> bytes | None:
    """The public half at the end of a P-256 key in PKCS #8 (RFC 5915: ``[1] BIT STRING``, uncompressed)."""
    begin, finish = b"-----BEGIN PRIVATE KEY-----", b"-----END PRIVATE KEY-----"
    body, found, _ = key_pem.partition(begin)[2].partition(finish)
    der = a2b_base64(body) if found else b""
    return der[-65:] if len(der) == _P256_KEY and der[-70:-65] == _P256_PUBLIC else None


def _no_passphrase() -> str:
    raise ValueError("keys have no passphrase")  # without this OpenSSL asks on the terminal


def _renewal_for(key_pem: bytes, path: Path) -> bytes:
    """Empty where there is none, or one of an earlier key."""
    point = _public_point(key_pem)
    if point is None or not path.exists():
        return b""
    renewal_pem = path.read_bytes()[:_MAX_FILE]
    try:
        return renewal_pem if point in pem_to_der(renewal_pem) else b""
    except ValueError:
        return b""


def load_identity(folder: Path) -> Identity:
    """The identity in ``folder``. Raises :class:`StateError`: missing, malformed, not a pair, or open to
    others."""
    certificate, key = folder / CERTIFICATE, folder / KEY
    if not folder.is_dir() or not (certificate.exists() and key.exists()):
        raise StateError(f"there is no identity in {folder}", "join a mesh first, or give another --state")
    for _ in range(_TRIES):
        key_pem = read_private(key)
        try:
            certificate_pem = certificate.read_bytes()[:_MAX_FILE]
            ca_pem = (folder / CA).read_bytes()[:_MAX_FILE]
            renewal_pem = _renewal_for(key_pem, folder / RENEWAL)
        except OSError as error:
            raise StateError(f"{error.filename} cannot be read: {error.strerror}") from error
        if _pair_matches(certificate_pem, certificate, key_pem, key):
            return make_identity(certificate_pem, key_pem, ca_pem, renewal_pem)
        if _is_half_moved(folder, key_pem):
            _move_next(folder)
    raise StateError(f"{certificate} and {key} do not belong together", "join again to get a new pair")


def _is_half_moved(folder: Path, key_pem: bytes) -> bool:
    staged = folder / (CERTIFICATE + ".next")
    try:
        return _pair_matches(staged.read_bytes()[:_MAX_FILE], staged, key_pem, folder / KEY)
    except FileNotFoundError:  # never there, or whoever writes has moved it meanwhile
        return False
