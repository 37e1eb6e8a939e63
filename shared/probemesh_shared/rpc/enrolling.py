"""The joiner's side of enrolment, the same for a host and for a laptop.

The controller's chain is taken unverified and compared with the hash in the token; from then on everything
is mutual TLS with that CA pinned. The answers, which come over such a connection, say which CAs are trusted
from then on: a mesh that changes its CA has two for a while.
"""

import asyncio
import hashlib
import ssl

from probemesh.v1 import enrol_pb2
from probemesh.v1.enrol_pb2_grpc import EnrolmentStub

from probemesh_shared.errors import CertificateRefused
from probemesh_shared.identity.files import Identity, make_identity
from probemesh_shared.identity.names import controller_dns
from probemesh_shared.identity.request import KeyRequest
from probemesh_shared.identity.selftest import unusable
from probemesh_shared.identity.tlsprobe import fetch_chain
from probemesh_shared.identity.token import JoinToken
from probemesh_shared.names import dial_address
from probemesh_shared.rpc.client import Connection, connect

FETCH_S = 5.0
_MAX_PEM = 16 << 10
Granted = enrol_pb2.EnrolResponse | enrol_pb2.RenewResponse


async def enrol(
    address: str, token: JoinToken, request: KeyRequest, name: str | None = None, replace: bool = False
) -> Identity:
    """A certificate for the key in ``request``. ``name`` is a wish, obeyed where the token leaves it open.

    Raises :class:`CertificateRefused` where another mesh answers at ``address``, :class:`NotAllowed` for a
    token that is used up or expired, :class:`InvalidRequest` for a name that is taken, :class:`Unreachable`.
    """
    address = dial_address(address)
    chain = await asyncio.to_thread(fetch_chain, address, FETCH_S)
    ca_pem = pinned_ca(address, chain, token)
    joiner = make_identity(token.certificate_pem, token.key_pem, ca_pem)
    async with connect(address, joiner, controller_dns(token.mesh)) as connection:
        message = enrol_pb2.EnrolRequest(
            token_secret=token.secret_text, csr_der=request.csr_der, name=name, replace=replace
        )
        granted = await connection.call(EnrolmentStub(connection.channel).Enrol, message)
    return _granted(granted, request, ca_pem, token.mesh)


def pinned_ca(address: str, chain: tuple[bytes, ...], token: JoinToken) -> bytes:
    """PEM of the one certificate in ``chain`` that the token's hash names. Raises
    :class:`CertificateRefused`."""
    for der in chain:
        if hashlib.sha256(der).digest() == token.ca_sha256:
            return ssl.DER_cert_to_PEM_cert(der).encode("ascii")
    raise CertificateRefused(
        f"{address} does not belong to mesh {token.mesh}, which this token is for",
        "is the address right? if it is, somebody may be in between: do not go on",
    )


async def renew(connection: Connection, request: KeyRequest, present: Identity) -> Identity:
    """A certificate for a new key in place of ``present``. Raises :class:`MeshError`."""
    message = enrol_pb2.RenewRequest(csr_der=request.csr_der)
    granted = await connection.call(EnrolmentStub(connection.channel).Renew, message)
    renewed = _granted(granted, request, present.ca_pem, present.mesh)
    if (renewed.role, renewed.id, renewed.name) != (present.role, present.id, present.name):
        raise CertificateRefused("the controller answered a renewal with somebody else's certificate")
    return renewed


def _granted(granted: Granted, request: KeyRequest, ca_pem: bytes, mesh: str) -> Identity:
    """``ca_pem`` is kept where the answer names no CA."""
    bundle = granted.ca_pem if 0 < len(granted.ca_pem) <= _MAX_PEM else ca_pem
    identity = make_identity(
        granted.certificate_pem[:_MAX_PEM], request.key_pem, bundle, granted.renewal_pem[:_MAX_PEM]
    )
    if identity.mesh != mesh:
        raise CertificateRefused(f"the controller answered with a certificate of mesh {identity.mesh}")
    if (why := unusable(identity)) is not None:  # it would take the place of one that is good
        raise CertificateRefused(f"the controller answered with a certificate that is of no use: {why}")
    return identity
