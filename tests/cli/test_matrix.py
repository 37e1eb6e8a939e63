"""``meshctl matrix run``: whom it asks, what it prints in every format, its exit codes."""

import csv
import io
import json
import os
import signal

import jsonschema
import pytest
import yaml
from probemesh_controller.cli import connect
from probemesh_controller.schema import schema_of
from probemesh_shared.errors import Unreachable
from probemesh_shared.model import FlowSpec, HttpSpec, IcmpSpec, TcpSpec, UdpSpec, WatchSpec
from probemesh_shared.words import AgentState, Kind, Outcome

from tests.matrix.simmesh import SimMesh, agent

FILE = """
[[mesh]]
name = "core"
shape = "full"
agents = "all"
[[mesh]]
name = "shop"
shape = "disjoint"
left = "berlin-1"
right = ["db.internal:5432", "https://shop.example/"]
[[schedule]]
name = "core"
mesh = "core"
every = "1m"
kinds = ["icmp", "tcp/22"]
count = 5
"""


@pytest.fixture
def sim(monkeypatch):
    mesh = SimMesh((agent("berlin-1"), agent("tokyo-1")))

    async def agents():
        return mesh.fleet

    async def aclose():
        pass

    mesh.agents, mesh.aclose = agents, aclose

    async def open_mesh(context, with_self):
        return mesh

    monkeypatch.setattr(connect, "open_mesh", open_mesh)
    return mesh


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "meshes.toml"
    found.write_text(FILE)
    return str(found)


def value_of(ran):
    value = json.loads(ran.out)
    jsonschema.validate(value, schema_of("matrix"), jsonschema.Draft202012Validator)
    return value


def cells(ran):
    return [f"{one['source']}>{one['target']} {one['probe']}" for one in value_of(ran)["cells"]]


def specs(sim):
    return {type(run.specs[0]) for run in sim.runs}


def test_with_no_file_icmp_and_udp_between_all_agents(meshctl, config_file, sim):
    ran = meshctl("matrix", "run", "-o", "json")
    assert ran.code == 0, ran.err
    assert cells(ran) == [
        "berlin-1>tokyo-1 icmp",
        "berlin-1>tokyo-1 udp",
        "tokyo-1>berlin-1 icmp",
        "tokyo-1>berlin-1 udp",
    ]
    value = value_of(ran)
    assert (value["mesh"], value["summary"]["ok"], value["interrupted"]) == (None, 4, False)
    assert specs(sim) == {IcmpSpec, WatchSpec, FlowSpec}


def test_the_table(meshctl, config_file, sim):
    sim.answers["tokyo-1", "berlin-1", Kind.ICMP] = {"outcome": Outcome.TIMEOUT}
    ran = meshctl("matrix", "run", "--kind", "icmp")
    assert ran.code == 3
    assert ran.out.splitlines() == [
        "icmp",
        "          berlin-1          tokyo-1",
        "berlin-1                    →✓1.00 ←!timeout",
        "tokyo-1   →!timeout ←✓1.00",
        "",
        "→ row to column, ← back · ms, median · ✓ reached, ! silence",
        "! tokyo-1 → berlin-1 icmp: timeout, no answer within 3 s",
        "2 cells: 1 reached, 1 failed",
    ]


def test_from_some_to_some(meshctl, config_file, sim):
    assert cells(meshctl("matrix", "run", "--from", "berlin-*", "-o", "json", "--kind", "icmp")) == [
        "berlin-1>tokyo-1 icmp"
    ]
    assert cells(meshctl("matrix", "run", "--to", "berlin-*", "-o", "json", "--kind", "icmp")) == [
        "tokyo-1>berlin-1 icmp"
    ]


def test_to_a_target(meshctl, config_file, sim):
    ran = meshctl("matrix", "run", "--to", "db:5432", "--kind", "tcp", "--kind", "https", "-o", "json")
    assert cells(ran) == [
        "berlin-1>db:5432 https/5432",
        "berlin-1>db:5432 tcp/5432",
        "tokyo-1>db:5432 https/5432",
        "tokyo-1>db:5432 tcp/5432",
    ]
    assert specs(sim) == {TcpSpec, HttpSpec}


def test_options_reach_the_agents(meshctl, config_file, sim):
    ran = meshctl(
        "matrix", "run", "--kind", "udp/53", "--count", "7", "--timeout", "1.5", "-6", "--deadline", "40"
    )
    assert ran.code == 0, ran.err
    (run,) = sim.runs
    assert isinstance(run.specs[0], UdpSpec)
    options = run.specs[0].options
    assert (options.count, options.timeout_s, options.family, run.deadline_s) == (7, 1.5, "ipv6", 40.0)
    assert "udp/53/ipv6" in ran.out


def test_a_mesh_of_a_file(meshctl, config_file, sim, path):
    ran = meshctl("matrix", "run", "--file", path, "--mesh", "core", "-o", "json")
    assert cells(ran) == [
        "berlin-1>tokyo-1 icmp",
        "berlin-1>tokyo-1 tcp/22",
        "tokyo-1>berlin-1 icmp",
        "tokyo-1>berlin-1 tcp/22",
    ]
    assert value_of(ran)["mesh"] == "core"
    assert {run.specs[0].options.count for run in sim.runs} == {5}


def test_all_meshes_of_a_file_and_one_that_no_schedule_uses(meshctl, config_file, sim, path):
    ran = meshctl("matrix", "run", "--file", path, "-o", "json")
    assert len(cells(ran)) == 4 + 3
    assert "berlin-1>db.internal:5432 udp/5432" in cells(ran)
    assert "berlin-1>https://shop.example/ https/443" in cells(ran)
    assert value_of(ran)["mesh"] == "core, shop"


def test_kinds_of_the_command_line_win_over_those_of_the_file(meshctl, config_file, sim, path):
    ran = meshctl("matrix", "run", "--file", path, "--mesh", "core", "--kind", "icmp", "-o", "json")
    assert {one.partition(" ")[2] for one in cells(ran)} == {"icmp"}


def test_csv_jsonl_and_yaml(meshctl, config_file, sim):
    header, *rows = csv.reader(io.StringIO(meshctl("matrix", "run", "-o", "csv").out))
    lines = [json.loads(line) for line in meshctl("matrix", "run", "-o", "jsonl").out.splitlines()]
    assert [list(line) for line in lines] == [header] * 4
    assert [[row[0], row[1], row[3]] for row in rows] == [
        [x["source"], x["target"], x["probe"]] for x in lines
    ]
    loaded = yaml.safe_load(meshctl("matrix", "run", "-o", "yaml").out)
    jsonschema.validate(loaded, schema_of("matrix"), jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--kind", "icpm"), "there is no kind 'icpm' in a mesh"),
        (("--kind", "tcp"), "tcp to agents needs a port"),
        (("--count", "0"), "--count"),
        (("-4", "-6"), "exclude each other"),
        (("--mesh", "core"), "--mesh core wants a file"),
        (("--from", "a b"), "is no selector"),
        (("--to", "db:0"), "there is no port 0"),
        (("--to", "192.0.2.1:22", "--kind", "tcp", "-6"), "is an IPv4 address"),
    ],
)
def test_wrong_use(meshctl, config_file, sim, arguments, said):
    ran = meshctl("matrix", "run", *arguments)
    assert ran.code == 2, ran.err
    assert said in ran.err
    assert sim.runs == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "nobody"), "there is no agent called 'nobody'"),
        (("--from", "berlin-1", "--to", "berlin-1"), "there is no pair to measure"),
        (("--file", "/nonexistent.toml"), "cannot be read"),
    ],
)
def test_nothing_to_measure(meshctl, config_file, sim, arguments, said):
    ran = meshctl("matrix", "run", *arguments)
    assert ran.code == 4, ran.err
    assert said in ran.err


def test_a_bad_file_and_an_unknown_mesh(meshctl, config_file, sim, path, tmp_path):
    ran = meshctl("matrix", "run", "--file", path, "--mesh", "cor")
    assert (ran.code, "did you mean 'core'?" in ran.err) == (4, True)
    (tmp_path / "bad.toml").write_text("x = 1\n")
    ran = meshctl("matrix", "run", "--file", str(tmp_path / "bad.toml"))
    assert ran.code == 2
    assert "bad.toml:1: the key 'x' is not known here" in ran.err


def test_one_agent_is_no_matrix(meshctl, config_file, sim):
    sim.fleet = sim.fleet[:1]
    ran = meshctl("matrix", "run")
    assert ran.code == 4
    assert "a matrix takes two agents" in ran.err


def test_exit_codes_of_what_was_measured(meshctl, config_file, sim):
    sim.fleet = (agent("berlin-1"), agent("tokyo-1", AgentState.LOST))
    ran = meshctl("matrix", "run")
    assert ran.code == 3
    assert "○ tokyo-1, 2 cells: it is not connected, last seen 9 s ago" in ran.out
    sim.fleet = (agent("berlin-1", AgentState.LOST), agent("tokyo-1", AgentState.LOST))
    assert meshctl("matrix", "run").code == 4
    sim.fleet = (agent("berlin-1"), agent("tokyo-1"))
    for a, b in (("berlin-1", "tokyo-1"), ("tokyo-1", "berlin-1")):
        sim.answers[a, b, Kind.ICMP] = {"outcome": Outcome.REFUSED}
    assert meshctl("matrix", "run", "--kind", "icmp").code == 1


def test_a_controller_that_is_away(meshctl, config_file, sim):
    sim.error = Unreachable("the controller does not answer")
    ran = meshctl("matrix", "run")
    assert (ran.code, ran.out) == (4, "")


def test_what_is_large_is_confirmed(meshctl, config_file, sim):
    sim.fleet = tuple(agent(f"a-{number}") for number in range(60))
    ran = meshctl("matrix", "run", "--kind", "icmp", "--count", "10")
    assert ran.code == 2
    assert "60 targets from 60 vantage points: about 35400 packets" in ran.err
    assert sim.runs == []
    assert meshctl("matrix", "run", "--kind", "icmp", "--count", "10", "--yes").code == 0


def test_an_interrupt_prints_what_there_is(meshctl, config_file, sim):
    sim.hangs = True
    inner = sim.run

    async def interrupted(request):
        async for event in inner(request):
            yield event
            if len(sim.runs) == 3 and not getattr(sim, "sent", False):
                sim.sent = True
                os.kill(os.getpid(), signal.SIGINT)

    sim.run = interrupted
    ran = meshctl("matrix", "run", "-o", "json")
    assert ran.code == 130
    assert value_of(ran)["interrupted"] is True


def test_help_names_what_there_is(meshctl):
    ran = meshctl("matrix", "run", "--help")
    assert ran.code == 0
    assert "--from" in ran.out and "exit" in ran.out
