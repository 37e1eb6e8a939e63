"""How an agent stands with its controller: accepted, and with a session or without. Asked beside a session,
not by one: a second one would take the first one's place."""

from dataclasses import dataclass

from probemesh.v1 import enrol_pb2
from probemesh.v1.enrol_pb2_grpc import EnrolmentStub

from probemesh_shared.escape import escape
from probemesh_shared.identity.files import Identity
from probemesh_shared.identity.names import controller_dns
from probemesh_shared.rpc.client import connect

ASK_S = 5.0


@dataclass(frozen=True, slots=True)
class Standing:
    """``software`` is the controller's."""

    software: str
    attached: bool


async def ask_standing(address: str, identity: Identity) -> Standing:
    """Raises :class:`CertificateRefused` (revoked, another mesh, dates), :class:`Unreachable`, and
    :class:`VersionMismatch` where the controller is too old to be asked."""
    async with connect(address, identity, controller_dns(identity.mesh)) as connection:
        call = EnrolmentStub(connection.channel).Standing
        answer = await connection.call(call, enrol_pb2.StandingRequest(), ASK_S)
    return Standing(escape(answer.software, 64), answer.attached)
