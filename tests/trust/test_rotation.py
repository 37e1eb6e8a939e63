"""A mesh changes its CA, live: agents with streams, one that listens, laptops, tokens; there and back."""

import asyncio
from pathlib import Path

import pytest
from probemesh_controller import renewing
from probemesh_controller.api import CaStatus, RunVantageEnded, TokenRequest
from probemesh_controller.castate import FILE, FOLDER
from probemesh_controller.join import join_operator
from probemesh_controller.remote import RemoteMesh
from probemesh_shared.errors import CertificateRefused, InvalidRequest, MeshError, StateError
from probemesh_shared.identity.files import load_identity
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.targets import parse_target
from probemesh_shared.words import AgentState, Role

from tests.controller.test_served import Served, client, collect, connected, echo, request, served, until
from tests.trust.test_operators import as_, operator

__all__ = ["client", "echo", "served"]
AGENTS = ("one", "two")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two agents need no time to spread themselves over."""
    monkeypatch.setattr("probemesh_controller.rotation.LEAST_MS", 0)


async def lively(served: Served, client: RemoteMesh) -> dict[str, Path]:
    folders = {name: await served.join(client, name) for name in AGENTS}
    for name, folder in folders.items():
        (folder / "policy.toml").write_text("[allow]\nloopback = true\n")
        await served.run_agent(name, folder, "--policy", str(folder / "policy.toml"))
    await connected(client, *AGENTS)
    return folders


async def caught_up(mesh: RemoteMesh, back: bool = False) -> CaStatus:
    async def all_have() -> bool:
        status = await mesh.ca_status()
        return not (status.behind_back if back else status.behind)

    await until(all_have, 90.0)
    return await mesh.ca_status()


def authorities(folder: Path) -> int:
    return load_identity(folder).ca_pem.count(b"BEGIN CERTIFICATE")


async def measured(mesh: RemoteMesh, port: int, run_id: str) -> None:
    events = await collect(mesh, request(AGENTS, parse_target(f"tcp://127.0.0.1:{port}"), run_id))
    ends = [event.status for event in events if isinstance(event, RunVantageEnded)]
    assert ends == [JobStatus.DONE] * len(AGENTS)


async def test_a_live_mesh_changes_its_ca_and_nobody_notices(
    served: Served, client: RemoteMesh, echo: int
) -> None:
    folders = await lively(served, client)
    bob = await operator(served, client)
    states: set[AgentState] = set()

    async def watch() -> None:
        while True:
            async with as_(served, served.state / "operator") as mesh:
                states.update(agent.state for agent in await mesh.agents())
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    before = {name: load_identity(folder / "agent") for name, folder in folders.items()}
    steady = await client.ca_status()
    assert (steady.phase, len(steady.cas), steady.behind) == ("steady", 1, ())

    begun = await client.rotate_ca("forward", False)
    assert begun.phase == "trusted" and [ca.issues for ca in begun.cas] == [False, True]
    assert "bob" in {one.name for one in begun.behind}
    with pytest.raises(InvalidRequest, match=r"would be cut off: .*bob"):
        await client.rotate_ca("forward", False)
    await renewing.renew(bob, served.address, force=True)
    await caught_up(client)
    assert {authorities(folder / "agent") for folder in folders.values()} == {2}
    assert authorities(bob) == authorities(served.state / "operator") == 2
    await measured(client, echo, "in-trusted")

    async with as_(served, served.state / "operator") as mesh:
        assert (await mesh.rotate_ca("forward", False)).phase == "issuing"
    async with as_(served, bob) as mesh:  # over its old certificate, with the controller's new one
        assert (await mesh.status()).peer_name == "bob"
    await renewing.renew(bob, served.address, force=True)
    async with as_(served, served.state / "operator") as mesh:
        await caught_up(mesh)
        await measured(mesh, echo, "in-issuing")
        assert (await mesh.rotate_ca("forward", False)).phase == "dropped"
        await measured(mesh, echo, "in-dropped")
    await renewing.renew(bob, served.address, force=True)
    async with as_(served, served.state / "operator") as mesh:

        async def alone() -> bool:
            return {authorities(folder / "agent") for folder in folders.values()} == {1}

        await until(alone, 90.0)
        over = await mesh.rotate_ca("finish", False)
    assert (over.phase, len(over.cas)) == ("steady", 1)
    assert over.cas[0].fingerprint != steady.cas[0].fingerprint
    watching.cancel()
    assert states == {AgentState.CONNECTED}

    stale = RemoteMesh(served.address, before_identity := before["one"])
    with pytest.raises(MeshError):
        await stale.status()
    assert before_identity.ca_pem != load_identity(folders["one"] / "agent").ca_pem
    await stale.aclose()
    names = {path.name for path in (served.state / "controller" / FOLDER).iterdir()}
    assert names == {f"{over.cas[0].fingerprint}.{end}" for end in ("pem", "key")}
    assert not (served.state / "controller" / "ca.key").exists()

    await served.end()
    await served.start(served.address)
    async with as_(served, served.state / "operator") as mesh:
        await connected(mesh, *AGENTS)
        assert (await mesh.ca_status()).phase == "steady"
        await served.join(mesh, "newcomer")


async def test_every_phase_has_its_way_back(served: Served, client: RemoteMesh, echo: int) -> None:
    folders = await lively(served, client)
    first = (await client.ca_status()).cas[0].fingerprint
    await client.rotate_ca("forward", False)
    await caught_up(client)
    await client.rotate_ca("forward", False)
    async with as_(served, served.state / "operator") as mesh:
        await caught_up(mesh)
        await mesh.rotate_ca("forward", False)
        await mesh.rotate_ca("back", False)
        await caught_up(mesh, back=True)
        assert (await mesh.rotate_ca("back", False)).phase == "trusted"
    async with as_(served, served.state / "operator") as mesh:
        await caught_up(mesh, back=True)
        steady = await mesh.rotate_ca("back", False)
        assert (steady.phase, [ca.fingerprint for ca in steady.cas]) == ("steady", [first])
    async with as_(served, served.state / "operator") as mesh:
        await connected(mesh, *AGENTS)
        await measured(mesh, echo, "back")

        async def alone() -> bool:
            return {authorities(folder / "agent") for folder in folders.values()} == {1}

        await until(alone, 90.0)


async def test_who_stays_behind_is_named_and_left_only_on_purpose(served: Served, client: RemoteMesh) -> None:
    folder = await served.join(client, "asleep")  # joined, and never run
    await client.rotate_ca("forward", False)
    status = await client.ca_status()
    assert [(one.name, one.role) for one in status.behind] == [("asleep", "agent")]
    with pytest.raises(InvalidRequest, match="1 of 1 would be cut off: asleep") as told:
        await client.rotate_ca("forward", False)
    assert "--anyway" in (told.value.hint or "")
    assert (await client.rotate_ca("forward", True)).phase == "issuing"
    identity = load_identity(folder / "agent")
    mesh = RemoteMesh(served.address, identity)
    with pytest.raises(CertificateRefused, match="is not from this mesh's CA"):
        await mesh.status()
    await mesh.aclose()


async def test_streams_of_a_dropped_ca_end(served: Served, client: RemoteMesh) -> None:
    """Left behind on purpose, and cut off at once, not when its connection happens to break."""
    bob = await operator(served, client)
    held = RemoteMesh(served.address, load_identity(bob))
    assert (await held.status()).peer_name == "bob"
    await client.rotate_ca("forward", True)
    async with as_(served, served.state / "operator") as mesh:
        await mesh.rotate_ca("forward", True)
    async with as_(served, served.state / "operator") as mesh:
        await mesh.rotate_ca("forward", True)
    with pytest.raises(CertificateRefused, match="not trusted any more"):
        await held.status()
    await held.aclose()


async def test_a_token_of_before_says_so(served: Served, client: RemoteMesh, tmp_path: Path) -> None:
    token = await client.create_token(TokenRequest(Role.VIEWER, "wall"))
    await client.rotate_ca("forward", False)
    await client.rotate_ca("forward", False)
    with pytest.raises(CertificateRefused, match="newer CA of its mesh than this token knows") as told:
        await join_operator(tmp_path / "operator", served.address, token.token)
    assert "new token" in (told.value.hint or "")
    async with as_(served, served.state / "operator") as mesh:
        again = await mesh.create_token(TokenRequest(Role.VIEWER, "wall"))
    await join_operator(tmp_path / "operator", served.address, again.token)
    assert authorities(tmp_path / "operator") == 2


async def test_no_step_without_the_key(served: Served, client: RemoteMesh) -> None:
    (served.state / "controller" / "ca.key").rename(served.state / "away")
    with pytest.raises(StateError, match="key of the CA that would issue is not on this controller"):
        await client.rotate_ca("forward", False)
    assert not (served.state / "controller" / FILE).exists()
    with pytest.raises(InvalidRequest, match="no such step"):
        await client.rotate_ca("sideways", False)
