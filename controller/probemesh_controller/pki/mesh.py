"""A mesh on disk: made once, never overwritten; the certificates of this host's own roles kept fresh.

STATE/controller/{ca.pem,ca.key,cert.pem,key.pem}      STATE/operator/{ca.pem,cert.pem,key.pem}   (role
admin)

Once the mesh has changed its CA the CAs stand where :mod:`probemesh_controller.castate` says.
"""

import logging
import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from probemesh_shared.errors import StateError
from probemesh_shared.identity.files import (
    Identity,
    load_identity,
    make_identity,
    save_identity,
    write_private,
)
from probemesh_shared.identity.names import Subject
from probemesh_shared.names import check_name
from probemesh_shared.words import Role

from probemesh_controller import folderlock
from probemesh_controller.pki.authority import Authority
from probemesh_controller.pki.ca import CertificateAuthority, Issuer, new_key, private_pem

log = logging.getLogger(__name__)

CONTROLLER, OPERATOR = "controller", "operator"
#: Operator name of whoever ran ``init``.
FIRST_OPERATOR = "admin"


@dataclass(frozen=True, slots=True)
class MeshMade:
    """``fingerprint`` is the CA's SHA-256, 32 bytes."""

    mesh: str
    fingerprint: bytes
    controller: Identity
    operator: Identity


def init_mesh(state: Path, mesh: str | None = None, now: datetime | None = None) -> MeshMade:
    """Makes CA, controller and first operator (role ``admin``) under ``state``; ``mesh`` is random where
    None.

    Raises :class:`StateError` where there is a mesh already, :class:`InvalidRequest` for a bad name. Both
    folders are built beside their place and moved, so that an interrupted ``init`` can be repeated.
    """
    name = check_name(mesh, "mesh name") if mesh is not None else f"mesh-{secrets.token_hex(4)}"
    for folder in (CONTROLLER, OPERATOR):
        if (state / folder).exists():
            raise StateError(f"{state / folder} exists: there is a mesh here already", "give another --state")
    ca = CertificateAuthority.create(name, now)
    controller = issue_own(ca, Role.CONTROLLER, CONTROLLER, now)
    operator = issue_own(ca, Role.ADMIN, FIRST_OPERATOR, now)
    try:
        for folder, identity in ((OPERATOR, operator), (CONTROLLER, controller)):
            staged = state / f"{folder}.making"
            shutil.rmtree(staged, ignore_errors=True)
            save_identity(staged, identity)
            if folder == CONTROLLER:
                write_private(staged / "ca.key", ca.key_pem())
        for folder in (OPERATOR, CONTROLLER):
            (state / f"{folder}.making").rename(state / folder)
    except OSError as error:
        raise StateError(f"cannot write {error.filename}: {error.strerror}") from error
    return MeshMade(name, ca.fingerprint, controller, operator)


def issue_own(ca: Issuer, role: Role, subject_id: str, now: datetime | None = None) -> Identity:
    """A new key and certificate for a role on this very host."""
    key = new_key()
    issued = ca.issue(Subject(ca.mesh, role, subject_id, subject_id), key.public_key(), now=now)
    return make_identity(issued.certificate_pem, private_pem(key), ca.bundle_pem)


def refresh(ca: Authority, folder: Path, now: datetime | None = None, *, force: bool = False) -> Identity:
    """The identity in ``folder`` with a new key and certificate, where a third of its life is over, or
    another CA issues or is trusted now; else as it is, also where the CA's key is away."""
    identity = load_identity(folder)
    now_ns = int((now or datetime.now(UTC)).timestamp() * 1e9)
    fresh = not force and identity.not_before_ns <= now_ns < identity.renew_at_ns
    if fresh and identity.ca_pem == ca.bundle_pem and ca.is_issuer_of(identity.certificate_pem):
        return identity
    if not ca.has_key(ca.issuer) and now_ns < identity.not_after_ns:
        log.warning("the certificate in %s is not renewed: the CA's key is not here", folder)
        return identity
    renewed = issue_own(ca, identity.role, identity.id, now)
    save_identity(folder, renewed)
    return renewed


def refresh_beside(folder: Path, force: bool = False) -> Identity:
    """As :func:`refresh`, by the CA in the folder beside."""
    return refresh(Authority(folder.parent / CONTROLLER), folder, force=force)


def refresh_all(ca: Authority, state: Path, now: datetime | None = None) -> Identity:
    """The controller's identity, and the operator's beside it; both fresh. Raises :class:`StateError`."""
    identity = refresh(ca, state / CONTROLLER, now)
    if (state / OPERATOR).is_dir():
        try:
            with folderlock.opened(state / OPERATOR) as lock:
                if folderlock.taken(lock):  # else a meshctl is at it
                    refresh(ca, state / OPERATOR, now)
        except StateError as error:  # its trouble is no reason for the mesh to stand still
            log.warning("the operator's certificate in %s: %s", state / OPERATOR, error)
    return identity


def load_controller(state: Path, now: datetime | None = None) -> tuple[Authority, Identity]:
    """CA and a fresh controller identity of ``state``; the operator beside it is refreshed too.

    Raises :class:`StateError`.
    """
    folder = state / CONTROLLER
    if not folder.is_dir():
        raise StateError(f"there is no mesh in {state}", "run meshctl init first, or give another --state")
    ca = Authority(folder)
    if ca.has_key(ca.issuer):
        ca.signing()  # a key that others may read, or of another CA, is told now
    return ca, refresh_all(ca, state, now)
