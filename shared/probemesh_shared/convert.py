"""Nouns and session frames to protobuf and back: beside servicers, all that touches generated code.

``to_proto`` and ``from_proto`` serve every dataclass that has a message of its name (all of
:mod:`probemesh_shared.model`, the frames, and whatever else follows the rules of
:mod:`probemesh_shared.wire.compiler`, once its ``_pb2`` module is imported). Reading bounds every value
and raises :class:`BadMessage`, an ``InvalidRequest``, for what cannot be; foreign bytes raise nothing else.
"""

import functools
from dataclasses import replace
from typing import Any, TypeVar, cast, get_args

from google.protobuf.message import DecodeError, Message
from probemesh.v1 import model_pb2, session_pb2

from probemesh_shared.model import Job, Spec
from probemesh_shared.session.frames import (
    Ack,
    Cancel,
    ClockReply,
    ClockRequest,
    DenyList,
    ErrorFrame,
    Frame,
    Goodbye,
    Heartbeat,
    Hello,
    JobEnd,
    RenewWanted,
    ResultBatch,
    UnknownFrame,
    Unreadable,
)
from probemesh_shared.wire import bounds, compiler, framing
from probemesh_shared.wire.bounds import MAX_MESSAGE, BadMessage
from probemesh_shared.wire.framing import Unpacker

T = TypeVar("T")
M = TypeVar("M", session_pb2.AgentFrame, session_pb2.ControllerFrame)


def to_proto(value: Any) -> Message:
    """The message of the dataclass's own name, filled."""
    cls = type(value)
    return compiler.message_class(cls)(**compiler.writer(cls)(value))


def from_proto(cls: type[T], message: Message) -> T:
    """The object of ``cls`` that ``message`` holds; raises :class:`BadMessage`."""
    return cast(T, compiler.reader(cls)(message))


@functools.cache
def _spec() -> tuple[compiler.Writer, compiler.Reader]:
    return compiler.wrapped_union(get_args(Spec), model_pb2.Spec.DESCRIPTOR)


def spec_to_proto(spec: Spec) -> model_pb2.Spec:
    """The wrapper message with its oneof set."""
    return model_pb2.Spec(**_spec()[0](spec))


def spec_from_proto(message: model_pb2.Spec) -> Spec:
    """Raises :class:`BadMessage` where the oneof is empty or of a kind not known here."""
    return cast(Spec, _spec()[1](message))


# --- frames ---------------------------------------------------------------------------------------------

_SHARED: dict[type, str] = {
    Hello: "hello",
    Heartbeat: "heartbeat",
    ClockRequest: "clock_request",
    ClockReply: "clock_reply",
    Goodbye: "goodbye",
    ErrorFrame: "error",
}
_AGENT: dict[type, str] = _SHARED | {ResultBatch: "results", JobEnd: "job_end"}
_CONTROLLER: dict[type, str] = _SHARED | {
    Job: "job",
    Ack: "ack",
    Cancel: "cancel",
    RenewWanted: "renew_wanted",
    DenyList: "deny_list",
}
_AGENT_CLASSES = {name: cls for cls, name in _AGENT.items()}
_CONTROLLER_CLASSES = {name: cls for cls, name in _CONTROLLER.items()}


def frame_to_agent(frame: Frame) -> session_pb2.AgentFrame:
    """What an agent sends. TypeError for frames that only the controller may send."""
    return _wrap(session_pb2.AgentFrame, _AGENT, frame)


def frame_to_controller(frame: Frame) -> session_pb2.ControllerFrame:
    """What a controller sends. TypeError for frames that only an agent may send."""
    return _wrap(session_pb2.ControllerFrame, _CONTROLLER, frame)


def frame_from_agent(message: session_pb2.AgentFrame) -> Frame:
    """What an agent sent; raises :class:`BadMessage`. See ``Unreadable`` and ``UnknownFrame``."""
    name = message.WhichOneof("frame")
    if name is None:
        return UnknownFrame()
    return _unwrap(_AGENT_CLASSES[name], getattr(message, name))


def frame_from_controller(message: session_pb2.ControllerFrame) -> Frame:
    """What a controller sent; raises :class:`BadMessage`. See ``Unreadable`` and ``UnknownFrame``."""
    name = message.WhichOneof("frame")
    if name is None:
        return UnknownFrame()
    return _unwrap(_CONTROLLER_CLASSES[name], getattr(message, name))


def _wrap(message: type[M], names: dict[type, str], frame: Frame) -> M:
    cls = type(frame)
    if cls not in names:
        raise TypeError(f"{cls.__name__} is not sent as {message.__name__}")
    content: dict[str, Any] = {names[cls]: compiler.writer(cls)(frame)}
    return message(**content)


def _unwrap(cls: type, message: Any) -> Frame:
    try:
        frame = cast(Frame, compiler.reader(cls)(message))
        return replace(frame, size=message.ByteSize()) if isinstance(frame, ResultBatch) else frame
    except BadMessage as error:
        unreadable = _unreadable(cls, message, str(error))
        if unreadable is None:
            raise
        return unreadable


def _unreadable(cls: type, message: Any, detail: str) -> Unreadable | None:
    if cls is Job and 1 <= len(message.id) <= bounds.MAX_ID:
        return Unreadable(message.id, None, detail)
    if cls in (ResultBatch, JobEnd) and 1 <= len(message.job_id) <= bounds.MAX_ID and message.seq >= 0:
        return Unreadable(message.job_id, message.seq, detail)
    return None


# --- bytes ----------------------------------------------------------------------------------------------


def parse(cls: type[Message], data: bytes) -> Message:
    """Bytes → message of a generated class; :class:`BadMessage` for what is too large or does not parse."""
    if len(data) > MAX_MESSAGE:
        raise BadMessage(f"a message of {len(data)} bytes is larger than {MAX_MESSAGE}")
    try:
        return cls.FromString(data)
    except DecodeError as error:
        raise BadMessage(f"not a {cls.__name__}: {error}") from None


def pack_agent_frame(frame: Frame) -> bytes:
    """One frame for a pipe (``mesh-agent probe --frames`` writes these)."""
    return framing.pack(frame_to_agent(frame).SerializeToString())


def unpack_agent_frame(body: bytes) -> Frame:
    """A frame's bytes, as :class:`Unpacker` cut them."""
    return frame_from_agent(cast(session_pb2.AgentFrame, parse(session_pb2.AgentFrame, body)))


def pack_job(job: Job) -> bytes:
    """The one job that ``mesh-agent probe --frames`` reads."""
    return framing.pack(to_proto(job).SerializeToString())


def unpack_job(body: bytes) -> Job:
    """A job's bytes, as :class:`Unpacker` cut them; raises :class:`BadMessage`."""
    return from_proto(Job, parse(model_pb2.Job, body))


__all__ = [
    "MAX_MESSAGE",
    "BadMessage",
    "Unpacker",
    "frame_from_agent",
    "frame_from_controller",
    "frame_to_agent",
    "frame_to_controller",
    "from_proto",
    "pack_agent_frame",
    "pack_job",
    "parse",
    "spec_from_proto",
    "spec_to_proto",
    "to_proto",
    "unpack_agent_frame",
    "unpack_job",
]
