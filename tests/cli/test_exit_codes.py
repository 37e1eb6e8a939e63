"""Every exit code of DESIGN §6, first match first."""

import json

import pytest
from probemesh_shared.errors import (
    Busy,
    CertificateRefused,
    NotAllowed,
    StateError,
    Unreachable,
    VersionMismatch,
)
from probemesh_shared.words import Kind, Outcome

from tests.cli.fakes import http_row, https_row, row, tcp_row

OK, REFUSED = (tcp_row(),), (tcp_row(Outcome.REFUSED),)
LOST = (Outcome.AGENT_LOST, "the agent is not connected")
DENIED = (tcp_row(Outcome.DENIED),)


@pytest.mark.parametrize(
    ("berlin", "tokyo", "code"),
    [
        (OK, OK, 0),
        (OK, REFUSED, 3),
        (OK, LOST, 3),
        (REFUSED, REFUSED, 1),
        (REFUSED, LOST, 1),
        (LOST, LOST, 4),
        (DENIED, DENIED, 4),
        (OK, DENIED, 3),
        ((), (), 4),
    ],
)
def test_probe_by_what_was_measured(meshctl, config_file, mesh, berlin, tokyo, code):
    mesh.script = {"berlin-1": berlin, "tokyo-1": tokyo}
    assert meshctl("probe", "db:5432", "--from", "all").code == code
    assert mesh.closed


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 1)])
def test_a_certificate_that_does_not_verify_fails_only_when_strict(meshctl, config_file, mesh, strict, code):
    mesh.script = dict.fromkeys(("berlin-1", "tokyo-1"), (https_row(verified=False), http_row()))
    ran = meshctl("probe", "https://web/", "--from", "all", *strict)
    assert ran.code == code
    assert "certificate" in ran.out


def test_strict_with_one_good_certificate_is_partly(meshctl, config_file, mesh):
    mesh.script = {"berlin-1": (https_row(), http_row()), "tokyo-1": (https_row(verified=False), http_row())}
    assert meshctl("probe", "https://web/", "--from", "all", "--strict").code == 3


def test_ports_are_demands_and_one_open_port_is_not_nobody(meshctl, config_file, mesh):
    mesh.script = dict.fromkeys(
        ("berlin-1", "tokyo-1"), (tcp_row(port=22), tcp_row(Outcome.REFUSED, port=80))
    )
    assert meshctl("probe", "db:22,80", "--from", "all").code == 3


def test_the_exit_code_is_over_all_targets(meshctl, config_file, mesh):
    mesh.script = {"berlin-1": OK, "tokyo-1": OK}  # nobody speaks of the second target
    assert meshctl("probe", "db:5432", "other:5432", "--from", "all").code == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("probe",),
        ("probe", ""),
        ("probe", "db:0"),
        ("probe", "db:70000"),
        ("probe", "db", "--nonsense"),
        ("probe", "db", "--count", "many"),
        ("probe", "db", "--count", "0"),
        ("probe", "db", "--count", "1001"),
        ("probe", "db", "--count", "1000", "--interval", "60"),
        ("probe", "db", "--interval", "0"),
        ("probe", "db", "--interval", "nan"),
        ("probe", "db", "--timeout", "0.01"),
        ("probe", "db", "--timeout", "inf"),
        ("probe", "icmp:db", "--size", "65508"),
        ("probe", "icmp:db", "--size", "-1"),
        ("probe", "db", "--dscp", "64"),
        ("probe", "db", "--ttl", "0"),
        ("probe", "db", "--ttl", "256"),
        ("probe", "db", "--deadline", "nan"),
        ("probe", "db", "--kind", "tpc"),
        ("probe", "db", "-4", "-6"),
        ("probe", "db:1", "--payload", "x"),
        ("probe", "db:1", "--from", "a b"),
        ("probe", "db:1", "--from", "@first"),
        ("probe", "@last:80"),
        ("probe", "db:1", "--watch", "--until", "reachable"),
        ("probe", "db:1", "--watch", "-o", "json"),
        ("probe", "db:1", "--watch", "-o", "csv"),
        ("probe", "db:1", "--watch", "--every", "0.5"),
        ("probe", "db:1", "--watch", "--every", "nan"),
        ("probe", "db:1", "--watch", "--rounds", "0"),
        ("probe", "db:1", "--watch", "--within", "5"),
        ("probe", "db:1", "--watch", "--share"),
        ("probe", "db:1", "--until", "open"),
        ("probe", "db:1", "--until", "unreachable", "--expect-fail"),
        ("probe", "db:1", "--until", "reachable", "--rounds", "2"),
        ("probe", "db:1", "--until", "reachable", "--for", "0"),
        ("probe", "db:1", "--until", "reachable", "--within", "0"),
        ("probe", "db:1", "--every", "5"),
        ("probe", "db:1", "--within", "5"),
        ("probe", "db:1", "--for", "2"),
        ("probe", "db:1", "--rounds", "2"),
        ("probe", "db:1", "--share", "-o", "json"),
        ("history", "--limit", "0"),
        ("history", "show", "--share", "-o", "json"),
        ("history", "forget"),
        ("probe", "db:1", "--limit", "0"),
        ("probe", "db:1", "--deadline", "0"),
        ("probe", "db:1", "-o", "xml"),
        ("probe", "db:1", "--context", "nowhere"),
        ("prob", "db:1"),
        ("agents", "nonsense"),
        ("agents", "label", "berlin-1"),
        ("token", "create", "--ttl", "soon"),
        ("token", "create", "--name", "Bad_Name"),
        ("operator", "create", "x", "--role", "king"),
        ("join", "h:1", "--token-file", "/nonexistent/token"),
        ("join", "h", "--token-file", "-"),
        ("context", "use", "nowhere"),
        ("completion", "tcsh"),
        ("init", "--name", "Bad_Name"),
        ("--nonsense",),
    ],
)
def test_wrong_use_is_2_with_one_line_and_no_traceback(meshctl, config_file, mesh, arguments):
    ran = meshctl(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    lines = [line for line in ran.err.splitlines() if not line.startswith("note: ")]
    assert lines[0].startswith("error: ") and len(lines) <= 2
    assert all(line.startswith("hint: ") for line in lines[1:])


@pytest.mark.parametrize(
    "arguments",
    [
        ("probe", "db:1", "--from", "berlin-9"),
        ("probe", "db:1", "--from", "site=oslo"),
        ("agents", "show", "x"),
        ("agents", "revoke", "x"),
        ("probe", "db:1", "--exclude", "all,self"),
        ("probe", "agent:berlin-9:22"),
        ("probe", "db:1", "agent:nobody"),
        ("probe", "db:1", "--from", "@last"),
        ("probe", "db:1", "--from", "site=berlin+failed"),
        ("probe", "db:1", "--exclude", "@last"),
        ("probe", "@last"),
        ("history", "show"),
        ("history", "show", "7f3a"),
    ],
)
def test_nobody_to_measure_is_4(meshctl, config_file, mesh, arguments):
    ran = meshctl(*arguments)
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("error: ")


@pytest.mark.parametrize("targets", [["agent:tokio-1:22"], ["agent:berlin-1", "agent:tokio-1:22"]])
def test_a_target_agent_that_nobody_is_runs_nothing(meshctl, config_file, mesh, targets):
    ran = meshctl("probe", *targets)
    lines = ["error: there is no agent called 'tokio-1'", "hint: did you mean 'tokyo-1'?"]
    assert (ran.code, ran.err.splitlines(), mesh.requests) == (4, lines, [])


@pytest.mark.parametrize("option", ["--from", "--exclude"])
@pytest.mark.parametrize("selector", ["", "a++b", ",a", "a,"])
def test_a_selector_that_cannot_be_read_is_2_before_anybody_is_asked(
    meshctl, config_file, mesh, option, selector
):
    ran = meshctl("probe", "db:1", option, selector)
    assert (ran.code, mesh.contexts) == (2, [])
    assert len(ran.err.splitlines()) == 2


@pytest.mark.parametrize(
    "error", [Unreachable, CertificateRefused, Busy, VersionMismatch, NotAllowed, StateError]
)
@pytest.mark.parametrize("arguments", [("probe", "db:1"), ("agents",), ("token", "create")])
def test_what_keeps_us_from_the_controller_is_4(meshctl, config_file, mesh, error, arguments):
    mesh.error = error("the reason\x1b[2J", "the remedy")
    ran = meshctl(*arguments)
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.splitlines() == ["error: the reason\\x1b[2J", "hint: the remedy"]


def test_a_fault_of_our_own_is_one_line_and_a_traceback_only_on_demand(meshctl, config_file, mesh):
    mesh.error = ZeroDivisionError("oops")
    ran = meshctl("agents")
    assert ran.code == 4
    assert "ZeroDivisionError: oops" in ran.err and "Traceback" not in ran.err
    assert "Traceback" in meshctl("--debug", "agents").err


def test_ping_alone_breaks_nothing(meshctl, config_file, mesh):
    rows = (row(Kind.ICMP, Outcome.TIMEOUT, target="db", port=None), tcp_row())
    mesh.script = dict.fromkeys(("berlin-1", "tokyo-1"), rows)
    assert meshctl("probe", "db:5432", "--from", "all").code == 0


def test_a_controller_that_goes_away_in_the_middle_takes_nothing_with_it(meshctl, config_file, mesh):
    mesh.script = {"berlin-1": REFUSED, "tokyo-1": OK}
    mesh.gone = Unreachable("the controller went away", "look at its log")
    ran = meshctl("probe", "db:5432", "--from", "all", "-o", "json")
    outcomes = {one["agent"]: one["outcome"] for one in json.loads(ran.out)["vantages"]}
    assert (ran.code, outcomes) == (1, {"berlin-1": "refused", "tokyo-1": "unmeasured"})
    assert "warning: the controller went away\nhint: look at its log\n" in ran.err
    assert "error:" not in ran.err
