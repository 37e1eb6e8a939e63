"""What a certificate says its holder is: one URI name for servers to read, one DNS name for dialling sides
to check.

    spiffe://MESH.probemesh.internal/ROLE/ID
    controller.MESH.probemesh.internal          NAME.agent.MESH.probemesh.internal

A dialling side cannot read the peer's certificate through grpc, so the DNS name carries the role too; no
certificate has an address in it, and every dial names whom it expects.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from probemesh_shared.words import Role

DOMAIN = "probemesh.internal"
_URI = re.compile(r"spiffe://([a-z0-9.-]{1,63})\.probemesh\.internal/([a-z]{1,16})/([A-Za-z0-9._-]{1,64})\Z")


@dataclass(frozen=True, slots=True)
class Subject:
    """``id`` outlives the name: an agent's id, an operator's name, a token's id for role ``join``. ``name``
    is how people call the holder."""

    mesh: str
    role: Role
    id: str
    name: str


def subject_uri(mesh: str, role: Role, subject_id: str) -> str:
    return f"spiffe://{mesh}.{DOMAIN}/{role}/{subject_id}"


def controller_dns(mesh: str) -> str:
    """The ``server_name`` to expect of a controller."""
    return f"controller.{mesh}.{DOMAIN}"


def agent_dns(name: str, mesh: str) -> str:
    """The ``server_name`` to expect of a listening agent."""
    return f"{name}.agent.{mesh}.{DOMAIN}"


def subject_of(uris: Sequence[str], dns_names: Sequence[str]) -> Subject:
    """Reads the two names back. Raises ``ValueError`` unless there is exactly one URI name of our form."""
    match = _URI.match(uris[0]) if len(uris) == 1 else None
    if match is None:
        raise ValueError("the certificate has not exactly one name of this product")
    mesh, role, subject_id = match[1], Role(match[2]), match[3]
    name = subject_id
    if role is Role.AGENT:
        suffix = f".agent.{mesh}.{DOMAIN}"
        if len(dns_names) != 1 or not dns_names[0].endswith(suffix):
            raise ValueError("an agent's certificate without its name")
        name = dns_names[0].removesuffix(suffix)
    return Subject(mesh, role, subject_id, name)
