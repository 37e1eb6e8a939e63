"""Finding records again."""

from dataclasses import replace
from pathlib import Path

import pytest
from probemesh_shared.audit.file import AuditFile, older
from probemesh_shared.audit.query import AuditQuery
from probemesh_shared.audit.record import AuditRecord, line_of
from probemesh_shared.audit.search import search
from probemesh_shared.errors import StateError
from probemesh_shared.words import AuditOutcome

TOKEN = AuditRecord(1_000_000, "create-token", who="admin/ann", token="4f2a")
STARTED = AuditRecord(
    2_000_000,
    "run-started",
    AuditOutcome.STARTED,
    who="operator/alice",
    run="r1",
    agents=("berlin-1", "tokyo-1"),
    targets=("db:5432",),
)
ENDED = replace(
    STARTED, at_ns=3_000_000, event="run-ended", outcome=AuditOutcome.DENIED, agents=(), targets=()
)
REVOKED = AuditRecord(4_000_000, "revoke-agent", who="admin/ann", agent="berlin-1")
ATTACH = AuditRecord(5_000_000, "attach", AuditOutcome.REFUSED, who="agent/berlin-1", who_id="77fe")
ALL = (TOKEN, STARTED, ENDED, REVOKED, ATTACH)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    file = AuditFile(path, size=len(line_of(STARTED)) + len(line_of(ENDED)), files=8)
    for record in ALL:
        file.append(line_of(record))
    assert older(path, 1).exists()
    return path


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (AuditQuery(), ALL),
        (AuditQuery(since_ns=2_000_000, until_ns=4_000_000), (STARTED, ENDED)),
        (AuditQuery(who="operator/alice"), (STARTED, ENDED)),
        (AuditQuery(who="ann"), (TOKEN, REVOKED)),
        (AuditQuery(who="admin/*"), (TOKEN, REVOKED)),
        (AuditQuery(who="77fe"), (ATTACH,)),
        (AuditQuery(agent="berlin-1"), (STARTED, REVOKED, ATTACH)),
        (AuditQuery(agent="tokyo-*"), (STARTED,)),
        (AuditQuery(event="run-*"), (STARTED, ENDED)),
        (AuditQuery(outcome=AuditOutcome.DENIED), (ENDED,)),
        (AuditQuery(run="r1", outcome=AuditOutcome.STARTED), (STARTED,)),
        (AuditQuery(who="nobody"), ()),
    ],
    ids=repr,
)
def test_what_is_asked_for_is_found_oldest_first(
    path: Path, query: AuditQuery, found: tuple[AuditRecord, ...]
) -> None:
    answer = search(path, query)
    assert answer.records == found
    assert not answer.more


def test_the_newest_are_told_and_that_there_are_more(path: Path) -> None:
    answer = search(path, AuditQuery(limit=2))
    assert answer.records == (REVOKED, ATTACH)
    assert answer.more
    assert not search(path, AuditQuery(limit=5)).more


def test_lines_that_are_no_records_are_counted_and_passed_over(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"torn\n\xff\xfe\n' + b"[" * 100_000 + b"\nnull\n" + line_of(TOKEN))
    answer = search(path, AuditQuery(who="ann"))
    assert answer.records == (TOKEN, REVOKED, TOKEN)
    assert answer.unreadable == 4


def test_without_a_file_nothing_was_recorded(tmp_path: Path) -> None:
    assert search(tmp_path / "audit.jsonl", AuditQuery()).records == ()


def test_a_file_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    with pytest.raises(StateError, match="cannot be read"):
        search(tmp_path / "audit.jsonl", AuditQuery())
