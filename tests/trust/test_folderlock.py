"""Two writers of one folder: never a key of the one with the certificate of the other."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from probemesh_controller import folderlock, renewing
from probemesh_controller.pki.authority import Authority
from probemesh_controller.pki.mesh import init_mesh, refresh_all
from probemesh_shared.errors import StateError
from probemesh_shared.identity.files import load_identity


def test_a_controller_leaves_the_folder_to_a_meshctl_that_writes_it(tmp_path: Path) -> None:
    made = init_mesh(tmp_path, "lab")
    later = datetime.now(UTC) + timedelta(hours=5)
    with folderlock.opened(tmp_path / "operator") as lock:
        assert folderlock.taken(lock)
        refresh_all(Authority(tmp_path / "controller"), tmp_path, later)
        assert load_identity(tmp_path / "operator") == made.operator
    refresh_all(Authority(tmp_path / "controller"), tmp_path, later)
    assert load_identity(tmp_path / "operator") != made.operator


async def test_writers_at_once_leave_a_pair(tmp_path: Path) -> None:
    init_mesh(tmp_path, "lab")
    operator, ca = tmp_path / "operator", Authority(tmp_path / "controller")

    async def controller(number: int) -> None:
        later = datetime.now(UTC) + timedelta(hours=5 * number)
        await asyncio.to_thread(refresh_all, ca, tmp_path, later)

    for number in range(1, 6):
        await asyncio.gather(renewing.renew(operator, None, force=True), controller(number))
        assert load_identity(operator).name == "admin"


async def test_who_waits_for_ever_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init_mesh(tmp_path, "lab")
    monkeypatch.setattr(renewing, "LOCK_S", 0.1)
    with folderlock.opened(tmp_path / "operator") as lock:
        assert folderlock.taken(lock)
        with pytest.raises(StateError, match="another process renews the certificate"):
            await renewing.renew(tmp_path / "operator", None, force=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="wants root, to give a folder away")
async def test_what_root_renews_is_not_lost_to_the_service(tmp_path: Path) -> None:
    init_mesh(tmp_path, "lab")
    operator = tmp_path / "operator"
    os.chown(operator, 65534, 65534)
    await renewing.renew(operator, None, force=True)
    assert {path.stat().st_uid for path in operator.iterdir()} == {65534}
