"""The shapes of ``-o json`` of what administrators ask: who is let in, and by whom."""

from typing import Annotated, Literal, TypedDict

from probemesh_shared.jsonshape import Time


class OperatorJson(TypedDict):
    name: str
    role: Literal["viewer", "operator", "admin"]
    state: Literal["active", "away", "expired", "revoked"]
    created_at: Time | None
    created_by: str | None
    renewed_at: Time | None
    valid_until: Time | None
    renewable_until: Time | None


class OperatorsJson(TypedDict):
    """``meshctl operator list -o json``."""

    schema: Literal[1]
    operators: list[OperatorJson]


class OneCaJson(TypedDict):
    fingerprint: Annotated[str, "SHA-256, hexadecimal"]
    issues: bool
    trusted: bool
    has_key: Annotated[bool, "its key is on the controller"]
    ends_at: Time


class CaJson(TypedDict):
    """``meshctl controller ca -o json``."""

    schema: Literal[1]
    phase: Annotated[str, "steady, trusted, issuing or dropped"]
    cas: list[OneCaJson]
    behind: Annotated[list[str], "whom the next step would cut off"]
    behind_back: Annotated[list[str], "whom the step back would cut off"]
    away: Annotated[list[str], "shut laptops that would have to join again after the next step"]
    total: int
