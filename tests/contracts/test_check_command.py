"""``meshctl check`` over a scripted mesh: results, formats, exit codes."""

import json
import re
import xml.etree.ElementTree as ElementTree

import jsonschema
import pytest
from probemesh_controller import schema
from probemesh_shared.words import Kind, Outcome

from tests.cli.conftest import config_file, home, mesh, meshctl  # noqa: F401
from tests.cli.fakes import failure, row

UP, REFUSED, SILENT = (row(Kind.TCP, outcome) for outcome in (Outcome.OK, Outcome.REFUSED, Outcome.TIMEOUT))
NO_NAME, DENIED = (row(Kind.DNS, Outcome.NAME_FAILS), row(Kind.TCP, Outcome.DENIED))
LOST = (Outcome.AGENT_LOST, "the agent is lost")
MUST = '[[must]]\nname = "the database"\nto = "db:5432"\n'
OTHER = '[[must_not]]\nname = "no shell"\nfrom = "berlin-1"\nto = "db:22"\n'
THIRD = '[[must]]\nname = "web"\nfrom = "tokyo-1"\nto = "db:80"\n'
MUST_NOT = '[[must_not]]\nname = "no database"\nto = "db:5432"\n'


@pytest.fixture
def check(meshctl, config_file, mesh, tmp_path):  # noqa: F811
    def run(text, berlin, tokyo, *arguments):
        mesh.script = {"berlin-1": berlin, "tokyo-1": tokyo}
        path = tmp_path / "c.toml"
        path.write_text(text)
        return meshctl("check", str(path), *arguments)

    return run


@pytest.mark.parametrize(
    ("text", "berlin", "tokyo", "code", "result"),
    [
        (MUST, [UP], [UP], 0, "kept"),
        (MUST, [UP], [SILENT], 1, "broken"),
        (MUST, [UP], LOST, 3, "unmeasured"),
        (MUST, [SILENT], LOST, 1, "broken"),
        (MUST, LOST, LOST, 4, "unmeasured"),
        (MUST, [DENIED], [DENIED], 4, "unmeasured"),
        (MUST_NOT, [REFUSED], [SILENT], 0, "kept"),
        (MUST_NOT, [REFUSED], [UP], 1, "broken"),
        (MUST_NOT, [REFUSED], LOST, 3, "unmeasured"),
        (MUST_NOT, [DENIED], LOST, 4, "unmeasured"),
        (MUST_NOT, [NO_NAME], [NO_NAME], 4, "unmeasured"),
        (MUST_NOT, [UP, row(Kind.HTTP, Outcome.ANSWER_UNEXPECTED)], [REFUSED], 1, "broken"),
    ],
    ids=range(12),
)
def test_results_and_exit_codes(check, text, berlin, tokyo, code, result) -> None:
    ran = check(text, berlin, tokyo, "-o", "json")
    told = json.loads(ran.out)
    assert (ran.code, told["clauses"][0]["result"]) == (code, result)
    jsonschema.validate(told, schema.schema_of("check"))


def test_the_table_says_who_and_the_fewest_causes(check) -> None:
    ran = check(MUST + OTHER, [REFUSED], [REFUSED])
    assert ran.out == (
        "✗ must  the database  broken: 2 of 2 pairs\n"
        "    berlin-1 → db:5432: refused at tcp (connection refused by 192.0.2.5)\n"
        "    tokyo-1 → db:5432: refused at tcp (connection refused by 192.0.2.5)\n"
        "✓ must not  no shell  kept: 1 of 1 pair\n"
        "\n"
        "What must connect and does not comes down to:\n"
        "  nobody reaches anybody (refused): 2 of 2 cells\n"
        "\n"
        "2 clauses: 1 kept, 1 broken, 0 unmeasured\n"
    )


def test_junit_is_what_ci_reads(check) -> None:
    evil = row(
        Kind.TCP,
        Outcome.TIMEOUT,
        failure=failure(Outcome.TIMEOUT, "a\x1b[2J]]><&\"' \ud800".encode("utf-8", "replace").decode()),
    )
    text = MUST.replace("the database", "<a&b>") + OTHER + THIRD
    mixed = check(text, [evil], [evil], "-o", "junit")
    root = ElementTree.fromstring(mixed.out)
    assert root.tag == "testsuites"
    (suite,) = root
    assert suite.tag == "testsuite"
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "2", "0")
    first, second, third = suite.findall("testcase")
    assert first.get("name") == "<a&b>"
    assert "berlin-1 → db:5432: timeout" in (first.find("failure").text or "")
    assert not list(second)
    assert third.find("failure") is not None
    assert "\x1b" not in mixed.out
    skipped = ElementTree.fromstring(check(MUST, LOST, LOST, "-o", "junit").out)
    assert skipped.find("./testsuite/testcase/skipped").get("message") == "unmeasured: 2 of 2 pairs"


@pytest.mark.parametrize(
    ("clause", "said"),
    [
        ('from = "berlin-2"\nto = "db:1"', r"c.toml:1: must 1: there is no agent called 'berlin-2"),
        ('to = "agent:tokio-1:22"', r"c.toml:1: must 1: there is no agent called 'tokio-1"),
        ('to_agents = "tokio-1"\nport = 22', r"c.toml:1: must 1: there is no agent called 'tokio-1"),
        ('from = "site=rome"\nto = "db:1"', r"c.toml:1: must 1: "),
    ],
    ids=["from", "to", "to-agents", "site"],
)
def test_a_missing_agent_is_named_with_those_that_are_near(check, clause, said) -> None:
    ran = check(f"[[must]]\n{clause}\n", [UP], [UP])
    assert ran.code == 4
    assert re.search(said, ran.err)
    assert "hint: " in ran.err


def test_agents_by_selector_are_asked_at_each_port_and_none_about_itself(check, mesh) -> None:  # noqa: F811
    ran = check('[[must]]\nto_agents = "all"\nport = [22, 443]\n', [UP], [UP], "-o", "json")
    pairs = {(pair["agent"], pair["target"]) for pair in json.loads(ran.out)["clauses"][0]["pairs"]}
    assert ("berlin-1", "agent:tokyo-1:22") in pairs
    assert not any(f"agent:{agent}:" in target for agent, target in pairs)
    (request,) = mesh.requests
    assert len(request.targets) == 4


def test_wrong_files_and_options(check, meshctl, mesh, tmp_path) -> None:  # noqa: F811
    ran = check('[[must]]\ntoo = "db:1"\n', [], [])
    assert ran.code == 2 and "c.toml:2: the key 'too' is not known here" in ran.err
    assert check(MUST, [], [], "--to", "db:1").code == 2
    assert meshctl("check", str(tmp_path / "new.toml"), "--learn").code == 2
    assert meshctl("check", str(tmp_path / "none.toml")).code == 4
    assert mesh.requests == []


def test_what_is_learnt_is_kept(check, meshctl, mesh, tmp_path) -> None:  # noqa: F811
    mesh.script = {"berlin-1": [UP], "tokyo-1": [SILENT]}
    path = tmp_path / "learnt.toml"
    ran = meshctl("check", str(path), "--learn", "--from", "all", "--to", "db:5432")
    assert ran.code == 0
    assert 'from = "berlin-1"' in path.read_text() and "[[must_not]]" in path.read_text()
    assert 'rtt_max = "24ms"' in path.read_text()
    assert meshctl("check", str(path)).code == 0
    again = meshctl("check", str(path), "--learn", "--to", "db:5432")
    assert again.code == 4 and "is there already" in again.err
    mesh.script = {"berlin-1": LOST, "tokyo-1": [NO_NAME]}
    nothing = meshctl("check", str(tmp_path / "other.toml"), "--learn", "--to", "db:5432")
    assert nothing.code == 4 and not (tmp_path / "other.toml").exists()
