"""The shape of ``meshctl check -o json``."""

from typing import Annotated, Literal, TypedDict

from probemesh_shared.jsoncauses import CausesJson
from probemesh_shared.words import Kind, Outcome

Word = Annotated[str, "kept, broken or unmeasured"]


class PairJson(TypedDict):
    """Who, to where, and how it came out."""

    agent: str
    target: str
    result: Word
    outcome: Outcome
    failed_at: Kind | None
    connected: Annotated[bool | None, "null: not measured"]
    reason: str | None
    rtt_ms: Annotated[float | None, "median of the slowest rung that held"]
    loss_ratio: float | None


class ClauseJson(TypedDict):
    name: str
    line: int | None
    must: Annotated[bool, "false: must not connect"]
    result: Word
    pairs: list[PairJson]


class ContractSummaryJson(TypedDict):
    """Clauses by how they came out."""

    kept: int
    broken: int
    unmeasured: int
    total: int


class CheckJson(TypedDict):
    """A contract held against reality."""

    schema: Literal[1]
    contract: str
    clauses: list[ClauseJson]
    explanation: Annotated[CausesJson, "of what must connect and does not"]
    summary: ContractSummaryJson
    interrupted: bool
