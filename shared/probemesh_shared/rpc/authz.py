"""Who may call what: the one table. A method without a row cannot be served; a caller without the role is
refused.

``join`` is the one-use certificate inside a token, ``renewal`` what an operator's laptop gets its next short
one with. Revocation is looked at beside this, for every role.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from probemesh_shared.words import Role

_AGENT = frozenset({Role.AGENT})
_JOIN = frozenset({Role.JOIN})
_ADMIN = frozenset({Role.ADMIN})
_OPERATOR = _ADMIN | {Role.OPERATOR}
_VIEWER = _OPERATOR | {Role.VIEWER}
_RENEWING = _AGENT | _VIEWER | {Role.RENEWAL}

#: Full method name → roles that may call it.
ALLOWED: Mapping[str, frozenset[Role]] = MappingProxyType(
    {
        "/probemesh.v1.Fleet/Attach": _AGENT,
        "/probemesh.v1.Enrolment/Standing": _AGENT,
        "/probemesh.v1.Agent/Attach": _OPERATOR | {Role.CONTROLLER},
        "/probemesh.v1.Enrolment/Enrol": _JOIN,
        "/probemesh.v1.Enrolment/Renew": _RENEWING,
        "/probemesh.v1.Mesh/Status": _VIEWER,
        "/probemesh.v1.Mesh/ListAgents": _VIEWER,
        "/probemesh.v1.Mesh/Run": _OPERATOR,
        "/probemesh.v1.Mesh/CancelRun": _OPERATOR,
        "/probemesh.v1.Mesh/LabelAgent": _ADMIN,
        "/probemesh.v1.Mesh/RevokeAgent": _ADMIN,
        "/probemesh.v1.Mesh/CreateToken": _ADMIN,
        "/probemesh.v1.Trust/ListOperators": _ADMIN,
        "/probemesh.v1.Trust/RevokeOperator": _ADMIN,
        "/probemesh.v1.Mesh/Audit": _ADMIN,
        "/probemesh.v1.Trust/GetCa": _ADMIN,
        "/probemesh.v1.Trust/RotateCa": _ADMIN,
    }
)

#: What a method is to the person who may not call it; the names of methods are nobody's business.
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "/probemesh.v1.Fleet/Attach": "offer itself as a vantage point",
        "/probemesh.v1.Enrolment/Standing": "ask how an agent stands",
        "/probemesh.v1.Agent/Attach": "send jobs to an agent",
        "/probemesh.v1.Enrolment/Enrol": "join the mesh",
        "/probemesh.v1.Enrolment/Renew": "renew a certificate",
        "/probemesh.v1.Mesh/Status": "look at the mesh",
        "/probemesh.v1.Mesh/ListAgents": "list agents",
        "/probemesh.v1.Mesh/Run": "run probes",
        "/probemesh.v1.Mesh/CancelRun": "stop runs",
        "/probemesh.v1.Mesh/LabelAgent": "label agents",
        "/probemesh.v1.Mesh/RevokeAgent": "revoke agents",
        "/probemesh.v1.Mesh/CreateToken": "create tokens",
        "/probemesh.v1.Trust/ListOperators": "list operators",
        "/probemesh.v1.Trust/RevokeOperator": "revoke operators",
        "/probemesh.v1.Mesh/Audit": "read the audit",
        "/probemesh.v1.Trust/GetCa": "look at the CA",
        "/probemesh.v1.Trust/RotateCa": "change the CA",
    }
)
_UPWARDS = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)


def refusal(method: str, role: Role, name: str) -> str:
    """``operator alice may not create tokens: that needs the role admin``."""
    who = {
        Role.JOIN: "a token",
        Role.CONTROLLER: "a controller",
        Role.RENEWAL: f"the renewal certificate of {name}",
    }.get(role, f"{role} {name}")
    what = _WORDS.get(method, "do that")
    roles = ALLOWED.get(method, frozenset())
    least = next((one for one in _UPWARDS if one in roles), None)
    if least is not None:
        return f"{who} may not {what}: that needs the role {least}"
    if roles:
        needed = "a token" if Role.JOIN in roles else "an agent's certificate"
        return f"{who} may not {what}: that needs {needed}"
    return f"{who} may not {what}"


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
