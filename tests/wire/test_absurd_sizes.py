"""Every text, list and map of every message of proto/, at a size that no honest peer sends: refused, in words
that name the field. A field or a message that is new is tried by being there."""

import dataclasses
from collections.abc import Iterator

import probemesh_controller.api
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from probemesh.v1 import enrol_pb2, mesh_pb2, model_pb2, session_pb2, trust_pb2
from probemesh_shared import details, model, narrowing, seen, specs, twoends
from probemesh_shared.audit import query, record
from probemesh_shared.convert import BadMessage, frame_from_agent, frame_from_controller, from_proto, parse
from probemesh_shared.session import frames
from probemesh_shared.session.frames import Unreadable
from probemesh_shared.wire import bounds, compiler, outline

FILES = (enrol_pb2, mesh_pb2, model_pb2, session_pb2, trust_pb2)
#: Where the classes are that messages are read into.
MODULES = (
    *(details, model, narrowing, seen, specs, twoends, frames, query, record),
    probemesh_controller.api,
)
#: More than the longest that any field may be.
LONG, MANY = 300_000, 20_000
#: Read by their oneof alone, which is a message that is tried by itself; a header is a pair of texts.
WRAPPERS = {"Spec", "Header", "AgentFrame", "ControllerFrame", "RunEvent"}


def messages() -> dict[str, Descriptor]:
    return {name: found for file in FILES for name, found in file.DESCRIPTOR.message_types_by_name.items()}


def called() -> set[str]:
    """Requests and answers: they are read field by field, where they are served or asked for."""
    methods = [
        method
        for file in FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    return {message.name for method in methods for message in (method.input_type, method.output_type)}


def classes() -> dict[str, type]:
    """By the name of the message that is read into it."""
    every = (value for module in MODULES for value in vars(module).values() if isinstance(value, type))
    found = {compiler.message_name(cls): cls for cls in every if dataclasses.is_dataclass(cls)}
    return {name: cls for name, cls in found.items() if name not in called()}


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def absurd() -> Iterator[tuple[str, str, str]]:
    """Message, field, and how it is too large."""
    for name, descriptor in messages().items():
        for field in descriptor.fields if name not in WRAPPERS else ():
            if is_map(field):
                yield from ((name, field.name, how) for how in ("many entries", "long key", "long value"))
                continue
            if field.is_repeated:
                yield name, field.name, "many"
            if field.type in (field.TYPE_STRING, field.TYPE_BYTES):
                yield name, field.name, "long"


def filled(name: str, field_name: str, how: str) -> Message:
    made = message_factory.GetMessageClass(messages()[name])()
    field = messages()[name].fields_by_name[field_name]
    text = "x" if field.type == field.TYPE_STRING else b"x"
    if is_map(field):
        entries = getattr(made, field_name)
        for number in range(MANY if how == "many entries" else 1):
            key = "k" * LONG if how == "long key" else f"k{number}"
            entries[key] = "v" * LONG if how == "long value" else "v"
    elif how == "many" and field.message_type is not None:
        for _ in range(MANY):
            getattr(made, field_name).add()
    elif how == "many":
        getattr(made, field_name).extend([text if field.type in (9, 12) else 1] * MANY)
    elif field.is_repeated:
        getattr(made, field_name).append(text * LONG)
    else:
        setattr(made, field_name, text * LONG)
    return made


CASES = list(absurd())


def test_there_are_cases_of_every_message() -> None:
    assert len(CASES) > 300
    assert {name for name, _, _ in CASES} > {"RunRequest", "EnrolResponse", "Measurement", "Hello", "Job"}


@pytest.mark.parametrize(("name", "field", "how"), CASES)
def test_it_is_refused_in_words(name: str, field: str, how: str) -> None:
    made = filled(name, field, how)
    cls = classes().get(name)
    with pytest.raises(BadMessage) as raised:
        if cls is not None:
            from_proto(cls, made)
        else:
            outline.check(made)
    assert f".{field}: " in str(raised.value) and "length" in str(raised.value)
    assert len(str(raised.value)) < 200, "nobody is told all of it again"


def test_every_message_is_read_by_a_class_or_is_one_of_a_call() -> None:
    """What is neither would be judged by nobody."""
    assert set(messages()) - set(classes()) - called() == {"Spec", "Header"}


def test_a_header_is_bounded_where_it_stands() -> None:
    for header in (model_pb2.Header(name="x" * LONG), model_pb2.Header(name="a", value="x" * LONG)):
        with pytest.raises(BadMessage, match="length"):
            from_proto(specs.HttpSpec, model_pb2.HttpSpec(headers=[header]))


@pytest.mark.parametrize("frame", ["hello", "results", "job_end", "goodbye", "error", "heartbeat"])
def test_a_frame_with_a_giant_is_no_frame(frame: str) -> None:
    """Agents and controllers read frames by the same classes; what stands for a job ends that job alone."""
    made = session_pb2.AgentFrame()
    inner = getattr(made, frame)
    inner.SetInParent()
    texts = [field for field in inner.DESCRIPTOR.fields if field.type == field.TYPE_STRING]
    for field in texts:
        inner.Clear()
        if frame in ("results", "job_end"):
            inner.job_id, inner.seq = "j", 1
        value = "x" * LONG
        getattr(inner, field.name).append(value) if field.is_repeated else setattr(inner, field.name, value)
        try:
            told = frame_from_agent(made)
        except BadMessage:
            continue
        assert isinstance(told, Unreadable) and len(told.detail) < 200


def test_a_job_with_a_giant_ends_unread() -> None:
    made = session_pb2.ControllerFrame()
    made.job.id = "j"
    made.job.run_id = "x" * LONG
    told = frame_from_controller(made)
    assert isinstance(told, Unreadable) and told.job_id == "j" and "run_id" in told.detail


def test_no_message_is_larger_than_one_may_be() -> None:
    with pytest.raises(BadMessage, match="larger than"):
        parse(model_pb2.Job, b"x" * (bounds.MAX_MESSAGE + 1))


def test_every_type_of_field_is_one_that_is_bounded() -> None:
    """A kind of field that the readers do not know would pass them by."""
    known = {
        *(FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_MESSAGE),
        *(FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_BOOL),
        FieldDescriptor.TYPE_ENUM,
    }
    assert {field.type for one in messages().values() for field in one.fields} <= known
