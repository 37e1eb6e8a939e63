"""From a mesh and who is there to pairs and cells, in a stable order. Pure.

Whoever is revoked takes no part; who is merely away does, and so is missed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from probemesh_shared.model import AgentInfo, Options, PortRange, Target
from probemesh_shared.selectors import fits
from probemesh_shared.slots import Cell
from probemesh_shared.targets import unparse
from probemesh_shared.words import AgentState

from probemesh_controller.meshes.aiming import Aim, Way, ways
from probemesh_controller.meshes.model import End, Mesh, Probe, Rule, Schedule, Who


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """``target`` is an agent's name, or a TARGET, which always has a colon."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Expansion:
    """By source, target and label. ``aims`` say how each cell is measured."""

    aims: tuple[Aim, ...] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(aim.cell for aim in self.aims)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return tuple(dict.fromkeys(Pair(aim.cell.source, aim.cell.target) for aim in self.aims))


def expand(schedule: Schedule, agents: Iterable[AgentInfo]) -> Expansion:
    return expand_mesh(schedule.mesh, schedule.probes, schedule.options, agents)


def expand_mesh(
    mesh: Mesh, probes: Sequence[Probe], options: Options, agents: Iterable[AgentInfo]
) -> Expansion:
    there = [agent for agent in agents if agent.state is not AgentState.REVOKED]
    out = {agent.name for agent in chosen(mesh.out, there)}
    never = {(source, _name(to)) for rule in mesh.never for source, to in _ways(rule, there)}
    known: dict[str, tuple[Way, ...]] = {}  # by the text of an end, which many sources share
    found: dict[Cell, Aim] = {}
    for rule in mesh.rules:
        for source, to in _ways(rule, there):
            if source in out or to.agent in out or (source, _name(to)) in never:
                continue
            if to.text not in known:
                known[to.text] = ways(to, probes, options.family)
            for way in known[to.text]:
                aim = way.aim(source)
                found.setdefault(aim.cell, aim)
    return Expansion(tuple(found[cell] for cell in sorted(found)))


def chosen(some: Iterable[Who], agents: Sequence[AgentInfo]) -> list[AgentInfo]:
    """Those whom any of ``some`` means, in the order of ``agents``."""
    selectors = [who.selector for who in some]
    return [agent for agent in agents if any(fits(selector, agent) for selector in selectors)]


def _name(to: Target) -> str:
    return to.agent or to.text


def _ways(rule: Rule, agents: Sequence[AgentInfo]) -> Iterator[tuple[str, Target]]:
    """Every source to every end, none to itself."""
    sources = chosen(rule.sources, agents)
    for end in rule.ends:
        for to in _targets(end, agents):
            for source in sources:
                if source.name == to.agent:
                    continue
                if not rule.once or (to.agent is not None and _this_way(source.name, to.agent)):
                    yield source.name, to
                if rule.both and to.agent is not None and not to.ports:
                    yield to.agent, of_agent(source.name)


def _targets(end: End, agents: Sequence[AgentInfo]) -> Iterator[Target]:
    if end.target is not None:
        yield end.target
    if end.who is not None:
        for agent in chosen((end.who,), agents):
            yield of_agent(agent.name, end.ports)


def of_agent(name: str, ports: Iterable[int] = ()) -> Target:
    """The TARGET ``agent:NAME[:PORTS]``."""
    target = Target("", name, tuple(PortRange(port, port) for port in ports), agent=name)
    return Target(unparse(target), name, target.ports, agent=name)


def _this_way(source: str, target: str) -> bool:
    """Of each two names exactly one order, half of them the one and half the other."""
    first, second = sorted((source, target))
    odd = blake2b(f"{first}\0{second}".encode(), digest_size=1).digest()[0] & 1
    return (source == first) == bool(odd)
