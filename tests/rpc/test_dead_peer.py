"""F4: a peer that falls silent is noticed by both ends within 15 s, without any traffic of ours."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from probemesh_shared.identity.files import save_identity

SCRIPT = Path(__file__).with_name("dead_peer.py")


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"pi-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.mark.netns
@pytest.mark.slow
def test_both_ends_notice_within_fifteen_seconds(namespace: str, controller, agent, tmp_path: Path) -> None:
    save_identity(tmp_path / "controller", controller)
    save_identity(tmp_path / "agent", agent)
    ended = subprocess.run(
        ["ip", "netns", "exec", namespace, sys.executable, SCRIPT, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=80,
    )
    assert ended.returncode == 0, ended.stderr
    noticed = json.loads(ended.stdout)
    assert 4 < noticed["client_s"] < 15
    assert 4 < noticed["server_s"] < 15
