"""A CA in memory, and identities of any role and date from it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from probemesh_controller.pki.ca import CertificateAuthority, new_key, private_pem
from probemesh_shared.identity.files import Identity, make_identity
from probemesh_shared.identity.names import Subject
from probemesh_shared.words import Role

Make = Callable[..., Identity]


@pytest.fixture(scope="session")
def ca() -> CertificateAuthority:
    return CertificateAuthority.create("demo")


@pytest.fixture(scope="session")
def make(ca: CertificateAuthority) -> Make:
    def made(
        role: Role = Role.AGENT,
        subject_id: str = "4f2a",
        name: str = "berlin-1",
        now: datetime | None = None,
        life: timedelta | None = None,
        key: Any = None,
    ) -> Identity:
        if role is Role.JOIN:
            life = life or timedelta(hours=1)
        key = key or new_key()
        issued = ca.issue(Subject(ca.mesh, role, subject_id, name), key.public_key(), life, now)
        return make_identity(issued.certificate_pem, private_pem(key), ca.certificate_pem)

    return made
