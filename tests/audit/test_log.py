"""Handing records in: nobody waits, nothing fails, and what is lost is counted and told."""

import json
import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from probemesh_shared.audit.file import AuditFile
from probemesh_shared.audit.log import GAP, AuditLog
from probemesh_shared.audit.record import AuditRecord, record_from_json
from probemesh_shared.audit.repeats import MAX_KEYS, TOLD, WINDOW_NS, Repeats
from probemesh_shared.words import AuditOutcome

RUN = AuditRecord(1000, "run-started", AuditOutcome.STARTED, who="operator/alice", address="192.0.2.1:1")
REFUSED = AuditRecord(1000, "create-token", AuditOutcome.REFUSED, who="viewer/eve", address="192.0.2.9:1")


class Failing(AuditFile):
    """``error`` is raised by every write while it is set; ``gate`` holds them up."""

    error: Exception | None = None
    gate: threading.Event | None = None

    def append(self, line: bytes) -> None:
        if self.gate is not None:
            assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        super().append(line)


@pytest.fixture
def file(tmp_path: Path) -> Failing:
    return Failing(tmp_path / "audit.jsonl")


def kept(file: AuditFile) -> list[AuditRecord]:
    return [record_from_json(json.loads(line)) for line in file.path.read_bytes().splitlines()]


def test_records_are_written_in_their_order(file: Failing) -> None:
    log = AuditLog(file)
    records = [replace(RUN, targets=(f"host-{number}",)) for number in range(500)]
    for record in records:
        log(record)
    log.close()
    assert kept(file) == records
    assert log.lost == 0
    assert "probemesh-audit" not in {thread.name for thread in threading.enumerate()}


def test_many_threads_lose_and_double_nothing(file: Failing) -> None:
    log = AuditLog(file)

    def tell(number: int) -> None:
        for each in range(100):
            log(replace(RUN, targets=(f"{number}-{each}",)))

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert sorted(record.targets[0] for record in kept(file)) == sorted(
        f"{number}-{each}" for number in range(8) for each in range(100)
    )


@pytest.mark.parametrize(
    ("error", "why"), [(OSError(28, "No space left on device"), "No space"), (ZeroDivisionError(), "Zero")]
)
def test_what_cannot_be_written_is_counted_said_once_and_told_later(
    file: Failing, caplog: pytest.LogCaptureFixture, error: Exception, why: str
) -> None:
    log = AuditLog(file, wall_ns=lambda: 7000)
    file.error = error
    with caplog.at_level(logging.WARNING):
        for number in range(5):
            log(replace(RUN, targets=(f"host-{number}",)))
            assert log.flush(20)
        assert log.lost == 5
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert why in caplog.text
        file.error = None
        log(RUN)
        log.close()
    assert "5 were lost" in caplog.text
    gap, told = kept(file)
    assert told == RUN
    assert (gap.event, gap.outcome, gap.times, gap.at_ns) == (GAP, AuditOutcome.FAILED, 5, 7000)
    assert why in gap.detail
    assert log.lost == 5


def test_a_disk_that_hangs_holds_up_nobody_and_memory_is_bounded(file: Failing) -> None:
    file.gate = threading.Event()
    log = AuditLog(file, waiting=100)
    for number in range(1000):
        log(replace(RUN, targets=(f"host-{number}",)))
    assert not log.flush(0)
    lost = log.lost
    assert 1000 - 100 - 64 <= lost <= 900
    log.close(0)
    file.gate.set()
    assert log.flush(20)
    records = kept(file)
    assert sum(record.event != GAP for record in records) == 1000 - lost
    assert sum(record.times for record in records if record.event == GAP) == lost


def test_where_no_thread_can_be_had_it_is_counted(file: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    log = AuditLog(file)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        log(RUN)
    assert log.lost == 1
    log(RUN)
    log.close()
    assert [record.event for record in kept(file)] == [GAP, "run-started"]


# --- floods -----------------------------------------------------------------------------------------------


def test_a_flood_of_refusals_becomes_a_few_records_and_a_number(file: Failing) -> None:
    now = 0
    log = AuditLog(file, monotonic_ns=lambda: now)
    for number in range(10_000):
        log(replace(REFUSED, address=f"192.0.2.9:{number}"))
    log(RUN)
    log.close()
    records = kept(file)
    assert len(records) == TOLD + 2
    assert sum(record.times for record in records if record.who == REFUSED.who) == 10_000
    assert RUN in records


def test_the_number_is_told_when_the_minute_is_over() -> None:
    repeats = Repeats()
    told = [record for _ in range(TOLD + 5) for record in repeats.admit(REFUSED, 0)]
    assert told == [REFUSED] * TOLD
    assert list(repeats.admit(RUN, WINDOW_NS - 1)) == [RUN]
    assert list(repeats.admit(RUN, WINDOW_NS)) == [replace(REFUSED, times=5), RUN]
    assert list(repeats.admit(REFUSED, WINDOW_NS)) == [REFUSED]


@pytest.mark.parametrize(
    "other",
    [
        replace(RUN, targets=("elsewhere",)),
        replace(RUN, who="operator/bob"),
        replace(RUN, kinds=("tcp",)),
        replace(RUN, agents=("berlin-1",)),
        replace(RUN, address="192.0.2.2:1"),
        replace(RUN, certificate="01"),
    ],
    ids=lambda record: "targets" if record.targets else record.who,
)
def test_nothing_hides_behind_a_flood_of_something_else(other: AuditRecord) -> None:
    repeats = Repeats()
    for number in range(1000):
        list(repeats.admit(replace(RUN, run=str(number)), 0))
    assert list(repeats.admit(other, 1)) == [other]


def test_floods_that_differ_need_no_more_memory_and_lose_nothing() -> None:
    repeats = Repeats()
    told = [
        record
        for turn in range(TOLD + 1)
        for number in range(MAX_KEYS)
        for record in repeats.admit(replace(RUN, targets=(str(number),)), 0)
    ]
    assert len(told) == TOLD * MAX_KEYS
    for number in range(MAX_KEYS):
        told += repeats.admit(replace(RUN, targets=(f"new-{number}",)), 0)
    assert sum(record.times for record in told) == (TOLD + 2) * MAX_KEYS
    assert not [record for record in repeats.close() if record.times > 1]
