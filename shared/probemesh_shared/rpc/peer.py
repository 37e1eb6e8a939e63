"""Who is calling, as the verified certificate says; nothing in a message can change it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from probemesh_shared.errors import CertificateRefused
from probemesh_shared.identity.der import read_pem
from probemesh_shared.identity.names import subject_of
from probemesh_shared.words import Role


@dataclass(frozen=True, slots=True)
class Peer:
    """``id`` is the agent's id or the operator's name; ``address`` is grpc's spelling
    (``ipv4:192.0.2.1:4711``)."""

    role: Role
    name: str
    id: str
    mesh: str
    serial: str = ""
    address: str = ""
    ends_ns: int | None = None  # of the certificate, Unix


def peer_from(auth: Mapping[str, Iterable[bytes]], address: str) -> Peer:
    """Raises :class:`CertificateRefused` for a connection without a certificate of ours, or not over TLS
    1.3."""
    for version in auth.get("ssl_tls_version", ()):  # grpcio ≥ 1.85 tells
        if version != b"TLSv1.3":
            raise CertificateRefused("the connection is not TLS 1.3")
    try:
        facts = read_pem(next(iter(auth.get("x509_pem_cert", ()))))
        subject = subject_of(facts.uris, facts.dns_names)
    except (StopIteration, ValueError) as error:
        raise CertificateRefused("the certificate presented is not one of this mesh") from error
    return Peer(
        subject.role, subject.name, subject.id, subject.mesh, facts.serial, address, facts.not_after_ns
    )


def peer_of(context: Any) -> Peer:
    """Of a servicer's ``context``. Raises :class:`CertificateRefused`."""
    return peer_from(context.auth_context(), context.peer())
