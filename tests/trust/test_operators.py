"""Operators over real gRPC: short certificates that renew themselves, laptops that were shut, revocation that
cuts what is live and holds after a restart."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from probemesh_controller import renewing
from probemesh_controller.api import RunPlanned, TokenRequest
from probemesh_controller.join import join_operator
from probemesh_controller.pki.authority import Authority
from probemesh_controller.pki.ca import LIFE, CertificateAuthority, new_key, private_pem
from probemesh_controller.remote import RemoteMesh
from probemesh_controller.renewing import Due, due, renew, usable
from probemesh_shared.errors import CertificateRefused, InvalidRequest, NotAllowed, NotFound
from probemesh_shared.identity.files import Identity, load_identity, make_identity, save_identity
from probemesh_shared.identity.names import Subject
from probemesh_shared.targets import parse_target
from probemesh_shared.words import Role

from tests.controller.test_served import Served, client, connected, request, served

__all__ = ["client", "served"]
NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
MONTH = timedelta(days=30)


def ns(instant: datetime) -> int:
    return int(instant.timestamp() * 1e9)


async def operator(
    served: Served, client: RemoteMesh, name: str = "bob", role: Role = Role.OPERATOR, laptop: str = ""
) -> Path:
    """A laptop that has joined; its identity's folder."""
    issued = await client.create_token(TokenRequest(role, name))
    folder = served.state / "laptops" / (laptop or name) / "operator"
    await join_operator(folder, served.address, issued.token, replace=True)
    return folder


@asynccontextmanager
async def as_(served: Served, folder: Path) -> AsyncIterator[RemoteMesh]:
    mesh = RemoteMesh(served.address, load_identity(folder))
    try:
        yield mesh
    finally:
        await mesh.aclose()


def aged(served: Served, folder: Path, age: timedelta, renewal_age: timedelta | None = None) -> Identity:
    """The identity in ``folder`` as if it had been issued ``age`` ago, by the same CA, and not used since."""
    ca = Authority(served.state / "controller").signing()
    before = load_identity(folder)
    key, now = new_key(), datetime.now(UTC)

    def issued(role: Role, start: datetime) -> bytes:
        return ca.issue(
            Subject(ca.mesh, role, before.id, before.id), key.public_key(), now=start
        ).certificate_pem

    renewal = issued(Role.RENEWAL, now - (renewal_age if renewal_age is not None else age))
    old = make_identity(issued(before.role, now - age), private_pem(key), before.ca_pem, renewal)
    save_identity(folder, old)
    return old


# --- dates ----------------------------------------------------------------------------------------------


def test_lives() -> None:
    assert {LIFE[role] for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN)} == {timedelta(hours=12)}
    assert LIFE[Role.RENEWAL] == LIFE[Role.AGENT] == MONTH


@pytest.mark.parametrize(
    ("age", "wanted"),
    [
        (timedelta(), Due.NO),
        (3.9 * HOUR, Due.NO),
        (4.1 * HOUR, Due.SOON),
        (11.8 * HOUR, Due.SOON),
        (11.9 * HOUR, Due.NOW),
        (13 * HOUR, Due.NOW),
        (-HOUR, Due.NO),
    ],
)
def test_when_renewal_is_due(age: timedelta, wanted: Due) -> None:
    ca, key = CertificateAuthority.create("demo"), new_key()
    issued = ca.issue(Subject("demo", Role.OPERATOR, "bob", "bob"), key.public_key(), now=NOW)
    identity = make_identity(issued.certificate_pem, private_pem(key), ca.certificate_pem)
    assert due(identity, ns(NOW + age)) is wanted


def test_what_lives_longer_than_it_should_is_exchanged_at_once() -> None:
    """Operators that joined with an earlier version have ninety days."""
    ca, key = CertificateAuthority.create("demo"), new_key()
    subject = Subject("demo", Role.VIEWER, "wall", "wall")
    issued = ca.issue(subject, key.public_key(), timedelta(days=90), NOW)
    identity = make_identity(issued.certificate_pem, private_pem(key), ca.certificate_pem)
    assert due(identity, ns(NOW + HOUR)) is Due.SOON


# --- renewal ----------------------------------------------------------------------------------------------


async def test_joining_gives_a_short_certificate_and_a_longer_one_to_renew_it(
    served: Served, client: RemoteMesh
) -> None:
    folder = await operator(served, client)
    identity = load_identity(folder)
    left = identity.not_after_ns - time.time_ns()
    assert 11.9 * 3600e9 < left <= 12 * 3600e9
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == dict.fromkeys(
        ("ca.pem", "cert.pem", "key.pem", "renewal.pem"), 0o600
    )


@pytest.mark.parametrize("age", [5 * HOUR, 13 * HOUR, 29 * 24 * HOUR], ids=["due", "expired", "long-shut"])
async def test_renewal_gives_a_new_key_and_moves_the_window_on(
    served: Served, client: RemoteMesh, age: timedelta
) -> None:
    folder = await operator(served, client)
    old = aged(served, folder, age)
    renewed = await renew(folder, served.address)
    assert renewed == load_identity(folder)
    assert renewed.key_pem != old.key_pem and renewed.renewal_pem != old.renewal_pem
    assert (renewed.role, renewed.id) == (Role.OPERATOR, "bob")
    assert due(renewed, time.time_ns()) is Due.NO
    async with as_(served, folder) as mesh:
        assert (await mesh.status()).peer_name == "bob"
    (bob,) = [one for one in await client.operators() if one.name == "bob"]
    assert bob.renewed_ns is not None and bob.created_by == "admin/admin"
    assert bob.renewable_until_ns is not None and bob.renewable_until_ns > ns(NOW + 29.9 * 24 * HOUR)


async def test_shut_for_longer_than_that_it_joins_anew(served: Served, client: RemoteMesh) -> None:
    folder = await operator(served, client)
    aged(served, folder, 31 * 24 * HOUR)
    with pytest.raises(CertificateRefused, match=r"expired .*, and could be renewed until") as told:
        await usable(folder, served.address)
    assert "meshctl operator create bob --role operator" in (told.value.hint or "")
    token = await client.create_token(TokenRequest(Role.OPERATOR, "bob"))
    await join_operator(folder, served.address, token.token)  # what is over may be replaced unasked
    assert await usable(folder, served.address) == load_identity(folder)


async def test_the_renewal_certificate_is_good_for_nothing_else(served: Served, client: RemoteMesh) -> None:
    folder = await operator(served, client)
    mine = load_identity(folder)
    renewal = make_identity(mine.renewal_pem, mine.key_pem, mine.ca_pem)
    mesh = RemoteMesh(served.address, renewal)
    with pytest.raises(NotAllowed, match="the renewal certificate of bob may not look at the mesh"):
        await mesh.status()
    await mesh.aclose()


async def test_one_process_renews_and_the_others_take_what_it_got(served: Served, client: RemoteMesh) -> None:
    folder = await operator(served, client)
    aged(served, folder, 13 * HOUR)
    found = await asyncio.gather(*(renew(folder, served.address) for _ in range(4)))
    assert len({identity.serial for identity in found}) == 1


async def test_a_command_renews_when_it_is_over(served: Served, client: RemoteMesh) -> None:
    folder = await operator(served, client)
    old = aged(served, folder, 5 * HOUR)
    mesh = RemoteMesh(served.address, await usable(folder, served.address))
    mesh.keep_renewed(folder)
    assert (await mesh.status()).peer_name == "bob"
    assert load_identity(folder) == old  # the measuring comes first
    await mesh.aclose()
    assert load_identity(folder).serial != old.serial


async def test_a_long_command_renews_on_the_way(
    served: Served, client: RemoteMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewing, "QUIET_S", 0.01)
    folder = await operator(served, client)
    old = aged(served, folder, 5 * HOUR)
    mesh = RemoteMesh(served.address, await usable(folder, served.address))
    mesh.keep_renewed(folder)
    async with asyncio.timeout(20):
        while load_identity(folder).serial == old.serial:  # noqa: ASYNC110 (a file tells, not an event)
            await asyncio.sleep(0.02)
    await mesh.reconnect(mesh.connection)
    assert mesh.connection.identity == load_identity(folder)
    assert (await mesh.status()).peer_name == "bob"
    await mesh.aclose()


async def test_where_the_ca_is_no_controller_is_needed(served: Served) -> None:
    """A mesh of listening agents alone: twelve hours after ``init`` it still works."""
    await served.end()
    folder = served.state / "operator"
    old = aged(served, folder, 24 * HOUR)
    fresh = await usable(folder, None)
    assert fresh.serial != old.serial and due(fresh, time.time_ns()) is Due.NO


async def test_away_from_the_ca_and_without_a_controller_the_words_say_so(
    served: Served, client: RemoteMesh
) -> None:
    folder = await operator(served, client)
    aged(served, folder, 13 * HOUR)
    with pytest.raises(CertificateRefused, match="no controller in this context to renew it"):
        await usable(folder, None)


async def test_what_is_good_for_minutes_yet_is_used_where_it_cannot_be_renewed(
    served: Served, client: RemoteMesh
) -> None:
    folder = await operator(served, client)
    old = aged(served, folder, 11.9 * HOUR)
    await served.end()
    assert await usable(folder, served.address) == old


# --- revocation -------------------------------------------------------------------------------------------


async def test_revocation_cuts_what_is_live(served: Served, client: RemoteMesh) -> None:
    host = await served.join(client, "cut-1")
    await served.run_agent("cut-1", host)
    await connected(client, "cut-1")
    async with as_(served, await operator(served, client)) as mesh:
        asked = request(("cut-1",), parse_target("tcp://192.0.2.1:9"), "long", 60.0)
        (spec,) = asked.specs
        slow = dataclasses.replace(spec, options=dataclasses.replace(spec.options, count=100, timeout_s=5.0))
        async with aclosing(mesh.run(dataclasses.replace(asked, specs=(slow,)))) as events:
            assert isinstance(await anext(events), RunPlanned)
            begun = time.monotonic()
            assert (await client.revoke_operator("bob")).revoked
            with pytest.raises(CertificateRefused, match="revoked"):
                async for _ in events:
                    pass
            assert time.monotonic() - begun < 5.0
        with pytest.raises(CertificateRefused, match="revoked"):
            await mesh.status()


async def test_revocation_holds_for_every_certificate_and_after_a_restart(
    served: Served, client: RemoteMesh
) -> None:
    folder = await operator(served, client)
    await client.revoke_operator("bob")
    unknown = await operator(served, client, "eve", laptop="eve")
    await client.revoke_operator("eve")
    aged(served, unknown, timedelta())  # in her name, and in no record of the store
    for _ in range(2):
        with pytest.raises(CertificateRefused, match="revoked"):
            async with as_(served, folder) as mesh:
                await mesh.status()
        aged_folder = served.state / "laptops" / "bob" / "operator"
        with pytest.raises(CertificateRefused, match="revoked"):
            async with as_(served, unknown) as mesh:
                await mesh.status()
        old = load_identity(aged_folder)
        renewal = make_identity(old.renewal_pem, old.key_pem, old.ca_pem)
        with pytest.raises(CertificateRefused, match="revoked"):
            await RemoteMesh(served.address, renewal).status()
        await served.end()
        await served.start()
    mesh = served.client()
    assert {one.name: one.revoked for one in await mesh.operators()} == {
        "admin": False,
        "bob": True,
        "eve": True,
    }
    await mesh.aclose()


async def test_who_joins_again_is_let_in_and_the_old_certificates_are_not(
    served: Served, client: RemoteMesh
) -> None:
    old = await operator(served, client, laptop="old")
    await client.revoke_operator("bob")
    new = await operator(served, client, laptop="new")
    async with as_(served, new) as mesh:
        assert (await mesh.status()).peer_name == "bob"
    with pytest.raises(CertificateRefused, match="revoked"):
        async with as_(served, old) as mesh:
            await mesh.status()


async def test_another_role_takes_the_former_away(served: Served, client: RemoteMesh) -> None:
    before = await operator(served, client, role=Role.ADMIN, laptop="before")
    await operator(served, client, role=Role.VIEWER, laptop="after")
    with pytest.raises(CertificateRefused, match="revoked"):
        async with as_(served, before) as mesh:
            await mesh.operators()


async def test_two_laptops_of_one_person_live_side_by_side(served: Served, client: RemoteMesh) -> None:
    for folder in [await operator(served, client, laptop=name) for name in ("desk", "lap")]:
        async with as_(served, folder) as mesh:
            assert (await mesh.status()).peer_name == "bob"


async def test_the_last_administrator_stays(served: Served, client: RemoteMesh) -> None:
    with pytest.raises(InvalidRequest, match="the last administrator"):
        await client.revoke_operator("admin")
    await operator(served, client, "ann", Role.ADMIN)
    assert (await client.revoke_operator("admin")).revoked
    with pytest.raises(CertificateRefused, match="revoked"):
        await client.status()


async def test_the_operator_on_the_controllers_host_is_listed_with_its_dates(
    served: Served, client: RemoteMesh
) -> None:
    (admin,) = await client.operators()
    assert admin.valid_until_ns == load_identity(served.state / "operator").not_after_ns
    assert (admin.created_by, admin.connected, admin.revoked) == ("meshctl init", True, False)


async def test_nobody_of_that_name(served: Served, client: RemoteMesh) -> None:
    await operator(served, client)
    with pytest.raises(NotFound, match="there is no operator bop") as told:
        await client.revoke_operator("bop")
    assert "bob" in (told.value.hint or "")
