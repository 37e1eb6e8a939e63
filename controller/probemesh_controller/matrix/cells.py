"""One cell of a matrix as it was last seen, and all of them together. Pure.

Where they come from (a run just now, a store) makes no difference to whoever shows them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from probemesh_shared import stats
from probemesh_shared.failures import outcome_of
from probemesh_shared.model import Failure, Measurement
from probemesh_shared.outcomes import vantage_outcome
from probemesh_shared.slots import Cell, state_of
from probemesh_shared.words import NOT_MEASURED, Outcome, SlotState

from probemesh_controller.collapse import Explanation


@dataclass(frozen=True, slots=True)
class CellSeen:
    """``state`` None: never measured, no data. ``stale``: longer ago than it should be. ``reason`` is why it
    failed or was not measured, for people; ``rtt_ms`` the median."""

    cell: Cell
    target_is_agent: bool = False
    state: SlotState | None = None
    outcome: Outcome | None = None
    at_ns: int | None = None
    stale: bool = False
    address: str | None = None
    sent: int = 0
    lost: int = 0
    rtt_ms: float | None = None
    reason: str | None = None

    @property
    def loss_ratio(self) -> float | None:
        return self.lost / self.sent if self.sent else None

    @property
    def failing(self) -> bool:
        """Measured, and not reached."""
        return self.state in (SlotState.FAILED, SlotState.TIMED_OUT)

    @property
    def unmeasured(self) -> bool:
        """Nothing is known of the target."""
        return self.state is not SlotState.OK and not self.failing


NOTHING_FAILS = Explanation((), 0, 0, 0, True)


@dataclass(frozen=True, slots=True)
class Matrix:
    """``mesh`` None: every agent with every other. ``at_ns``: as of when. ``causes``: what its failing cells
    come down to."""

    cells: tuple[CellSeen, ...]
    at_ns: int
    mesh: str | None = None
    interrupted: bool = False
    causes: Explanation = NOTHING_FAILS

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(sorted({one.cell.source for one in self.cells}))

    @property
    def targets(self) -> tuple[str, ...]:
        """Agents first."""
        found = {one.cell.target: not one.target_is_agent for one in self.cells}
        return tuple(sorted(found, key=lambda target: (found[target], target)))

    @property
    def probes(self) -> tuple[str, ...]:
        return tuple(sorted({one.cell.probe for one in self.cells}))


@dataclass(frozen=True, slots=True)
class Counts:
    ok: int
    failed: int
    unmeasured: int

    @property
    def total(self) -> int:
        return self.ok + self.failed + self.unmeasured


def counts(matrix: Matrix) -> Counts:
    ok = sum(one.state is SlotState.OK for one in matrix.cells)
    failed = sum(one.failing for one in matrix.cells)
    return Counts(ok, failed, len(matrix.cells) - ok - failed)


def matrix_exit_code(matrix: Matrix) -> int:
    """DESIGN §6 over the cells: 130 interrupted, 4 nothing could be measured, 1 measured and nothing was
    reached, 3 some failed or were not measured, 0 all are well."""
    if matrix.interrupted:
        return 130
    found = counts(matrix)
    if found.ok == 0:
        return 1 if found.failed else 4
    return 0 if found.ok == found.total else 3


def measured(cell: Cell, is_agent: bool, rows: Sequence[Measurement]) -> CellSeen:
    """From the rows of one cell, at least one: the addresses of a target are alternatives."""
    outcome = vantage_outcome(rows, ladder=False)[0]
    row = next((row for row in rows if row.outcome is outcome), rows[0])
    told = stats.of(row.samples)
    return CellSeen(
        cell,
        is_agent,
        state_of(outcome),
        outcome,
        row.started_ns,
        address=row.address,
        sent=told.sent,
        lost=told.lost,
        rtt_ms=told.rtt_ms if outcome is Outcome.OK else None,
        reason=row.failure.detail if row.failure is not None and outcome is not Outcome.OK else None,
    )


def not_measured(cell: Cell, is_agent: bool, outcome: Outcome, reason: str | None) -> CellSeen:
    assert outcome in NOT_MEASURED
    return CellSeen(cell, is_agent, state_of(outcome), outcome, reason=reason)


def refused(cell: Cell, failure: Failure) -> CellSeen:
    """An agent's responder that does not answer this time, by a failure of that agent's own."""
    outcome = outcome_of(failure)
    kept = outcome if outcome in NOT_MEASURED else Outcome.UNMEASURED
    return not_measured(cell, True, kept, failure.detail)
