"""Every format, byte for byte (``golden``; PROBEMESH_UPDATE_GOLDEN=1 writes it) and by the schema."""

import csv
import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml
from probemesh_controller.schema import ROOTS, schema_of
from probemesh_shared.model import DnsDetail, DnsRecord, Evidence, Finding, Place, Scope
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.words import Confidence, Family, Kind, Outcome, PlaceKind, Verdict

from tests.cli.fakes import http_row, https_row, row, tcp_row

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = "\x1b]0;owned\x07\u202e=cmd|'/c calc'!A0\r\n"


def golden(name, text):
    path = GOLDEN / name
    if os.environ.get("PROBEMESH_UPDATE_GOLDEN") == "1":
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


@pytest.fixture
def scripted(mesh):
    ping = row(Kind.ICMP, rtts=(0.05, None, 0.07), target="db", port=None)
    mesh.script = {
        "berlin-1": (ping, tcp_row()),
        "tokyo-1": (ping, tcp_row(Outcome.REFUSED)),
        "self": (Outcome.UNMEASURED, "mesh-agent did not start"),
    }
    return mesh


@pytest.fixture
def one_finding(monkeypatch):
    """The same finding whatever the rules say: their wording is their own tests' affair."""
    evidence = tuple(Evidence(f"e{i}", i < 7, f"berlin-1: reached \x1b[{i}m") for i in range(9))
    finding = Finding(
        Verdict.SOURCE_SELECTIVE,
        Scope(("tokyo-1",), ("db:5432",), "tcp", 5432, Family.IPV4),
        Confidence.LIKELY,
        "tokyo-1 cannot reach tcp port 5432 of db, berlin-1 can",
        place=Place(PlaceKind.BETWEEN),
        evidence=evidence,
        alternatives=(Verdict.FORWARD_RESET, Verdict.TARGET_INPUT_REJECT),
        next_test="meshctl probe icmp:db --from tokyo-1",
    )

    def found(results, agents):
        return tuple(replace(result, findings=(finding,)) for result in results)

    monkeypatch.setattr("probemesh_controller.cli.probing.with_findings", found)


@pytest.fixture
def certificate():
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.derive_private_key(7, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "web\x1b[2J")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 258, start, start.replace(year=2027))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("web.example")]), False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("form", ["table", "wide", "json", "jsonl", "csv", "yaml"])
def test_probe(meshctl, config_file, scripted, one_finding, form):
    ran = meshctl("probe", "db:5432", "-o", form)
    assert ran.code == 3
    golden(f"probe.{form}", ran.out)


def test_a_scan_groups_ports(meshctl, config_file, mesh, one_finding):
    open_, closed = (22, 80, 443), range(100, 130)
    rows = [tcp_row(port=port) for port in open_] + [tcp_row(Outcome.REFUSED, port=p) for p in closed]
    mesh.script = {"berlin-1": rows, "tokyo-1": [*rows[:-1], tcp_row(Outcome.TIMEOUT, port=129)]}
    ran = meshctl("probe", "db:22,80,443,100-129", "--from", "all")
    golden("scan.table", ran.out)
    assert "33 ports" not in ran.err


def test_colour_only_repeats_what_words_say(meshctl, config_file, scripted):
    plain = meshctl("probe", "db:5432").out
    painted = meshctl("--color", "probe", "db:5432").out
    assert "\x1b[" in painted
    assert re.sub(r"\x1b\[[0-9]*m", "", painted) == plain


def test_agents(meshctl, config_file, mesh, monkeypatch):
    golden("agents.table", meshctl("agents").out)
    golden("agents.json", meshctl("agents", "-o", "json").out)
    golden("agents.show", meshctl("agents", "show", "berlin-1").out)


def check(name, value):
    jsonschema.validate(value, schema_of(name), jsonschema.Draft202012Validator)


def test_json_is_what_the_schema_says(meshctl, config_file, mesh, certificate):
    tls = https_row(False, (certificate, b"\x30\x03\x02\x01\x05", b""))
    mesh.script = {
        "berlin-1": (tcp_row(), tls, http_row()),
        "tokyo-1": (http_row(500, Outcome.ANSWER_UNEXPECTED),),
    }
    ran = meshctl("probe", "https://web/", "-o", "json")
    value = json.loads(ran.out)
    check("probe", value)
    chain = value["vantages"][1]["measurements"][1]["detail"]["chain"]
    assert chain[0]["names"] == ["web.example"]
    assert chain[0]["serial"] == "102" and chain[0]["self_signed"] is True
    assert chain[0]["not_after"] == "2027-01-01T00:00:00.000000Z"
    assert [bool(one["error"]) for one in chain] == [False, True, True]
    assert value["summary"] == {"reached": 1, "failed": 1, "unmeasured": 1, "total": 3}
    keys = "verdict scope direction place confidence summary evidence alternatives next_test"
    assert set(value["findings"][0]) == set(keys.split())


def test_every_key_is_required_by_the_schema():
    for name in ROOTS.keys() - {"meshes-file"}:  # that is read, not printed
        for shape in schema_of(name)["$defs"].values():
            assert shape["required"] == list(shape["properties"])


def test_the_schema_refuses_what_is_not_in_it(meshctl, config_file, scripted):
    value = json.loads(meshctl("probe", "db:5432", "-o", "json").out)
    del value["vantages"][0]["failed_at"]
    with pytest.raises(jsonschema.ValidationError):
        check("probe", value)


def test_several_targets_are_an_array_and_lines(meshctl, config_file, scripted):
    array = json.loads(meshctl("probe", "db:5432", "db:1", "-o", "json").out)
    check("probe", array)
    check("probe", array[0])
    for wrong in ([], array[:1], [array[0], {**array[1], "schema": 2}], "db:5432"):
        with pytest.raises(jsonschema.ValidationError):
            check("probe", wrong)
    assert [one["target"] for one in array] == ["db:5432", "db:1"]
    lines = meshctl("probe", "db:5432", "db:1", "-o", "jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == array
    assert yaml.safe_load(meshctl("probe", "db:5432", "db:1", "-o", "yaml").out) == array


def test_the_same_target_twice_is_one(meshctl, config_file, scripted):
    assert isinstance(json.loads(meshctl("probe", "db:5432", "DB:5432", "-o", "json").out), dict)


def test_token_agents_and_doctor_follow_their_schemas(meshctl, config_file, mesh):
    check("agents", json.loads(meshctl("agents", "-o", "json").out))
    check("token", json.loads(meshctl("token", "create", "-o", "json").out))
    check("token", json.loads(meshctl("operator", "create", "alice", "-o", "json").out))
    check("doctor", json.loads(meshctl("doctor", "-o", "json").out))


@pytest.mark.parametrize("form", ["table", "wide", "json", "jsonl", "csv", "yaml"])
def test_nothing_from_a_remote_end_steers_the_terminal(meshctl, config_file, mesh, form):
    from tests.cli.fakes import failure

    bad = row(Kind.TCP, Outcome.REFUSED, target=HOSTILE, failure=failure(Outcome.REFUSED, HOSTILE))
    mesh.script = {"berlin-1": (bad,), "tokyo-1": (Outcome.AGENT_LOST, HOSTILE)}
    mesh.notes = (HOSTILE,)
    ran = meshctl("probe", "db:5432", "--from", "all", "-o", form)
    for text in (ran.out, ran.err):
        assert all(char.isprintable() or char == "\n" for char in text)


def table_of(ran):
    return list(csv.DictReader(io.StringIO(ran.out)))


def test_csv_shows_what_was_answered(meshctl, config_file, mesh):
    records = (DnsRecord("web", "A", 60, "192.0.2.5"), DnsRecord("web", "MX", 60, "=evil()"))
    named = DnsDetail("web", "A", rcode="NOERROR", answers=records)
    system = DnsDetail("web", system=True, system_addresses=("192.0.2.5", "2001:db8::5"))
    dns = [row(Kind.DNS, target="web", port=None, detail=detail) for detail in (named, system)]
    hostile = row(Kind.DNS, target="web", port=None, detail=DnsDetail("web", answers=records[1:]))
    bare = replace(hostile, detail=DnsDetail("web", system=True, system_addresses=("=1+1",)))
    mesh.script = {"berlin-1": (*dns, http_row(500, Outcome.ANSWER_UNEXPECTED), https_row(), tcp_row(), bare)}
    cells = table_of(meshctl("probe", "https://web/", "--from", "berlin-1", "-o", "csv"))
    said = {(line["kind"], line["status"], line["answer"]) for line in cells}
    assert said == {
        ("dns", "NOERROR", "A 192.0.2.5 MX =evil()"),
        ("dns", "", "192.0.2.5 2001:db8::5"),
        ("dns", "", "'=1+1"),
        ("http", "500", "OK"),
        ("tls", "", "TLSv1.3"),
        ("tcp", "", "SSH-2.0\\x1b[2J"),
    }


@pytest.mark.parametrize("told", ["probemesh 0.1.0", "probemesh/0.1.0", "0.1.0"])
def test_an_agents_version_is_the_bare_number(meshctl, config_file, mesh, told):
    mesh.fleet = [replace(mesh.fleet[0], version=told)]
    assert json.loads(meshctl("agents", "-o", "json").out)["agents"][0]["version"] == "0.1.0"
    assert re.search(r"^version +0\.1\.0$", meshctl("agents", "show", "berlin-1").out, re.MULTILINE)
    assert " 0.1.0 " in meshctl("agents").out


@pytest.mark.parametrize("told", [None, "", "probemesh "])
def test_an_agent_that_tells_no_version_has_none(meshctl, config_file, mesh, told):
    mesh.fleet = [replace(mesh.fleet[0], version=told)]
    assert json.loads(meshctl("agents", "-o", "json").out)["agents"][0]["version"] is None


def test_a_fault_of_ours_is_told_once(meshctl, config_file, mesh):
    mesh.end = (JobStatus.FAILED, "internal fault 1a2b3c4d; the agent's log has it")
    ran = meshctl("probe", "db:5432", "--from", "berlin-1", "-o", "json")
    (vantage,) = json.loads(ran.out)["vantages"]
    assert vantage["outcome"] == "unmeasured"
    assert vantage["reason"].endswith(": internal fault 1a2b3c4d; the agent's log has it")
    assert vantage["reason"].count("log") == 1


def test_no_cell_is_a_formula(meshctl, config_file, mesh):
    from tests.cli.fakes import failure

    bad = row(Kind.TCP, Outcome.REFUSED, failure=failure(Outcome.REFUSED, "=1+1"))
    mesh.script = {"berlin-1": (bad,), "tokyo-1": (Outcome.AGENT_LOST, "+1")}
    cells = list(csv.DictReader(io.StringIO(meshctl("probe", "db:5432", "--from", "all", "-o", "csv").out)))
    assert [line["detail"] for line in cells] == ["'=1+1", "'+1"]
    assert cells[1]["rtt_ms"] == ""
