"""Cutting batches to size, and how near the estimate of sizes is."""

import dataclasses
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probemesh_shared import convert, model
from probemesh_shared.session.frames import JobStatus, OpenJob, ResultBatch
from probemesh_shared.session.outbox import WINDOW, Outbox
from probemesh_shared.wire.sizes import size_of
from probemesh_shared.words import FailureKind, Origin, Outcome, Stage

from tests.session.simulated import measurement
from tests.wire.strategies import instances


@given(value=st.one_of(instances(model.Measurement), instances(model.Job), instances(model.AgentInfo)))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_size_is_an_upper_bound_and_not_a_wild_one(value: object) -> None:
    truth = convert.to_proto(value).ByteSize()
    assert truth <= size_of(value) <= 8 * truth + 400


def test_a_tcp_measurement_is_measured_closely() -> None:
    one = measurement(7)
    truth = convert.to_proto(one).ByteSize()
    assert truth <= size_of(one) <= 3.5 * truth


def batches(outbox: Outbox) -> list[ResultBatch]:
    taken = []
    while frames := outbox.take():
        taken += [frame for frame in frames if isinstance(frame, ResultBatch)]
        for frame in frames:
            outbox.acknowledge(frame.job_id, frame.seq)
    return taken


def test_many_results_are_cut_into_batches_that_fit_the_window() -> None:
    outbox = Outbox()
    outbox.open("j")
    rows = [measurement(n, padding=n % 700) for n in range(3000)]
    outbox.add("j", rows)
    taken = batches(outbox)
    assert [row for batch in taken for row in batch.measurements] == rows
    assert len(taken) > 2
    assert all(convert.frame_to_agent(batch).ByteSize() <= WINDOW for batch in taken)


def test_a_result_too_large_for_one_message_keeps_its_samples() -> None:
    chain = tuple(bytes(60_000) for _ in range(8))
    huge = dataclasses.replace(measurement(0), detail=model.TlsDetail(chain=chain), log=("line",))
    outbox = Outbox()
    outbox.open("j")
    outbox.add("j", [measurement(1), huge, measurement(2)])
    rows = [row for batch in batches(outbox) for row in batch.measurements]
    assert [row.target_index for row in rows] == [1, 0, 2]
    assert rows[1].samples == huge.samples
    assert rows[1].detail is None
    assert "left out" in rows[1].log[0]


TOO_LONG = "x" * 17_000
FAILED = model.Failure(Stage.CONNECT, FailureKind.TIMEOUT, Origin.UNKNOWN, TOO_LONG)


@pytest.mark.parametrize(
    "more",
    [
        {"detail": model.TlsDetail(chain=(bytes(70_000),))},
        {"detail": model.HttpDetail(tls=model.TlsDetail(chain=(b"", bytes(66_000))))},
        {"detail": model.HttpDetail(headers=(("a", "b"), ("c", TOO_LONG)))},
        {"detail": model.HttpDetail(headers=(("a", "b"),) * 17_000)},
        {"log": ("line", TOO_LONG)},
        {"failure": FAILED, "samples": (model.Sample(0, 0.0, None, Outcome.TIMEOUT, FAILED),)},
    ],
)
def test_what_nobody_could_read_takes_no_other_result_along(more: dict[str, Any]) -> None:
    outbox = Outbox()
    outbox.open("j")
    good = [measurement(1), measurement(2)]
    outbox.add("j", [good[0], dataclasses.replace(measurement(0), **more), good[1]])
    read = [convert.frame_from_agent(convert.frame_to_agent(batch)) for batch in batches(outbox)]
    rows = [row for frame in read if isinstance(frame, ResultBatch) for row in frame.measurements]
    assert [row.target_index for row in rows] == [1, 0, 2]
    assert [rows[0], rows[2]] == good
    assert rows[1].detail is None and "left out" in rows[1].log[0]


def test_the_largest_count_of_failing_samples_still_fits() -> None:
    failure = model.Failure(Stage.CONNECT, FailureKind.TIMEOUT, Origin.UNKNOWN, "d" * 16_000)
    samples = tuple(model.Sample(n, 0.0, None, Outcome.TIMEOUT, failure) for n in range(1000))
    outbox = Outbox()
    outbox.open("j")
    outbox.add("j", [dataclasses.replace(measurement(0), samples=samples, failure=failure)])
    (batch,) = batches(outbox)
    assert len(batch.measurements[0].samples) == 1000
    assert batch.measurements[0].failure == failure
    assert convert.frame_to_agent(batch).ByteSize() <= WINDOW


def test_an_id_is_opened_once_in_an_outboxs_life() -> None:
    outbox = Outbox()
    assert outbox.open("j")
    assert not outbox.open("j")
    outbox.end("j", JobStatus.DONE)
    outbox.end("j", JobStatus.FAILED)  # too late
    (end,) = outbox.take()
    assert end.status is JobStatus.DONE  # type: ignore[union-attr]
    outbox.acknowledge("j", 0)
    assert not outbox.open("j")
    assert outbox.resume([OpenJob("j", 0)]) == ((), (OpenJob("j", 0),))


def test_results_of_unknown_and_ended_jobs_are_dropped() -> None:
    outbox = Outbox()
    outbox.add("nobody", [measurement(0)])
    outbox.open("j")
    outbox.end("j", JobStatus.DONE)
    outbox.add("j", [measurement(0)])
    assert batches(outbox) == []
