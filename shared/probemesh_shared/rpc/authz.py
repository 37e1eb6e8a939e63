"""Who may call what: the one table. A method without a row cannot be served; a caller without the role is
refused.

``join`` is the one-use certificate inside a token. Revocation is looked at beside this, for every role.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from probemesh_shared.words import Role

_AGENT = frozenset({Role.AGENT})
_JOIN = frozenset({Role.JOIN})
_ADMIN = frozenset({Role.ADMIN})
_OPERATOR = _ADMIN | {Role.OPERATOR}
_VIEWER = _OPERATOR | {Role.VIEWER}

#: Full method name → roles that may call it.
ALLOWED: Mapping[str, frozenset[Role]] = MappingProxyType(
    {
        "/probemesh.v1.Fleet/Attach": _AGENT,
        "/probemesh.v1.Agent/Attach": _OPERATOR | {Role.CONTROLLER},
        "/probemesh.v1.Enrolment/Enrol": _JOIN,
        "/probemesh.v1.Enrolment/Renew": _AGENT,
        "/probemesh.v1.Mesh/Status": _VIEWER,
        "/probemesh.v1.Mesh/ListAgents": _VIEWER,
        "/probemesh.v1.Mesh/Run": _OPERATOR,
        "/probemesh.v1.Mesh/CancelRun": _OPERATOR,
        "/probemesh.v1.Mesh/LabelAgent": _ADMIN,
        "/probemesh.v1.Mesh/RevokeAgent": _ADMIN,
        "/probemesh.v1.Mesh/CreateToken": _ADMIN,
    }
)


def allowed(method: str, role: Role) -> bool:
    """False for every method that has no row."""
    return role in ALLOWED.get(method, frozenset())


def check_table(served: Iterable[str], table: Mapping[str, frozenset[Role]] = ALLOWED) -> None:
    """Raises ``RuntimeError`` where a served method has no row, or a row of a served service has no
    method."""
    methods = set(served)
    services = {method.rpartition("/")[0] for method in methods}
    rows = {method for method in table if method.rpartition("/")[0] in services}
    if missing := sorted(methods - rows):
        raise RuntimeError(f"methods without a rule of who may call them: {', '.join(missing)}")
    if stale := sorted(rows - methods):
        raise RuntimeError(f"rules for methods that nobody serves: {', '.join(stale)}")
