"""The shape of what is printed about meshes: a file explained, a matrix measured. As
:mod:`probemesh_shared.jsonshape`."""

from typing import Annotated, Literal, TypedDict

from probemesh_shared.jsoncauses import CausesJson
from probemesh_shared.jsonshape import Ms, Time
from probemesh_shared.words import Outcome, SlotState


class ProblemJson(TypedDict):
    """What is wrong with the file, or odd about it."""

    line: int | None
    text: str
    hint: str | None


class DueJson(TypedDict):
    at: Time
    source: str
    target: str
    probe: Annotated[str, "icmp, tcp/5432, udp/53/ipv6"]


class RateJson(TypedDict):
    """Packets a second, and whose they are."""

    name: str
    packets_per_s: float


class ScheduleJson(TypedDict):
    """A schedule, and what it comes to with the agents that are known; null where none were asked."""

    name: str
    mesh: str
    shape: str
    probes: list[str]
    every_s: float | None
    cron: str | None
    spread_s: float
    every_pair_within_s: Annotated[float | None, "where each round measures a part of the pairs"]
    pairs: int | None
    cells: int | None
    slots_per_hour: float | None
    packets_per_s: float | None
    busiest_agent: RateJson | None
    busiest_target: RateJson | None
    first_due: list[DueJson]


class WindowJson(TypedDict):
    """Maintenance."""

    name: str
    cron: str | None
    duration_s: float | None
    begins: Time | None
    ends: Time | None
    schedules: list[str]


class CheckConfigJson(TypedDict):
    """What ``meshctl controller check-config FILE -o json`` prints."""

    schema: Literal[1]
    file: str
    usable: Annotated[bool, "it can be read"]
    agents: Annotated[int | None, "how many are known; null where no mesh was asked"]
    problems: Annotated[list[ProblemJson], "why it cannot be read"]
    warnings: Annotated[list[ProblemJson], "what means nobody that is there"]
    over_budget: list[ProblemJson]
    schedules: list[ScheduleJson]
    windows: list[WindowJson]


class MatrixCellJson(TypedDict):
    """One probe of one pair. ``rtt_ms`` is the median."""

    source: str
    target: Annotated[str, "an agent's name, or a TARGET, which always has a colon"]
    target_is_agent: bool
    probe: Annotated[str, "icmp, udp, tcp/5432, udp/53/ipv6"]
    state: SlotState | None
    outcome: Outcome | None
    at: Annotated[Time | None, "when it was measured; null: never"]
    stale: Annotated[bool, "it is older than it should be"]
    address: str | None
    sent: int
    lost: int
    loss_ratio: float | None
    rtt_ms: Ms | None
    reason: Annotated[str | None, "why it failed or was not measured, for people"]


class MatrixSummaryJson(TypedDict):
    """Cells."""

    ok: int
    failed: int
    unmeasured: int
    total: int


class MatrixJson(TypedDict):
    """What ``meshctl matrix run -o json`` prints."""

    schema: Literal[1]
    mesh: Annotated[str | None, "null: every agent with every other"]
    at: Time
    sources: list[str]
    targets: list[str]
    probes: list[str]
    cells: list[MatrixCellJson]
    causes: CausesJson
    summary: MatrixSummaryJson
    interrupted: bool
