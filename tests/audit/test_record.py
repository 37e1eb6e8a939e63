"""What an event is as a line: whole, ASCII, and the same again when it is read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_shared.audit.record import (
    MAX_LISTED,
    MAX_TEXT,
    AuditCount,
    AuditRecord,
    bounded,
    counted,
    line_of,
    outcome_by,
    record_from_json,
    record_to_json,
)
from probemesh_shared.audit.shown import about
from probemesh_shared.words import AuditOutcome

PAYLOAD = '\n{"event":"forged"}\r\x1b[2J\u202e\u2028\x00"\\ü😀\x7f\ud800'
TEXT = st.text(max_size=40)
TEXTS = st.lists(TEXT, max_size=4).map(tuple)
RECORDS = st.builds(
    AuditRecord,
    at_ns=st.integers(0, 4_000_000_000_000_000).map(lambda micros: micros * 1000),
    event=TEXT,
    who=TEXT,
    address=TEXT,
    agent=TEXT,
    detail=TEXT,
    kinds=TEXTS,
    agents=TEXTS,
    targets=TEXTS,
    omitted=st.integers(0, 9),
    counts=st.dictionaries(TEXT, st.integers(0, 1 << 40), max_size=3).map(counted),
    times=st.integers(1, 9),
)


def read(line: bytes) -> AuditRecord:
    return record_from_json(json.loads(line))


@given(RECORDS)
def test_a_line_holds_the_record_and_nothing_else(record: AuditRecord) -> None:
    line = line_of(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line[:-1].decode("ascii").isprintable()
    assert json.loads(line) == record_to_json(record)
    assert read(line) == record


def test_a_payload_in_every_text_forges_no_line() -> None:
    texts: dict[str, Any] = {
        name: PAYLOAD for name, value in vars_of(AuditRecord(0, "")).items() if isinstance(value, str)
    }
    texts.pop("outcome")
    record = AuditRecord(
        at_ns=0,
        **texts,
        kinds=(PAYLOAD,),
        agents=(PAYLOAD,),
        targets=(PAYLOAD,),
        counts=counted({PAYLOAD: 3}),
    )
    line = line_of(record)
    assert line.splitlines() == [line[:-1]]
    assert line[:-1].decode("ascii").isprintable()
    assert read(line) == record
    assert about(record).isprintable()


def vars_of(record: AuditRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in AuditRecord.__slots__}


def test_what_is_too_long_is_cut_and_what_has_no_room_counted() -> None:
    targets = tuple(f"host-{number}.example" for number in range(3000))
    cut = bounded(AuditRecord(0, "run-started", detail="x" * 9999, targets=targets, omitted=1))
    assert len(cut.detail) == MAX_TEXT
    assert cut.targets == targets[: len(cut.targets)]
    assert sum(map(len, cut.targets)) <= MAX_LISTED
    assert cut.omitted == 1 + 3000 - len(cut.targets)
    worst = AuditRecord(0, "x", targets=("\U0001f600" * 4000, "\x00" * 4000), detail="\U0001f600" * 10_000)
    assert len(line_of(worst)) < 1 << 17


def test_counts_say_whether_policy_let_nothing_through() -> None:
    assert counted({"ok": 2, "denied": 1}) == (AuditCount("denied", 1), AuditCount("ok", 2))
    assert outcome_by({"denied": 4}) is AuditOutcome.DENIED
    assert outcome_by({"denied": 4, "ok": 1}) is AuditOutcome.OK
    assert outcome_by({}) is AuditOutcome.OK


@pytest.mark.parametrize(
    "change",
    [
        {"time": "yesterday"},
        {"time": None},
        {"outcome": "splendid"},
        {"who": 5},
        {"targets": "a"},
        {"targets": [1]},
        {"omitted": -1},
        {"omitted": 1 << 63},
        {"times": True},
        {"times": 0},
        {"counts": []},
        {"counts": {"ok": "many"}},
    ],
    ids=repr,
)
def test_what_is_no_record_is_not_taken_for_one(change: dict[str, object]) -> None:
    value: dict[str, object] = {**record_to_json(AuditRecord(0, "start"))}
    assert record_from_json(value) == AuditRecord(0, "start")
    with pytest.raises(ValueError, match=r"."):
        record_from_json({**value, **change})
    with pytest.raises(ValueError, match="object"):
        record_from_json([value])


def test_older_and_newer_files_are_read_as_well() -> None:
    assert record_from_json(
        {"time": "2026-11-27T04:00:00Z", "event": "start", "outcome": "ok", "new": 1}
    ) == (AuditRecord(1_795_752_000_000_000_000, "start"))
