"""Agents over real gRPC: renewal that nobody notices, deny-lists that hold without a controller."""

import asyncio
import dataclasses
import re
import shutil
import sys
import time
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import pytest
from probemesh_agent import denied
from probemesh_agent import enrol as agent_enrol
from probemesh_controller.api import RunEnded, RunMeasured, RunVantageEnded, TokenRequest
from probemesh_controller.config import ListeningAgent
from probemesh_controller.local import LocalMesh, local_mesh
from probemesh_controller.pki.authority import Authority
from probemesh_controller.pki.ca import new_key, private_pem
from probemesh_controller.remote import RemoteMesh
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_shared.errors import CertificateRefused, InvalidRequest
from probemesh_shared.identity.files import Identity, load_identity, make_identity, save_identity
from probemesh_shared.identity.names import Subject
from probemesh_shared.session.frames import DenyList, JobStatus
from probemesh_shared.targets import parse_target
from probemesh_shared.words import AgentState, Outcome, Role

from tests.controller.test_served import Served, client, connected, echo, request, served, until
from tests.trust.test_operators import NOW, operator

__all__ = ["client", "echo", "served"]
POLICY = "[allow]\nloopback = true\n"


def aged(served: Served, folder: Path, age: timedelta) -> Identity:
    """The agent in STATE as if it had joined ``age`` ago: known to the store, by the same CA."""
    ca = Authority(served.state / "controller").signing()
    before, key = load_identity(folder / "agent"), new_key()
    issued = ca.issue(Subject(ca.mesh, Role.AGENT, before.id, before.name), key.public_key(), now=NOW - age)
    store = SqliteStore(served.state / "controller" / "store.sqlite")
    known = store.certificate(before.serial)
    assert known is not None
    facts = issued.facts
    store.add_certificate(dataclasses.replace(known, serial=facts.serial, not_after_ns=facts.not_after_ns))
    store.close()
    old = make_identity(issued.certificate_pem, private_pem(key), before.ca_pem)
    save_identity(folder / "agent", old)
    return old


async def test_renewal_with_a_new_key_loses_neither_stream_nor_run(
    served: Served, client: RemoteMesh, echo: int
) -> None:
    folder = await served.join(client, "lasting")
    old = aged(served, folder, timedelta(days=11))
    (folder / "policy.toml").write_text(POLICY)
    states: set[AgentState] = set()
    await served.run_agent("lasting", folder, "--policy", str(folder / "policy.toml"))
    await connected(client, "lasting")

    async def watch() -> None:
        while True:
            states.update(agent.state for agent in await client.agents())
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    asked = request(("lasting",), parse_target(f"tcp://127.0.0.1:{echo}"), "through", 30.0)
    (spec,) = asked.specs
    many = dataclasses.replace(spec, options=dataclasses.replace(spec.options, count=60, interval_s=0.1))
    async with aclosing(client.run(dataclasses.replace(asked, specs=(many,)))) as running:
        events = [event async for event in running]
    watching.cancel()
    new = load_identity(folder / "agent")
    assert new.serial != old.serial and new.key_pem != old.key_pem
    assert (new.id, new.name) == (old.id, old.name)
    (end,) = [event for event in events if isinstance(event, RunVantageEnded)]
    assert end.status is JobStatus.DONE and isinstance(events[-1], RunEnded)
    (row,) = [row for event in events if isinstance(event, RunMeasured) for row in event.measurements]
    assert row.outcome is Outcome.OK and len(row.samples) == 60
    assert states == {AgentState.CONNECTED}

    store = SqliteStore(served.state / "controller" / "store.sqlite")
    used = store.certificate(new.serial)
    store.close()
    assert used is not None and used.used_ns is not None, "the stream goes over the new certificate"


# --- deny-lists -------------------------------------------------------------------------------------------


async def dial(identity: Identity, address: str) -> LocalMesh:
    return await local_mesh(identity, {"hub": ListeningAgent(address)})


async def listening(served: Served, folder: Path, address: str) -> None:
    await served.run_agent(
        "hub",
        folder,
        "--policy",
        str(folder / "policy.toml"),
        "--listen",
        address,
        "--advertise",
        "127.0.0.1",
    )


async def test_a_listening_agent_turns_revoked_operators_away(
    served: Served, client: RemoteMesh, free_port: int
) -> None:
    folder = await served.join(client, "hub")
    (folder / "policy.toml").write_text(POLICY)
    address = f"127.0.0.1:{free_port}"
    await listening(served, folder, address)
    await connected(client, "hub")
    bob = load_identity(await operator(served, client))
    ann = load_identity(await operator(served, client, "ann"))
    mesh = await dial(bob, address)
    assert [agent.state for agent in await mesh.agents()] == [AgentState.CONNECTED]

    begun = time.monotonic()
    await client.revoke_operator("bob")

    async def cut() -> bool:
        return isinstance(mesh.why_not("hub"), CertificateRefused)

    await until(cut, 5.0)
    assert time.monotonic() - begun < 5.0
    await mesh.aclose()
    assert denied.load(folder / "agent") == DenyList((bob.serial,), ("bob",))

    await served.end()  # without a controller to ask, and after a restart
    served.programs["hub"].kill()
    await served.programs["hub"].wait()
    await listening(served, folder, address)

    async def there() -> bool:
        mesh = await dial(ann, address)
        try:
            return [agent.state for agent in await mesh.agents()] == [AgentState.CONNECTED]
        finally:
            await mesh.aclose()

    await until(there)
    mesh = await dial(bob, address)
    assert re.search("revoked", str(mesh.why_not("hub")))
    await mesh.aclose()


async def test_who_is_let_in_again_is_let_in_there_too(
    served: Served, client: RemoteMesh, free_port: int
) -> None:
    folder = await served.join(client, "hub")
    (folder / "policy.toml").write_text(POLICY)
    address = f"127.0.0.1:{free_port}"
    await operator(served, client)
    await client.revoke_operator("bob")
    await listening(served, folder, address)
    await connected(client, "hub")
    bob = load_identity(await operator(served, client, laptop="new"))

    async def let_in() -> bool:
        mesh = await dial(bob, address)
        try:
            return mesh.why_not("hub") is None
        finally:
            await mesh.aclose()

    await until(let_in, 10.0)


def test_the_list_is_kept_and_what_is_malformed_is_not(tmp_path: Path) -> None:
    told = DenyList(("4f2a", "zz", "4f 2a", "A0"), ("bob", "no\nname eve", "Ö"))
    assert denied.save(tmp_path, told) == denied.load(tmp_path) == DenyList(("4f2a",), ("bob",))
    assert (tmp_path / denied.FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"\xff\xfe", b"serial\nname\nserial x y\n", b"", None])
def test_rubbish_denies_nobody_and_harms_nothing(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / denied.FILE).write_bytes(content)
    assert denied.load(tmp_path) == DenyList()


# --- coming back ------------------------------------------------------------------------------------------


async def test_a_reimaged_host_keeps_its_id(served: Served, client: RemoteMesh) -> None:
    folder = await served.join(client, "phoenix")
    await served.run_agent("phoenix", folder)
    await connected(client, "phoenix")
    (before,) = await client.agents()
    served.programs["phoenix"].kill()
    await served.programs["phoenix"].wait()
    shutil.rmtree(folder)

    token = await client.create_token(TokenRequest(name="phoenix"))
    await agent_enrol.join(folder, served.address, token.token, replace=True)
    await served.run_agent("phoenix", folder)
    await connected(client, "phoenix")
    (after,) = await client.agents()
    assert (after.id, after.name, after.site) == (before.id, "phoenix", "lab")


async def test_a_token_for_any_name_takes_no_living_agents_place(
    served: Served, client: RemoteMesh, tmp_path: Path
) -> None:
    folder = await served.join(client, "victim")
    await served.run_agent("victim", folder)
    await connected(client, "victim")
    mine = load_identity(folder / "agent")
    many = (await client.create_token(TokenRequest(uses=9, ttl_s=3600))).token
    with pytest.raises(InvalidRequest, match="the agent named victim is connected now"):
        await agent_enrol.join(tmp_path / "thief", served.address, many, "victim", replace=True)
    assert load_identity(folder / "agent") == mine
    served.programs["victim"].kill()
    await served.programs["victim"].wait()

    async def gone() -> bool:
        return [agent.state for agent in await client.agents()] == [AgentState.LOST]

    await until(gone)
    joined = await agent_enrol.join(tmp_path / "new", served.address, many, "victim", replace=True)
    assert joined.identity.id == mine.id


async def test_pods_of_a_daemon_set_come_and_go(served: Served, client: RemoteMesh, tmp_path: Path) -> None:
    """One token, ephemeral, many uses: each node's pod takes its own place again, without a state to keep."""
    many = (await client.create_token(TokenRequest(uses=20, ttl_s=7200, ephemeral=True))).token
    ids: dict[str, set[str]] = {"node-1": set(), "node-2": set()}
    for life in range(2):
        for node, found in ids.items():
            folder = tmp_path / f"{node}-{life}"
            found.add((await agent_enrol.join(folder, served.address, many, node)).identity.id)
            await served.run_agent(node, folder)
        await connected(client, *ids)
        for node in ids:
            served.programs[node].kill()
            await served.programs[node].wait()

        async def all_gone() -> bool:
            return {agent.state for agent in await client.agents()} == {AgentState.LOST}

        await until(all_gone)
    assert [len(found) for found in ids.values()] == [1, 1]
    assert {agent.name for agent in await client.agents()} == set(ids)


async def test_an_agent_that_was_off_for_too_long_says_how_to_come_back(
    served: Served, client: RemoteMesh
) -> None:
    folder = await served.join(client, "sleeper")
    old = aged(served, folder, timedelta(days=31))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "probemesh_agent", "run", "--state", str(folder)),
        stderr=asyncio.subprocess.PIPE,
    )
    served.programs["sleeper"] = process
    assert process.stderr is not None
    async with asyncio.timeout(20):
        while b"expired" not in (line := await process.stderr.readline()):
            assert line
    said = line.decode()
    assert "certificate refused: our own certificate (agent sleeper) expired" in said
    assert "meshctl token create --name sleeper" in said and "--replace" in said
    process.kill()

    token = await client.create_token(TokenRequest(name="sleeper"))
    joined = await agent_enrol.join(folder, served.address, token.token, replace=True)
    assert joined.identity.id == old.id
