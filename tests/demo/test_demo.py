"""``meshctl demo`` as people run it: what it shows, how it ends, what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MESHCTL = str(Path(sys.executable).parent / "meshctl")


def environment(folder: Path, **more: str) -> dict[str, str]:
    """A home and a temporary folder of its own, where whatever is left behind is seen."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESHCTL_")}
    return {**kept, "HOME": str(folder / "home"), "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1", **more}


def agents_below(folder: Path) -> list[str]:
    """Command lines of processes that work in ``folder``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in line and "probemesh_agent" in line:
                found.append(line)
    return found


def nothing_left(folder: Path) -> None:
    assert list((folder / "tmp").iterdir()) == []
    assert not (folder / "home").exists()
    assert agents_below(folder) == []


def test_it_shows_who_reaches_what_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [MESHCTL, "demo"], env=environment(tmp_path), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    for words in ("berlin-1", "tokyo-1", "virginia-1", "source-selective", "exactly site tokyo fails"):
        assert words in done.stdout
    assert "1 failed" in done.stdout
    nothing_left(tmp_path)


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "mine").write_text("keep")
    command = [MESHCTL, "demo", "--state", str(state)]
    done = subprocess.run(
        command, env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 4
    assert "is not empty" in done.stderr
    assert "Traceback" not in done.stderr
    assert [one.name for one in state.iterdir()] == ["mine"]


def read_until(stream: IO[str], words: str) -> list[str]:
    lines: list[str] = []
    for line in stream:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError("".join(lines))


@pytest.fixture
def held(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [MESHCTL, "demo", "--hold", "--state", str(tmp_path / "state")]
    with (
        (tmp_path / "stderr").open("w") as stderr,
        subprocess.Popen(
            command, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_held_it_can_be_driven_and_ends_cleanly(
    held: "subprocess.Popen[str]", tmp_path: Path, number: signal.Signals
) -> None:
    assert held.stdout is not None
    told = read_until(held.stdout, "Ctrl-C ends it")
    (shown,) = [line for line in told if "--from site=tokyo" in line]
    target = shown.split(" probe ")[1].split(" --from")[0]
    config = str(tmp_path / "state" / "config.toml")
    assert config in shown
    done = subprocess.run(
        [MESHCTL, "probe", target, "--from", "all", "--timeout", "1", "-o", "json"],
        env=environment(tmp_path, MESHCTL_CONFIG=config, XDG_CACHE_HOME=str(tmp_path / "state" / "cache")),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    found = json.loads(done.stdout)
    assert {one["agent"]: one["outcome"] for one in found["vantages"]} == {
        "berlin-1": "ok",
        "tokyo-1": "timeout",
        "virginia-1": "ok",
    }
    assert [one["verdict"] for one in found["findings"]] == ["source-selective"]
    held.send_signal(number)
    assert held.wait(30) == 0
    nothing_left(tmp_path)


def test_an_interrupt_on_the_way_up_cleans_up(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [MESHCTL, "demo"],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    read_until(process.stderr, "starting a controller")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    nothing_left(tmp_path)
