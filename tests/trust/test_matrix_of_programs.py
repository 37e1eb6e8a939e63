"""The authorization matrix at the two listeners there are, as they are run: the controller, and an agent that
listens. ``tests/rpc/test_matrix.py`` tries everything in a server that serves all; here it is shown that the
programs serve behind the same guard, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from probemesh_controller.pki.authority import Authority
from probemesh_controller.pki.ca import CertificateAuthority, new_key, private_pem
from probemesh_controller.remote import RemoteMesh
from probemesh_shared.errors import CertificateRefused, MeshError, NotAllowed
from probemesh_shared.identity.files import Identity, load_identity, make_identity
from probemesh_shared.identity.names import Subject, agent_dns, controller_dns
from probemesh_shared.rpc.grpc_setup import grpc
from probemesh_shared.words import Role

from tests.controller.test_served import Served, client, connected, served
from tests.rpc.methods import METHODS, answer, short
from tests.rpc.test_authz import EXPECTED
from tests.rpc.test_matrix import OUTSIDERS, dialled
from tests.trust.test_operators import operator

__all__ = ["client", "served"]
LISTENS = "Agent/"


@dataclass
class Listener:
    """``serves`` are the methods of that program, by their short names."""

    address: str
    name: str
    serves: frozenset[str]

    async def answers(self, ca_pem: bytes, who: Identity | None) -> dict[str, MeshError | grpc.StatusCode]:
        found = {}
        for path, method in METHODS.items():
            async with dialled(self.address, ca_pem, who, self.name) as channel:
                found[short(path)] = await answer(channel, path, method, timeout_s=1.0)
        return found


@pytest.fixture
def ca(served: Served) -> CertificateAuthority:
    return Authority(served.state / "controller").signing()


@pytest.fixture
def controller(served: Served, ca: CertificateAuthority) -> Listener:
    serves = frozenset(short(path) for path in METHODS if not short(path).startswith(LISTENS))
    return Listener(served.address, controller_dns(ca.mesh), serves)


@pytest.fixture
async def agent(
    served: Served, client: RemoteMesh, ca: CertificateAuthority, free_port: int
) -> AsyncIterator[Listener]:
    folder = await served.join(client, "listening")
    address = f"127.0.0.1:{free_port}"
    await served.run_agent("listening", folder, "--listen", address)
    await connected(client, "listening")
    serves = frozenset(short(path) for path in METHODS if short(path).startswith(LISTENS))
    yield Listener(address, agent_dns("listening", ca.mesh), serves)


@pytest.fixture(params=["controller", "agent"])
def listener(request: pytest.FixtureRequest) -> Listener:
    found: Listener = request.getfixturevalue(request.param)
    return found


async def test_outsiders(listener: Listener, ca: CertificateAuthority) -> None:
    """No certificate, and each way in which one can be wrong, with the mightiest role there."""
    other = CertificateAuthority.create(ca.mesh)
    made: list[Identity | None] = [None, *(outsider(ca, other, Role.ADMIN) for outsider in OUTSIDERS)]
    for who in made:
        assert set((await listener.answers(ca.certificate_pem, who)).values()) == {
            grpc.StatusCode.UNAVAILABLE
        }


async def test_roles(listener: Listener, ca: CertificateAuthority) -> None:
    """Empty messages: what comes through is refused for what it lacks, or waits for a hello."""
    for role in Role:
        key = new_key()
        issued = ca.issue(Subject(ca.mesh, role, "4f2a", "eve"), key.public_key(), timedelta(hours=1))
        who = make_identity(issued.certificate_pem, private_pem(key), ca.certificate_pem)
        for name, said in (await listener.answers(ca.certificate_pem, who)).items():
            by_role = isinstance(said, NotAllowed) and "may not" in str(said)
            if name not in listener.serves:
                assert said is grpc.StatusCode.UNIMPLEMENTED, f"{role} {name}: {said}"
            else:
                assert by_role is (name not in EXPECTED[role]), f"{role} {name}: {said}"
                assert said is not grpc.StatusCode.UNAVAILABLE


async def test_who_was_revoked(served: Served, client: RemoteMesh, controller: Listener) -> None:
    laptop = load_identity(await operator(served, client, "eve", Role.ADMIN))
    host = load_identity((await served.join(client, "stolen")) / "agent")
    await client.revoke_operator("eve")
    await client.revoke_agent("stolen")
    for who in (laptop, host):
        for name, said in (await controller.answers(who.ca_pem, who)).items():
            if name in controller.serves:
                assert isinstance(said, CertificateRefused), f"{name}: {said}"
                assert "has been revoked" in str(said)


async def test_a_listening_agent_turns_away_who_was_revoked(
    served: Served, client: RemoteMesh, agent: Listener
) -> None:
    laptop = load_identity(await operator(served, client, "eve"))
    before = (await agent.answers(laptop.ca_pem, laptop))["Agent/Attach"]
    assert before is grpc.StatusCode.DEADLINE_EXCEEDED or before is grpc.StatusCode.OK
    await client.revoke_operator("eve")
    after: MeshError | grpc.StatusCode = before
    async with asyncio.timeout(5):
        while not isinstance(after, CertificateRefused):  # the agent is told by its stream
            after = (await agent.answers(laptop.ca_pem, laptop))["Agent/Attach"]
    assert "has been revoked" in str(after)
