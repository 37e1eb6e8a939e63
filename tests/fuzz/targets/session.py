"""Frames of a peer, hello and all, as they come on a pipe or a stream: read, and fed to a session."""

import dataclasses

from probemesh.v1 import session_pb2
from probemesh_shared import convert
from probemesh_shared.convert import BadMessage, Unpacker
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.expectations import Judge
from probemesh_shared.model import Job, Target, TcpSpec
from probemesh_shared.session.events import JobArrived
from probemesh_shared.session.frames import (
    Ack,
    Cancel,
    ClockReply,
    DenyList,
    Frame,
    Goodbye,
    Heartbeat,
    Hello,
    JobEnd,
    JobStatus,
    OpenJob,
    RenewWanted,
    ResultBatch,
)
from probemesh_shared.session.machine import Session, Side
from probemesh_shared.wire import framing

from tests.fuzz.checks import cut, pick
from tests.session.simulated import hello, job, measurement

_HELLO = Hello(1, 1, "probemesh 0.1.0", "peer", "lisbon-1", ("icmp",), ("192.0.2.1",), (OpenJob("j", 0),))


def _pipe(*frames: Frame, agent: bool) -> bytes:
    wrap = convert.frame_to_agent if agent else convert.frame_to_controller
    return b"".join(framing.pack(wrap(frame).SerializeToString()) for frame in frames)


SEEDS = (
    b"\0\0" + _pipe(_HELLO, job("a"), Cancel("a"), Ack("a", 0), Heartbeat(1), agent=False),
    b"\0\7" + _pipe(_HELLO, ClockReply(1, 2, 3), RenewWanted(60), Goodbye("over"), agent=False),
    b"\0\0" + _pipe(_HELLO, DenyList(), agent=False),
    b"\1\0"
    + _pipe(
        _HELLO,
        ResultBatch("mine", 0, (measurement(0), measurement(1, 400))),
        JobEnd("mine", 1, JobStatus.DONE),
        Goodbye("over"),
        agent=True,
    ),
    b"\2" + convert.pack_job(job("a"))[4:],
)


def read(data: bytes) -> None:
    way, rest = pick(data, (_as_agent, _as_controller, _as_child))
    way(rest)


def _frames(data: bytes, agent: bool) -> list[Frame]:
    """As far as the bytes are frames; what is none ends the link."""
    cls = session_pb2.AgentFrame if agent else session_pb2.ControllerFrame
    unpacker, found = Unpacker(), []
    try:
        for piece in cut(data):
            for body in unpacker.feed(piece):
                if agent:
                    found.append(convert.unpack_agent_frame(body))
                else:
                    found.append(convert.frame_from_controller(convert.parse(cls, body)))  # type: ignore[arg-type]
        unpacker.close()
    except BadMessage as error:
        assert str(error)
    return found


def _as_agent(data: bytes) -> None:
    session = Session(Side.AGENT, hello("us"), 0.0, wall_ns=lambda: 10**18)
    for number, frame in enumerate(_frames(data, agent=False)):
        for event in session.receive(frame, number / 10):
            if isinstance(event, JobArrived):
                _judged(event.job)
        _answered(session, Side.AGENT)


def _as_controller(data: bytes) -> None:
    session = Session(Side.CONTROLLER, hello("us"), 0.0, wall_ns=lambda: 10**18)
    session.send_job(Job("mine", "run", TcpSpec(), (Target("db:5432", "db"),), 15_000))
    for number, frame in enumerate(_frames(data, agent=True)):
        session.receive(frame, number / 10)
        if isinstance(frame, ResultBatch) and session.end is None and frame.job_id == "mine":
            session.committed("mine", frame.seq)
        _answered(session, Side.CONTROLLER)


def _answered(session: Session, side: Side) -> None:
    """What we say to it can be said."""
    wrap = convert.frame_to_agent if side is Side.AGENT else convert.frame_to_controller
    for frame in session.take():
        assert len(wrap(frame).SerializeToString()) <= convert.MAX_MESSAGE


def _as_child(data: bytes) -> None:
    """The one job of ``mesh-agent probe --frames``."""
    try:
        _judged(convert.unpack_job(data))
    except BadMessage as error:
        assert str(error)


def _judged(found: Job) -> None:
    assert dataclasses.is_dataclass(found.spec) and len(found.id) <= 200
    try:
        Judge(found.spec.options.expect)
    except InvalidRequest as error:
        assert str(error).isprintable()
