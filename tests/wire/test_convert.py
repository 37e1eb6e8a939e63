"""Nouns and messages agree, every value survives the wire, and foreign bytes raise only BadMessage."""

import contextlib
import dataclasses
import math
import typing
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probemesh.v1 import model_pb2, session_pb2
from probemesh_shared import convert, details, model, narrowing, seen, specs, twoends, words
from probemesh_shared.convert import BadMessage
from probemesh_shared.session import frames
from probemesh_shared.wire import compiler

from tests.wire.strategies import instances

#: Nouns that never travel in the session or the mesh service: they are made where they are shown.
AT_HOME = {
    model.Scope,
    model.Place,
    model.Evidence,
    model.Finding,
    model.DirectionVerdict,
    model.PathHop,
    model.Diagnosis,
    model.RuledOut,
    model.Vantage,
    model.TargetResult,
    frames.UnknownFrame,
    frames.Unreadable,
}


def _classes(module: Any) -> list[type]:
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__
    ]


MODULES = (specs, seen, details, twoends, model, frames, narrowing)
TRAVELLERS = [cls for module in MODULES for cls in _classes(module) if cls not in AT_HOME]
AGENT_FRAMES = list(convert._AGENT)
CONTROLLER_FRAMES = list(convert._CONTROLLER)
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_every_message_has_its_class() -> None:
    named = {compiler.message_name(cls) for cls in TRAVELLERS}
    wrappers = {"Spec", "Header", "AgentFrame", "ControllerFrame"}
    messages = {*model_pb2.DESCRIPTOR.message_types_by_name, *session_pb2.DESCRIPTOR.message_types_by_name}
    assert messages == named | wrappers


@pytest.mark.parametrize("cls", TRAVELLERS, ids=lambda cls: cls.__name__)
def test_every_field_has_its_twin(cls: type) -> None:
    ours = {field.name for field in dataclasses.fields(cls) if frames.UNSENT not in field.metadata}
    descriptor = compiler.descriptor_of(cls)
    theirs = set()
    for field in descriptor.fields:
        real = field.containing_oneof and not field.containing_oneof.name.startswith("_")
        theirs.add(field.containing_oneof.name if real else field.name)
    assert ours == theirs


def test_a_class_that_differs_from_its_message_is_refused() -> None:
    strange = dataclasses.make_dataclass("Heartbeat", [("number", int)], frozen=True)
    with pytest.raises(compiler.Mismatch):
        compiler.writer(strange)


@pytest.mark.parametrize("cls", TRAVELLERS, ids=lambda cls: cls.__name__)
@given(data=st.data())
@QUICK
def test_round_trip(cls: type, data: st.DataObject) -> None:
    value = data.draw(instances(cls))
    message = convert.to_proto(value)
    again = convert.from_proto(cls, convert.parse(type(message), message.SerializeToString()))
    assert again == value
    assert repr(again) == repr(value), "types too: 1 is not 1.0, and a word not a string"


@given(spec=st.one_of(*(instances(cls) for cls in typing.get_args(model.Spec))))
@QUICK
def test_specs_round_trip_in_their_wrapper(spec: model.Spec) -> None:
    assert convert.spec_from_proto(convert.spec_to_proto(spec)) == spec


@given(frame=st.one_of(*(instances(cls) for cls in AGENT_FRAMES)))
@QUICK
def test_agent_frames_round_trip_on_a_pipe(frame: frames.Frame) -> None:
    (body,) = convert.Unpacker().feed(convert.pack_agent_frame(frame))
    assert convert.unpack_agent_frame(body) == frame


@given(frame=st.one_of(*(instances(cls) for cls in CONTROLLER_FRAMES)))
@QUICK
def test_controller_frames_round_trip(frame: frames.Frame) -> None:
    assert convert.frame_from_controller(convert.frame_to_controller(frame)) == frame


@given(job=instances(model.Job))
@QUICK
def test_jobs_round_trip_on_a_pipe(job: model.Job) -> None:
    (body,) = convert.Unpacker().feed(convert.pack_job(job))
    assert convert.unpack_job(body) == job


def test_a_side_cannot_send_the_other_sides_frames() -> None:
    with pytest.raises(TypeError):
        convert.frame_to_agent(frames.Ack("j", 0))
    with pytest.raises(TypeError):
        convert.frame_to_controller(frames.JobEnd("j", 0, frames.JobStatus.DONE))
    with pytest.raises(TypeError):
        convert.frame_to_agent(frames.UnknownFrame())


# --- hostile and newer peers --------------------------------------------------------------------------------


@given(data=st.binary(max_size=300))
@settings(max_examples=400, deadline=None)
def test_random_bytes_raise_nothing_but_bad_message(data: bytes) -> None:
    for cls, read in (
        (session_pb2.AgentFrame, convert.frame_from_agent),
        (session_pb2.ControllerFrame, convert.frame_from_controller),
    ):
        with contextlib.suppress(BadMessage):
            read(typing.cast(Any, convert.parse(cls, data)))


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_frames_raise_nothing_but_bad_message(data: st.DataObject) -> None:
    frame = data.draw(st.one_of(*(instances(cls) for cls in AGENT_FRAMES)))
    raw = bytearray(convert.frame_to_agent(frame).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadMessage):
        convert.unpack_agent_frame(bytes(raw))


SAMPLE: dict[str, Any] = {"seq": 0, "outcome": model_pb2.OUTCOME_OK}
MEASUREMENT: dict[str, Any] = {"kind": model_pb2.KIND_TCP, "target": "h:1", "outcome": model_pb2.OUTCOME_OK}


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (model.Sample, model_pb2.Sample(**SAMPLE, rtt_ms=math.nan)),
        (model.Sample, model_pb2.Sample(**SAMPLE, rtt_ms=math.inf)),
        (model.Sample, model_pb2.Sample(**SAMPLE, rtt_ms=-1.0)),
        (model.Sample, model_pb2.Sample(**SAMPLE, rtt_ms=1e12)),
        (model.Sample, model_pb2.Sample(**SAMPLE, offset_ms=-math.inf)),
        (model.Sample, model_pb2.Sample(**SAMPLE, ttl=256)),
        (model.Sample, model_pb2.Sample(seq=-1, outcome=model_pb2.OUTCOME_OK)),
        (model.Sample, model_pb2.Sample(seq=1)),  # no outcome
        (model.Measurement, model_pb2.Measurement(**MEASUREMENT, port=-1)),
        (model.Measurement, model_pb2.Measurement(**MEASUREMENT, port=70000)),
        (model.Measurement, model_pb2.Measurement(**MEASUREMENT, port=0)),
        (model.Measurement, model_pb2.Measurement(**MEASUREMENT, log=["x"] * 20_000)),
        (model.Measurement, model_pb2.Measurement(**MEASUREMENT, address="x" * 20_000)),
        (model.Measurement, model_pb2.Measurement(kind=99, outcome=1)),  # type: ignore[arg-type]
        (model.PortRange, model_pb2.PortRange(first=5, last=4)),
        (model.PortRange, model_pb2.PortRange()),
        (model.Options, model_pb2.Options(family=1, count=0, timeout_s=1)),  # type: ignore[arg-type]
        (model.Options, model_pb2.Options(family=1, count=1)),  # type: ignore[arg-type]
        (model.IcmpSpec, model_pb2.IcmpSpec()),
        (model.Job, model_pb2.Job(id="j")),
        (model.Job, model_pb2.Job(id="", spec=model_pb2.Spec(icmp={}))),  # type: ignore[arg-type]
        (model.Pacing, model_pb2.Pacing(packets_per_s=math.nan)),
        (model.Pacing, model_pb2.Pacing(packets_per_s=0.0)),
        (frames.Hello, session_pb2.Hello(protocol=1, min_protocol=1)),
        (frames.Ack, session_pb2.Ack(job_id="", seq=1)),
        (frames.Ack, session_pb2.Ack(job_id="j" * 300, seq=1)),
    ],
    ids=lambda value: " ".join(str(value).split())[:40] if not isinstance(value, type) else value.__name__,
)
def test_what_cannot_be_is_refused(cls: type, message: Any) -> None:
    with pytest.raises(BadMessage):
        convert.from_proto(cls, convert.parse(type(message), message.SerializeToString()))


def test_absence_is_none_and_zero_is_zero() -> None:
    absent = convert.from_proto(model.Sample, model_pb2.Sample(**SAMPLE))
    zero = convert.from_proto(model.Sample, model_pb2.Sample(**SAMPLE, rtt_ms=0.0))
    assert absent.rtt_ms is None
    assert zero.rtt_ms == 0.0


def test_words_of_a_newer_peer_read_as_unsupported_where_that_word_exists() -> None:
    sample = convert.from_proto(model.Sample, model_pb2.Sample(seq=0, outcome=99))  # type: ignore[arg-type]
    assert sample.outcome is words.Outcome.UNSUPPORTED
    failure = model_pb2.Failure(stage=1, kind=200, origin=1)  # type: ignore[arg-type]
    assert convert.from_proto(model.Failure, failure).kind is words.FailureKind.UNSUPPORTED
    with pytest.raises(BadMessage):
        convert.from_proto(model.Failure, model_pb2.Failure(stage=99, kind=1, origin=1))  # type: ignore[arg-type]


def test_an_unknown_frame_is_told_apart_from_a_bad_one() -> None:
    newer = b"\xfa\x01\x03abc"  # field 31, three bytes
    assert convert.unpack_agent_frame(newer) == frames.UnknownFrame()
    parsed = typing.cast(Any, convert.parse(session_pb2.ControllerFrame, newer))
    assert convert.frame_from_controller(parsed) == frames.UnknownFrame()


def test_a_job_or_batch_with_unreadable_content_keeps_its_name() -> None:
    job = session_pb2.ControllerFrame(job=model_pb2.Job(id="j", spec=model_pb2.Spec()))
    read = convert.frame_from_controller(job)
    assert isinstance(read, frames.Unreadable)
    assert (read.job_id, read.seq) == ("j", None)
    bad = model_pb2.Measurement(**MEASUREMENT, port=70000)
    batch = session_pb2.AgentFrame(results=session_pb2.ResultBatch(job_id="j", seq=7, measurements=[bad]))
    read = convert.frame_from_agent(batch)
    assert isinstance(read, frames.Unreadable)
    assert (read.job_id, read.seq) == ("j", 7)
    with pytest.raises(BadMessage):
        convert.frame_from_agent(session_pb2.AgentFrame(results=session_pb2.ResultBatch(job_id="", seq=7)))


def test_every_enum_of_the_wire_has_exactly_its_words() -> None:
    enums = {**model_pb2.DESCRIPTOR.enum_types_by_name, **session_pb2.DESCRIPTOR.enum_types_by_name}
    for name, descriptor in enums.items():
        ours: type[StrEnum] = getattr(words, name, None) or getattr(frames, name)
        to_number, to_word = compiler._words(ours, descriptor)
        assert set(to_number) == set(ours)
        assert all(to_word[number] is word for word, number in to_number.items())


def test_a_message_over_the_limit_is_refused_unparsed() -> None:
    with pytest.raises(BadMessage, match="larger"):
        convert.parse(session_pb2.AgentFrame, bytes(convert.MAX_MESSAGE + 1))


@pytest.mark.parametrize("sizes", [range(65), [65_536], [-1]], ids=["many", "large", "negative"])
def test_a_sweep_has_so_many_sizes_and_none_is_larger_than_a_packet(sizes: Sequence[int]) -> None:
    """Each of them is measured beside the others: thousands held an agent up for as long as they liked."""
    spec = convert.spec_to_proto(specs.IcmpSpec(sizes=tuple(range(64))))
    assert convert.spec_from_proto(spec) == specs.IcmpSpec(sizes=tuple(range(64)))
    del spec.icmp.sizes[:]
    spec.icmp.sizes.extend(sizes)
    with pytest.raises(BadMessage):
        convert.spec_from_proto(spec)
