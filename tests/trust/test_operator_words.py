"""``meshctl operator list`` and ``revoke``: what they print, in each format."""

import json

import pytest
from probemesh_controller.api import OperatorInfo
from probemesh_controller.cli import operators
from probemesh_controller.cli.operators import state_of

from tests.cli.conftest import config_file, home, mesh, meshctl

__all__ = ["config_file", "home", "mesh", "meshctl"]
NOW = 1_800_000_000_000_000_000
HOUR = 3_600_000_000_000
ALICE = OperatorInfo("alice", "operator", False, NOW - HOUR, "admin/ann", NOW, NOW + HOUR, NOW + 99 * HOUR)


@pytest.fixture
def administered(mesh, monkeypatch):
    """The fake mesh, with operators."""
    monkeypatch.setattr(operators.time, "time_ns", lambda: NOW)
    mesh.revoked = []

    async def listed():
        return (ALICE, OperatorInfo("b\x1b[31mob", "viewer", True, created_by="=1+1"))

    async def revoke(name):
        mesh.revoked.append(name)
        return OperatorInfo(name, "operator", True)

    mesh.operators, mesh.revoke_operator = listed, revoke
    return mesh


@pytest.mark.parametrize(
    ("operator", "state"),
    [
        (ALICE, "active"),
        (OperatorInfo("a", "viewer", True, valid_until_ns=NOW + 1), "revoked"),
        (OperatorInfo("a", "viewer", valid_until_ns=NOW - 1, renewable_until_ns=NOW + 1), "away"),
        (OperatorInfo("a", "viewer", valid_until_ns=NOW - 1, renewable_until_ns=NOW - 1), "expired"),
        (OperatorInfo("a", "admin", connected=True), "active"),
    ],
)
def test_states(operator: OperatorInfo, state: str) -> None:
    assert state_of(operator, NOW) == state


def test_the_table(meshctl, config_file, administered) -> None:
    ran = meshctl("operator", "list")
    assert ran.code == 0
    alice, bob = ran.out.splitlines()[1:]
    assert alice.split()[:4] == ["alice", "operator", "✓", "active"] and "admin/ann" in alice
    assert "revoked" in bob and "\x1b" not in bob


def test_json(meshctl, config_file, administered) -> None:
    alice, bob = json.loads(meshctl("operator", "list", "-o", "json").out)["operators"]
    assert alice["state"] == "active" and alice["valid_until"] == "2027-01-15T09:00:00.000000Z"
    assert bob["renewable_until"] is None
    lines = meshctl("operator", "list", "-o", "jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == [alice, bob]


def test_revoke(meshctl, config_file, administered) -> None:
    ran = meshctl("operator", "revoke", "alice")
    assert ran.code == 0 and ran.out.startswith("operator alice is revoked")
    assert administered.revoked == ["alice"]
    assert meshctl("operator", "revoke", "No Such").code == 2


def test_without_a_controller(meshctl, config_file, mesh) -> None:
    config_file.write_text('[contexts.demo]\nmesh = "demo"\n')
    ran = meshctl("operator", "list")
    assert ran.code == 2 and "has no controller, which this needs" in ran.err
