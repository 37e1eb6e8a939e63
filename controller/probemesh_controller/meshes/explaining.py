"""What a file comes to: of each schedule its pairs, cells, slots, packets and first due times. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from probemesh_shared.model import AgentInfo
from probemesh_shared.slots import Slot

from probemesh_controller.meshes.due import closures, due, rounds
from probemesh_controller.meshes.expanding import Expansion, expand
from probemesh_controller.meshes.model import SECOND_NS, MeshFile, Problem, Schedule
from probemesh_controller.meshes.rates import Rates, excess, over, rates, together, what_helps
from probemesh_controller.meshes.remarks import remarks
from probemesh_controller.pacing import PACKETS_PER_S

FIRST = 3
_HOUR_NS = 3600 * SECOND_NS
_DAY_NS = 24 * _HOUR_NS
#: How far ahead the first due times are looked for: a yearly cron has its turn.
_AHEAD_NS = 366 * _DAY_NS
#: So many slots are looked at, some at once, before it is given up to find one that is not closed.
_LOOKED_AT, _AT_ONCE = 10_000, 500


@dataclass(frozen=True, slots=True)
class ScheduleExplained:
    """``slots_an_hour`` is the mean over the coming day, maintenance left out."""

    schedule: Schedule
    pairs: int
    cells: int
    slots_an_hour: float
    rates: Rates
    first: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """``warnings`` are about agents that are not there, ``over`` about budgets. ``agents``: how many are
    known; None where nobody was asked, then nothing is said of pairs."""

    file: MeshFile
    agents: int | None
    schedules: tuple[ScheduleExplained, ...] = ()
    warnings: tuple[Problem, ...] = ()
    over: tuple[Problem, ...] = ()


def explain(file: MeshFile, agents: Sequence[AgentInfo] | None, now_ns: int) -> Explained:
    if agents is None:
        return Explained(file, None)
    explained = tuple(_schedule(file, one, agents, now_ns) for one in file.schedules)
    return Explained(file, len(agents), explained, remarks(file, agents), _over(file, explained))


def _schedule(
    file: MeshFile, schedule: Schedule, agents: Sequence[AgentInfo], now_ns: int
) -> ScheduleExplained:
    expansion = expand(schedule, agents)
    first = tuple(islice(_ahead(file, schedule, expansion, agents, now_ns), FIRST))
    per_hour = _slots_of_a_day(file, schedule, expansion, agents, now_ns) / 24
    return ScheduleExplained(
        schedule,
        len(expansion.pairs),
        len(expansion.aims),
        per_hour,
        rates(schedule, expansion.aims),
        first,
    )


def _ahead(
    file: MeshFile, schedule: Schedule, expansion: Expansion, agents: Sequence[AgentInfo], now_ns: int
) -> list[Slot]:
    """The first slots, looked for in spans that grow; where maintenance closes thousands, none."""
    since, span, end = now_ns, max(schedule.spread_ns, SECOND_NS), now_ns + _AHEAD_NS
    found: list[Slot] = []
    looked = 0
    while expansion.aims and len(found) < FIRST and since < end and looked < _LOOKED_AT:
        until = min(since + span, end)
        slots = list(islice(due(schedule, expansion.cells, since, until), _AT_ONCE))
        if len(slots) == _AT_ONCE:
            until = slots[-1].due_ns + 1
        if slots:
            shut = closures(file.windows, schedule, agents, slots[0].due_ns, slots[-1].due_ns + 1)
            found += [slot for slot in slots if not any(one.holds(slot) for one in shut)]
        looked += len(slots)
        since, span = until, span * 4
    return found[:FIRST]


def _slots_of_a_day(
    file: MeshFile, schedule: Schedule, expansion: Expansion, agents: Sequence[AgentInfo], now_ns: int
) -> float:
    """Rounds × cells, without going through them; what is closed is taken off by its part of the day and of
    the cells."""
    until = now_ns + _DAY_NS
    if schedule.every_ns is not None:
        whole = _DAY_NS / schedule.every_ns / schedule.cycle
    else:
        whole = sum(now_ns <= one.at_ns < until for one in rounds(schedule, now_ns, until))
    slots = whole * len(expansion.aims)
    touched: dict[frozenset[str] | None, int] = {None: len(expansion.aims)}
    for one in closures(file.windows, schedule, agents, now_ns, until):
        if one.agents not in touched:
            names = one.agents or frozenset()
            ends = ((cell.source, cell.target) for cell in expansion.cells)
            touched[one.agents] = sum(not names.isdisjoint(two) for two in ends)
        shut_ns = min(one.until_ns, until) - max(one.from_ns, now_ns)
        slots -= whole * touched[one.agents] * max(0, shut_ns) / _DAY_NS
    return max(0.0, slots)


def _over(file: MeshFile, explained: Sequence[ScheduleExplained]) -> tuple[Problem, ...]:
    found = []
    for one in explained:
        schedule = one.schedule
        said = over(schedule.budget, one.rates, f"the schedule '{schedule.name}'")
        hint = what_helps(schedule, excess(schedule.budget, one.rates))
        found += [Problem(schedule.budget.line or schedule.line, text, hint) for text in said]
    usual = file.budget if file.budget.per_target else replace(file.budget, per_target=PACKETS_PER_S)
    hint = "longer intervals, a sample (every_pair_within), fewer kinds, a smaller count"
    everything = together(one.rates for one in explained)
    return (
        *found,
        *(Problem(file.budget.line, text, hint) for text in over(usual, everything, "the whole file")),
    )
