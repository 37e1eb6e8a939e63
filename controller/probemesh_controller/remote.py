"""A mesh that lives in a controller, over one connection. Runs survive a lost link for half a minute."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, cast

from probemesh.v1 import mesh_pb2, trust_pb2
from probemesh.v1.mesh_pb2_grpc import MeshStub
from probemesh.v1.trust_pb2_grpc import TrustStub
from probemesh_shared.audit.query import MAX_RECORDS, AuditFound, AuditQuery
from probemesh_shared.audit.record import AuditRecord
from probemesh_shared.convert import BadMessage, from_proto, to_proto
from probemesh_shared.errors import Busy, MeshError, NotFound, Unreachable
from probemesh_shared.identity.files import Identity
from probemesh_shared.identity.names import controller_dns
from probemesh_shared.model import AgentInfo
from probemesh_shared.rpc.client import CALL_TIMEOUT_S, Connection, connect
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from probemesh_controller import wire
from probemesh_controller.api import (
    CaStatus,
    IssuedToken,
    MeshStatus,
    OperatorInfo,
    RunEnded,
    RunEvent,
    RunRequest,
    TokenRequest,
)
from probemesh_controller.renewing import Keeper

if TYPE_CHECKING:
    from probemesh.v1.mesh_pb2_grpc import MeshAsyncStub

#: Seconds in which a run whose link was lost is picked up again; the controller waits as long.
RESUME_S = 30.0
_QUEUED = 64
_MOST_AGENTS = 100_000
_CANCEL_TIMEOUT_S = 2.0


class RemoteMesh:
    """See :class:`probemesh_controller.api.Mesh`. Calls raise MeshErrors; a link that fails is explained."""

    def __init__(self, address: str, identity: Identity, *, resume_s: float = RESUME_S) -> None:
        self._keeper: Keeper | None = None
        self._address = address
        self._identity = identity
        self._resume_s = resume_s
        self._connection = self._connect()

    def keep_renewed(self, folder: Path) -> None:
        """Keeps the identity in ``folder``, which this one came from, fresh until the mesh is closed."""
        self._keeper = Keeper(folder, self._address, self._use)

    def _use(self, identity: Identity) -> None:
        """For connections from now on; the present one stays."""
        self._identity = identity

    def _connect(self) -> Connection:
        return connect(self._address, self._identity, controller_dns(self._identity.mesh))

    @property
    def _stub(self) -> "MeshAsyncStub":
        return MeshStub(self._connection.channel)

    async def status(self) -> MeshStatus:
        answer = await self._connection.call(self._stub.Status, mesh_pb2.StatusRequest())
        return wire.status_from_proto(answer)

    async def agents(self) -> tuple[AgentInfo, ...]:
        call, request = self._stub.ListAgents, mesh_pb2.ListAgentsRequest()
        found: list[AgentInfo] = []
        async with aclosing(self._connection.stream(call, request, CALL_TIMEOUT_S)) as parts:
            async for part in parts:
                found += (from_proto(AgentInfo, agent) for agent in part.agents)
                if len(found) > _MOST_AGENTS:
                    raise BadMessage("the controller lists more agents than a mesh may have")
        return tuple(found)

    async def label_agent(
        self, name: str, set_labels: Mapping[str, str], remove: tuple[str, ...], site: str | None
    ) -> AgentInfo:
        request = mesh_pb2.LabelAgentRequest(name=name, set=dict(set_labels), remove=remove, site=site)
        answer = await self._connection.call(self._stub.LabelAgent, request)
        return from_proto(AgentInfo, answer.agent)

    async def revoke_agent(self, name: str) -> AgentInfo:
        request = mesh_pb2.RevokeAgentRequest(name=name)
        answer = await self._connection.call(self._stub.RevokeAgent, request)
        return from_proto(AgentInfo, answer.agent)

    async def create_token(self, request: TokenRequest) -> IssuedToken:
        answer = await self._connection.call(self._stub.CreateToken, wire.token_to_proto(request))
        return IssuedToken(answer.token, answer.expires_ns, answer.controller)

    async def operators(self) -> tuple[OperatorInfo, ...]:
        call = TrustStub(self._connection.channel).ListOperators
        answer = await self._connection.call(call, trust_pb2.ListOperatorsRequest())
        return tuple(from_proto(OperatorInfo, one) for one in answer.operators)

    async def revoke_operator(self, name: str) -> OperatorInfo:
        call = TrustStub(self._connection.channel).RevokeOperator
        answer = await self._connection.call(call, trust_pb2.RevokeOperatorRequest(name=name))
        return from_proto(OperatorInfo, answer.operator)

    async def audit(self, query: AuditQuery) -> AuditFound:
        message = mesh_pb2.AuditRequest(query=cast(mesh_pb2.AuditQuery, to_proto(query)))
        call, records = self._stub.Audit, list[AuditRecord]()
        more, unreadable, lost = False, 0, 0
        async with aclosing(self._connection.stream(call, message)) as parts:
            async for part in parts:
                records += (from_proto(AuditRecord, record) for record in part.records)
                if len(records) > MAX_RECORDS:
                    raise BadMessage("the controller sends more records than it was asked for")
                more, unreadable, lost = part.more, part.unreadable, part.lost
        return AuditFound(tuple(records), more, unreadable, lost)

    async def ca_status(self) -> CaStatus:
        call = TrustStub(self._connection.channel).GetCa
        answer = await self._connection.call(call, trust_pb2.GetCaRequest())
        return from_proto(CaStatus, answer.status)

    async def rotate_ca(self, step: str, anyway: bool) -> CaStatus:
        call = TrustStub(self._connection.channel).RotateCa
        request = trust_pb2.RotateCaRequest(step=step, anyway=anyway)
        return from_proto(CaStatus, (await self._connection.call(call, request)).status)

    async def run(self, request: RunRequest) -> AsyncIterator[RunEvent]:
        """Raises Unreachable at once where the run never began, and after the resume time where its link
        was lost: what has not come by then is unmeasured."""
        follower = _Follower(self, request, self._resume_s)
        pump = asyncio.create_task(follower.pump(), name=f"run {request.run_id}")
        pump.add_done_callback(follower.over)
        ended = False
        try:
            while not (pump.done() and follower.queue.empty()):
                item = await follower.queue.get()
                if item is not None:
                    ended = isinstance(item, RunEnded)
                    yield item
            if pump.cancelled():
                raise Unreachable("the connection was closed")
            await pump
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
            if not ended and (follower.began or (pump.cancelled() and self._connection.is_ready)):
                # also where no word of it came yet: it may be under way, and would wait to be picked up again
                await self._cancel(request.run_id)

    async def _cancel(self, run_id: str) -> None:
        """As well as it goes: a run that nobody follows is ended by the controller too."""
        with contextlib.suppress(MeshError, RuntimeError):
            call = self._stub.CancelRun
            await self._connection.call(call, mesh_pb2.CancelRunRequest(run_id=run_id), _CANCEL_TIMEOUT_S)

    @property
    def connection(self) -> Connection:
        return self._connection

    async def reconnect(self, broken: Connection) -> None:
        """A new channel: an old one fails fast from stale back-off. One that another run has put in its place
        already is left alone, and what goes on over it."""
        if self._connection is broken:
            self._connection = self._connect()
            await broken.close()

    async def aclose(self) -> None:
        await self._connection.close()
        if self._keeper is not None:
            await self._keeper.finish()


class _Follower:
    """Reads one run's events into a bounded queue, over as many links as it takes; each event once."""

    def __init__(self, mesh: RemoteMesh, request: RunRequest, resume_s: float) -> None:
        self.queue: asyncio.Queue[RunEvent | None] = asyncio.Queue(_QUEUED)
        self.began = False
        self._mesh = mesh
        self._request = request
        self._resume_s = resume_s
        self._after = 0
        self._ended = False
        self._linked = False
        self._used: Connection | None = None
        self._alive = time.monotonic()

    async def pump(self) -> None:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((Unreachable, Busy)),
            stop=self._give_up,
            wait=wait_random_exponential(multiplier=0.1, max=2.0),
            reraise=True,
        )
        await retrying(self._follow)

    def over(self, pump: asyncio.Task[None]) -> None:
        """Wakes who waits for an event; a full queue has one to wake with."""
        with contextlib.suppress(asyncio.QueueFull):
            self.queue.put_nowait(None)

    def _give_up(self, state: RetryCallState) -> bool:
        return not self.began or time.monotonic() - self._alive > self._resume_s

    async def _follow(self) -> None:
        if self._used is not None:
            await self._mesh.reconnect(self._used)
        self._used = connection = self._mesh.connection
        message = wire.request_to_proto(self._request, resume=self.began, after=self._after)
        try:
            call = MeshStub(connection.channel).Run
            async with aclosing(connection.stream(call, message)) as messages:
                async for each in messages:
                    await self._take(each)
        except NotFound as error:
            if not self.began:
                raise
            # it restarted, and on-demand runs live in its memory: waiting is of no use
            self._alive = float("-inf")
            raise Unreachable(
                "the controller restarted and no longer knows the run", "run it again"
            ) from error
        except (Unreachable, Busy):
            if self._linked:
                self._alive, self._linked = time.monotonic(), False  # the window begins where a link ends
            raise
        if not self._ended:
            raise Unreachable("the controller ended the stream before the run")

    async def _take(self, message: mesh_pb2.RunEvent) -> None:
        number, event = wire.event_from_proto(message)
        self.began = self._linked = True
        if number > self._after:
            self._after = number
            self._ended = isinstance(event, RunEnded)
            await self.queue.put(event)
