"""``meshctl controller ca``: what it prints, and what it asks of the key's file."""

import json
from pathlib import Path

import jsonschema
import pytest
from probemesh_controller.api import BehindInfo, CaInfo, CaStatus
from probemesh_controller.castate import Phase
from probemesh_controller.cli.authority import text
from probemesh_controller.pki.mesh import init_mesh
from probemesh_controller.schema import schema_of
from probemesh_shared.errors import InvalidRequest

from tests.cli.conftest import config_file, home, mesh, meshctl

__all__ = ["config_file", "home", "mesh", "meshctl"]
END = 1_800_000_000_000_000_000
OLD, NEW = CaInfo("a" * 64, True, True, True, END), CaInfo("b" * 64, False, True, False, END)
MANY = tuple(BehindInfo(f"agent-{number}", "agent") for number in range(20))
TRUSTED = CaStatus("trusted", (NEW, OLD), MANY, (), (BehindInfo("b\x1b[2Job", "renewal"),), 25)


@pytest.fixture
def administered(mesh):
    mesh.steps = []

    async def ca_status():
        return TRUSTED

    async def rotate_ca(step, anyway):
        if not anyway:
            raise InvalidRequest("20 of 25 would be cut off", "--anyway")
        mesh.steps.append(step)
        return TRUSTED

    mesh.ca_status, mesh.rotate_ca = ca_status, rotate_ca
    return mesh


def test_status(meshctl, config_file, administered) -> None:
    ran = meshctl("controller", "ca")
    assert ran.code == 0
    assert ran.out.splitlines()[:3] == [
        "phase trusted",
        "  CA bbbbbbbbbbbbbbbb…  trusted, until 2027-01-15, its key is not on the controller",
        "  CA aaaaaaaaaaaaaaaa…  issues, until 2027-01-15",
    ]
    assert "20 of 25 are not ready for the next step: agent-0, " in ran.out and "and 8 more" in ran.out
    assert "join again: b\\x1b[2Job" in ran.out and "\x1b" not in ran.out
    assert "meshctl controller ca rotate" in ran.out


def test_json(meshctl, config_file, administered) -> None:
    value = json.loads(meshctl("controller", "ca", "status", "-o", "json").out)
    jsonschema.validate(value, schema_of("ca"), jsonschema.Draft202012Validator)
    assert value["phase"] == "trusted" and len(value["behind"]) == 20
    assert [ca["has_key"] for ca in value["cas"]] == [False, True]


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_says_what_is_next(phase: Phase) -> None:
    said = text(CaStatus(phase.value, (OLD,), (), (), (), 3))
    assert "next: meshctl controller ca " in said


def test_steps(meshctl, config_file, administered) -> None:
    assert meshctl("controller", "ca", "rotate").code == 2
    ran = meshctl("controller", "ca", "rotate", "--anyway")
    assert ran.code == 0 and "note: our own certificate was not renewed" in ran.err  # there is none here
    assert meshctl("controller", "ca", "back", "--anyway").code == 0
    assert administered.steps == ["forward", "back"]


def test_export_and_restore(meshctl, home, tmp_path: Path) -> None:
    state = tmp_path / "mesh"
    init_mesh(state, "lab")
    secret, file = tmp_path / "p.txt", tmp_path / "ca.backup"
    secret.write_text("correct horse battery\n")
    secret.chmod(0o644)
    more = (str(file), "--passphrase-file", str(secret), "--state", str(state))
    export = ("controller", "ca", "export", *more)
    refused = meshctl(*export)
    assert refused.code == 4 and "may be read by others" in refused.err and not file.exists()
    secret.chmod(0o600)
    ran = meshctl(*export, "--remove")
    assert ran.code == 0 and "is sealed in" in ran.out and "nothing is issued" in ran.out
    assert "correct horse" not in ran.out + ran.err + file.read_text()
    assert not (state / "controller" / "ca.key").exists()
    assert meshctl("controller", "ca", "restore", *more).code == 0
    assert (state / "controller" / "ca.key").exists()


def test_not_on_the_controllers_host(meshctl, home, tmp_path: Path) -> None:
    ran = meshctl("controller", "ca", "export", str(tmp_path / "x"), "--passphrase-file", "/nowhere")
    assert ran.code == 2 and "there is no controller's state" in ran.err
