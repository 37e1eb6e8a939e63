"""The inquiries about several subjects, side by side, and what two of them behind one NAT tell together."""

import asyncio
import secrets
from collections.abc import Callable, Sequence

from probemesh_shared.clock import Clock
from probemesh_shared.model import AgentInfo
from probemesh_shared.nat import NatBehaviour, NatRule
from probemesh_shared.selectors import SELF
from probemesh_shared.words import AgentState, Family, Kind

from probemesh_controller.api import Mesh
from probemesh_controller.natting.around import is_private
from probemesh_controller.natting.behaviour import behaviour
from probemesh_controller.natting.bench import Bench
from probemesh_controller.natting.choosing import family_for, helpers_for, reflectors_for
from probemesh_controller.natting.further import clash as clash_with
from probemesh_controller.natting.inquiry import Inquiry
from probemesh_controller.natting.mapping import clash_rule
from probemesh_controller.natting.seen import Seen
from probemesh_controller.natting.silence import Lifetime, measure
from probemesh_controller.pair.part import named

#: Subjects that are inquired about at once: each keeps its reflectors' watches busy.
AT_ONCE = 6
#: Agents that are tried as the second one behind the same NAT.
_PARTNERS = 2

#: This machine, which is on no list of agents.
HERE = AgentInfo(SELF, state=AgentState.CONNECTED, capabilities=(f"kind:{Kind.FLOW}",), id=SELF)

#: Told which subject does what.
OnProgress = Callable[[str, str], None]


class Inquiries:
    """About all of ``names``. ``seen`` is what is known at any moment, also after ``run`` was cancelled."""

    def __init__(
        self,
        mesh: Mesh,
        names: Sequence[str],
        clock: Clock,
        *,
        family: Family = Family.BOTH,
        lifetime: Lifetime | None = None,
        on_progress: OnProgress = lambda name, step: None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._mesh = mesh
        self._names = tuple(names)
        self._bench = Bench(mesh, clock, random)
        self._family = family
        self._lifetime = lifetime
        self._on_progress = on_progress
        self._inquiries: list[Inquiry] = []

    def seen(self) -> tuple[Seen, ...]:
        """In the order of the names; of those that were not come to, nothing is known but the name."""
        found = {one.subject.name: one.seen for one in self._inquiries}
        return tuple(found.get(name) or Seen(name) for name in self._names)

    async def run(self) -> None:
        """Raises NotFound for a name that no agent bears, and what the mesh raises before anything began."""
        fleet = await self._mesh.agents()
        subjects = [HERE if name == SELF else named(fleet, name) for name in self._names]
        for start in range(0, len(subjects), AT_ONCE):
            some = [self._inquiry(subject, fleet) for subject in subjects[start : start + AT_ONCE]]
            self._inquiries += some
            try:
                await asyncio.gather(*(one.run() for one in some))
                await _clashes(some, fleet)
                if self._lifetime is not None:
                    await asyncio.gather(*(measure(one, self._lifetime) for one in some))
            finally:
                await asyncio.gather(*(one.give_back() for one in some))

    def _inquiry(self, subject: AgentInfo, fleet: Sequence[AgentInfo]) -> Inquiry:
        family = family_for(subject, fleet, self._family)
        reflectors = reflectors_for(subject, fleet, family)

        def on_step(step: str) -> None:
            self._on_progress(subject.name, step)

        return Inquiry(self._bench, subject, reflectors, family, on_step, helpers_for(subject, fleet))


async def _clashes(inquiries: Sequence[Inquiry], fleet: Sequence[AgentInfo]) -> None:
    """One NAT after the other, as a clash wants both agents; what it proves holds for all behind that NAT."""
    done: dict[tuple[str, ...], Inquiry] = {}
    for inquiry in inquiries:
        told = behaviour(inquiry.seen)
        if not _is_open(told):
            continue
        before = done.get(told.mapped_addresses)
        if before is not None:
            for known in before.seen.clashes:
                inquiry.add_clash(known)
            continue
        for partner in _partners(inquiry, told, inquiries, fleet)[:_PARTNERS]:
            clash = await clash_with(inquiry, partner)
            if clash is not None and clash_rule(clash) is not None:
                inquiry.add_clash(clash)
                done[told.mapped_addresses] = inquiry
                break


def _is_open(told: NatBehaviour) -> bool:
    """Kept ports leave it open whether the mapping depends on the destination."""
    return bool(told.behind_nat and told.port_preservation) and told.mapping.rule is NatRule.UNDETERMINED


def _partners(
    inquiry: Inquiry, told: NatBehaviour, inquiries: Sequence[Inquiry], fleet: Sequence[AgentInfo]
) -> list[AgentInfo]:
    """Agents that are, or may be, behind the same outside address: known to be first, then neighbours that
    see the inside address, then those of the same site with private addresses."""
    mine = set(told.mapped_addresses)
    same = [
        other.subject
        for other in inquiries
        if other is not inquiry and set(behaviour(other.seen).mapped_addresses) & mine
    ]
    inside = {one.agent for one in told.reflectors if one.outside is False}
    beyond = {one.agent for one in told.reflectors if one.outside}
    neighbours = [agent for agent in fleet if agent.name in inside]
    site = inquiry.subject.site
    of_site = [
        agent
        for agent in fleet
        if site is not None and agent.site == site and all(map(_inner, agent.addresses))
    ]
    found = {agent.name: agent for agent in (*same, *neighbours, *of_site)}
    found.pop(inquiry.subject.name, None)
    return [agent for name, agent in found.items() if name not in beyond]


def _inner(text: str) -> bool:
    try:
        return is_private(text)
    except ValueError:
        return False
