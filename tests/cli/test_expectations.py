"""``--expect`` and ``--expect-fail`` through the command line: what is sent, what is shown, the exit code."""

import json
from dataclasses import replace

import pytest
from probemesh_shared.expectations import KEYS
from probemesh_shared.model import Expectation, TcpDetail
from probemesh_shared.words import Outcome

from tests.cli.fakes import http_row, tcp_row

OK, REFUSED = (tcp_row(),), (tcp_row(Outcome.REFUSED),)
LOST = (Outcome.AGENT_LOST, "the agent is not connected")


def test_what_is_expected_is_sent_with_every_spec(meshctl, config_file, mesh):
    mesh.script = {"berlin-1": OK, "tokyo-1": OK}
    ran = meshctl("probe", "db:5432", "--from", "all", "--expect", "rtt-max=0.02s", "--expect", "state=open")
    assert ran.code == 0
    (spec,) = mesh.requests[0].specs
    assert spec.options.expect == (Expectation("rtt-max", "20ms"), Expectation("state", "open"))


def test_the_aliases_ask_for_the_same(meshctl, config_file, mesh):
    mesh.script = {"berlin-1": (http_row(),)}
    asked = ["probe", "https://web/", "--from", "berlin-1", "--kind", "http"]
    meshctl(*asked, "--expect-status", "204,200", "--expect-body", "hi")
    meshctl(*asked, "--expect", "status=200,204", "--expect", "body=hi")
    first, second = (request.specs[0] for request in mesh.requests)
    assert first == second
    assert [one.value for one in first.options.expect] == ["200,204", "hi"]


def test_an_answer_that_was_not_expected_fails(meshctl, config_file, mesh):
    mesh.script = {"berlin-1": (http_row(500, Outcome.ANSWER_UNEXPECTED),), "tokyo-1": (http_row(),)}
    ran = meshctl("probe", "https://web/", "--from", "all", "--kind", "http", "--expect", "status=200")
    assert ran.code == 3
    assert "answer-unexpected" in ran.out


@pytest.mark.parametrize(
    ("target", "text", "said", "hint"),
    [
        ("db:5432", "stauts=200", "there is no expectation 'stauts'", "did you mean 'status'?"),
        ("db:5432", "rtt-max=20", "'20' is no duration", "for example rtt-max=20ms"),
        ("dns:a.example", "status=200", "belongs to the kind http", "--kind http"),
        ("db:5432", "hello", "has no value", "write it as KEY=VALUE"),
    ],
)
def test_wrong_use_is_told_with_what_to_do(meshctl, config_file, mesh, target, text, said, hint):
    ran = meshctl("probe", target, "--expect", text)
    assert ran.code == 2 and not mesh.requests
    assert said in ran.err and f"hint: {hint}" in ran.err.replace("add ", "")


@pytest.mark.parametrize(
    ("berlin", "tokyo", "code"),
    [
        (REFUSED, REFUSED, 0),
        (REFUSED, OK, 3),
        (OK, OK, 1),
        (REFUSED, LOST, 3),
        (OK, LOST, 1),
        (LOST, LOST, 4),
    ],
)
def test_exit_codes_of_what_must_not_be_reached(meshctl, config_file, mesh, berlin, tokyo, code):
    mesh.script = {"berlin-1": berlin, "tokyo-1": tokyo}
    assert meshctl("probe", "db:5432", "--from", "all", "--expect-fail").code == code


def test_how_it_fails_is_shown_and_no_finding_explains_what_was_wanted(meshctl, config_file, mesh):
    mesh.script = {"berlin-1": REFUSED, "tokyo-1": OK}
    ran = meshctl("probe", "db:5432", "--from", "all", "--expect-fail")
    assert "✓ fails as expected" in ran.out and "✕ reached" in ran.out
    assert "as expected: refused, connection refused by 192.0.2.5" in ran.out
    assert "reached, though it must not be" in ran.out
    assert "1 of 2 vantage points did not reach it, as expected, 1 did" in ran.out
    assert "source-selective" not in ran.out


def test_json_says_that_it_is_turned_round_and_leaves_measurements_alone(meshctl, config_file, mesh):
    mesh.script = {"berlin-1": REFUSED, "tokyo-1": OK}
    ran = meshctl("probe", "db:5432", "--from", "all", "--expect-fail", "-o", "json")
    said = json.loads(ran.out)
    berlin, tokyo = said["vantages"]
    assert (berlin["outcome"], berlin["failed_at"], berlin["expect_fail"]) == ("ok", None, True)
    assert berlin["measurements"][0]["outcome"] == "refused"
    assert (tokyo["outcome"], tokyo["failed_at"]) == ("answer-unexpected", "tcp")
    assert said["summary"] == {"reached": 1, "failed": 1, "unmeasured": 0, "total": 2}
    assert said["findings"] == []


@pytest.mark.parametrize(
    ("berlin", "tokyo", "said"),
    [
        (REFUSED, REFUSED, "2 of 2 vantage points did not reach it, as expected"),
        (REFUSED, LOST, "1 of 2 vantage points did not reach it, as expected, 1 not measured"),
        (OK, OK, "2 of 2 vantage points reached it, though it must not be"),
        (OK, LOST, "1 of 2 vantage points reached it, though it must not be, 1 not measured"),
        (LOST, LOST, "2 of 2 vantage points not measured: whether it is reached is not known"),
    ],
)
def test_the_summary_begins_with_what_is_the_case(meshctl, config_file, mesh, berlin, tokyo, said):
    mesh.script = {"berlin-1": berlin, "tokyo-1": tokyo}
    ran = meshctl("probe", "db:5432", "--from", "all", "--expect-fail")
    assert ran.out.splitlines()[-1] == said


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("db:5432", "state=closed"),
        ("db:5432", "state=open,filtered"),
        ("dns:a.example", "rcode=NXDOMAIN"),
        ("dns:a.example", "answers-max=0"),
    ],
)
def test_a_failure_is_not_asked_for_twice(meshctl, config_file, mesh, target, text):
    ran = meshctl("probe", target, "--expect-fail", "--expect", text)
    assert ran.code == 2 and not mesh.requests
    assert f"--expect-fail and the expectation {text} ask for failing twice" in ran.err
    assert "hint: leave one away" in ran.err


@pytest.mark.parametrize(
    ("target", "text"),
    [("db:5432", "state=open"), ("dns:a.example", "rcode=NOERROR"), ("dns:a.example", "answers-max=3")],
)
def test_what_wants_an_answer_goes_with_expect_fail(meshctl, config_file, mesh, target, text):
    mesh.script = {"berlin-1": REFUSED}
    ran = meshctl("probe", target, "--from", "berlin-1", "--expect-fail", "--expect", text)
    assert ran.code == 0 and mesh.requests


def test_one_open_address_is_shown_where_a_closed_port_was_expected(meshctl, config_file, mesh):
    opened = tcp_row(Outcome.ANSWER_UNEXPECTED, address="192.0.2.6")
    mesh.script = {"berlin-1": (closed_as_expected(5432), opened)}
    ran = meshctl("probe", "db:5432", "--from", "berlin-1", "--expect", "state=closed")
    assert ran.code == 1 and "0 of 1 vantage point reached it, 1 failed" in ran.out
    assert ran.out.count("✕ answer-unexpected") == 2, "the account, and the rung"


def closed_as_expected(port):
    refused = tcp_row(Outcome.REFUSED, port=port)
    return replace(refused, outcome=Outcome.OK, failure=None, detail=TcpDetail(state="closed"))


def test_what_is_closed_as_expected_is_not_shown_as_open(meshctl, config_file, mesh):
    mesh.script = {"berlin-1": (closed_as_expected(22), closed_as_expected(23))}
    several = meshctl("probe", "db:22,23", "--from", "berlin-1", "--expect", "state=closed")
    assert several.code == 0 and "✓ as expected" in several.out and "OPEN" not in several.out
    mesh.script = {"berlin-1": (closed_as_expected(5432),)}
    one = meshctl("probe", "db:5432", "--from", "berlin-1", "--expect", "state=closed")
    assert one.code == 0 and "closed ✓" in one.out


def test_the_help_page_has_every_key_with_its_kinds_and_an_example(meshctl):
    page = meshctl("help", "expectations").out
    for key in KEYS.values():
        line = next(line for line in page.splitlines() if line.split()[:1] == [key.name])
        assert key.help in page and key.example[:30] in line
        assert all(kind in line or "any kind" in line for kind in key.kinds)
    assert max(map(len, page.splitlines())) <= 100
