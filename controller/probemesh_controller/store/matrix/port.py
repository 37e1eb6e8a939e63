"""What the store keeps of schedules, and how it is asked. Every adapter passes the same tests.

A *series* is one cell of one schedule: its slots are told apart by their number, and ``at_ns`` (when the slot
was due, Unix nanoseconds) follows from the number. Exactly one row is kept of a slot, whatever comes how
often and in which order. Round trips are kept to the microsecond.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.words import FailureKind, SlotState

MINUTE_NS = 60 * 1_000_000_000
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
#: Points that one question for a history may ask for.
MOST_POINTS = 20_000


class Series(NamedTuple):
    """``schedule`` is the schedule's key, ``source`` the id of the agent that measures, ``target`` and
    ``probe`` as the cell has them."""

    schedule: str
    source: str
    target: str
    probe: str


class SlotRow(NamedTuple):
    """``rtt_ms`` is the median, None where nothing came back. ``filled``: the controller's own word (missed,
    agent-lost) for a slot of which it had heard nothing; the agent's row takes its place."""

    number: int
    at_ns: int
    state: SlotState
    rtt_ms: float | None = None
    sent: int = 0
    lost: int = 0
    failure: FailureKind | None = None
    retried: bool = False
    filled: bool = False


class Standing(NamedTuple):
    """A cell as it stood. ``resolution_ns`` is 0 where the row is the slot's own; else the row tells of a
    minute or an hour: its commonest state (of equals the worse), median round trip, sums; ``number`` is 0."""

    series: Series
    row: SlotRow
    resolution_ns: int = 0


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """From ``since_ns`` to ``until_ns``, the end left out; longer than the step that was asked for where only
    coarser data is left. Round trips within 2 %; minimum and maximum to the microsecond."""

    since_ns: int
    until_ns: int
    states: Mapping[SlotState, int]
    sent: int
    lost: int
    rtt_min_ms: float | None
    rtt_median_ms: float | None
    rtt_p95_ms: float | None
    rtt_max_ms: float | None

    @property
    def loss_ratio(self) -> float | None:
        return self.lost / self.sent if self.sent else None


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is kept, by the time at which slots were due. Raw data goes by whole hours, minutes by
    hours, hours by days. Raises InvalidRequest for times that do not grow."""

    raw_ns: int = DAY_NS
    minutes_ns: int = 7 * DAY_NS
    hours_ns: int = 400 * DAY_NS

    def __post_init__(self) -> None:
        if not HOUR_NS <= self.raw_ns <= self.minutes_ns <= self.hours_ns:
            raise InvalidRequest(
                "raw data is kept for an hour or longer, minutes not shorter, hours not shorter than minutes"
            )


class MatrixStore(Protocol):
    """Part of :class:`probemesh_controller.store.port.Store`; its rules of calls and transactions hold."""

    def add_slots(self, batch: Iterable[tuple[Series, SlotRow]]) -> int:
        """Idempotent by series and number: the first row of a slot stays, but that an agent's row takes the
        place of one that the controller filled in. Returns how many rows were refused because the raw data of
        their hour is gone, so that nobody can tell any more whether they are there.

        Raises InvalidRequest, and keeps nothing, where a number or time is out of range."""

    def upkeep(self, now_ns: int, keep: Retention) -> bool:
        """One small step of packing, rolling up and forgetting; whether there may be more to do at once.
        Nothing is forgotten by the clock alone: the newest slot counts as now where it is older."""

    def series(self, schedule: str | None = None) -> tuple[Series, ...]:
        """In order; None is all schedules, here and below."""

    def latest(self, schedule: str | None = None) -> tuple[Standing, ...]:
        """The newest slot of every series, in order."""

    def standing(self, schedule: str | None, time_ns: int) -> tuple[Standing, ...]:
        """The newest slot at or before ``time_ns`` of every series that had one in the 24 hours before."""

    def slots(self, series: Series, since_ns: int, until_ns: int) -> tuple[SlotRow, ...]:
        """The raw rows due in the range, by time, as far as raw data is kept."""

    def counts(
        self, schedule: str | None, since_ns: int, until_ns: int
    ) -> Mapping[Series, Mapping[SlotState, int]]:
        """Slots by state of every series that had any in the range; where raw data is gone, minutes or hours
        that begin in it."""

    def history(self, series: Series, since_ns: int, until_ns: int, step_ns: int) -> tuple[HistoryPoint, ...]:
        """Points of ``step_ns``, beginning at multiples of it, that cover the range; those without a slot are
        left out. Read from hours, minutes or raw data: the coarsest that the step allows, then what is left.

        Raises InvalidRequest for more than MOST_POINTS, or a step below 1 s."""
