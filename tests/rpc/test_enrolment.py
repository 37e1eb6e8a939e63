"""Joining and renewing over real sockets: what a token can do, once, and what it cannot."""

import asyncio
import dataclasses
import hashlib
import json
import ssl
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from probemesh.v1 import enrol_pb2_grpc
from probemesh_agent import enrol as agent_enrol
from probemesh_controller.api import TokenRequest
from probemesh_controller.enrolment import Enrolment
from probemesh_controller.join import join_operator
from probemesh_controller.pki.ca import CertificateAuthority
from probemesh_controller.pki.tokens import issue_token
from probemesh_controller.store.memory import MemoryStore
from probemesh_controller.store.port import CertificateRecord
from probemesh_controller.store.worker import InlineStore, StoreWorker
from probemesh_shared.clock import VirtualClock
from probemesh_shared.errors import (
    CertificateRefused,
    InvalidRequest,
    NotAllowed,
    StateError,
    Unreachable,
)
from probemesh_shared.identity.files import Identity, load_identity
from probemesh_shared.identity.keygen import make_request
from probemesh_shared.identity.names import controller_dns
from probemesh_shared.identity.request import KeyRequest, split_request
from probemesh_shared.identity.tlsprobe import fetch_chain
from probemesh_shared.identity.token import decode_token
from probemesh_shared.model import Narrowing, PortRange
from probemesh_shared.rpc.client import connect
from probemesh_shared.rpc.enrolling import enrol, renew
from probemesh_shared.rpc.server import MeshServer
from probemesh_shared.words import Kind, Role

from tests.rpc.conftest import issue


@pytest.fixture(scope="module")
def request_() -> KeyRequest:
    return split_request(*make_request())


@dataclass
class Joinable:
    ca: CertificateAuthority
    store: MemoryStore
    server: MeshServer
    address: str = ""

    def token(self, **wanted: object) -> str:
        return issue_token(self.ca, self.store, TokenRequest(**wanted), self.address, "ann").token  # type: ignore[arg-type]

    async def join(
        self, request: KeyRequest, token: str, name: str = "berlin-1", again: bool = False
    ) -> Identity:
        return await enrol(self.address, decode_token(token), request, name, again)


@pytest.fixture
async def mesh(ca: CertificateAuthority, controller: Identity) -> AsyncIterator[Joinable]:
    found = Joinable(ca, MemoryStore(), MeshServer(controller))
    servicer = Enrolment(ca, InlineStore(found.store), found.server.revoke)
    found.server.add(enrol_pb2_grpc.add_EnrolmentServicer_to_server, servicer)
    found.address = f"127.0.0.1:{await found.server.start('127.0.0.1:0')}"
    yield found
    await found.server.stop(0.1)


async def test_the_server_sends_its_ca_along(mesh: Joinable) -> None:
    chain = await asyncio.to_thread(fetch_chain, mesh.address, 5.0)
    assert [hashlib.sha256(der).digest() == mesh.ca.fingerprint for der in chain] == [False, True]


async def test_a_host_joins(mesh: Joinable, request_: KeyRequest) -> None:
    token = mesh.token(site="berlin", labels={"env": "prod"})
    identity = await mesh.join(request_, token)
    assert (identity.mesh, identity.role, identity.name) == ("demo", Role.AGENT, "berlin-1")
    record = mesh.store.agent_by_name("berlin-1")
    assert record is not None
    assert (record.id, record.site, dict(record.labels)) == (identity.id, "berlin", {"env": "prod"})
    kept = mesh.store.certificate(identity.serial)
    assert kept is not None and kept.issued_ns > 0
    assert dataclasses.replace(kept, issued_ns=0) == CertificateRecord(
        *(identity.serial, Role.AGENT, identity.id, "berlin-1", identity.not_after_ns),
        issuer=mesh.ca.issuer,
        trust=(mesh.ca.issuer,),
    )


async def test_a_token_is_good_once(mesh: Joinable, request_: KeyRequest) -> None:
    token = mesh.token()
    await mesh.join(request_, token)
    with pytest.raises(NotAllowed, match="this token has been used already"):
        await mesh.join(request_, token, "tokyo-1")


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_fifty_redemptions_at_once_give_one_certificate(
    ca, controller, request_: KeyRequest, tmp_path: Path, kind: str
) -> None:
    from probemesh_controller.store.sqlite import SqliteStore

    inner = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "store.sqlite")
    store = InlineStore(inner) if kind == "memory" else StoreWorker(inner)
    server = MeshServer(controller)
    server.add(enrol_pb2_grpc.add_EnrolmentServicer_to_server, Enrolment(ca, store, server.revoke))
    address = f"127.0.0.1:{await server.start('127.0.0.1:0')}"
    text = await store.call(lambda s: issue_token(ca, s, TokenRequest(), address, "ann").token)
    token = decode_token(text)
    answers = await asyncio.gather(
        *(enrol(address, token, request_, f"host-{n}") for n in range(50)), return_exceptions=True
    )
    agents = await store.call(lambda s: s.agents())
    await server.stop(0.1)
    await store.aclose()
    assert sum(isinstance(answer, Identity) for answer in answers) == 1
    assert sum(isinstance(answer, NotAllowed) for answer in answers) == 49
    assert len(agents) == 1


async def test_a_name_that_is_taken_costs_no_token(mesh: Joinable, request_: KeyRequest) -> None:
    await mesh.join(request_, mesh.token())
    token = mesh.token()
    with pytest.raises(InvalidRequest, match="there is an agent named berlin-1 already"):
        await mesh.join(request_, token)
    with pytest.raises(InvalidRequest, match="may hold only"):
        await mesh.join(request_, token, "Not A Name")
    assert (await mesh.join(request_, token, "berlin-2")).name == "berlin-2"


async def test_replacing_keeps_the_id_and_revokes_the_old_certificate(
    mesh: Joinable, request_: KeyRequest
) -> None:
    first = await mesh.join(request_, mesh.token(site="berlin"))
    second = await mesh.join(request_, mesh.token(), again=True)
    assert (second.id, second.name) == (first.id, first.name)
    record = mesh.store.agent_by_id(first.id)
    assert record is not None
    assert record.site == "berlin"
    assert mesh.store.revoked_serials() == {first.serial}
    with pytest.raises(CertificateRefused, match="has been revoked"):
        async with connect(mesh.address, first, controller_dns("demo")) as connection:
            await renew(connection, request_, first)
    async with connect(mesh.address, second, controller_dns("demo")) as connection:
        assert (await renew(connection, request_, second)).id == first.id


async def test_what_a_token_narrows_stays_with_the_agent(mesh: Joinable, request_: KeyRequest) -> None:
    first = await mesh.join(request_, mesh.token(narrow=Narrowing(ports=(PortRange(443, 443),), source="me")))
    for token in (mesh.token(), mesh.token(narrow=Narrowing(kinds=(Kind.TCP,)))):
        record = mesh.store.agent_by_id(first.id)
        assert record is not None
        assert record.narrow == Narrowing(
            ports=(PortRange(443, 443),), source="the token that it joined with"
        )
        await mesh.join(request_, token, again=True)
    record = mesh.store.agent_by_id(first.id)
    assert record is not None and record.narrow is not None and record.narrow.kinds == (Kind.TCP,)


@pytest.mark.parametrize(
    "wrong",
    [Narrowing(), Narrowing(networks=("ten",)), Narrowing(names=("10.*",)), Narrowing(names=("x" * 300,))],
)
def test_a_token_narrows_to_what_can_be_read(mesh: Joinable, wrong: Narrowing) -> None:
    with pytest.raises(InvalidRequest):
        mesh.token(narrow=wrong)


def test_operators_are_not_narrowed(mesh: Joinable) -> None:
    with pytest.raises(InvalidRequest, match="for agents"):
        mesh.token(role=Role.ADMIN, name="ann", narrow=Narrowing(kinds=(Kind.TCP,)))


async def test_an_ephemeral_token_replaces_by_itself(mesh: Joinable, request_: KeyRequest) -> None:
    token = mesh.token(uses=2, ephemeral=True)
    first = await mesh.join(request_, token)
    second = await mesh.join(request_, token)
    assert second.id == first.id
    record = mesh.store.agent_by_id(first.id)
    assert record is not None
    assert record.ephemeral


async def test_an_ephemeral_token_does_not_take_a_lasting_agents_place(
    mesh: Joinable, request_: KeyRequest
) -> None:
    await mesh.join(request_, mesh.token())
    with pytest.raises(InvalidRequest, match="already"):
        await mesh.join(request_, mesh.token(uses=2, ephemeral=True))


async def test_a_revoked_name_begins_a_new_history(mesh: Joinable, request_: KeyRequest) -> None:
    first = await mesh.join(request_, mesh.token())
    record = mesh.store.agent_by_id(first.id)
    assert record is not None
    mesh.store.put_agent(dataclasses.replace(record, revoked=True))
    mesh.server.revoke(first.id, mesh.store.revoke_certificates(first.id))
    second = await mesh.join(request_, mesh.token())
    assert second.name == first.name
    assert second.id != first.id


async def test_the_tokens_name_wins(mesh: Joinable, request_: KeyRequest) -> None:
    assert (await mesh.join(request_, mesh.token(name="oslo-1"), "my-wish")).name == "oslo-1"


async def test_without_any_name_one_is_given(mesh: Joinable, request_: KeyRequest) -> None:
    assert (await mesh.join(request_, mesh.token(), "")).name.startswith("agent-")


async def test_an_expired_token(mesh: Joinable, request_: KeyRequest) -> None:
    """Its certificate is over too, so that TLS refuses it before any secret is sent."""
    token = decode_token(mesh.token())
    past = issue(mesh.ca, Role.JOIN, "old", now=datetime.now(UTC) - timedelta(days=2))
    der = ssl.PEM_cert_to_DER_cert(past.certificate_pem.decode())
    key = raw_number(past)
    with pytest.raises(NotAllowed, match="this token expired at"):
        await enrol(mesh.address, dataclasses.replace(token, certificate_der=der, key=key), request_)


async def test_a_token_whose_time_is_over_at_the_controller(mesh: Joinable, request_: KeyRequest) -> None:
    """The clock of the record decides, not only the certificate's."""
    token = decode_token(mesh.token(ttl_s=60))
    record = next(iter(mesh.store._tokens.values()))
    mesh.store._tokens[record.secret_sha256] = dataclasses.replace(record, expires_ns=1)
    with pytest.raises(NotAllowed, match="this token expired at 1970-01-01 00:00:00Z"):
        await enrol(mesh.address, token, request_)


async def test_a_secret_with_the_certificate_of_another_token(mesh: Joinable, request_: KeyRequest) -> None:
    one, two = decode_token(mesh.token()), decode_token(mesh.token())
    with pytest.raises(NotAllowed, match="not known here"):
        await enrol(mesh.address, dataclasses.replace(one, secret=two.secret), request_)


async def test_a_guessed_secret(mesh: Joinable, request_: KeyRequest) -> None:
    with pytest.raises(NotAllowed, match="not known here"):
        await enrol(mesh.address, dataclasses.replace(decode_token(mesh.token()), secret=bytes(32)), request_)


async def test_somebody_in_between(mesh: Joinable, other_ca, request_: KeyRequest) -> None:
    """A server of another CA gets neither the secret nor the request: the hash does not fit."""
    server = MeshServer(issue(other_ca, Role.CONTROLLER, "controller", "controller"))
    store = MemoryStore()
    server.add(
        enrol_pb2_grpc.add_EnrolmentServicer_to_server, Enrolment(other_ca, InlineStore(store), server.revoke)
    )
    address = f"127.0.0.1:{await server.start('127.0.0.1:0')}"
    try:
        with pytest.raises(CertificateRefused, match="does not belong to mesh demo"):
            await enrol(address, decode_token(mesh.token()), request_)
    finally:
        await server.stop(0.1)
    assert store.agents() == ()


async def test_the_ca_alone_is_not_enough(mesh: Joinable, agent, request_: KeyRequest) -> None:
    """An agent of the mesh sends the right CA along, but cannot be the controller."""
    server = MeshServer(agent)
    server.add(
        enrol_pb2_grpc.add_EnrolmentServicer_to_server,
        Enrolment(mesh.ca, InlineStore(MemoryStore()), server.revoke),
    )
    address = f"127.0.0.1:{await server.start('127.0.0.1:0')}"
    try:
        with pytest.raises(CertificateRefused, match="another role or name"):
            await enrol(address, decode_token(mesh.token()), request_)
    finally:
        await server.stop(0.1)


async def test_nobody_there(mesh: Joinable, request_: KeyRequest) -> None:
    token = mesh.token()
    await mesh.server.stop(0.1)
    with pytest.raises(Unreachable, match="connection refused"):
        await mesh.join(request_, token)


async def test_a_bad_request_costs_no_token(mesh: Joinable, request_: KeyRequest) -> None:
    token = mesh.token()
    with pytest.raises(InvalidRequest, match="cannot be read"):
        await mesh.join(dataclasses.replace(request_, csr_der=b"rubbish"), token)
    await mesh.join(request_, token)


# --- operators
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.ADMIN])
async def test_another_laptop(mesh: Joinable, tmp_path: Path, role: Role) -> None:
    joined = await join_operator(tmp_path / "operator", mesh.address, mesh.token(role=role, name="bob"))
    assert (joined.mesh, joined.role, joined.name, joined.controller) == ("demo", role, "bob", mesh.address)
    identity = load_identity(tmp_path / "operator")
    assert (identity.role, identity.id) == (role, "bob")
    assert mesh.store.agents() == ()
    with pytest.raises(StateError, match="holds an identity already"):
        await join_operator(tmp_path / "operator", mesh.address, mesh.token(role=role, name="bob"))


async def test_tokens_of_the_wrong_kind_are_not_spent(mesh: Joinable, tmp_path: Path) -> None:
    for_host, for_laptop = mesh.token(), mesh.token(role=Role.VIEWER, name="bob")
    with pytest.raises(InvalidRequest, match="joins a host"):
        await join_operator(tmp_path / "operator", mesh.address, for_host)
    with pytest.raises(InvalidRequest, match="viewer's laptop"):
        await agent_enrol.join(tmp_path, mesh.address, for_laptop)
    await agent_enrol.join(tmp_path, mesh.address, for_host)
    await join_operator(tmp_path / "operator", mesh.address, for_laptop)


# --- the agent's side
# -------------------------------------------------------------------------------------------


async def test_join_writes_what_run_reads(mesh: Joinable, tmp_path: Path) -> None:
    joined = await agent_enrol.join(tmp_path, mesh.address, mesh.token(), "berlin-1")
    assert agent_enrol.load_agent(tmp_path) == joined
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "agent").iterdir()}
    assert modes == dict.fromkeys(("agent.toml", "ca.pem", "cert.pem", "key.pem"), 0o600)
    config = tomllib.loads((tmp_path / "agent" / "agent.toml").read_text())
    assert config == {"controller": mesh.address, "mesh": "demo", "name": "berlin-1"}
    with pytest.raises(StateError, match="has joined already"):
        await agent_enrol.join(tmp_path, mesh.address, mesh.token(), "berlin-2")
    again = await agent_enrol.join(tmp_path, mesh.address, mesh.token(), "berlin-1", replace=True)
    assert again.identity.id == joined.identity.id


def test_not_joined(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="has not joined a mesh") as told:
        agent_enrol.load_agent(tmp_path)
    assert "mesh-agent join" in (told.value.hint or "")


async def test_a_damaged_agent_toml(mesh: Joinable, tmp_path: Path) -> None:
    await agent_enrol.join(tmp_path, mesh.address, mesh.token())
    for text in ("", "controller = 5", 'controller = "nowhere"', "\x00"):
        (tmp_path / "agent" / "agent.toml").write_text(text)
        with pytest.raises(StateError, match="does not say where the controller is"):
            agent_enrol.load_agent(tmp_path)


async def test_renewal_has_a_new_key_and_the_same_id(mesh: Joinable, tmp_path: Path) -> None:
    joined = await agent_enrol.join(tmp_path, mesh.address, mesh.token(), "berlin-1")
    renewed = await agent_enrol.renew(joined.folder, mesh.address, joined.identity)
    assert renewed.key_pem != joined.identity.key_pem
    assert (renewed.id, renewed.name, renewed.role) == (joined.identity.id, "berlin-1", Role.AGENT)
    assert agent_enrol.load_agent(tmp_path).identity == renewed
    assert mesh.store.revoked_serials() == frozenset()


async def test_who_is_revoked_does_not_renew(mesh: Joinable, tmp_path: Path) -> None:
    joined = await agent_enrol.join(tmp_path, mesh.address, mesh.token(), "berlin-1")
    record = mesh.store.agent_by_id(joined.identity.id)
    assert record is not None
    mesh.store.put_agent(dataclasses.replace(record, revoked=True))  # and the server has not heard of it yet
    with pytest.raises(CertificateRefused, match="revoked"):
        await agent_enrol.renew(joined.folder, mesh.address, joined.identity)
    assert agent_enrol.load_agent(tmp_path) == joined


async def test_who_is_not_known_does_not_renew(mesh: Joinable, agent, tmp_path: Path) -> None:
    with pytest.raises(CertificateRefused, match="not known here"):
        await agent_enrol.renew(tmp_path, mesh.address, agent)


async def test_cryptography_stays_out_of_the_agents_process(mesh: Joinable, tmp_path: Path) -> None:
    code = """
import asyncio, json, sys
from pathlib import Path
from probemesh_agent import enrol
from probemesh_agent.enrol import join, load_agent, renew
async def main():
    state, address = Path(sys.argv[1]), sys.argv[2]
    await join(state, address, sys.stdin.read(), "berlin-1")
    agent = load_agent(state)
    await renew(agent.folder, agent.controller, agent.identity)
asyncio.run(main())
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} & {"cryptography", "typer",
"grpc"})))
"""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, tmp_path, mesh.address),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    output, _ = await child.communicate(mesh.token().encode())
    assert json.loads(output) == ["grpc"]


async def test_renewal_runs_by_itself_and_tries_again(
    ca, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty days on a virtual clock: the first try fails, the second comes within the hour."""
    clock = VirtualClock()
    start = datetime.fromtimestamp(clock.wall_ns() / 1e9, UTC)
    old = issue(ca, Role.AGENT, now=start, life=timedelta(days=30))
    new = issue(ca, Role.AGENT, now=start + timedelta(days=10), life=timedelta(days=30))
    tries: list[float] = []

    async def fake(folder: Path, controller: str, identity: Identity, proxy: str | None) -> Identity:
        tries.append(clock.monotonic())
        if len(tries) == 1:
            raise Unreachable("away")
        assert identity == old
        return new

    monkeypatch.setattr(agent_enrol, "renew", fake)
    told: list[Identity] = []
    state = agent_enrol.AgentState(old, "127.0.0.1:1", tmp_path)
    task = asyncio.create_task(agent_enrol.keep_renewed(state, told.append, clock, lambda: 0.5))
    begin = clock.monotonic()
    for _ in range(9):
        await clock.advance(86400)
    assert tries == []
    await clock.advance(86400 + 7200)
    task.cancel()
    assert told == [new]
    assert len(tries) == 2
    assert 9 * 86400 < tries[0] - begin < 10 * 86400 + 3600
    assert tries[1] - tries[0] == pytest.approx(agent_enrol.RETRY_S + agent_enrol.LOOK_S / 2)


async def test_renewal_when_the_controller_wants_it(
    ca, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spread over the time that it gives, and never one after the other."""
    clock = VirtualClock()
    start = datetime.fromtimestamp(clock.wall_ns() / 1e9, UTC)
    identity = issue(ca, Role.AGENT, now=start, life=timedelta(days=30))
    tries: list[float] = []

    async def fake(folder: Path, controller: str, identity: Identity, proxy: str | None) -> Identity:
        tries.append(clock.monotonic())
        return identity

    monkeypatch.setattr(agent_enrol, "renew", fake)
    told: list[Identity] = []
    wanted = agent_enrol.Wanted()
    state = agent_enrol.AgentState(identity, "127.0.0.1:1", tmp_path)
    task = asyncio.create_task(
        agent_enrol.keep_renewed(state, told.append, clock, lambda: 0.5, wanted=wanted)
    )
    await clock.advance(100)
    begin = clock.monotonic()
    wanted.ask(20.0)
    await clock.advance(9)
    assert tries == []
    await clock.advance(7200)
    assert [at - begin for at in tries] == [pytest.approx(10.0)]
    for _ in range(1000):  # an impatient one
        wanted.ask(0.0)
        await clock.advance(1)
    assert len(tries) == len(told) <= 1 + agent_enrol.MOST * (1 + 1000 // agent_enrol.SPAN_S)
    assert all(
        late - early >= agent_enrol.SPAN_S
        for early, late in zip(tries, tries[agent_enrol.MOST :], strict=False)
    )
    task.cancel()


def raw_number(identity: Identity) -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = serialization.load_pem_private_key(identity.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.private_numbers().private_value.to_bytes(32, "big")
