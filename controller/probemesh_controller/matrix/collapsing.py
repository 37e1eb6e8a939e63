"""What the failing cells of a matrix come down to. Pure."""

from collections.abc import Mapping, Sequence

from probemesh_shared.model import AgentInfo
from probemesh_shared.words import Family

from probemesh_controller.collapse import Cell, End, Explanation, ProbeLabel, State, explain
from probemesh_controller.collapse.ends import end_of
from probemesh_controller.matrix.cells import CellSeen


def causes(cells: Sequence[CellSeen], agents: Sequence[AgentInfo]) -> Explanation:
    """The fewest causes that explain every failing cell and no healthy one; what was not measured, or is old,
    neither forbids one nor demands one."""
    ends = {agent.name: end_of(agent) for agent in agents}
    return explain(_cell(seen, ends) for seen in cells)


def _cell(seen: CellSeen, ends: Mapping[str, End]) -> Cell:
    source, target = (ends.get(name, End(name)) for name in (seen.cell.source, seen.cell.target))
    known = not (seen.unmeasured or seen.stale)
    state = State.UNKNOWN if not known else State.FAILING if seen.failing else State.OK
    word = seen.outcome.value if state is State.FAILING and seen.outcome is not None else ""
    return Cell(source, target, label_of(seen.cell.probe), state, word)


def label_of(probe: str) -> ProbeLabel:
    """Of ``icmp``, ``tcp/5432``, ``udp/53/ipv6``."""
    kind, *rest = probe.split("/")
    port = next((int(part) for part in rest if part.isdecimal()), None)
    family = next((part for part in rest if part in (Family.IPV4, Family.IPV6)), None)
    return ProbeLabel(kind, port, family)
