"""``meshctl controller backup | restore | compact`` and ``run --recover``, as they are typed."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from probemesh_controller.cli.storing import parse_retention
from probemesh_controller.pki.mesh import init_mesh
from probemesh_controller.store.copies import NAME
from probemesh_controller.store.matrix.port import DAY_NS, HOUR_NS, Retention
from probemesh_controller.store.port import AgentRecord
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_shared.errors import InvalidRequest

from tests.store.test_recovery import leaves_of, spoil

MESHCTL = Path(sys.executable).parent / "meshctl"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    init_mesh(tmp_path / "state", "lab")
    store = SqliteStore(tmp_path / "state" / "controller" / NAME)
    for number in range(300):
        store.put_agent(AgentRecord(f"id-{number:04d}", f"a{number:04d}", labels={"x": "y" * 200}))
    store.close()
    return tmp_path / "state"


@pytest.fixture
def meshctl(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    environment = os.environ | {"MESHCTL_CONFIG": str(tmp_path / "config.toml")}

    def run(*arguments: Any) -> "subprocess.CompletedProcess[str]":
        command = [str(MESHCTL), *map(str, arguments)]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


Meshctl = Callable[..., "subprocess.CompletedProcess[str]"]


def test_backup_restore_and_compact_say_what_they_did(state: Path, meshctl: Meshctl, tmp_path: Path) -> None:
    done = meshctl("controller", "backup", tmp_path / "b", "--state", state)
    assert done.returncode == 0 and re.match(r"\S+/b is the store as it was .*KiB, schema 4\n", done.stdout)
    assert "the key of the CA is not in it" in done.stderr
    again = meshctl("controller", "backup", tmp_path / "b", "--state", state)
    assert again.returncode == 2 and "exists" in again.stderr and len(again.stderr.splitlines()) <= 2
    done = meshctl("controller", "restore", tmp_path / "b", "--state", state)
    assert (
        done.returncode == 0
        and "is the store of" in done.stdout
        and "what was there before is" in done.stdout
    )
    (kept,) = (state / "controller").glob(f"{NAME}.before-restore-*")
    assert str(kept) in done.stdout
    done = meshctl("controller", "compact", "--state", state)
    assert done.returncode == 0 and re.fullmatch(r".* freed: .* before, .* now\n", done.stdout)
    assert "\r" not in done.stderr


def test_what_cannot_be_done_changes_nothing(state: Path, meshctl: Meshctl, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("no database" * 1000)
    before = (state / "controller" / NAME).read_bytes()
    done = meshctl("controller", "restore", tmp_path / "b", "--state", state)
    assert done.returncode == 2 and "not put in place" in done.stderr
    done = meshctl("controller", "backup", tmp_path / "c", "--state", tmp_path / "nowhere")
    assert done.returncode == 4 and "no store" in done.stderr
    for bad in ("raw=1", "raw=3d,raw=3d", "days=3d", "raw=9d", "raw=x"):
        done = meshctl("controller", "run", "--state", state, "--retention", bad)
        assert done.returncode == 2, (bad, done.stderr)
    assert (state / "controller" / NAME).read_bytes() == before


def test_a_damaged_store_stops_the_start_until_recover(state: Path, meshctl: Meshctl, tmp_path: Path) -> None:
    path = state / "controller" / NAME
    spoil(path, leaves_of(path, "agent")[3])
    damaged = path.read_bytes()
    done = meshctl("controller", "run", "--state", state, "--listen", "127.0.0.1:0")
    assert done.returncode == 4 and "damaged" in done.stderr and "--recover" in done.stderr
    assert path.read_bytes() == damaged
    program = subprocess.Popen(
        [str(MESHCTL), "controller", "run", "--recover", "--state", str(state), "--listen", "127.0.0.1:0"],
        env=os.environ | {"MESHCTL_CONFIG": str(tmp_path / "config.toml")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert program.stdout is not None
    said = []
    for line in program.stdout:
        said.append(line)
        if "is reached at" in line:
            break
    program.send_signal(signal.SIGTERM)
    program.stdout.read()
    assert program.wait(30) == 0
    program.stdout.close()
    text = "".join(said)
    assert "the store was damaged" in text and "LOST" in text and "revocations" in text
    (kept,) = path.parent.glob(f"{NAME}.damaged-*")
    assert kept.read_bytes() == damaged
    store = SqliteStore(path)
    assert 250 < len(store.agents()) < 300
    store.close()


def test_retention_is_what_is_named_and_else_as_usual() -> None:
    assert parse_retention(None) == Retention()
    assert parse_retention("raw=2d") == Retention(raw_ns=2 * DAY_NS)
    assert parse_retention("raw=6h, minutes=12h,hours=30d") == Retention(
        6 * HOUR_NS, 12 * HOUR_NS, 30 * DAY_NS
    )
    with pytest.raises(InvalidRequest, match="raw=, minutes=, hours="):
        parse_retention("seconds=3d")
