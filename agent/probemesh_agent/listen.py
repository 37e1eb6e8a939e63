"""Serves ``Agent.Attach``: laptops and controllers that dial this agent."""

import logging
from typing import Any

from probemesh.v1.session_pb2_grpc import add_AgentServicer_to_server
from probemesh_shared.audit.record import Audit, unrecorded
from probemesh_shared.identity.files import Identity
from probemesh_shared.rpc.calls import caller_of
from probemesh_shared.rpc.framestream import served_agent_link
from probemesh_shared.rpc.peer import peer_of
from probemesh_shared.rpc.server import MeshServer
from probemesh_shared.session.driver import Wake
from probemesh_shared.session.frames import DenyList

from probemesh_agent.links import Links

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 256


class AgentService:
    """The servicer. Who may call is settled before it is called."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def Attach(self, requests: Any, context: Any) -> None:
        """One session, until either side ends it."""
        peer = peer_of(context)
        stream, identity = served_agent_link(context), f"{peer.role}:{peer.id}"
        end = await self._links.serve(stream, identity, Wake(), caller=caller_of(peer))
        logger.info("%s %s has gone (%s)", peer.role, peer.name, end.why)


async def listen(
    identity: Identity, links: Links, address: str, denied: DenyList, audit: Audit = unrecorded
) -> tuple[MeshServer, int]:
    """The server, started, and its port; ``denied`` are turned away. Raises
    :class:`probemesh_shared.errors.MeshError`."""
    server = MeshServer(identity, max_connections=MAX_CONNECTIONS, audit=audit)
    servicer: Any = AgentService(links)  # the stub wants a generator; a coroutine is as good to grpc
    server.add(add_AgentServicer_to_server, servicer)
    server.deny_operators(denied.names, denied.serials)
    port = await server.start(address)
    return server, port
