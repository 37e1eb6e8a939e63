"""``meshctl check`` over real agents: what is kept, what breaks and by what cause, and a contract that was
learnt is kept."""

import contextlib
import json
import socket
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.live import PROGRAMS, LiveMesh


def check(mesh: LiveMesh, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAMS / "meshctl"), "check", *arguments],
        env=mesh.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def port(mesh: LiveMesh) -> Iterator[int]:
    """Open at every agent's address but tokyo's."""
    with contextlib.ExitStack() as stack:
        found = 0
        for name in ("berlin-1", "cairo-1", "lima-1"):
            one = stack.enter_context(socket.create_server((mesh.members[name].address, found), backlog=64))
            found = one.getsockname()[1]
        yield found


def test_a_contract_over_real_agents(mesh: LiveMesh, port: int, tmp_path: Path) -> None:
    path = tmp_path / "contract.toml"
    path.write_text(
        f'count = 1\n[[must]]\nname = "each other"\nto_agents = "all"\nport = {port}\nkind = "tcp"\n'
        f'[[must_not]]\nname = "tokyo is shut"\nto = "agent:tokyo-1:{port}"\nkind = "tcp"\n'
        f'[[must_not]]\nname = "lima is shut"\nfrom = "site=berlin"\nto = "agent:lima-1:{port}"\n'
    )
    ran = check(mesh, str(path), "-o", "json")
    assert ran.returncode == 1, ran.stderr
    told = json.loads(ran.stdout)
    assert [clause["result"] for clause in told["clauses"]] == ["broken", "kept", "broken"]
    broken = [pair for pair in told["clauses"][0]["pairs"] if pair["result"] == "broken"]
    assert {(pair["target"], pair["outcome"]) for pair in broken} == {(f"agent:tokyo-1:{port}", "refused")}
    (cause,) = told["explanation"]["causes"]
    assert cause["summary"] == "tokyo-1 is reached from nobody (refused): 3 of 3 cells"
    root = ElementTree.fromstring(check(mesh, str(path), "-o", "junit").stdout)
    assert root.get("failures") == "2"


def test_what_was_learnt_is_kept_and_a_lost_agent_is_unmeasured(
    mesh: LiveMesh, port: int, tmp_path: Path
) -> None:
    path = tmp_path / "learnt.toml"
    to = [f"agent:{name}:{port}" for name in ("lima-1", "tokyo-1")]
    ran = check(mesh, str(path), "--learn", "--from", "berlin-1,cairo-1", "--to", to[0], "--to", to[1])
    assert ran.returncode == 0, ran.stderr
    text = path.read_text()
    assert text.count("[[must]]") == text.count("[[must_not]]") == 1
    assert check(mesh, str(path)).returncode == 0
    mesh.members["cairo-1"].program.kill()
    lost = check(mesh, str(path), "-o", "json")
    told = json.loads(lost.stdout)
    assert lost.returncode == 3, lost.stdout
    assert {clause["result"] for clause in told["clauses"]} == {"unmeasured"}
    assert not told["explanation"]["causes"]
