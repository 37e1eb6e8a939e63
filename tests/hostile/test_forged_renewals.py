"""A controller that answers a renewal with what would lock its agent out, or make it somebody else: the pair
that is good stays where it is."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.x509 import load_der_x509_csr
from probemesh.v1 import enrol_pb2
from probemesh.v1.enrol_pb2_grpc import EnrolmentServicer, add_EnrolmentServicer_to_server
from probemesh_agent import enrol
from probemesh_controller.pki.ca import CertificateAuthority, new_key
from probemesh_shared.errors import CertificateRefused, StateError
from probemesh_shared.identity.files import Identity, load_identity, save_identity
from probemesh_shared.identity.names import Subject
from probemesh_shared.rpc.grpc_setup import grpc
from probemesh_shared.words import Role

from tests.rpc.conftest import issue

OWN = Subject("demo", Role.AGENT, "4f2a", "berlin-1")
Answer = Callable[[CertificateAuthority, CertificateAuthority, Any], tuple[bytes, bytes]]


def _by(ca: CertificateAuthority, subject: Subject, key: Any) -> bytes:
    return ca.issue(subject, key).certificate_pem


ANSWERS: dict[str, Answer] = {
    "another key": lambda ca, other, key: (_by(ca, OWN, new_key().public_key()), ca.certificate_pem),
    "another name": lambda ca, other, key: (_by(ca, replace(OWN, name="cairo-1"), key), ca.certificate_pem),
    "another id": lambda ca, other, key: (_by(ca, replace(OWN, id="5b3c"), key), ca.certificate_pem),
    "another role": lambda ca, other, key: (_by(ca, replace(OWN, role=Role.ADMIN), key), ca.certificate_pem),
    "by another CA": lambda ca, other, key: (_by(other, OWN, key), ca.certificate_pem),
    "and another CA to trust": lambda ca, other, key: (_by(ca, OWN, key), other.certificate_pem),
    "no certificate": lambda ca, other, key: (b"\x1b]0;pwned\x07" * 100, ca.certificate_pem),
    "nothing": lambda ca, other, key: (b"", b""),
}


@contextlib.asynccontextmanager
async def answering(
    controller: Identity, answer: Callable[[EllipticCurvePublicKey], tuple[bytes, bytes]]
) -> AsyncIterator[str]:
    """A server of the generated stubs, and nothing of ours between."""

    class Forger(EnrolmentServicer):
        async def Renew(self, request: Any, context: Any) -> enrol_pb2.RenewResponse:  # type: ignore[override]
            key: Any = load_der_x509_csr(request.csr_der).public_key()
            certificate, trusted = answer(key)
            return enrol_pb2.RenewResponse(certificate_pem=certificate, ca_pem=trusted)

    server = grpc.aio.server()
    add_EnrolmentServicer_to_server(Forger(), server)  # type: ignore[no-untyped-call]
    pair = (controller.key_pem, controller.certificate_pem)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair], controller.ca_pem, True))
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@pytest.mark.parametrize("name", ANSWERS)
async def test_what_would_lock_the_agent_out_is_not_kept(
    ca: CertificateAuthority, other_ca: CertificateAuthority, controller: Identity, tmp_path: Path, name: str
) -> None:
    good = issue(ca, Role.AGENT)
    save_identity(tmp_path, good)
    async with answering(controller, lambda key: ANSWERS[name](ca, other_ca, key)) as address:
        with pytest.raises((CertificateRefused, StateError)):
            await enrol.renew(tmp_path, address, good)
    kept = load_identity(tmp_path)
    assert (kept.certificate_pem, kept.key_pem, kept.ca_pem) == (
        good.certificate_pem,
        good.key_pem,
        good.ca_pem,
    )


async def test_what_is_good_is_kept(ca: CertificateAuthority, controller: Identity, tmp_path: Path) -> None:
    good = issue(ca, Role.AGENT)
    save_identity(tmp_path, good)
    async with answering(controller, lambda key: (_by(ca, OWN, key), ca.certificate_pem)) as address:
        await enrol.renew(tmp_path, address, good)
    assert load_identity(tmp_path).key_pem != good.key_pem
