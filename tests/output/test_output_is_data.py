"""Text from a remote end in every field of every result through every format: it steers no terminal, forges
no line, is no formula, and arrives whole where it is data (T15, T17).

Generated from the dataclasses: a field that is added is covered by being there.
"""

import csv
import dataclasses
import io
import json
import typing
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from probemesh_agent.showing import show_results
from probemesh_agent.standalone import show
from probemesh_controller.api import OperatorInfo
from probemesh_controller.cli import earlier, fleet, operators
from probemesh_controller.cli.output import Format, certificate
from probemesh_controller.history.record import Header
from probemesh_controller.render import (
    csvout,
    diagnosis,
    diagnosiscsv,
    natcsv,
    nattable,
    share,
    table,
    ticket,
    traces,
    wide,
    yamlout,
)
from probemesh_shared.escape import csv_text, escape
from probemesh_shared.jsondiagnosis import diagnosis_to_json
from probemesh_shared.jsonnat import nat_to_json
from probemesh_shared.jsonout import agents_to_json, dumps, result_to_json
from probemesh_shared.model import (
    AgentInfo,
    Detail,
    Diagnosis,
    Measurement,
    TargetResult,
    TlsDetail,
    TraceDetail,
    Vantage,
)
from probemesh_shared.nat import NatBehaviour
from probemesh_shared.words import OF_DIAGNOSIS, AgentState, Kind, Outcome

from tests.cli import pairs
from tests.output.payloads import TERMINAL, TEXTS, filled, is_clean, planted

WIDTH = 100
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
KINDS = {member: Kind(member.__name__.removesuffix("Detail").lower()) for member in typing.get_args(Detail)}
TEXT = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)


def results(text: str, outcome: Outcome) -> tuple[TargetResult, ...]:
    """One for each kind of detail, so that what one renderer leaves out hides nothing in another."""
    return tuple(
        filled(TargetResult, text, {member: filled(member, text), Kind: kind, Outcome: outcome})
        for member, kind in KINDS.items()
    )


def on_one_host(found: tuple[TargetResult, ...]) -> tuple[TargetResult, ...]:
    """Without the kinds that only a diagnosis asks for: ``mesh-agent probe`` has none of them."""
    return tuple(one for one in found if one.vantages[0].measurements[0].kind not in OF_DIAGNOSIS)


def trace(text: str) -> traces.Traced:
    vantage = filled(Vantage, text, {TraceDetail: filled(TraceDetail, text), Kind: Kind.TRACE})
    return filled(traces.Traced, text, {Vantage: vantage})


def assert_clean_csv(out: str, rows: int | None = None) -> None:
    assert is_clean(out)
    head, *others = csv.reader(io.StringIO(out))
    assert {len(row) for row in others} == {len(head)}
    assert rows is None or len(others) == rows
    for row in others:
        for cell in row:
            assert cell.isprintable()
            assert not cell.startswith(FORMULA) or _is_number(cell), cell


def _is_number(cell: str) -> bool:
    try:
        return bool(float(cell)) or True
    except ValueError:
        return False


def assert_data(value: Any) -> None:
    """As JSON and as YAML it is ASCII, and the same again when it is read."""
    for indent in (None, 2):
        out = dumps(value, indent)
        assert out.isascii()
        assert is_clean(out)
        assert len(out.splitlines()) == (1 if indent is None else out.count("\n") + 1)
        assert json.loads(out) == json.loads(json.dumps(value))
    out = yamlout.render(value)
    assert out.isascii()
    assert out.replace("\n", "").isprintable()
    assert yaml.safe_load(out) == yaml.safe_load(yamlout.render(json.loads(json.dumps(value))))


@TEXT
@pytest.mark.parametrize("outcome", list(Outcome))
def test_results_of_probes(text: str, outcome: Outcome) -> None:
    found = results(text, outcome)
    for out in (
        table.render(found, WIDTH),
        wide.render(found, WIDTH),
        share.render(filled(Header, text), found),
        show_results(on_one_host(found)),
    ):
        assert is_clean(out)
    assert_clean_csv(csvout.render(found))


@TEXT
def test_results_of_probes_as_data(text: str) -> None:
    found = results(text, Outcome.ANSWER_UNEXPECTED)
    for result in found:
        assert_data(result_to_json(result, certificate))
    for result in on_one_host(found):
        assert is_clean(show((result,), "json", strict=False))
        assert len(show((result,), "jsonl", strict=False).splitlines()) == 1


@TEXT
def test_traces(text: str) -> None:
    one = trace(text)
    for in_full in (False, True):
        assert is_clean(traces.render(one, WIDTH, False, in_full))
    assert_clean_csv(traces.to_csv(one))
    assert_data(traces.to_json(one, certificate))


@TEXT
def test_diagnoses(text: str) -> None:
    found = filled(Diagnosis, text)
    for in_full in (False, True):
        view = diagnosis.View(WIDTH, False, in_full)
        assert is_clean(diagnosis.render(pairs.case(), found, view))
    assert is_clean(ticket.render(pairs.case(), found))
    assert_clean_csv(diagnosiscsv.render(found), rows=2)
    assert_data(diagnosis_to_json(found))


def test_diagnoses_of_cases_that_hold_it_somewhere() -> None:
    view, count = diagnosis.View(WIDTH, False, True), 0
    for case in planted(pairs.case(), TEXTS["terminal"]):
        assert is_clean(diagnosis.render(case, pairs.diagnosis(), view))
        assert is_clean(ticket.render(case, pairs.diagnosis()))
        count += 1
    assert count > 30
    for found in planted(pairs.diagnosis(), TEXTS["terminal"]):
        assert is_clean(diagnosis.render(pairs.case(), found, view))
        assert is_clean(ticket.render(pairs.case(), found))
        assert_clean_csv(diagnosiscsv.render(found), rows=2)


@TEXT
def test_what_a_nat_does(text: str) -> None:
    found = filled(NatBehaviour, text)
    for in_full in (False, True):
        assert is_clean(nattable.render([found], WIDTH, wide=in_full))
    assert_clean_csv(natcsv.render([found]), rows=1)
    assert_data(nat_to_json([found]))


@TEXT
@pytest.mark.parametrize("wanted", [one for one in Format if one is not Format.CSV])
def test_agents_and_operators(text: str, wanted: Format, capsys: pytest.CaptureFixture[str]) -> None:
    for state in AgentState:
        agent = filled(AgentInfo, text, {AgentState: state})
        fleet.print_agents([agent], wanted)
        fleet.print_one(agent, wanted)
    operators.print_operators([filled(OperatorInfo, text)], wanted)
    streams = capsys.readouterr()
    # YAML may go on in the next line, further in: the scalar is a quoted one
    assert streams.out.replace("\n", "").isprintable() if wanted is Format.YAML else is_clean(streams.out)
    assert is_clean(streams.err)


@TEXT
def test_saved_runs(text: str) -> None:
    run = filled(Header, text)
    for in_full in (False, True):
        assert is_clean(earlier.runs_table([run], in_full))
    assert_clean_csv(earlier.runs_csv([run]), rows=1)
    assert_data(earlier.run_to_json(run))
    assert agents_to_json([filled(AgentInfo, text)])


# --- certificates are read where they are shown -----------------------------------------------------------


def hostile_certificate(text: str) -> bytes:
    """Its names say ``text``, as far as X.509 lets them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, text[:64]),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, text[:64]),
        ]
    )
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    uri = x509.UniformResourceIdentifier._init_without_validation(text.encode("ascii", "replace").decode())
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.DER)


def test_names_in_certificates() -> None:
    for text in (f"x{TERMINAL}", f"=cmd{TERMINAL}"):
        der = hostile_certificate(text)
        detail = replace(filled(TlsDetail, "plain"), chain=(der, der))
        row = filled(Measurement, "plain", {TlsDetail: detail, Kind: Kind.TLS, Outcome: Outcome.OK})
        found = (filled(TargetResult, "plain", {Measurement: row}),)
        for out in (table.render(found, WIDTH), wide.render(found, WIDTH), show_results(found)):
            assert is_clean(out)
        assert_clean_csv(csvout.render(found))
        assert_data(result_to_json(found[0], certificate))


# --- the two functions ------------------------------------------------------------------------------------


@given(st.text())
def test_what_is_escaped_can_be_seen_and_stays_so(text: str) -> None:
    assert escape(text).isprintable()
    assert escape(escape(text)) == escape(text)
    if text.isprintable():
        assert escape(text) == text


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_cells_come_back_from_a_file_as_they_were_and_none_is_a_formula(texts: list[str]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([csv_text(text) for text in texts])
    (row,) = csv.reader(io.StringIO(out.getvalue()))
    for cell, text in zip(row, texts, strict=True):
        assert not cell.startswith(FORMULA)
        assert cell in (escape(text), "'" + escape(text))


def walk(kind: Any, seen: set[Any]) -> Iterator[Any]:
    """Every type that is in it."""
    if kind in seen:
        return
    seen.add(kind)
    yield kind
    hints = typing.get_type_hints(kind).values() if dataclasses.is_dataclass(kind) else ()
    for inner in (*typing.get_args(kind), *hints):
        yield from walk(inner, seen)


@pytest.mark.parametrize("member", KINDS, ids=lambda member: member.__name__)
def test_the_payload_gets_into_every_kind_of_detail(member: type) -> None:
    """Else this file would prove less than it says."""
    texts = {str, bytes} & set(walk(member, set()))
    assert texts, "a detail without any text"
    if KINDS[member] in OF_DIAGNOSIS:
        return  # shown in the words of a diagnosis only
    row = filled(Measurement, "plain", {member: filled(member, "PAYLOAD"), Kind: KINDS[member]})
    shown = dumps(result_to_json(filled(TargetResult, "plain", {Measurement: row}), certificate))
    assert "PAYLOAD" in shown
