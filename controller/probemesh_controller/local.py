"""A mesh without a controller: this process dials the agents that listen, and is the engine itself."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from probemesh_shared.errors import (
    CertificateRefused,
    InvalidRequest,
    LinkBroke,
    MeshError,
    Unreachable,
    VersionMismatch,
)
from probemesh_shared.escape import escape
from probemesh_shared.identity.files import Identity
from probemesh_shared.identity.names import agent_dns
from probemesh_shared.model import AgentInfo
from probemesh_shared.rpc.client import connect
from probemesh_shared.rpc.framestream import agent_link
from probemesh_shared.session.driver import LinkEnd, Why
from probemesh_shared.session.frames import ErrorCode
from tenacity import AsyncRetrying, retry_if_exception_type, stop_never, wait_random_exponential

from probemesh_controller.api import IssuedToken, MeshStatus, RunEvent, RunRequest, TokenRequest
from probemesh_controller.config import ListeningAgent
from probemesh_controller.engine import Engine
from probemesh_controller.store.memory import MemoryStore
from probemesh_controller.store.port import AgentRecord, Store
from probemesh_controller.store.worker import InlineStore

log = logging.getLogger(__name__)

#: Seconds that agents have to answer before a command goes on without them.
CONNECT_S = 3.0
_FINAL = (ErrorCode.VERSION, ErrorCode.REPLACED, ErrorCode.REVOKED)
#: Links to one agent that may break without a reason before that is told.
_BREAKS = 2
_NEEDS = "needs a controller"
_SILENT_HINT = "is the address right, is mesh-agent run with --listen there, does a firewall let TCP through?"
_HINT = "run one: meshctl controller run"


class LocalMesh:
    """See :class:`probemesh_controller.api.Mesh`. Agents are known by the names in the context alone."""

    def __init__(self, identity: Identity, agents: Mapping[str, ListeningAgent]) -> None:
        self._identity = identity
        self._agents = dict(agents)
        self._engine = Engine(identity.mesh, InlineStore(MemoryStore()))
        self._dialling: dict[str, asyncio.Task[None]] = {}
        self._tried: dict[str, asyncio.Event] = {}
        self._why: dict[str, MeshError] = {}
        self._broke: Counter[str] = Counter()

    async def start(self) -> None:
        """Dials everybody at once; returns when each is connected, has failed, or CONNECT_S are over."""
        await self._engine_store()
        for name, agent in self._agents.items():
            self._tried[name] = asyncio.Event()
            self._dialling[name] = asyncio.create_task(self._keep(name, agent), name=f"agent {name}")
        waits = [
            asyncio.create_task(self._engine.fleet.wait_connected(frozenset({name}), CONNECT_S))
            for name in self._agents
        ]
        fails = [asyncio.create_task(tried.wait()) for tried in self._tried.values()]
        try:
            pairs = [
                asyncio.wait({wait, fail}, return_when=asyncio.FIRST_COMPLETED)
                for wait, fail in zip(waits, fails, strict=True)
            ]
            await asyncio.gather(*pairs)
        finally:
            for task in (*waits, *fails):
                task.cancel()
            await asyncio.gather(*waits, *fails, return_exceptions=True)
        for name, agent in self._agents.items():
            if not self._engine.fleet.connected(name) and name not in self._why:
                said = f"{agent.address} gives no answer within {CONNECT_S:g} s"
                self._failed(name, Unreachable(said, _SILENT_HINT))

    async def _engine_store(self) -> None:
        records = [AgentRecord(name, name, agent.site) for name, agent in self._agents.items()]

        def work(store: Store) -> None:
            for record in records:
                store.put_agent(record)

        await self._engine.store.call(work)

    async def _keep(self, name: str, agent: ListeningAgent) -> None:
        """Dials again for as long as it may help: a run may wait for an agent that comes back."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Unreachable),
            stop=stop_never,
            wait=wait_random_exponential(multiplier=0.2, max=3.0),
            reraise=True,
        )
        try:
            await retrying(self._attach, name, agent)
        except MeshError as error:
            self._failed(name, error)
        except OSError as error:
            self._failed(name, Unreachable(error.strerror or str(error)))

    def _failed(self, name: str, error: MeshError) -> None:
        self._why[name] = error
        reason = escape(str(error), 300)
        self._engine.fleet.failed(name, name, reason)
        log.info("agent %s: %s", name, reason)
        self._tried[name].set()

    async def _attach(self, name: str, agent: ListeningAgent) -> None:
        """One link, to its end. Raises Unreachable where dialling again may help."""
        try:
            connection = connect(agent.address, self._identity, agent_dns(name, self._identity.mesh))
            end = await self._engine.fleet.attach(name, name, agent_link(connection))
            self._judge(end)
        except LinkBroke as error:
            # a call that was refused while we wrote may look like this to grpc: the next one tells
            self._broke[name] += 1
            if self._broke[name] > _BREAKS:
                self._failed(name, error)
            raise
        except Unreachable as error:
            self._failed(name, error)
            raise

    def _judge(self, end: LinkEnd) -> None:
        if end.code in _FINAL:
            kind = VersionMismatch if end.code is ErrorCode.VERSION else CertificateRefused
            raise kind(end.detail)
        if end.error is not None:
            raise end.error
        if end.why is not Why.CLOSED:
            raise Unreachable(end.detail or "the link ended")

    async def status(self) -> MeshStatus:
        return await self._engine.status()

    async def agents(self) -> tuple[AgentInfo, ...]:
        return await self._engine.agents()

    def why_not(self, name: str) -> MeshError | None:
        """Why an agent is not connected: refused, silent, another mesh's, another's name, not allowed."""
        return None if self._engine.fleet.connected(name) else self._why.get(name)

    async def run(self, request: RunRequest) -> AsyncGenerator[RunEvent, None]:
        async with aclosing(self._engine.run(request)) as events:
            async for event in events:
                yield event

    async def label_agent(
        self, name: str, set_labels: Mapping[str, str], remove: tuple[str, ...], site: str | None
    ) -> AgentInfo:
        raise InvalidRequest(f"labelling an agent {_NEEDS}", _HINT)

    async def revoke_agent(self, name: str) -> AgentInfo:
        raise InvalidRequest(f"revoking an agent {_NEEDS}", _HINT)

    async def create_token(self, request: TokenRequest) -> IssuedToken:
        raise InvalidRequest(f"making a token {_NEEDS}", _HINT)

    async def aclose(self) -> None:
        """Cancels reach the agents before the links are closed."""
        await self._engine.drain("the command is over", 1.0)
        for task in self._dialling.values():
            task.cancel()
        await asyncio.gather(*self._dialling.values(), return_exceptions=True)
        with contextlib.suppress(MeshError):
            await self._engine.aclose()


async def local_mesh(identity: Identity, agents: Mapping[str, ListeningAgent]) -> LocalMesh:
    """Connected to those of ``agents`` that answered within CONNECT_S; the others are ``lost``, and tried
    on."""
    mesh = LocalMesh(identity, agents)
    try:
        await mesh.start()
    except BaseException:
        await mesh.aclose()
        raise
    return mesh
