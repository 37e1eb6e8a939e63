"""When the cells of a schedule are due, and what maintenance leaves out. Pure.

:mod:`probemesh_shared.slots` has what both ends compute alike; here are cron expressions, which agents get as
rounds, and windows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from probemesh_shared.model import AgentInfo
from probemesh_shared.slots import Cell, Course, Round, Slot, rounds_every

from probemesh_controller.meshes.cron import fires
from probemesh_controller.meshes.expanding import chosen
from probemesh_controller.meshes.model import SECOND_NS, Schedule, Window


@dataclass(frozen=True, slots=True)
class Closure:
    """A time in which slots are left out: all, or those of a cell one of whose ends is in ``agents``."""

    from_ns: int
    until_ns: int
    agents: frozenset[str] | None = None

    def holds(self, slot: Slot) -> bool:
        if not self.from_ns <= slot.due_ns < self.until_ns:
            return False
        return self.agents is None or not self.agents.isdisjoint((slot.cell.source, slot.cell.target))


def course(schedule: Schedule, cells: Sequence[Cell]) -> Course:
    """To be kept for as long as the cells are the same: it costs a hash for each."""
    return Course(schedule.key, cells, schedule.cycle)


def rounds(schedule: Schedule, since_ns: int, until_ns: int) -> Iterator[Round]:
    """Those that may have slots in the range."""
    if schedule.every_ns is not None:
        return rounds_every(schedule.every_ns, schedule.spread_ns, since_ns, until_ns)
    return _rounds_of_cron(schedule, since_ns, until_ns)


def due(
    schedule: Schedule,
    cells: Sequence[Cell],
    since_ns: int,
    until_ns: int,
    closures: Iterable[Closure] = (),
) -> Iterator[Slot]:
    """Slots with ``since_ns`` ≤ due < ``until_ns`` in their order, without those that are closed."""
    shut = tuple(closures)
    found = course(schedule, cells).due(rounds(schedule, since_ns, until_ns), since_ns, until_ns)
    return (slot for slot in found if not any(one.holds(slot) for one in shut))


def closures(
    windows: Iterable[Window],
    schedule: Schedule,
    agents: Sequence[AgentInfo],
    since_ns: int,
    until_ns: int,
) -> tuple[Closure, ...]:
    """What the windows close for this schedule within the range."""
    found = []
    for window in windows:
        if window.schedules and schedule.name not in window.schedules:
            continue
        names = frozenset(agent.name for agent in chosen(window.agents, agents)) if window.agents else None
        found += [Closure(begin, end, names) for begin, end in _times(window, since_ns, until_ns)]
    return tuple(found)


def _times(window: Window, since_ns: int, until_ns: int) -> Iterator[tuple[int, int]]:
    if window.cron is None:
        if window.from_ns < until_ns and window.until_ns > since_ns:
            yield window.from_ns, window.until_ns
        return
    begin, end = None, 0
    for at_ns in fires(window.cron, since_ns - window.lasts_ns + 1, until_ns):
        if begin is not None and at_ns > end:
            yield begin, end
            begin = None
        begin = at_ns if begin is None else begin
        end = at_ns + window.lasts_ns
    if begin is not None:
        yield begin, end


def _rounds_of_cron(schedule: Schedule, since_ns: int, until_ns: int) -> Iterator[Round]:
    """A round is numbered by the second at which it begins, and ends at the latest where the next begins."""
    assert schedule.cron is not None
    begun: int | None = None
    spread_ns = schedule.spread_ns
    for at_ns in fires(schedule.cron, since_ns - spread_ns, until_ns + spread_ns):
        if begun is not None:
            yield Round(begun // SECOND_NS, begun, min(spread_ns, at_ns - begun))
        if at_ns >= until_ns:
            return
        begun = at_ns
    if begun is not None:
        yield Round(begun // SECOND_NS, begun, spread_ns)
