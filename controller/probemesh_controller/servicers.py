"""What agents and command lines call on a controller. Who may call what is judged before these are
reached."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from probemesh.v1 import mesh_pb2
from probemesh.v1.mesh_pb2_grpc import MeshServicer
from probemesh.v1.session_pb2_grpc import FleetServicer
from probemesh_shared.rpc.calls import note
from probemesh_shared.rpc.framestream import served_fleet_link
from probemesh_shared.rpc.peer import Peer, peer_of

from probemesh_controller import wire
from probemesh_controller.auditing import what_token
from probemesh_controller.engine import Engine


def owner_of(peer: Peer) -> str:
    """Whose a run is: the identity, whatever certificate it shows at the moment."""
    return f"{peer.role.value}/{peer.id}"


class FleetService(FleetServicer):
    """Agents dial in. Name and id are the certificate's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def Attach(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        peer = peer_of(context)
        link = served_fleet_link(context)
        await self._engine.fleet.attach(peer.id, peer.name, link, peer.serial, peer.address)


class MeshService(MeshServicer):
    """Command lines ask."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def Status(self, request: mesh_pb2.StatusRequest, context: Any) -> mesh_pb2.StatusResponse:
        peer, status = peer_of(context), await self._engine.status()
        return mesh_pb2.StatusResponse(
            mesh=status.mesh,
            software=status.software,
            agents_connected=status.agents_connected,
            agents_known=status.agents_known,
            now_ns=status.now_ns,
            peer_role=peer.role.value,
            peer_name=peer.name,
        )

    async def ListAgents(
        self, request: mesh_pb2.ListAgentsRequest, context: Any
    ) -> AsyncGenerator[mesh_pb2.ListAgentsResponse, None]:
        for part in wire.agents_to_proto(await self._engine.agents()):
            yield part

    async def Run(
        self, request: mesh_pb2.RunRequest, context: Any
    ) -> AsyncGenerator[mesh_pb2.RunEvent, None]:
        """A stream that breaks does not end the run: it waits to be picked up again."""
        runs, owner = self._engine.runs, owner_of(peer_of(context))
        note(run=request.run_id)
        if request.resume:
            run = runs.find(request.run_id, owner)
        else:
            run = await runs.start(wire.request_from_proto(request), owner)
        async with aclosing(runs.follow(run, request.resume_after if request.resume else 0)) as events:
            async for number, event in events:
                yield wire.event_to_proto(number, event)

    async def CancelRun(self, request: mesh_pb2.CancelRunRequest, context: Any) -> mesh_pb2.CancelRunResponse:
        note(run=request.run_id)
        self._engine.runs.cancel(request.run_id, owner_of(peer_of(context)), "its client cancelled it")
        return mesh_pb2.CancelRunResponse()

    async def LabelAgent(
        self, request: mesh_pb2.LabelAgentRequest, context: Any
    ) -> mesh_pb2.LabelAgentResponse:
        note(agent=request.name, detail=_change(request))
        site = request.site if request.HasField("site") else None
        agent = await self._engine.label_agent(request.name, dict(request.set), tuple(request.remove), site)
        return mesh_pb2.LabelAgentResponse(agent=wire.agent_to_proto(agent))

    async def RevokeAgent(
        self, request: mesh_pb2.RevokeAgentRequest, context: Any
    ) -> mesh_pb2.RevokeAgentResponse:
        note(agent=request.name)
        agent = await self._engine.revoke_agent(request.name)
        return mesh_pb2.RevokeAgentResponse(agent=wire.agent_to_proto(agent))

    async def Audit(
        self, request: mesh_pb2.AuditRequest, context: Any
    ) -> AsyncGenerator[mesh_pb2.AuditResponse, None]:
        """In parts that are messages; the last one has the summary."""
        found = await self._engine.audit(wire.query_from_proto(request))
        for part in wire.audit_to_proto(found):
            yield part

    async def CreateToken(
        self, request: mesh_pb2.CreateTokenRequest, context: Any
    ) -> mesh_pb2.CreateTokenResponse:
        wanted, by = wire.token_from_proto(request), owner_of(peer_of(context))
        note(detail=what_token(wanted))
        issued = await self._engine.create_token(wanted, by)
        note(token=issued.id)
        return mesh_pb2.CreateTokenResponse(
            token=issued.token, expires_ns=issued.expires_ns, controller=issued.controller
        )


def _change(request: mesh_pb2.LabelAgentRequest) -> str:
    """For the record: what ``meshctl agents label`` was given."""
    words = [f"{key}={value}" for key, value in sorted(request.set.items())]
    words += [f"{key}-" for key in request.remove]
    return " ".join([*words, *([f"site={request.site}"] if request.HasField("site") else [])])
