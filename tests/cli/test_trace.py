"""``meshctl trace``: what is asked of whom, what is printed, and the exit codes."""

import json

import jsonschema
import pytest
from probemesh_controller.schema import schema_of
from probemesh_shared.model import (
    HopAnswer,
    IcmpError,
    Measurement,
    PortRange,
    TraceDetail,
    TraceHop,
    TraceSpec,
)
from probemesh_shared.words import Family, Kind, Outcome, Transport

from tests.cli.fakes import NOW_NS, failure

ROUTER, ROUTER_BACK, TARGET, SOURCE = "10.1.0.2", "10.2.0.1", "192.0.2.5", "10.1.0.1"


def traced(router=ROUTER, target=TARGET, reached=True, name="db:5432", port=5432):
    error = IcmpError(Family.IPV4, 11, 0, router, 64)
    hops = [TraceHop(1, 3, (HopAnswer(router, 1.5, error, 64),))]
    hops.append(TraceHop(2, 3, (HopAnswer(target, 2.5, how="syn-ack"),) * 3 if reached else ()))
    detail = TraceDetail(Transport.TCP, tuple(hops), reached, 2 if reached else None, ended="target")
    outcome = Outcome.OK if reached else Outcome.TIMEOUT
    why = None if reached else failure(Outcome.TIMEOUT)
    return Measurement(Kind.TRACE, 0, name, target, port, outcome, NOW_NS, (), why, detail)


def valid(text):
    value = json.loads(text)
    jsonschema.validate(value, schema_of("trace"))
    return value


def test_a_target_that_is_no_agent_is_traced_one_way(meshctl, mesh, config_file):
    mesh.script = {"berlin-1": (traced(),)}
    ran = meshctl("trace", "berlin-1", "db.internal:5432", "-o", "json")
    assert ran.code == 0, ran.err
    (request,) = mesh.requests
    (spec,) = request.specs
    assert isinstance(spec, TraceSpec) and spec.transport is Transport.TCP and spec.options.count == 3
    assert request.agents == ("berlin-1",) and request.targets[0].text == "db.internal:5432"
    told = valid(ran.out)
    assert (told["from"], told["port"], told["reverse"], told["joined"]) == ("berlin-1", 5432, None, [])
    hops = told["forward"]["measurements"][0]["detail"]["hops"]
    assert [(hop["addresses"], hop["lost"]) for hop in hops] == [([ROUTER], 2), ([TARGET], 0)]
    assert hops[0]["marks"] == ["held-back"]


def test_an_agent_is_traced_both_ways_at_once(meshctl, mesh, config_file):
    mesh.script = {"berlin-1": (traced(),), "tokyo-1": (traced(ROUTER_BACK, SOURCE),)}
    ran = meshctl("trace", "berlin-1", "tokyo-1", "--tcp", "5432", "-o", "json")
    assert ran.code == 0, ran.err
    asked = {request.agents[0]: request.targets[0] for request in mesh.requests}
    assert (asked["berlin-1"].agent, asked["tokyo-1"].agent) == ("tokyo-1", "berlin-1")
    assert asked["tokyo-1"].ports == (PortRange(5432, 5432),)
    (joined,) = valid(ran.out)["joined"]
    assert (joined["forward_distance"], joined["reverse_distance"], joined["asymmetric"]) == (2, 2, None)
    shown = meshctl("trace", "berlin-1", "tokyo-1", "--tcp", "5432").out
    assert "there: berlin-1 to 192.0.2.5:5432" in shown and "back:  tokyo-1 to 10.1.0.1:5432" in shown
    assert ROUTER in shown and ROUTER_BACK in shown


@pytest.mark.parametrize(("there", "back", "code"), [(True, False, 3), (False, True, 3), (False, False, 1)])
def test_the_exit_code_is_over_both_ways(meshctl, mesh, config_file, there, back, code):
    mesh.script = {
        "berlin-1": (traced(reached=there),),
        "tokyo-1": (traced(ROUTER_BACK, SOURCE, reached=back),),
    }
    ran = meshctl("trace", "berlin-1", "tokyo-1", "--tcp", "5432")
    assert ran.code == code
    assert "A silent hop (*) proves nothing" in ran.out


def test_an_agent_that_is_lost_is_not_measured(meshctl, mesh, config_file):
    mesh.script = {"berlin-1": (Outcome.AGENT_LOST, "it is not connected")}
    ran = meshctl("trace", "berlin-1", "db.internal:5432")
    assert ran.code == 4 and "it is not connected" in ran.out


@pytest.mark.parametrize("wanted", ["table", "wide", "jsonl", "csv", "yaml"])
def test_every_format_shows_every_hop(meshctl, mesh, config_file, wanted):
    mesh.script = {"berlin-1": (traced(),), "tokyo-1": (traced(ROUTER_BACK, SOURCE),)}
    ran = meshctl("trace", "berlin-1", "tokyo-1:5432", "-o", wanted)
    assert ran.code == 0
    for address in (ROUTER, TARGET, ROUTER_BACK, SOURCE):
        assert address in ran.out


def test_a_router_s_words_steer_no_terminal(meshctl, mesh, config_file):
    mesh.script = {"berlin-1": (traced(router="10.0.0.1\x1b[2J"),)}
    assert "\x1b" not in meshctl("trace", "berlin-1", "db.internal:5432").out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("berlin-1", "db:5432", "-4", "-6"), "exclude"),
        (("berlin-1", "db", "--tcp", "1", "--udp", "2"), "exclude"),
        (("berlin-1", "db:5432", "--udp", "53"), "one thing"),
        (("berlin-1", "db:22,80"), "one port"),
        (("berlin-1", "db", "--tcp", "0"), "--tcp"),
        (("berlin-1", "db", "--source-port", "7"), "no ports"),
        (("berlin-1", "db:5432", "--max-hops", "0"), "--max-hops"),
        (("berlin-1", "dns:example.org"), "DNS"),
        (("berlin-1", "berlin-1"), "both ends"),
        (("all", "db:5432"), "no agent called"),
        (("berlin-1,tokyo-1", "db:5432"), "one agent"),
    ],
)
def test_wrong_use_is_said_in_a_line(meshctl, mesh, config_file, words, part):
    ran = meshctl("trace", *words)
    assert ran.code in (2, 4) and part in ran.err and not mesh.requests


def test_from_self_only_the_way_there_can_be_traced(meshctl, mesh, config_file, monkeypatch):
    monkeypatch.setattr("probemesh_controller.cli.connect.self_available", lambda: True)
    mesh.script = {"self": (traced(),)}
    ran = meshctl("trace", "self", "tokyo-1", "--tcp", "5432", "-o", "json")
    assert ran.code == 0 and valid(ran.out)["reverse"] is None
    assert "only the way there" in ran.err
