"""The mesh itself: fleet and runs over a store. Implements :class:`probemesh_controller.api.Mesh`.

It lives in ``controller run``, behind servicers, and in ``meshctl``, over agents that listen.
"""

import asyncio
import contextlib
import importlib.metadata
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace

from probemesh_shared.audit.query import AuditFound, AuditQuery
from probemesh_shared.audit.record import unrecorded
from probemesh_shared.clock import Clock, SystemClock
from probemesh_shared.errors import InvalidRequest, NotFound
from probemesh_shared.escape import escape
from probemesh_shared.model import AgentInfo
from probemesh_shared.names import check_name, did_you_mean, parse_label
from probemesh_shared.session.frames import MIN_PROTOCOL, PROTOCOL, Hello
from probemesh_shared.words import AgentState

from probemesh_controller.api import IssuedToken, MeshStatus, RunEvent, RunRequest, TokenRequest
from probemesh_controller.auditing import LOCAL, Trail
from probemesh_controller.fleet import Fleet
from probemesh_controller.runs import Runs
from probemesh_controller.store.port import AgentRecord, Store
from probemesh_controller.store.worker import AsyncStore

MAX_LABELS = 32
_NO_TOKENS = "tokens need a controller"
_NO_AUDIT = "the audit is kept by a controller"


def software() -> str:
    """As it stands in hellos and in the status."""
    try:
        return f"probemesh/{importlib.metadata.version('probemesh')}"
    except importlib.metadata.PackageNotFoundError:
        return "probemesh/unknown"


def controller_hello() -> Hello:
    return Hello(PROTOCOL, MIN_PROTOCOL, software(), secrets.token_hex(8))


class Engine:
    """See :class:`probemesh_controller.api.Mesh`. ``on_revoked(agent_id, serials)`` cuts live connections;
    ``issue(request, created_by)`` makes tokens. ``start`` it inside the loop, ``aclose`` it there."""

    def __init__(
        self,
        mesh: str,
        store: AsyncStore,
        *,
        clock: Clock | None = None,
        issue: Callable[[TokenRequest, str], Awaitable[IssuedToken]] | None = None,
        trail: Trail | None = None,
        on_revoked: Callable[[str, tuple[str, ...]], object] | None = None,
        resume_s: float = 30.0,
        ephemeral_s: float = 600.0,
    ) -> None:
        self.mesh = mesh
        self.store = store
        self._clock = clock or SystemClock()
        self._issue = issue
        self._trail = trail
        self.on_revoked = on_revoked
        self.fleet = Fleet(store, self._clock, controller_hello(), ephemeral_s=ephemeral_s)
        if trail is not None:
            self.fleet.forgotten = lambda record: trail.tell("agent-forgotten", agent=record.name)
        self.runs = Runs(self.fleet, store, self._clock, resume_s=resume_s, audit=trail or unrecorded)
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins the housekeeping."""
        self._keeper = asyncio.create_task(self.fleet.keep(), name="housekeeping")

    async def status(self) -> MeshStatus:
        agents = await self.agents()
        connected = sum(agent.state is AgentState.CONNECTED for agent in agents)
        return MeshStatus(self.mesh, software(), connected, len(agents), self._clock.wall_ns())

    async def agents(self) -> tuple[AgentInfo, ...]:
        return await self.fleet.agents()

    async def run(self, request: RunRequest) -> AsyncGenerator[RunEvent, None]:
        run = await self.runs.start(request, LOCAL)
        try:
            async with aclosing(self.runs.follow(run)) as events:
                async for _, event in events:
                    yield event
        finally:
            run.cancel("the caller went away")

    async def label_agent(
        self, name: str, set_labels: Mapping[str, str], remove: tuple[str, ...], site: str | None
    ) -> AgentInfo:
        """``site`` None leaves it as it is, ``""`` removes it."""
        for key, value in set_labels.items():
            parse_label(f"{key}={value}")
        if site:
            check_name(site, "site")

        def work(store: Store) -> None:
            record = _known(store, name)
            labels = {key: value for key, value in record.labels.items() if key not in remove}
            labels |= set_labels
            if len(labels) > MAX_LABELS:
                raise InvalidRequest(f"more than {MAX_LABELS} labels")
            new_site = record.site if site is None else site or None
            store.put_agent(replace(record, labels=labels, site=new_site))

        await self.store.call(work)
        return await self.fleet.info(name)

    async def revoke_agent(self, name: str) -> AgentInfo:
        """Its certificates are refused from now on and its streams end at once."""

        def work(store: Store) -> tuple[str, tuple[str, ...]]:
            record = _known(store, name)
            store.put_agent(replace(record, revoked=True))
            return record.id, store.revoke_certificates(record.id)

        agent_id, serials = await self.store.call(work)
        await self.fleet.revoke(agent_id)
        if self.on_revoked is not None:
            self.on_revoked(agent_id, serials)
        return await self.fleet.info(name)

    async def create_token(self, request: TokenRequest, created_by: str = "local") -> IssuedToken:
        if self._issue is None:
            raise InvalidRequest(_NO_TOKENS, "run one for as long as agents join: meshctl controller run")
        return await self._issue(request, created_by)

    async def audit(self, query: AuditQuery) -> AuditFound:
        if self._trail is None:
            raise InvalidRequest(_NO_AUDIT, "listening agents keep their own: mesh-agent audit")
        return await self._trail.find(query)

    async def drain(self, reason: str, seconds: float) -> None:
        """Ends runs, says goodbye to agents; for a controller that is told to stop."""
        await self.runs.aclose(reason)
        await self.fleet.drain(reason, seconds)

    async def aclose(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await self.runs.aclose("closed")
        await self.fleet.aclose()
        await self.store.aclose()


def _known(store: Store, name: str) -> AgentRecord:
    record = store.agent_by_name(name)
    if record is None:
        names = [agent.name for agent in store.agents()]
        raise NotFound(
            f"there is no agent {escape(name, 80)}", did_you_mean(name, names) or "see: meshctl agents"
        )
    return record
