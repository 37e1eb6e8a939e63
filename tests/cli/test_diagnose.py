"""``meshctl diagnose``: how it is asked, what it prints in every format, its exit codes, what is kept."""

import csv
import io
import json
from dataclasses import replace
from importlib.metadata import version

import jsonschema
import pytest
import yaml
from probemesh_controller.cli import diagnosing
from probemesh_controller.pair import saved
from probemesh_controller.pair.case import INTERRUPTED, Asked, Limits, RoundDone, StepDone
from probemesh_controller.schema import schema_of
from probemesh_shared.errors import Unreachable
from probemesh_shared.model import DirectionVerdict, Evidence, PathHop
from probemesh_shared.words import AgentState, Confidence, Direction, Family, Outcome, Transport, Verdict

from tests.cli import pairs
from tests.cli.fakes import agent, tcp_row
from tests.cli.test_formats import HOSTILE, golden
from tests.pair.scenario import FOLDER


@pytest.fixture
def driver(monkeypatch, config_file, mesh):
    fake = pairs.FakeDriver()
    monkeypatch.setattr(diagnosing, "Driver", fake)
    monkeypatch.setattr(diagnosing, "conclude", lambda case: pairs.diagnosis())
    return fake


@pytest.fixture
def concluded(monkeypatch, driver):
    def put(**more):
        monkeypatch.setattr(diagnosing, "conclude", lambda case: pairs.diagnosis(**more))

    return put


ENDS = ("diagnose", "berlin-1", "tokyo-1")


# --- how it is asked ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "transport", "port", "back"),
    [
        (("tokyo-1", "--tcp", "5432"), Transport.TCP, 5432, 5432),
        (("tokyo-1:5432",), Transport.TCP, 5432, 5432),
        (("tcp://tokyo-1:5432",), Transport.TCP, 5432, 5432),
        (("agent:tokyo-1:5432",), Transport.TCP, 5432, 5432),
        (("https://tokyo-1/x",), Transport.TCP, 443, 443),
        (("tokyo-1:5432", "--tcp", "5432"), Transport.TCP, 5432, 5432),
        (("tokyo-1", "--udp", "514"), Transport.UDP, 514, 514),
        (("udp://tokyo-1:514", "--reverse-port", "515"), Transport.UDP, 514, 515),
        (("tokyo-1",), Transport.ICMP, None, None),
        (("tokyo-1", "--icmp"), Transport.ICMP, None, None),
        (("icmp:tokyo-1",), Transport.ICMP, None, None),
        (("agent:tokyo-1",), Transport.ICMP, None, None),
    ],
)
def test_what_is_sent_is_read_off_the_options_or_off_to(meshctl, driver, arguments, transport, port, back):
    meshctl("diagnose", "berlin-1", *arguments)
    assert driver.asked == [Asked("berlin-1", "tokyo-1", transport, port, back)]


def test_all_options_reach_the_driver(meshctl, driver):
    meshctl(
        *ENDS,
        "--tcp",
        "5432",
        "--listen",
        "-6",
        "--deadline",
        "9",
        "--max-packets",
        "77",
        "--address",
        "FD00:0::1",
    )
    assert driver.asked == [
        Asked("berlin-1", "tokyo-1", Transport.TCP, 5432, 5432, Family.IPV6, True, Limits(77, 9.0), "fd00::1")
    ]


def test_what_is_said_and_how_long_is_waited_reach_the_driver(meshctl, driver):
    meshctl(*ENDS, "--tcp", "25", "--send", "hex:45564c210a")
    meshctl(*ENDS, "--udp", "514", "--idle", "5")
    said, waited = driver.asked
    assert (said.payload, said.idle_s) == (b"EVL!\n", 0.0)
    assert (waited.payload, waited.idle_s) == (None, 5.0)


def test_an_address_that_one_agent_has_means_that_agent(meshctl, driver, mesh):
    mesh.fleet = [agent("berlin-1"), replace(agent("tokyo-1"), addresses=("203.0.113.2",))]
    meshctl("diagnose", "berlin-1", "203.0.113.2:5432")
    assert (driver.asked[0].target, driver.asked[0].address) == ("tokyo-1", "203.0.113.2")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("diagnose",), "diagnose wants two ends"),
        (("diagnose", "berlin-1"), "diagnose wants two ends"),
        (("diagnose", "berlin-1", "berlin-1"), "berlin-1 is both ends"),
        (("diagnose", "agent:Berlin-1.", "berlin-1"), "berlin-1 is both ends"),
        ((*ENDS, "--tcp", "0"), "--tcp 0 is no port"),
        ((*ENDS, "--udp", "70000"), "--udp 70000 is no port"),
        ((*ENDS, "--tcp", "1", "--reverse-port", "65536"), "--reverse-port 65536 is no port"),
        ((*ENDS, "--tcp", "1", "--udp", "2"), "--tcp and --udp exclude each other"),
        ((*ENDS, "--tcp", "1", "--icmp"), "--tcp and --icmp exclude each other"),
        (("diagnose", "berlin-1", "tokyo-1:1", "--tcp", "2"), "says one thing and the options another"),
        (("diagnose", "berlin-1", "tokyo-1:1-9"), "about one port"),
        ((*ENDS, "-4", "-6"), "-4 and -6 exclude each other"),
        ((*ENDS, "--listen"), "ping has no ports: --listen"),
        ((*ENDS, "--icmp", "--reverse-port", "1"), "ping has no ports: --reverse-port"),
        ((*ENDS, "--udp", "1", "--send", "x"), "--send is for connections"),
        ((*ENDS, "--tcp", "1", "--idle", "5"), "--idle is for flows of UDP"),
        ((*ENDS, "--udp", "1", "--idle", "16"), "--idle 16 is out of range"),
        ((*ENDS, "--deadline", "1"), "--deadline 1 is out of range"),
        ((*ENDS, "--max-packets", "1"), "--max-packets 1 is out of range"),
        ((*ENDS, "--address", "nowhere"), "--address 'nowhere' is no address"),
        ((*ENDS, "-4", "--address", "fd00::1"), "not of the family asked for"),
        ((*ENDS, "--ticket", "-o", "json"), "--ticket is a text"),
        ((*ENDS, "--replay", "x"), "--replay concludes from what was saved"),
        (("diagnose", "site=berlin", "tokyo-1"), "FROM is one agent"),
        (("diagnose", "self", "tokyo-1"), "self can be no end"),
        (("diagnose", "berlin-1", "to kyo"), "contains a blank"),
    ],
)
def test_wrong_use_is_2(meshctl, driver, arguments, said):
    ran = meshctl(*arguments)
    assert ran.code == 2 and said in ran.err
    assert driver.asked == [] and ran.out == ""


@pytest.mark.parametrize(
    ("ends", "said", "hint"),
    [
        (("berln-1", "tokyo-1"), "there is no agent called 'berln-1'", "did you mean 'berlin-1'?"),
        (("berlin-1", "tokio-1"), "there is no agent called 'tokio-1'", "did you mean 'tokyo-1'?"),
        (("berlin-1", "tokio-1:22"), "there is no agent called 'tokio-1'", "is written tcp://tokio-1:22"),
        (("berlin-1", "elsewhere"), "there is no agent called 'elsewhere'", "tcp://elsewhere:PORT"),
        (("berlin-1", "agent:x"), "there is no agent called 'x'", "meshctl agents list"),
    ],
)
def test_an_agent_that_there_is_none_of(meshctl, driver, ends, said, hint):
    ran = meshctl("diagnose", *ends)
    assert ran.code == 4 and said in ran.err and hint in ran.err


def test_a_revoked_agent(meshctl, driver, mesh):
    mesh.fleet = [agent("berlin-1"), agent("tokyo-1", state=AgentState.REVOKED)]
    ran = meshctl(*ENDS)
    assert ran.code == 4 and "the agent 'tokyo-1' is revoked" in ran.err


def test_without_a_mesh(meshctl, home):
    ran = meshctl(*ENDS)
    assert ran.code == 4 and "meshctl init" in ran.err


def test_a_mesh_that_is_away(meshctl, driver):
    driver.answer = Unreachable("the controller gives no answer")
    ran = meshctl(*ENDS)
    assert ran.code == 4 and "the controller gives no answer" in ran.err


# --- a target that is no agent ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        (("db.internal:5432",), "db.internal:5432"),
        (("db.internal", "--udp", "53"), "udp://db.internal:53"),
        (("db.internal",), "icmp:db.internal"),
        (("tcp://tokio-1:22",), "tcp://tokio-1:22"),
        (("192.0.2.77:22",), "192.0.2.77:22"),
    ],
)
def test_a_target_that_is_no_agent_is_asked_from_one_end(meshctl, driver, mesh, arguments, target):
    mesh.script = dict.fromkeys(("berlin-1", "tokyo-1"), (tcp_row(),))
    ran = meshctl("diagnose", "berlin-1", *arguments, "-o", "json")
    assert ran.code == meshctl("probe", target, "--from", "all").code and driver.asked == []
    assert "is no agent: asked from one end" in ran.err
    assert mesh.requests[0].targets[0].text == target
    assert mesh.requests[0].agents == ("berlin-1", "tokyo-1")
    jsonschema.validate(json.loads(ran.out), schema_of("probe"))


@pytest.mark.parametrize(
    "option",
    [
        *(("--listen",), ("--ticket",), ("--save", "x"), ("--reverse-port", "9")),
        *(("--send", "x"), ("--max-packets", "100")),
    ],
)
def test_what_needs_two_ends_is_refused_there(meshctl, driver, option):
    ran = meshctl("diagnose", "berlin-1", "db.internal:5432", *option)
    assert ran.code == 2 and f"{option[0]} does not go with db.internal:5432" in ran.err


# --- what it prints -----------------------------------------------------------------------------------------


def test_json_is_what_the_schema_says(meshctl, driver):
    ran = meshctl(*ENDS, "--tcp", "5432", "-o", "json")
    value = json.loads(ran.out)
    jsonschema.validate(value, schema_of("diagnose"))
    assert (value["from"], value["to"], value["transport"], value["port"]) == (
        "berlin-1",
        "tokyo-1",
        "tcp",
        5432,
    )
    assert value["forward"] == {
        "outcome": "timeout",
        "path_verdict": "forward-drop",
        "service_verdict": None,
        "verdict": "forward-drop",
        "confidence": "certain",
        "alternatives": [],
    }
    assert value["reverse"]["path_verdict"] == "reachable"
    assert value["findings"][0]["direction"] == "forward"
    assert (value["excluded"][0]["verdict"], value["excluded"][0]["direction"]) == ("return-drop", "forward")
    assert value["path"][1] == {
        "name": "hop 1",
        "address": "10.1.0.1",
        "hop": 1,
        "rtt_ms": 0.42,
        "mark": None,
        "breaks": False,
    }
    assert (value["packets"], value["elapsed_s"], value["missing"]) == (143, 3.21, [])
    assert value["replayed"] is value["interrupted"] is False
    assert ran.code == 3


def test_the_other_formats_hold_the_same(meshctl, driver):
    whole = json.loads(meshctl(*ENDS, "-o", "json").out)
    line = meshctl(*ENDS, "-o", "jsonl").out
    assert line.count("\n") == 1 and json.loads(line) == whole
    assert yaml.safe_load(meshctl(*ENDS, "-o", "yaml").out) == whole
    rows = list(csv.DictReader(io.StringIO(meshctl(*ENDS, "-o", "csv").out)))
    assert [(row["direction"], row["from"], row["to"], row["verdict"]) for row in rows] == [
        ("forward", "berlin-1", "tokyo-1", "forward-drop"),
        ("reverse", "tokyo-1", "berlin-1", "reachable"),
    ]
    assert (rows[0]["place"], rows[0]["address"], rows[0]["hop"]) == ("between", "10.1.0.1", "1")


@pytest.mark.parametrize("wanted", ["table", "wide"])
def test_text(meshctl, driver, wanted):
    golden(f"diagnose.{wanted}", meshctl(*ENDS, "-o", wanted).out)


def test_text_of_a_healthy_pair(meshctl, concluded):
    concluded(forward=pairs.REACHABLE, findings=(), excluded=(), path=pairs.PATH[:2] + pairs.PATH[3:])
    golden("diagnose-healthy.table", meshctl(*ENDS).out)


def test_what_it_is_not_is_told_for_each_direction_and_each_verdict_with_its_own_reason(meshctl, concluded):
    back = pairs.ruled_out(Verdict.RETURN_DROP, "no answer", "no error", direction=Direction.REVERSE)
    same = pairs.ruled_out(Verdict.FORWARD_REJECT, "silence")
    fallen = (same, pairs.ruled_out(Verdict.FORWARD_RESET, "silence"), back)
    concluded(reverse=pairs.DROPPED, excluded=fallen)
    out = meshctl(*ENDS).out
    there, _, rest = out.partition("What it is not, berlin-1 → tokyo-1")[2].partition("What it is not, ")
    assert "forward-reject, forward-reset: silence" in there
    assert rest.startswith("tokyo-1 → berlin-1\n    return-drop: no answer; and 1 more\n")
    assert "return-drop: no answer; no error" in meshctl(*ENDS, "-o", "wide").out
    ticket = meshctl(*ENDS, "--ticket").out
    there, back = ticket.split("## What it is not")[1:]
    assert "- forward-reject, forward-reset: silence" in there and "no answer" not in there
    assert "- return-drop: no answer; and 1 more" in back and "silence" not in back


def test_what_is_well_on_the_way_back_asks_for_nothing(meshctl, concluded):
    closed = replace(
        pairs.DROP, verdict=Verdict.PORT_CLOSED, direction=Direction.REVERSE, next_test="start the service"
    )
    back = pairs.ruled_out(Verdict.RETURN_DROP, "an answer came", direction=Direction.REVERSE)
    concluded(reverse=pairs.CLOSED, findings=(pairs.DROP, closed), excluded=(back,))
    out = meshctl(*ENDS).out
    assert "✓ tokyo-1 → berlin-1: port-closed" in out
    assert "start the service" not in out and "What it is not" not in out
    assert "port-closed, tokyo-1 → berlin-1: how" not in out
    wide = meshctl(*ENDS, "-o", "wide").out
    assert "port-closed, tokyo-1 → berlin-1: how" in wide and "return-drop: an answer came" in wide


def test_many_that_one_reason_rules_out_leave_it_a_line(meshctl, concluded):
    many = (Verdict.FORWARD_DROP, Verdict.FORWARD_REJECT, Verdict.FORWARD_RESET, Verdict.TARGET_DOWN)
    concluded(excluded=tuple(pairs.ruled_out(verdict, "it answered") for verdict in many))
    names = ", ".join(many)
    assert f"    {names}:\n        it answered\n" in meshctl(*ENDS).out


def test_text_of_a_set(meshctl, concluded):
    finding = replace(
        pairs.DROP,
        verdict=Verdict.UNDETERMINED,
        confidence=Confidence.POSSIBLE,
        alternatives=pairs.UNKNOWN.alternatives,
        place=None,
    )
    concluded(
        forward=pairs.UNKNOWN,
        reverse=pairs.CLOSED,
        findings=(finding,),
        path=(),
        missing=("tokyo-1: too old",),
    )
    golden("diagnose-set.table", meshctl(*ENDS).out)


def test_the_ticket(meshctl, driver):
    out = meshctl(*ENDS, "--ticket").out
    golden("diagnose.ticket", out.replace(f"probemesh {version('probemesh')}", "probemesh VERSION"))


def test_a_ticket_where_there_is_nothing_to_ask_for(meshctl, concluded):
    concluded(forward=pairs.REACHABLE, findings=())
    ran = meshctl(*ENDS, "--ticket")
    assert ran.out.startswith("# Nothing to change between berlin-1 and tokyo-1\n")
    assert "now it is 0" in ran.out


def test_no_ticket_asks_for_a_service_on_the_way_back(meshctl, concluded):
    """Nothing need listen there: the way is what counts."""
    closed = replace(pairs.DROP, verdict=Verdict.PORT_CLOSED, direction=Direction.REVERSE)
    concluded(forward=pairs.DROPPED, reverse=pairs.CLOSED, findings=(pairs.DROP, closed))
    assert meshctl(*ENDS, "--ticket").out.count("# Change request") == 1
    concluded(forward=pairs.REACHABLE, reverse=pairs.CLOSED, findings=(closed,))
    assert meshctl(*ENDS, "--ticket").out.startswith("# Nothing to change")
    concluded(forward=pairs.CLOSED, reverse=pairs.REACHABLE, findings=())
    assert "Start the service on tcp/5432" in meshctl(*ENDS, "--ticket").out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "--tcp 5432"),
        ({"reverse_port": 22}, "--tcp 5432 --reverse-port 22"),
        ({"transport": Transport.ICMP, "port": None, "reverse_port": None}, "--icmp"),
        ({"listen": True, "family": Family.IPV6}, "--tcp 5432 --listen -6"),
        ({"address": "192.0.2.1", "family": Family.IPV4}, "--tcp 5432 --address 192.0.2.1 -4"),
    ],
)
def test_a_ticket_says_how_to_ask_the_same_again(meshctl, driver, more, words):
    driver.answer = pairs.case(asked=replace(pairs.case().asked, **more))
    assert f"\n    meshctl diagnose berlin-1 tokyo-1 {words}\n" in meshctl(*ENDS, "--ticket").out


def test_a_ticket_for_a_set_asks_each_owner(meshctl, concluded):
    concluded(forward=pairs.UNKNOWN, findings=())
    out = meshctl(*ENDS, "--ticket").out
    assert "one of: forward-drop, target-down" in out
    assert "whoever runs the firewall or router on the way, or whoever runs tokyo-1" in out
    assert "(if it is target-down)" in out


@pytest.mark.parametrize("wanted", [("-o", "table"), ("-o", "wide"), ("-o", "csv"), ("--ticket",)])
def test_nothing_from_elsewhere_steers_a_terminal(meshctl, concluded, driver, wanted):
    evil = f"{HOSTILE}`|<b>"
    finding = replace(
        pairs.DROP,
        summary=evil,
        evidence=(Evidence("o1", True, evil),),
        next_test=evil,
        place=replace(pairs.DROP.place, address=evil),
    )
    concluded(
        findings=(finding,),
        excluded=(pairs.ruled_out(Verdict.LOSS, evil),),
        missing=(evil,),
        path=(PathHop(evil, evil, 1, mark=evil, breaks=True), PathHop(evil)),
        source=evil,
        target=evil,
    )
    driver.answer = pairs.case(problems=(evil,))
    out = meshctl(*ENDS, *wanted).out
    assert out and all(char.isprintable() or char == "\n" for char in out)
    if wanted == ("--ticket",):
        read = "".join(line for line in out.splitlines() if not line.startswith("    "))  # else it is code
        assert "<b>" not in read.replace("\\<b\\>", "") and "`" not in read.replace("\\`", "")


# --- exit codes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forward", "reverse", "code"),
    [
        (pairs.REACHABLE, pairs.REACHABLE, 0),
        (pairs.REACHABLE, pairs.CLOSED, 0),  # nothing need listen on the way back
        (pairs.LOSSY, pairs.LOSSY, 0),  # what is sent again arrives
        (pairs.CLOSED, pairs.REACHABLE, 3),
        (pairs.DROPPED, pairs.REACHABLE, 3),
        (pairs.DROPPED, pairs.DROPPED, 1),
        (pairs.UNKNOWN, pairs.DROPPED, 1),
        (pairs.UNKNOWN, pairs.REACHABLE, 3),
        (pairs.REACHABLE, pairs.NOT_ADDRESSABLE, 3),
        (pairs.DROPPED, pairs.NOT_ADDRESSABLE, 1),
        (pairs.NOT_ADDRESSABLE, pairs.NOT_ADDRESSABLE, 4),
        (pairs.LOST, pairs.LOST, 4),
    ],
)
def test_exit_codes(meshctl, concluded, forward, reverse, code):
    concluded(forward=forward, reverse=reverse, findings=())
    assert meshctl(*ENDS).code == code


def test_what_could_not_be_measured_is_shown_as_such(meshctl, concluded):
    concluded(forward=pairs.LOST, reverse=pairs.NOT_ADDRESSABLE, findings=(), path=(), reverse_path=())
    out = meshctl(*ENDS).out
    assert "– berlin-1 → tokyo-1: agent-lost\n" in out
    assert "– tokyo-1 → berlin-1: not-addressable\n" in out
    assert "berlin-1 has no address that tokyo-1 could dial: that is no fault" in out


def test_what_was_interrupted_is_not_said_to_have_been_impossible(meshctl, concluded, driver):
    unknown = DirectionVerdict()
    concluded(forward=unknown, reverse=unknown, findings=(), path=(), reverse_path=())
    whole = pairs.case()
    (one,) = whole.rounds
    cut = tuple(StepDone(done.step, problem=INTERRUPTED) for done in one.steps)
    driver.answer = replace(whole, rounds=(RoundDone(cut),))
    out = meshctl(*ENDS).out
    assert out.count("not measured: interrupted before anything was known of it") == 2
    assert "interrupted: this is what was known by then" in out


def test_what_one_family_reaches_is_reached_by_somebody(meshctl, concluded):
    dead = DirectionVerdict(Outcome.TIMEOUT, Verdict.FORWARD_DROP, None, Verdict.FORWARD_DROP)
    broken = replace(dead, path_verdict=Verdict.FAMILY_BROKEN, verdict=Verdict.FAMILY_BROKEN)
    concluded(forward=broken, reverse=dead)
    assert meshctl(*ENDS).code == 3
    concluded(forward=dead, reverse=dead)
    assert meshctl(*ENDS).code == 1


# --- kept, and concluded again ----------------------------------------------------------------------------


def test_what_was_saved_is_concluded_again_and_says_so(meshctl, driver, tmp_path):
    path = tmp_path / "case.json"
    ran = meshctl(*ENDS, "--save", str(path))
    assert f"saved in {path}" in ran.err
    assert saved.from_text(path.read_text()) == pairs.case()
    again = meshctl("diagnose", "--replay", str(path))
    assert again.code == ran.code == 3
    assert "replayed from what was saved at 2026-11-22" in again.out and "nothing was sent now" in again.out
    assert len(driver.asked) == 1
    value = json.loads(meshctl("diagnose", "--replay", str(path), "-o", "json").out)
    assert value["replayed"] is True
    assert meshctl("diagnose", "--replay", str(path), "--ticket").out.startswith("# Change request")


def test_a_scenario_that_was_kept_is_concluded_as_the_case_that_it_was_made_of(meshctl, home):
    ran = meshctl("diagnose", "--replay", str(FOLDER / "return-drop-tcp.json"), "-o", "json")
    value = json.loads(ran.out)
    assert (value["forward"]["verdict"], value["replayed"]) == ("return-drop", True)


def test_a_place_that_cannot_be_written_is_told_before_anything_is_sent(meshctl, driver, tmp_path):
    ran = meshctl(*ENDS, "--save", str(tmp_path / "no" / "case.json"))
    assert ran.code == 2 and "there is no such folder" in ran.err and driver.asked == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is no JSON"),
        ("{", "it is no JSON"),
        ("[]", "it is no saved diagnosis"),
        ("{}", "it is no saved diagnosis"),
        (
            '{"what": "x", "about": "", "case": {}, "forward": {}, "reverse": {}, "findings": []}',
            "nor a scen",
        ),
        ('{"about": "", "case": {}}', "nor a scenario"),
        ('{"about": "", "case": 1, "forward": {}, "reverse": {}, "findings": []}', "a Case is no object"),
        ('{"what": "probemesh-case", "schema": 2}', "another version"),
        ('{"what": "probemesh-case", "schema": 1}', "a Case is no object"),
        ('{"what": "probemesh-case", "schema": 1, "case": {}}', "a Case is incomplete"),
        ('{"what": "probemesh-case", "schema": 1, "case": NaN}', "it holds NaN"),
        ("[" * 200_000, "nested too deeply"),
        ("9" * 5000, "it is no JSON"),
        ("\x00\ud800", "it is no text"),
    ],
)
def test_a_malformed_file_is_one_clear_line(meshctl, home, tmp_path, text, said):
    path = tmp_path / "case.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    ran = meshctl("diagnose", "--replay", str(path))
    assert ran.code == 2 and ran.out == "" and ran.err.count("\n") == 1
    assert said in ran.err


def test_a_file_that_is_not_there(meshctl, home):
    ran = meshctl("diagnose", "--replay", "/nowhere/case.json")
    assert ran.code == 2 and "No such file" in ran.err


def test_a_file_without_its_ends(meshctl, home, tmp_path):
    path = tmp_path / "case.json"
    path.write_text(saved.to_text(pairs.case(ends=()), "1"))
    ran = meshctl("diagnose", "--replay", str(path))
    assert ran.code == 2 and "its two ends are not both there" in ran.err


def test_a_file_with_an_end_too_many(meshctl, home, tmp_path):
    path = tmp_path / "case.json"
    case = pairs.case()
    path.write_text(saved.to_text(pairs.case(ends=(*case.ends, case.ends[0])), "1"))
    ran = meshctl("diagnose", "--replay", str(path))
    assert ran.code == 2 and "its two ends are not both there, each once" in ran.err


def test_a_number_that_no_float_holds(meshctl, home, tmp_path):
    path = tmp_path / "case.json"
    value = json.loads(saved.to_text(pairs.case(), "1"))
    value["case"]["elapsed_s"] = 10**400
    path.write_text(json.dumps(value))
    ran = meshctl("diagnose", "--replay", str(path))
    assert ran.code == 2 and "Case.elapsed_s: it is no number" in ran.err


def test_what_cannot_be_concluded_is_no_fault_of_ours(meshctl, driver, monkeypatch, tmp_path):
    def fails(case):
        raise ValueError("'x' is no address")

    monkeypatch.setattr(diagnosing, "conclude", fails)
    path = tmp_path / "case.json"
    path.write_text(saved.to_text(pairs.case(), "1"))
    ran = meshctl("diagnose", "--replay", str(path))
    assert ran.code == 2 and "nothing can be concluded from it" in ran.err


def test_what_was_not_measured_is_not_called_unclear(meshctl, driver, concluded):
    concluded(
        forward=DirectionVerdict(outcome=Outcome.UNSUPPORTED), findings=(), missing=("berlin-1: no ping",)
    )
    ran = meshctl(*ENDS)
    assert "not measured: berlin-1 could not send it" in ran.out and "– berlin-1: no ping" in ran.out
