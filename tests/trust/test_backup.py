"""The CA's key in a file of its own: sealed, proved before the other goes, put back live."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from probemesh_controller.api import TokenRequest
from probemesh_controller.pki import backup
from probemesh_controller.pki.authority import Authority
from probemesh_controller.pki.mesh import init_mesh, load_controller
from probemesh_controller.remote import RemoteMesh
from probemesh_controller.renewing import renew
from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.identity.files import load_identity

from tests.controller.test_served import Served, client, connected, served
from tests.trust.test_operators import operator

__all__ = ["client", "served"]
PASSPHRASE = "correct horse battery"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    init_mesh(tmp_path / "state", "lab")
    return tmp_path / "state" / "controller"


def test_there_and_back(folder: Path, tmp_path: Path) -> None:
    file, key = tmp_path / "ca.backup", (folder / "ca.key").read_bytes()
    (name,) = backup.export(folder, file, PASSPHRASE, 5, remove=True)
    assert name == Authority(folder).issuer
    assert file.stat().st_mode & 0o777 == 0o600
    assert not (folder / "ca.key").exists() and not Authority(folder).has_key(name)
    assert key.split(b"\n")[1] not in file.read_bytes() and b"PRIVATE" not in file.read_bytes()
    assert backup.restore(folder, file, PASSPHRASE) == (name,)
    assert (folder / "ca.key").read_bytes() == key
    assert (folder / "ca.key").stat().st_mode & 0o777 == 0o600


def test_without_remove_the_key_stays(folder: Path, tmp_path: Path) -> None:
    backup.export(folder, tmp_path / "ca.backup", PASSPHRASE, 5)
    assert Authority(folder).signing()


def test_both_keys_while_the_ca_changes(folder: Path, tmp_path: Path) -> None:
    ca = Authority(folder)
    ca.forward()
    names = backup.export(folder, tmp_path / "ca.backup", PASSPHRASE, 5, remove=True)
    assert set(names) == set(ca.state.kept)
    ca.back()  # the one that was begun is forgotten, and its key stays away
    assert backup.restore(folder, tmp_path / "ca.backup", PASSPHRASE) == (ca.issuer,)
    assert Authority(folder).signing()


def test_a_weak_passphrase_and_a_file_that_is_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="fewer than 12"):
        backup.export(folder, tmp_path / "x", "short", 5, remove=True)
    (tmp_path / "x").write_text("mine")
    with pytest.raises(InvalidRequest, match="exists"):
        backup.export(folder, tmp_path / "x", PASSPHRASE, 5, remove=True)
    assert (tmp_path / "x").read_text() == "mine" and (folder / "ca.key").exists()


def test_a_file_that_does_not_read_back_costs_no_key(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "write_private", lambda path, data: path.write_bytes(data[:-40] + b'"}\n'))
    with pytest.raises((InvalidRequest, StateError)):
        backup.export(folder, tmp_path / "x", PASSPHRASE, 5, remove=True)
    assert (folder / "ca.key").exists()


def test_another_passphrase(folder: Path, tmp_path: Path) -> None:
    backup.export(folder, tmp_path / "x", PASSPHRASE, 5, remove=True)
    with pytest.raises(InvalidRequest, match="another passphrase"):
        backup.restore(folder, tmp_path / "x", PASSPHRASE + "!")
    assert not (folder / "ca.key").exists()


@pytest.mark.parametrize("field", ["mesh", "cas", "made_ns", "salt", "nonce", "sealed"])
def test_nothing_in_the_file_can_be_changed(folder: Path, tmp_path: Path, field: str) -> None:
    backup.export(folder, tmp_path / "x", PASSPHRASE, 5)
    found = json.loads((tmp_path / "x").read_text())
    if field in ("mesh", "cas", "made_ns"):
        found[field] = {"mesh": "other", "cas": [], "made_ns": 6}[field]
    else:
        found[field] = ("B" if found[field][0] == "A" else "A") + found[field][1:]
    (tmp_path / "x").write_text(json.dumps(found))
    with pytest.raises(InvalidRequest, match="another passphrase opens this backup, or it is damaged"):
        backup.restore(folder, tmp_path / "x", PASSPHRASE)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"7",
        b"\xff",
        b'{"sealed": 5}',
        b'{"sealed": "", "salt": "", "nonce": ""}',
        b'{"schema": 1, "kind": "probemesh-ca", "kdf": "scrypt-30-8-1", "sealed":"","salt":"","nonce":""}',
        b"[" * 60_000,
        b"x" * (1 << 20),
    ],
)
def test_what_is_no_backup(folder: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InvalidRequest, match="backup"):
        backup.restore(folder, tmp_path / "x", PASSPHRASE)


def test_another_mesh(folder: Path, tmp_path: Path) -> None:
    init_mesh(tmp_path / "other", "other")
    backup.export(tmp_path / "other" / "controller", tmp_path / "x", PASSPHRASE, 5)
    with pytest.raises(InvalidRequest, match="no key of a CA that is in use here") as told:
        backup.restore(folder, tmp_path / "x", PASSPHRASE)
    assert "it is of mesh other; here is mesh lab" in (told.value.hint or "")


def test_nothing_to_export(folder: Path, tmp_path: Path) -> None:
    backup.export(folder, tmp_path / "x", PASSPHRASE, 5, remove=True)
    with pytest.raises(StateError, match="there is no key of a CA"):
        backup.export(folder, tmp_path / "y", PASSPHRASE, 5)


def test_without_the_key_a_due_certificate_stays_until_it_ends(folder: Path, tmp_path: Path) -> None:
    backup.export(folder, tmp_path / "x", PASSPHRASE, 5, remove=True)
    now = datetime.now(UTC)
    before = load_identity(folder)
    _, identity = load_controller(folder.parent, now + timedelta(days=80))
    assert identity == before
    with pytest.raises(StateError, match="issues no certificates"):
        load_controller(folder.parent, now + timedelta(days=91))


# --- a controller that runs without it ------------------------------------------------------------------


async def test_a_controller_without_the_key_runs_and_issues_nothing(
    served: Served, client: RemoteMesh, tmp_path: Path
) -> None:
    folder = await served.join(client, "one")
    await served.run_agent("one", folder)
    await connected(client, "one")
    bob = await operator(served, client)
    held = served.state / "controller"
    backup.export(held, tmp_path / "x", PASSPHRASE, 5, remove=True)

    await connected(client, "one")
    for refused in (client.create_token(TokenRequest()), renew(bob, served.address, force=True)):
        with pytest.raises(StateError, match="the CA's key is not on this controller"):
            await refused
    (ca,) = (await client.ca_status()).cas
    assert not ca.has_key

    await served.end()
    await served.start(served.address)  # after a restart as well
    again = served.client()
    await connected(again, "one")
    with pytest.raises(StateError, match="the CA's key is not on this controller"):
        await again.create_token(TokenRequest())
    backup.restore(held, tmp_path / "x", PASSPHRASE)
    assert (await again.create_token(TokenRequest())).token  # without another restart
    assert (await renew(bob, served.address, force=True)).name == "bob"
    await again.aclose()
