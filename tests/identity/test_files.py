"""Key files: modes enforced, pairs that belong together, crashes in the middle of a renewal."""

import dataclasses
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from probemesh_shared.errors import StateError
from probemesh_shared.identity import files
from probemesh_shared.identity.files import (
    Identity,
    load_identity,
    renewing_identity,
    save_identity,
    write_private,
)
from probemesh_shared.words import Role


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_saved_is_loaded_and_private(tmp_path: Path, make) -> None:
    identity = make()
    folder = tmp_path / "agent"
    os.umask(0o000)
    try:
        save_identity(folder, identity)
    finally:
        os.umask(0o022)
    assert load_identity(folder) == identity
    assert mode(folder) == 0o700
    assert {path.name: mode(path) for path in folder.iterdir()} == {
        "ca.pem": 0o600,
        "cert.pem": 0o600,
        "key.pem": 0o600,
    }


@pytest.mark.parametrize("wide", [0o644, 0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, make, wide: int) -> None:
    save_identity(tmp_path, make())
    (tmp_path / "key.pem").chmod(wide)
    with pytest.raises(StateError, match=f"may be read by others .mode {wide:04o}") as refused:
        load_identity(tmp_path)
    assert refused.value.hint == f"chmod 600 {tmp_path / 'key.pem'}"


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="there is no identity"):
        load_identity(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["cert.pem", "key.pem", "ca.pem"])
def test_rubbish_is_a_state_error(tmp_path: Path, make, name: str) -> None:
    save_identity(tmp_path, make())
    write_private(tmp_path / name, b"rubbish")
    with pytest.raises(StateError):
        load_identity(tmp_path)


def test_a_key_of_another_certificate(tmp_path: Path, make) -> None:
    save_identity(tmp_path, make())
    write_private(tmp_path / "key.pem", make().key_pem)
    with pytest.raises(StateError, match="do not belong together"):
        load_identity(tmp_path)


@pytest.mark.parametrize("survived", range(11))
def test_a_crash_while_saving_leaves_the_old_pair_or_the_new(
    tmp_path: Path, make, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    """Every rename is a point where the machine may stop: four while staging, four while moving."""
    old, new = with_renewal(make), with_renewal(make)
    save_identity(tmp_path, old)
    rename, done = Path.rename, 0

    def dying(self: Path, target: Path) -> Path:
        nonlocal done
        if done == survived:
            raise KeyboardInterrupt
        done += 1
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(files.Path, "rename", dying)
        try:
            save_identity(tmp_path, new)
            finished = True
        except KeyboardInterrupt:
            finished = False
    found = load_identity(tmp_path)
    assert found == (new if finished or survived > 4 else old)
    assert load_identity(tmp_path) == found


@pytest.mark.parametrize("before", range(8))
def test_whoever_reads_while_it_is_written_gets_a_pair_and_stops_nobody(
    tmp_path: Path, make, monkeypatch, before: int
) -> None:
    """A reader that finds the move half-done finishes it, and the writer goes on."""
    old, new = with_renewal(make), with_renewal(make)
    save_identity(tmp_path, old)
    rename, done, read = Path.rename, 0, []

    def slow(self: Path, target: Path) -> Path:
        nonlocal done
        done += 1
        if done == before + 1:
            read.append(load_identity(tmp_path))
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(files.Path, "rename", slow)
        save_identity(tmp_path, new)
    assert read == [old if before <= 4 else new]
    assert load_identity(tmp_path) == new
    assert not list(tmp_path.glob("*.next"))


def with_renewal(make) -> Identity:
    one = make(Role.OPERATOR, "ann", "ann")
    key = load_pem_private_key(one.key_pem, None)
    return dataclasses.replace(one, renewal_pem=make(Role.RENEWAL, "ann", "ann", key=key).certificate_pem)


def test_a_renewal_certificate_of_an_earlier_key_is_left_out(tmp_path: Path, make) -> None:
    save_identity(tmp_path, with_renewal(make))
    plain = make()
    save_identity(tmp_path, plain)
    assert load_identity(tmp_path) == plain


def test_who_renews(make) -> None:
    both = with_renewal(make)
    assert (renewing_identity(both).role, renewing_identity(both).id) == (Role.RENEWAL, "ann")
    assert renewing_identity(make()).role is Role.AGENT


def test_the_key_is_not_in_the_repr(make) -> None:
    assert "PRIVATE" not in repr(make())


def test_renewal_is_due_after_a_third(make) -> None:
    identity = make()
    life = identity.not_after_ns - identity.not_before_ns
    assert identity.renew_at_ns == identity.not_before_ns + life // 3


@pytest.mark.skipif(os.geteuid() != 0, reason="wants root, to give a folder away")
def test_what_root_writes_belongs_to_the_owner_of_the_state(tmp_path: Path, make) -> None:
    os.chown(tmp_path, 65534, 65534)
    save_identity(tmp_path / "probemesh" / "agent", make())
    assert {path.stat().st_uid for path in tmp_path.rglob("*")} == {65534}
