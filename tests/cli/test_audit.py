"""``meshctl audit``: what it asks for, and every format of what it gets."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml
from probemesh_shared.audit.query import AuditFound, AuditQuery
from probemesh_shared.audit.record import AuditRecord, counted, record_to_json
from probemesh_shared.errors import NotAllowed
from probemesh_shared.words import AuditOutcome

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schema/audit.schema.json").read_text())
AT_NS = 1_795_752_000_000_000_000
TOKEN = AuditRecord(
    AT_NS, "create-token", who="admin/ann", certificate="01", address="192.0.2.1:9", token="4f2a"
)
ENDED = AuditRecord(
    AT_NS + 1_000_000_000,
    "run-ended",
    AuditOutcome.DENIED,
    who="operator/alice",
    run="r1",
    kinds=("tcp",),
    targets=("db:5432", "web:80"),
    counts=counted({"denied": 3}),
)
PAYLOAD = '=cmd|"/c calc"!A1\r\n,forged\x1b[2J\x9b\u202e\u2028'


@pytest.fixture
def asked(mesh, config_file):
    mesh.found = AuditFound((TOKEN, ENDED), more=True, unreadable=2, lost=5)
    return mesh


def test_a_line_an_event(asked, meshctl):
    ran = meshctl("audit")
    assert ran.code == 0
    head, first, second = ran.out.splitlines()
    assert head.split() == ["TIME", "OUTCOME", "EVENT", "WHO", "FROM", "WHAT"]
    assert first.split()[:5] == ["2026-11-27T04:00:00Z", "ok", "create-token", "admin/ann", "192.0.2.1:9"]
    assert "token 4f2a" in first
    assert second.split()[:4] == ["2026-11-27T04:00:01Z", "denied", "run-ended", "operator/alice"]
    assert "tcp db:5432 web:80" in second
    assert "3 denied" in second
    for word in ("older ones", "2 lines were no records", "5 records could not be written"):
        assert word in ran.err


def test_wide_cuts_nothing(asked, meshctl):
    targets = tuple(f"host-{number}.example:443" for number in range(40))
    asked.found = AuditFound((replace(ENDED, targets=targets[:10]),))
    assert targets[9] not in meshctl("audit").out
    assert targets[9] in meshctl("audit", "-o", "wide").out


def test_json_is_as_its_schema_says(asked, meshctl):
    value = json.loads(meshctl("audit", "-o", "json").out)
    jsonschema.validate(value, SCHEMA)
    assert value == {
        "schema": 1,
        "records": [record_to_json(TOKEN), record_to_json(ENDED)],
        "more": True,
        "lost": 5,
    }
    lines = meshctl("audit", "-o", "jsonl").out.splitlines()
    assert list(map(json.loads, lines)) == value["records"]
    assert yaml.safe_load(meshctl("audit", "-o", "yaml").out) == value


def test_csv_has_a_row_an_event(asked, meshctl):
    first, second = csv.DictReader(io.StringIO(meshctl("audit", "-o", "csv").out))
    assert (first["event"], first["who"], first["token"], first["run"]) == (
        "create-token",
        "admin/ann",
        "4f2a",
        "",
    )
    assert (second["targets"], second["counts"], second["times"]) == ("db:5432 web:80", "denied=3", "1")
    assert list(first) == list(record_to_json(TOKEN))


@pytest.mark.parametrize("wanted", ["table", "wide", "json", "jsonl", "csv", "yaml"])
def test_nothing_that_anybody_wrote_steers_a_terminal_or_a_spreadsheet(asked, meshctl, wanted):
    texts = {name: PAYLOAD for name in AuditRecord.__slots__ if isinstance(getattr(TOKEN, name), str)}
    texts.pop("outcome")
    lists = dict.fromkeys(("kinds", "agents", "targets"), (PAYLOAD,))
    asked.found = AuditFound((replace(TOKEN, **texts, **lists, counts=counted({PAYLOAD: 1})),))
    out = meshctl("audit", "-o", wanted).out
    assert out.replace("\n", "").isprintable()
    if wanted in ("table", "wide", "jsonl"):
        assert len(out.splitlines()) == (1 if wanted == "jsonl" else 2)
    if wanted == "csv":
        rows = list(csv.reader(io.StringIO(out)))
        assert len(rows) == 2
        assert not [cell for cell in rows[1] if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_what_is_asked_for(asked, meshctl):
    options = ["--who", "alice", "--agent", "b*", "--event", "run-*", "--outcome", "denied", "--run", "r1"]
    times = ["--since", "2026-11-27T04:00", "--until", "2026-11-27T05:00:00+01:00"]
    assert meshctl("audit", *options, *times, "--limit", "7").code == 0
    assert asked.queries == [AuditQuery(AT_NS, AT_NS, "alice", "b*", "run-*", AuditOutcome.DENIED, "r1", 7)]


def test_since_is_counted_back_from_now(asked, meshctl, monkeypatch):
    monkeypatch.setattr("probemesh_controller.cli.audited.time.time_ns", lambda: AT_NS)
    meshctl("audit", "--since", "90m")
    assert asked.queries[0].since_ns == AT_NS - 5_400_000_000_000


@pytest.mark.parametrize(
    "options",
    [["--since", "soon"], ["--until", "1y"], ["--limit", "0"], ["--limit", "10001"], ["--outcome", "good"]],
)
def test_wrong_use(asked, meshctl, options):
    ran = meshctl("audit", *options)
    assert (ran.code, ran.out, asked.queries) == (2, "", [])
    assert options[0] in ran.err


def test_who_may_not_is_told_so(asked, meshctl):
    asked.error = NotAllowed("operator bob may not read the audit: that needs the role admin")
    ran = meshctl("audit")
    assert ran.code == 4
    assert "needs the role admin" in ran.err


def test_without_a_controller_it_says_what_is_missing(mesh, config_file, meshctl):
    config_file.write_text('current = "demo"\n[contexts.demo]\nmesh = "demo"\n')
    ran = meshctl("audit")
    assert ran.code == 2
    assert "has no controller" in ran.err
    assert not mesh.queries


def test_nothing_is_said_so(asked, meshctl):
    asked.found = AuditFound(())
    ran = meshctl("audit")
    assert (ran.code, ran.out) == (0, "")
    assert "nothing like this" in ran.err
