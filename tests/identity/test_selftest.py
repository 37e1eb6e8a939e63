"""Identities that nobody would take, and those that everybody would."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from probemesh_controller.pki.ca import CertificateAuthority
from probemesh_shared.identity.files import Identity
from probemesh_shared.identity.selftest import unusable
from probemesh_shared.words import Role

from tests.rpc.conftest import issue

CA, OTHER = CertificateAuthority.create("demo"), CertificateAuthority.create("demo")
GOOD = issue(CA, Role.AGENT)


@pytest.mark.parametrize("role", list(Role))
def test_every_role_can_be_used(role: Role) -> None:
    assert unusable(issue(CA, role)) is None


def test_during_a_change_of_the_ca_either_will_do() -> None:
    both = OTHER.certificate_pem + CA.certificate_pem
    assert unusable(replace(GOOD, ca_pem=both)) is None


def test_dates_are_the_issuers_affair() -> None:
    later = datetime.now(UTC) + timedelta(days=3)
    assert unusable(issue(CA, Role.AGENT, now=later)) is None


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        (replace(GOOD, key_pem=issue(CA, Role.AGENT).key_pem), "key does not fit"),
        (replace(GOOD, ca_pem=OTHER.certificate_pem), "does not verify"),
        (replace(issue(OTHER, Role.AGENT), ca_pem=GOOD.ca_pem), "does not verify"),
        (replace(GOOD, certificate_pem=b""), "does not fit"),
        (replace(GOOD, ca_pem=b"\xff"), "not text"),
    ],
    ids=["another key", "another CA is trusted", "by another CA", "none", "no CA"],
)
def test_what_is_of_no_use(forged: Identity, why: str) -> None:
    said = unusable(forged)
    assert said is not None and why in said
