"""A mesh with ``self`` as one more vantage point."""

import sys
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace

from probemesh_shared.errors import InvalidRequest, Unreachable
from probemesh_shared.model import AgentInfo
from probemesh_shared.words import Outcome

from probemesh_controller.api import (
    IssuedToken,
    Mesh,
    MeshStatus,
    PlannedVantage,
    RunEnded,
    RunEvent,
    RunPlanned,
    RunRequest,
    TokenRequest,
)
from probemesh_controller.merging import closing, merge
from probemesh_controller.selfvantage import SELF, measure, pace, self_available

_NO_MESH = "no mesh is configured here"
_HINT = "make one with 'meshctl init', or join one with 'meshctl join'"
_LINUX = "self is left out: agents run on Linux only"


class CombinedMesh:
    """See :class:`probemesh_controller.api.Mesh`. Without a mesh there is nothing but ``self``."""

    def __init__(self, mesh: Mesh | None) -> None:
        self._mesh = mesh

    def _need(self) -> Mesh:
        if self._mesh is None:
            raise InvalidRequest(_NO_MESH, _HINT)
        return self._mesh

    async def status(self) -> MeshStatus:
        return await self._need().status()

    async def agents(self) -> tuple[AgentInfo, ...]:
        return () if self._mesh is None else await self._mesh.agents()

    async def label_agent(
        self, name: str, set_labels: Mapping[str, str], remove: tuple[str, ...], site: str | None
    ) -> AgentInfo:
        return await self._need().label_agent(name, set_labels, remove, site)

    async def revoke_agent(self, name: str) -> AgentInfo:
        return await self._need().revoke_agent(name)

    async def create_token(self, request: TokenRequest) -> IssuedToken:
        return await self._need().create_token(request)

    async def aclose(self) -> None:
        if self._mesh is not None:
            await self._mesh.aclose()

    async def run(self, request: RunRequest) -> AsyncGenerator[RunEvent, None]:
        """One plan, then what both sides tell, then one end. Where the mesh fails midway, ``self`` is told
        to its end before the error is raised."""
        others = replace(request, agents=tuple(name for name in request.agents if name != SELF))
        with_self = SELF in request.agents
        theirs = _nothing() if self._mesh is None or not others.agents else closing(self._mesh.run(others))
        try:
            planned = await self._planned(theirs, others)
            yield _joined(planned, request)
            sources = [theirs]
            if with_self and self_available():
                fleet = await self.agents() if any(t.agent for t in request.targets) else ()
                sources.append(measure(request, fleet))
            cancelled = False
            events = merge(*sources)
            try:
                async for event in events:
                    if isinstance(event, RunEnded):
                        cancelled = event.cancelled
                    else:
                        yield event
            finally:
                await events.aclose()
            yield RunEnded(cancelled)
        finally:
            await theirs.aclose()

    async def _planned(self, theirs: AsyncGenerator[RunEvent, None], others: RunRequest) -> RunPlanned:
        if not others.agents:
            return RunPlanned(())
        if self._mesh is None:
            return RunPlanned(
                tuple(PlannedVantage(name, None, Outcome.UNMEASURED, _NO_MESH) for name in others.agents)
            )
        first = await anext(theirs, None)
        if not isinstance(first, RunPlanned):
            raise Unreachable("the mesh ended the run before it began")
        return first


def _joined(planned: RunPlanned, request: RunRequest) -> RunPlanned:
    """All vantage points, in the order in which they were asked for."""
    by_name = {vantage.agent: vantage for vantage in planned.vantages}
    notes = planned.notes
    if SELF in request.agents:
        by_name[SELF] = PlannedVantage(SELF)
        if not self_available():
            by_name[SELF] = PlannedVantage(
                SELF, None, Outcome.UNSUPPORTED, f"{_LINUX}, not on {sys.platform}"
            )
            notes += (_LINUX,)
        else:
            notes += tuple(_of_self(note) if planned.vantages else note for note in pace(request).notes)
    vantages = tuple(by_name[name] for name in request.agents if name in by_name)
    return RunPlanned(vantages, notes)


def _of_self(note: str) -> str:
    """Beside agents: the mesh told of its own part, this is another."""
    return note.replace(" mesh-wide ", " from self ")


async def _nothing() -> AsyncGenerator[RunEvent, None]:
    none: tuple[RunEvent, ...] = ()
    for event in none:
        yield event
