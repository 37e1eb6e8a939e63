"""The shapes of ``-o json`` of what administrators ask: who is let in, and by whom."""

from typing import Literal, TypedDict

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
