"""The authorization matrix: every method × whoever may come, generated from the descriptors, against a real
server.

Who has no place in the mesh comes with the certificate of each role in turn, so that nothing that a role may
do makes up for what is wrong with it.
"""

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from probemesh_controller.pki.ca import CertificateAuthority
from probemesh_shared.errors import CertificateRefused, MeshError, NotAllowed, NotFound
from probemesh_shared.identity.files import Identity
from probemesh_shared.rpc.client import connect
from probemesh_shared.rpc.grpc_setup import grpc
from probemesh_shared.words import Role

from tests.rpc.conftest import CONTROLLER, Served, issue
from tests.rpc.methods import METHODS, answer, short
from tests.rpc.test_authz import EXPECTED

NOW = datetime.now(UTC)


def expired(ca: CertificateAuthority, other_ca: CertificateAuthority, role: Role) -> Identity:
    return issue(ca, role, now=NOW - timedelta(days=30))


def not_yet_valid(ca: CertificateAuthority, other_ca: CertificateAuthority, role: Role) -> Identity:
    return issue(ca, role, now=NOW + timedelta(days=1))


def of_another_ca(ca: CertificateAuthority, other_ca: CertificateAuthority, role: Role) -> Identity:
    """Whose names are right; the CA that it trusts is the mesh's, or it would not come this far."""
    return dataclasses.replace(issue(other_ca, role), ca_pem=ca.certificate_pem)


def of_its_own_making(ca: CertificateAuthority, other_ca: CertificateAuthority, role: Role) -> Identity:
    """Signed by a CA that has the name, but not the key, of the mesh's, and sends that CA along."""
    fake = issue(other_ca, role)
    chain = fake.certificate_pem + other_ca.certificate_pem
    return dataclasses.replace(fake, certificate_pem=chain, ca_pem=ca.certificate_pem)


#: Those whom the handshake keeps out.
Maker = Callable[[CertificateAuthority, CertificateAuthority, Role], Identity]
OUTSIDERS: tuple[Maker, ...] = (expired, not_yet_valid, of_another_ca, of_its_own_making)


@asynccontextmanager
async def dialled(
    address: str, ca_pem: bytes, identity: Identity | None, name: str = CONTROLLER
) -> AsyncIterator[grpc.aio.Channel]:
    """grpc's own, without what our client would look at first."""
    pair = (identity.key_pem, identity.certificate_pem) if identity is not None else (None, None)
    credentials = grpc.ssl_channel_credentials(ca_pem, *pair)
    options = [("grpc.ssl_target_name_override", name), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(address, credentials, options=options) as made:
        yield made


async def answers(
    served: Served, ca: CertificateAuthority, identity: Identity | None
) -> dict[str, MeshError | grpc.StatusCode]:
    """What each method says, each on a connection of its own."""
    found = {}
    for path, method in METHODS.items():
        async with dialled(served.address, ca.certificate_pem, identity) as made:
            found[short(path)] = await answer(made, path, method)
    return found


async def test_without_a_certificate(serve, ca) -> None:
    served = await serve()
    assert set((await answers(served, ca, None)).values()) == {grpc.StatusCode.UNAVAILABLE}
    assert served.services.reached == []


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("made", OUTSIDERS, ids=lambda made: made.__name__)
async def test_who_has_no_certificate_of_the_mesh(serve, ca, other_ca, made: Maker, role: Role) -> None:
    served = await serve()
    found = await answers(served, ca, made(ca, other_ca, role))
    assert set(found.values()) == {grpc.StatusCode.UNAVAILABLE}
    assert served.services.reached == []


@pytest.mark.parametrize("role", list(Role))
async def test_who_was_revoked(serve, ca, role: Role) -> None:
    identity = issue(ca, role)
    served = await serve(denied_serials=[identity.serial])
    _all_refused(await answers(served, ca, identity), "has been revoked")
    assert served.services.reached == []


@pytest.mark.parametrize("role", list(Role))
async def test_who_is_of_another_mesh_of_the_same_ca(serve, ca, role: Role) -> None:
    ca.mesh = "elsewhere"
    try:
        identity = issue(ca, role)
    finally:
        ca.mesh = "demo"
    served = await serve()
    _all_refused(await answers(served, ca, identity), "belongs to another mesh")
    assert served.services.reached == []


@pytest.mark.parametrize("role", list(Role))
async def test_who_is_of_the_mesh_may_do_what_its_role_may(serve, ca, role: Role) -> None:
    served = await serve()
    found = await answers(served, ca, issue(ca, role))
    assert set(served.services.reached) == EXPECTED[role]
    for name, said in found.items():
        expected = NotFound if name in EXPECTED[role] else NotAllowed
        assert type(said) is expected, f"{name}: {said}"
        assert str(said) == "reached" if expected is NotFound else "may not" in str(said)


@pytest.mark.parametrize("role", list(Role))
async def test_the_same_over_one_connection(serve, ca, role: Role) -> None:
    """Nothing that was allowed opens the way for what is not."""
    served = await serve()
    connection = connect(served.address, issue(ca, role), CONTROLLER)
    async with connection:
        for path, method in METHODS.items():
            said = await answer(connection.channel, path, method)
            assert type(said) is (NotFound if short(path) in EXPECTED[role] else NotAllowed)
    assert set(served.services.reached) == EXPECTED[role]


def _all_refused(found: dict[str, MeshError | grpc.StatusCode], words: str) -> None:
    assert set(found) == set(map(short, METHODS))
    for name, said in found.items():
        assert isinstance(said, CertificateRefused), f"{name}: {said}"
        assert words in str(said)
