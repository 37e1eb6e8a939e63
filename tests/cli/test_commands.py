"""Commands that change something say what changed, and where."""

import io
import json
import stat
import tomllib
from dataclasses import replace

import pytest
from probemesh_controller import config
from probemesh_controller.api import TokenRequest
from probemesh_controller.cli.serving import point_at
from probemesh_controller.cli.tokens import parse_duration
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.model import Narrowing
from probemesh_shared.narrowing import in_words
from probemesh_shared.words import AgentState, Kind, Role

from tests.cli.fakes import agent, tcp_row


def test_init_makes_a_mesh_and_the_configuration_named_by_the_environment(meshctl, home, monkeypatch):
    named = home / "new" / "config.toml"
    monkeypatch.setenv("MESHCTL_CONFIG", str(named))
    ran = meshctl("init", "--state", str(home / "state"), "--name", "prod")
    assert ran.code == 0
    assert str(named) in ran.out and "mesh prod is made" in ran.out
    for path in (named, home / "state" / "config.toml"):
        assert tomllib.loads(path.read_text())["current"] == "prod"
    assert config.load(named).contexts["prod"].identity == home / "state" / "operator"
    assert stat.S_IMODE((home / "state" / "operator" / "key.pem").stat().st_mode) == 0o600
    again = meshctl("init", "--state", str(home / "state"))
    assert again.code == 4 and "there is a mesh here already" in again.err


def test_a_started_controller_corrects_the_context_that_init_made(meshctl, home, monkeypatch):
    named = home / "config.toml"
    monkeypatch.setenv("MESHCTL_CONFIG", str(named))
    assert meshctl("init", "--state", str(home / "state"), "--name", "prod").code == 0
    other = config.MeshContext("other", "other", home / "elsewhere")
    config.save(config.load(named).with_context(other))
    point_at(home / "state", "mesh.example:7400")
    settings = config.load(named)
    assert settings.contexts["prod"].controller == "mesh.example:7400"
    assert settings.contexts["other"].controller is None and settings.current == "other"


def test_token_create_prints_one_line_that_keeps_the_secret_out_of_argv(meshctl, config_file, mesh):
    ran = meshctl(
        "token", "create", "--name", "a-1", "--site", "fra", "--label", "k=V", "--uses", "3", "--ttl", "2h"
    )
    assert ran.out == "printf %s mesh1.c2VjcmV0 | mesh-agent join mesh.example:7400 --token-file -\n"
    assert mesh.tokens == [TokenRequest(Role.AGENT, "a-1", "fra", {"k": "V"}, 3, 7200, False)]
    assert "expires 2026-11-22T18:22:03Z" in ran.err


def test_token_create_takes_what_jobs_are_narrowed_to(meshctl, config_file, mesh):
    options = "--only-network 10.1.0.0/16 --only-network fd00::/8 --not-network 10.1.9.0/24"
    options += " --only-name *.Internal --only-port 443 --only-port 8000-8100 --only-kind tcp"
    assert meshctl("token", "create", *options.split()).code == 0
    (asked,) = mesh.tokens
    assert in_words(asked.narrow) == (
        "networks 10.1.0.0/16, fd00::/8; not networks 10.1.9.0/24; names *.internal;"
        " ports 443, 8000-8100; kinds tcp"
    )
    for option, value in (
        ("--only-port", "0"),
        ("--only-network", "ten"),
        ("--only-kind", "x"),
        ("--only-name", "1.2.3.*"),
    ):
        ran = meshctl("token", "create", option, value)
        assert ran.code == 2 and option in ran.err and len(mesh.tokens) == 1


def test_agents_show_says_what_narrows_an_agent(meshctl, config_file, mesh):
    narrow = (
        Narrowing(networks=("10.0.0.0/8",), source="the token that it joined with"),
        Narrowing(kinds=(Kind.TCP,), source="limits.toml (all)"),
    )
    mesh.fleet = [replace(agent("berlin-1"), narrow=narrow)]
    shown = meshctl("agents", "show", "berlin-1").out
    assert "narrowed    by the token that it joined with: networks 10.0.0.0/8" in shown
    assert "by limits.toml (all): kinds tcp" in shown
    told = json.loads(meshctl("agents", "show", "berlin-1", "-o", "json").out)["narrowed"]
    assert told[1] == {
        "by": "limits.toml (all)",
        "networks": [],
        "deny_networks": [],
        "names": [],
        "ports": [],
        "kinds": ["tcp"],
    }


def test_controller_limits_checks_the_file(meshctl, home):
    state = home / "state"
    state.mkdir()
    ran = meshctl("controller", "limits", "--state", str(state))
    assert ran.code == 0 and "there is no" in ran.err
    rest = (
        "budget  else: 500 packets/s, 100 connections/s to each address\n"
        "runs  at most 64 of one operator at once\n"
    )
    assert ran.out == rest
    (state / "limits.toml").write_text('[[limit]]\nfor = "site=x"\nports = [1]\n')
    assert meshctl("controller", "limits", "--state", str(state)).out == f"site=x  ports 1\n{rest}"
    (state / "limits.toml").write_text(
        '[[budget]]\nnetworks = ["10.1.0.0/16"]\npackets-per-s = 50\n[runs]\nat-once = 2\n'
    )
    assert meshctl("controller", "limits", "--state", str(state)).out == (
        "budget  10.1.0.0/16: 50 packets/s, 100 connections/s to each address\n"
        "budget  else: 500 packets/s, 100 connections/s to each address\n"
        "runs  at most 2 of one operator at once\n"
    )
    (state / "limits.toml").write_text('[[limit]]\nfor = "site=x"\nports = [0]\n')
    ran = meshctl("controller", "limits", "--state", str(state))
    assert ran.code == 4 and "limit 1" in ran.err


def test_an_agents_many_counters_are_counted_for_people_and_told_to_programs(meshctl, config_file, mesh):
    words = ("kind:tcp", *(f"counter:Ip.Number{number}" for number in range(99)))
    mesh.fleet = [replace(agent("berlin-1"), capabilities=words)]
    shown = meshctl("agents", "show", "berlin-1").out
    assert "kind:tcp (and 99 kernel counters)" in shown and "Ip.Number7" not in shown
    assert "counter:Ip.Number7" in meshctl("agents", "show", "berlin-1", "-o", "json").out


def test_operator_create(meshctl, config_file, mesh):
    ran = meshctl("operator", "create", "alice", "--role", "viewer")
    assert ran.out == "printf %s mesh1.c2VjcmV0 | meshctl join mesh.example:7400 --token-file -\n"
    assert mesh.tokens[0].role is Role.VIEWER


def test_join_reads_the_token_from_standard_input_and_says_what_is_wrong_with_it(meshctl, home, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("nonsense\n"))
    ran = meshctl("join", "127.0.0.1:1", "--token-file", "-")
    assert ran.code == 2 and "not a join token" in ran.err
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "the token is empty" in meshctl("join", "127.0.0.1:1", "--token-file", "-").err


def test_agents_add_enters_what_answered(meshctl, config_file, mesh):
    mesh.fleet = [agent("lab-1")]
    ran = meshctl("agents", "add", "lab-1", "10.0.0.7:7401", "--site", "lab")
    assert ran.code == 0 and "added to context demo" in ran.out
    context = config.load(config_file).contexts["demo"]
    assert context.agents == {"lab-1": config.ListeningAgent("10.0.0.7:7401", "lab")}
    assert mesh.contexts[0].controller is None
    assert "controller mesh.example:7400 is used" in ran.err


def test_agents_add_refuses_what_does_not_answer(meshctl, config_file, mesh):
    mesh.fleet = [replace(agent("lab-1"), state=AgentState.LOST)]
    before = config_file.read_text()
    ran = meshctl("agents", "add", "lab-1", "10.0.0.7:7401")
    assert ran.code == 4 and "does not answer" in ran.err
    assert config_file.read_text() == before


def test_label_and_revoke_say_what_changed(meshctl, config_file, mesh):
    assert "site berlin and rack=7" in meshctl("agents", "label", "berlin-1", "rack=7", "role-").out
    assert "tokyo-1 is revoked" in meshctl("agents", "revoke", "tokyo-1").out


def test_contexts(meshctl, config_file, mesh):
    assert "MESHCTL_CONFIG" in meshctl("context", "show").out
    assert meshctl("context", "rename", "demo", "prod").code == 0
    assert meshctl("context", "use", "prod").code == 0
    assert "*   prod" in meshctl("context").out
    assert "removed" in meshctl("context", "remove", "prod").out
    assert "no contexts" in meshctl("context", "list").err


def test_without_a_configuration_this_machine_measures_with_a_note(meshctl, home, mesh):
    mesh.fleet, mesh.script = [], {"self": (tcp_row(),)}
    ran = meshctl("probe", "db:5432")
    assert ran.code == 0
    assert mesh.contexts == [None] and mesh.requests[0].agents == ("self",)
    assert "only this machine measures" in ran.err


@pytest.mark.parametrize("arguments", [("agents",), ("token", "create"), ("context", "show")])
def test_without_a_configuration_the_rest_says_how_to_get_one(meshctl, home, arguments):
    ran = meshctl(*arguments)
    assert ran.code == 4
    assert "meshctl init" in ran.err and "meshctl demo" in ran.err


def test_on_another_system_self_is_left_out_with_a_note(meshctl, config_file, mesh, monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    ran = meshctl("probe", "db:5432")
    assert mesh.requests[0].agents == ("berlin-1", "tokyo-1")
    assert "self is left out" in ran.err


def test_what_is_asked_of_the_mesh(meshctl, config_file, mesh):
    meshctl("probe", "db:5432", "DB:5432", "x:1", "--limit", "1", "--deadline", "7", "-c", "1")
    request = mesh.requests[0]
    assert [target.text for target in request.targets] == ["db:5432", "x:1"]
    assert request.agents == ("self", "berlin-1")
    assert request.deadline_s == 7 and request.specs[0].options.count == 1
    assert len(request.run_id) == 32


def test_servers_that_lock_out_are_warned_of_and_large_scans_announced(meshctl, config_file, mesh):
    ran = meshctl("probe", "db:3300-3400", "--from", "all")
    assert "MySQL" in ran.err
    assert "101 ports from 2 vantage points: 202" in ran.err
    assert "101 ports from 1 vantage point: 101" in meshctl("probe", "db:3300-3400", "--from", "self").err


def test_durations():
    assert [parse_duration(text, "--ttl") for text in ("90", "15m", "1h", "2d")] == [90, 900, 3600, 172800]
    with pytest.raises(InvalidRequest):
        parse_duration("0h", "--ttl")
