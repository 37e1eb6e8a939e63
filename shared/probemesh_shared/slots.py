"""When each cell of a schedule is due, computed alike by the controller and by the agent. Pure.

A *cell* is one probe of one pair, a *round* one turn of a schedule, a *slot* one due time of one cell: at
the round's start plus an offset that a hash of the cell gives, so that nothing fires at once. Nothing here
depends on who else takes part, sampling aside, which depends on the source's own cells only: an agent that
knows its cells computes what the controller expects of it.

Times are nanoseconds since the epoch, UTC.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from probemesh_shared.words import NOT_MEASURED, Outcome, SlotState

_ONE = 1 << 64


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """``source`` is an agent's name; ``target`` an agent's name, or a TARGET, which always has a colon;
    ``probe`` the label of what is measured: ``icmp``, ``tcp/5432``, ``udp/53/ipv6``."""

    source: str
    target: str
    probe: str


@dataclass(frozen=True, slots=True)
class Round:
    """Its slots lie in ``at_ns`` … ``at_ns + spread_ns``, the end left out. Rounds of a schedule never
    overlap, and their numbers grow."""

    number: int
    at_ns: int
    spread_ns: int

    @property
    def end_ns(self) -> int:
        return self.at_ns + self.spread_ns


@dataclass(frozen=True, slots=True)
class Slot:
    id: str
    schedule: str
    number: int
    cell: Cell
    due_ns: int


def slot_id(schedule: str, number: int, cell: Cell) -> str:
    """32 hexadecimal digits. ``schedule`` is the key of a schedule, not only its name: another interval makes
    other slots."""
    return _digest(16, "slot", schedule, str(number), cell.source, cell.target, cell.probe).hex()


def offset_ns(schedule: str, cell: Cell, spread_ns: int) -> int:
    """From 0 up to, not including, ``spread_ns``."""
    return _fraction(schedule, cell) * spread_ns // _ONE


def phases(schedule: str, cells: Iterable[Cell], cycle: int) -> dict[tuple[str, str], int]:
    """Pair → in which rounds it is measured: those whose number is the phase, modulo ``cycle``.

    The pairs of one source are put into an order by hash and dealt out evenly over the cycle, so that each
    is measured once in ``cycle`` rounds, and no round has more of them than another, but for one. Sources
    begin at different places. Where a pair comes or goes the others of its source move by a place at most."""
    pairs: defaultdict[str, set[str]] = defaultdict(set)
    for cell in cells:
        pairs[cell.source].add(cell.target)
    found = {}
    for source, targets in pairs.items():
        first = _number("source", schedule, source) % cycle
        ordered = sorted(targets, key=lambda target: (_number("pair", schedule, source, target), target))
        for place, target in enumerate(ordered):
            found[source, target] = (first + place * cycle // len(ordered)) % cycle
    return found


def rounds_every(every_ns: int, spread_ns: int, since_ns: int, until_ns: int) -> Iterator[Round]:
    """Those of an interval that may have a slot in the range; round ``n`` begins ``n`` intervals after the
    epoch. ``spread_ns`` is no longer than the interval."""
    number = (since_ns - spread_ns) // every_ns + 1
    while number * every_ns < until_ns:
        yield Round(number, number * every_ns, spread_ns)
        number += 1


class Course:
    """The slots of some cells of one schedule. ``cycle`` rounds measure every pair once; 1 measures all of
    them in every round. Making it hashes every cell; a round costs what is due in it."""

    def __init__(self, schedule: str, cells: Sequence[Cell], cycle: int = 1) -> None:
        self._schedule = schedule
        self._cycle = cycle
        phase_of = phases(schedule, cells, cycle) if cycle > 1 else {}
        lists: defaultdict[int, list[tuple[int, Cell]]] = defaultdict(list)
        for cell in set(cells):
            phase = phase_of.get((cell.source, cell.target), 0)
            lists[phase].append((_fraction(schedule, cell), cell))
        self._of_phase = {phase: sorted(some) for phase, some in lists.items()}

    def due(self, rounds: Iterable[Round], since_ns: int, until_ns: int) -> Iterator[Slot]:
        """Those with ``since_ns`` ≤ due < ``until_ns``, by time and then by cell."""
        for one in rounds:
            cells = self._of_phase.get(one.number % self._cycle, ())
            first = bisect_left(cells, since_ns - one.at_ns, key=lambda cell: cell[0] * one.spread_ns // _ONE)
            for fraction, cell in cells[first:]:
                due_ns = one.at_ns + fraction * one.spread_ns // _ONE
                if due_ns >= until_ns:
                    break
                yield Slot(
                    slot_id(self._schedule, one.number, cell), self._schedule, one.number, cell, due_ns
                )


_STATES = {
    Outcome.OK: SlotState.OK,
    Outcome.TIMEOUT: SlotState.TIMED_OUT,
    Outcome.DENIED: SlotState.DENIED,
    Outcome.AGENT_LOST: SlotState.AGENT_LOST,
}


def state_of(outcome: Outcome) -> SlotState:
    """What a measurement's outcome makes of its slot; what nobody looked at is ``missed``."""
    unmeasured = SlotState.MISSED if outcome in NOT_MEASURED else SlotState.FAILED
    return _STATES.get(outcome, unmeasured)


def _fraction(schedule: str, cell: Cell) -> int:
    return _number("offset", schedule, cell.source, cell.target, cell.probe)


def _number(*words: str) -> int:
    return int.from_bytes(_digest(8, *words), "big")


def _digest(size: int, *words: str) -> bytes:
    """No word holds a NUL: names and TARGETs are printable."""
    return blake2b("\0".join(words).encode(), digest_size=size).digest()
