"""Requests and events of runs to protobuf and back, where the two differ in more than their form."""

from collections.abc import Iterable, Iterator
from typing import cast

from probemesh.v1 import mesh_pb2, model_pb2
from probemesh_shared.audit.query import AuditFound, AuditQuery
from probemesh_shared.convert import BadMessage, from_proto, spec_from_proto, spec_to_proto, to_proto
from probemesh_shared.model import AgentInfo, Narrowing, Target
from probemesh_shared.words import Role

from probemesh_controller.api import (
    MeshStatus,
    RunEnded,
    RunEvent,
    RunMeasured,
    RunPlanned,
    RunRequest,
    RunVantageEnded,
    TokenRequest,
)

_EVENTS: dict[str, type[RunEvent]] = {
    "planned": RunPlanned,
    "measured": RunMeasured,
    "vantage_ended": RunVantageEnded,
    "ended": RunEnded,
}
_NAMES = {cls: name for name, cls in _EVENTS.items()}


def request_to_proto(request: RunRequest, resume: bool = False, after: int = 0) -> mesh_pb2.RunRequest:
    """A request to go on needs nothing but its id."""
    if resume:
        return mesh_pb2.RunRequest(run_id=request.run_id, resume=True, resume_after=after)
    return mesh_pb2.RunRequest(
        run_id=request.run_id,
        targets=[cast(model_pb2.Target, to_proto(target)) for target in request.targets],
        specs=[spec_to_proto(spec) for spec in request.specs],
        agents=request.agents,
        deadline_ms=round(request.deadline_s * 1000),
    )


def request_from_proto(message: mesh_pb2.RunRequest) -> RunRequest:
    """Raises BadMessage; whether a run can be made of it is judged elsewhere."""
    return RunRequest(
        message.run_id,
        tuple(from_proto(Target, target) for target in message.targets),
        tuple(spec_from_proto(spec) for spec in message.specs),
        tuple(message.agents),
        message.deadline_ms / 1000,
    )


def event_to_proto(number: int, event: RunEvent) -> mesh_pb2.RunEvent:
    message = mesh_pb2.RunEvent(seq=number)
    getattr(message, _NAMES[type(event)]).CopyFrom(to_proto(event))
    return message


def event_from_proto(message: mesh_pb2.RunEvent) -> tuple[int, RunEvent]:
    """Raises BadMessage, also for an event that this version does not know."""
    name = message.WhichOneof("event")
    if name is None:
        raise BadMessage("the controller sent an event that is not known here")
    return message.seq, from_proto(_EVENTS[name], getattr(message, name))


def agent_to_proto(agent: AgentInfo) -> model_pb2.AgentInfo:
    return cast(model_pb2.AgentInfo, to_proto(agent))


#: Bytes of agents, or of records, in one message: two of the largest are no more than a message may be.
_PART = 256 << 10


def agents_to_proto(agents: Iterable[AgentInfo]) -> Iterator[mesh_pb2.ListAgentsResponse]:
    """At least one message."""
    part, size = mesh_pb2.ListAgentsResponse(), 0
    for agent in agents:
        message = agent_to_proto(agent)
        if size and size + message.ByteSize() > _PART:
            yield part
            part, size = mesh_pb2.ListAgentsResponse(), 0
        part.agents.append(message)
        size += message.ByteSize()
    yield part


def status_from_proto(message: mesh_pb2.StatusResponse) -> MeshStatus:
    return MeshStatus(
        message.mesh,
        message.software,
        message.agents_connected,
        message.agents_known,
        message.now_ns,
        Role(message.peer_role) if message.peer_role in set(Role) else None,
        message.peer_name or None,
    )


def token_to_proto(request: TokenRequest) -> mesh_pb2.CreateTokenRequest:
    return mesh_pb2.CreateTokenRequest(
        role=request.role.value,
        name=request.name,
        site=request.site,
        labels=dict(request.labels),
        uses=request.uses,
        ttl_s=request.ttl_s,
        ephemeral=request.ephemeral,
        narrow=None if request.narrow is None else cast(model_pb2.Narrowing, to_proto(request.narrow)),
    )


def token_from_proto(message: mesh_pb2.CreateTokenRequest) -> TokenRequest:
    """Raises BadMessage for a role that there is none of."""
    if message.role not in set(Role):
        raise BadMessage("there is no such role")
    return TokenRequest(
        Role(message.role),
        message.name if message.HasField("name") else None,
        message.site if message.HasField("site") else None,
        dict(message.labels),
        message.uses,
        message.ttl_s,
        message.ephemeral,
        from_proto(Narrowing, message.narrow) if message.HasField("narrow") else None,
    )


def query_from_proto(message: mesh_pb2.AuditRequest) -> AuditQuery:
    """Raises BadMessage."""
    return from_proto(AuditQuery, message.query)


def audit_to_proto(found: AuditFound) -> Iterator[mesh_pb2.AuditResponse]:
    """At least one message; the summary is in the last."""
    part, size = mesh_pb2.AuditResponse(), 0
    for record in found.records:
        message = cast(mesh_pb2.AuditRecord, to_proto(record))
        if size and size + message.ByteSize() > _PART:
            yield part
            part, size = mesh_pb2.AuditResponse(), 0
        part.records.append(message)
        size += message.ByteSize()
    part.more, part.unreadable, part.lost = found.more, found.unreadable, found.lost
    yield part
