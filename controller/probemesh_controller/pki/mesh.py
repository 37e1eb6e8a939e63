"""A mesh on disk: made once, never overwritten; the certificates of this host's own roles kept fresh.

STATE/controller/{ca.pem,ca.key,cert.pem,key.pem}      STATE/operator/{ca.pem,cert.pem,key.pem}   (role
admin)
"""

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

from probemesh_controller.pki.ca import CertificateAuthority, new_key, private_pem

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


def issue_own(ca: CertificateAuthority, role: Role, subject_id: str, now: datetime | None = None) -> Identity:
    """A new key and certificate for a role on this very host."""
    key = new_key()
    issued = ca.issue(Subject(ca.mesh, role, subject_id, subject_id), key.public_key(), now=now)
    return make_identity(issued.certificate_pem, private_pem(key), ca.certificate_pem)


def refresh(ca: CertificateAuthority, folder: Path, now: datetime | None = None) -> Identity:
    """The identity in ``folder`` with a new key and certificate, where a third of its life is over; else as
    it is."""
    identity = load_identity(folder)
    instant = now or datetime.now(UTC)
    if identity.not_before_ns <= int(instant.timestamp() * 1e9) < identity.renew_at_ns:
        return identity
    renewed = issue_own(ca, identity.role, identity.id, now)
    save_identity(folder, renewed)
    return renewed


def refresh_beside(folder: Path) -> Identity:
    """As :func:`refresh`, by the CA in the folder beside."""
    return refresh(CertificateAuthority.load(folder.parent / CONTROLLER), folder)


def load_controller(state: Path, now: datetime | None = None) -> tuple[CertificateAuthority, Identity]:
    """CA and a fresh controller identity of ``state``; the operator beside it is refreshed too.

    Raises :class:`StateError`.
    """
    folder = state / CONTROLLER
    if not folder.is_dir():
        raise StateError(f"there is no mesh in {state}", "run meshctl init first, or give another --state")
    ca = CertificateAuthority.load(folder)
    identity = refresh(ca, folder, now)
    if (state / OPERATOR).is_dir():
        refresh(ca, state / OPERATOR, now)
    return ca, identity
