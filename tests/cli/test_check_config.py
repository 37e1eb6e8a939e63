"""``meshctl controller check-config``: what it says, in text and as JSON, and its exit codes."""

import json

import jsonschema
import pytest
from probemesh_controller.schema import schema_of
from probemesh_shared.errors import Unreachable

from tests.cli.fakes import NOW_NS
from tests.cli.test_formats import HOSTILE, golden

FILE = """
[groups]
db = "role=db"
[[mesh]]
name = "core"
shape = "full"
agents = "all"
[[schedule]]
name = "core"
mesh = "core"
every = "1m"
[[window]]
name = "patching"
cron = "0 2 * * SUN"
duration = "2h"
[[window]]
name = "move"
from = 2026-12-01T22:00:00Z
until = 2026-12-02T00:00:00Z
schedules = ["core"]
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("probemesh_controller.cli.checking.time.time_ns", lambda: NOW_NS)
    found = tmp_path / "meshes.toml"
    found.write_text(FILE)
    return found


def check(value):
    jsonschema.validate(value, schema_of("check-config"), jsonschema.Draft202012Validator)
    return value


def test_a_good_file(meshctl, config_file, mesh, path):
    ran = meshctl("controller", "check-config", "meshes.toml")
    assert ran.code == 0, ran.err
    golden("check-config.table", ran.out)
    value = check(json.loads(meshctl("controller", "check-config", "meshes.toml", "-o", "json").out))
    assert (value["usable"], value["agents"], value["problems"]) == (True, 2, [])
    (schedule,) = value["schedules"]
    assert (schedule["pairs"], schedule["cells"], schedule["slots_per_hour"]) == (2, 4, 240)
    assert schedule["packets_per_s"] == 0.2
    assert [due["at"] for due in schedule["first_due"]] == sorted(due["at"] for due in schedule["first_due"])


def test_what_is_wrong_is_one_line_each(meshctl, config_file, mesh, path):
    path.write_text(FILE.replace("every", "evry").replace("full", "ful"))
    ran = meshctl("controller", "check-config", "meshes.toml")
    assert ran.code == 2
    assert ran.out.splitlines() == [
        "✕ meshes.toml:6: shape = 'ful' is not known (did you mean 'full'?)",
        '✕ meshes.toml:8: this schedule does not say when (write every = "1m" or cron = "0 * * * *")',
        "✕ meshes.toml:11: the key 'evry' is not known here (did you mean 'every'?)",
    ]
    value = check(json.loads(meshctl("controller", "check-config", "meshes.toml", "-o", "json").out))
    assert not value["usable"]
    assert [problem["line"] for problem in value["problems"]] == [6, 8, 11]


def test_whom_it_means_and_what_it_exceeds(meshctl, config_file, mesh, path):
    path.write_text(FILE.replace("role=db", "rol=db") + "[budget]\ntotal = 0.1\n")
    ran = meshctl("controller", "check-config", "meshes.toml")
    assert ran.code == 1
    assert "▲ meshes.toml:3: no agent has a label 'rol' (did you mean 'role'?)\n" in ran.out
    assert "✕ meshes.toml:21: the whole file sends 0.2 packets/s in all, and the budget is 0.1" in ran.out
    value = check(json.loads(meshctl("controller", "check-config", "meshes.toml", "-o", "json").out))
    assert [one["line"] for one in (*value["warnings"], *value["over_budget"])] == [3, 21]


def test_without_a_mesh(meshctl, path):
    ran = meshctl("controller", "check-config", "meshes.toml")
    assert ran.code == 0
    assert "no mesh is configured here" in ran.err
    assert "pairs" not in ran.out
    value = check(json.loads(meshctl("controller", "check-config", "meshes.toml", "-o", "json").out))
    assert value["agents"] is None and value["schedules"][0]["pairs"] is None


def test_offline_asks_nobody(meshctl, config_file, mesh, path):
    ran = meshctl("controller", "check-config", "meshes.toml", "--offline")
    assert (ran.code, mesh.contexts, ran.err) == (0, [], "")


def test_a_controller_that_is_away_is_no_fault_of_the_file(meshctl, config_file, mesh, path):
    mesh.error = Unreachable("the controller does not answer")
    ran = meshctl("controller", "check-config", "meshes.toml")
    assert ran.code == 0
    assert "does not answer: what the file says of agents is not checked" in ran.err


def test_a_file_that_is_not_there(meshctl, config_file, mesh, path):
    ran = meshctl("controller", "check-config", "none.toml")
    assert ran.code == 4
    assert "none.toml cannot be read" in ran.err


def test_hostile_texts_are_escaped(meshctl, config_file, mesh, path):
    name = HOSTILE.encode("unicode_escape").decode().replace("\\x", "\\u00")
    path.write_text(f'"{name}" = 1\n')
    ran = meshctl("controller", "check-config", "meshes.toml")
    assert ran.code == 2
    assert "\x1b" not in ran.out and "\u202e" not in ran.out
    assert len(ran.out.splitlines()) == 1
