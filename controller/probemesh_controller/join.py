"""``meshctl join``: another laptop becomes an operator, with the token of ``meshctl operator create``."""

import time
from dataclasses import dataclass
from pathlib import Path

from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.identity.files import CERTIFICATE, load_identity, renewing_identity, save_identity
from probemesh_shared.identity.request import request_in_child
from probemesh_shared.identity.token import decode_token
from probemesh_shared.names import dial_address
from probemesh_shared.words import OPERATORS, Role


@dataclass(frozen=True, slots=True)
class JoinedOperator:
    """What a context needs: ``controller`` is HOST:PORT, ``identity`` the folder that was written."""

    mesh: str
    role: Role
    name: str
    controller: str
    identity: Path


def mesh_of(folder: Path) -> str | None:
    """Of the identity there; None where there is none that can be read."""
    try:
        return load_identity(folder).mesh
    except StateError:
        return None


def over(folder: Path) -> bool:
    """The identity in ``folder`` has expired, and can be renewed no more: another may take its place."""
    try:
        identity = load_identity(folder)
        last = max(identity.not_after_ns, renewing_identity(identity).not_after_ns)
    except StateError:
        return False
    return identity.role in OPERATORS and last <= time.time_ns()


async def join_operator(folder: Path, address: str, token_text: str, replace: bool = False) -> JoinedOperator:
    """Writes a new identity into ``folder`` (for example STATE/operator), which must not hold one that is of
    use yet, unless ``replace``.

    Raises :class:`InvalidRequest` (not an operator's token), :class:`StateError`, and what
    :func:`probemesh_shared.rpc.enrolling.enrol` raises.
    """
    token = decode_token(token_text)
    if token.role is Role.AGENT:
        raise InvalidRequest("this token joins a host, not a laptop", "use it with: mesh-agent join")
    if (folder / CERTIFICATE).exists() and not (replace or over(folder)):
        raise StateError(
            f"{folder} holds an identity already", "give --replace to join again, or another --state"
        )
    controller = dial_address(address)
    from probemesh_shared.rpc.enrolling import enrol  # grpc is loaded only where something is dialled

    identity = await enrol(controller, token, await request_in_child())
    save_identity(folder, identity)
    return JoinedOperator(identity.mesh, identity.role, identity.name, controller, folder)
