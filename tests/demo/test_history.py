"""History, @last, failed, --watch and --until on a mesh of real programs; a service comes and goes."""

import json
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.demo.test_demo import MESHCTL, environment, read_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

#: One silent attempt is enough here.
QUICK = ("--timeout", "0.5", "-c", "1")


class Demo:
    """A held demo, and commands on it."""

    def __init__(self, folder: Path, target: str) -> None:
        self.target = target
        self.state = folder / "state"
        self.environment = environment(
            folder,
            MESHCTL_CONFIG=str(self.state / "config.toml"),
            XDG_CACHE_HOME=str(folder / "cache"),
        )

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [MESHCTL, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        assert "Traceback" not in err
        return out

    def value(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "-o", "json", code=code))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("history")
    command = [MESHCTL, "demo", "--hold", "--state", str(folder / "state")]
    with (
        (folder / "stderr").open("w") as stderr,
        subprocess.Popen(
            command, env=environment(folder), stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            told = "".join(read_until(process.stdout, "Ctrl-C ends it"))
            found = re.search(r"probe (http://127\.0\.0\.1:\d+/)", told)
            assert found is not None
            yield Demo(folder, found[1])
        finally:
            process.terminate()


@pytest.fixture(autouse=True)
def no_history_yet(demo: Demo) -> None:
    shutil.rmtree(demo.state / "history", ignore_errors=True)


def outcomes(result: Any) -> dict[str, str]:
    return {one["agent"]: one["outcome"] for one in result["vantages"]}


def test_the_demo_itself_is_kept_beside_its_configuration(tmp_path: Path) -> None:
    state = tmp_path / "state"
    home = environment(tmp_path, MESHCTL_HISTORY=str(tmp_path / "elsewhere"))
    demo = [MESHCTL, "demo", "--state", str(state)]
    subprocess.run(demo, env=home, capture_output=True, timeout=120, check=True)
    assert not (tmp_path / "elsewhere").exists() and not (tmp_path / "home").exists()
    listed = subprocess.run(
        [MESHCTL, "--config", str(state / "config.toml"), "history", "list", "-o", "json"],
        env=environment(tmp_path),
        capture_output=True,
        timeout=60,
        check=True,
    )
    (run,) = json.loads(listed.stdout)["runs"]
    assert run["command"][:2] == ["meshctl", "probe"] and run["summary"]["failed"] == 1


@pytest.mark.parametrize("form", ["json", "table"])
def test_what_was_measured_is_shown_again_as_it_was(demo: Demo, form: str) -> None:
    printed = demo.run("probe", demo.target, *QUICK, "-o", form, code=3)
    assert demo.run("history", "show", "-o", form) == printed
    (run,) = demo.value("history")["runs"]
    assert demo.run("history", "show", run["id"][:4], "-o", form) == printed
    assert (run["summary"]["failed"], run["exit_code"]) == (1, 3)


def test_again_from_where_it_failed_then_from_the_others(demo: Demo) -> None:
    demo.run("probe", demo.target, *QUICK, "--from", "all", code=3)
    again = demo.value("probe", "@last", *QUICK, "--from", "failed", code=1)
    assert outcomes(again) == {"tokyo-1": "timeout"} and again["target"] == demo.target
    others = demo.value("probe", "@last", *QUICK, "--from", "all", "--exclude", "@last")
    assert outcomes(others) == {"berlin-1": "ok", "virginia-1": "ok"}
    assert demo.run("probe", "@last", "--from", "failed", code=4) == ""


def test_share_is_whole(demo: Demo) -> None:
    shared = demo.run("probe", demo.target, *QUICK, "--share", code=3)
    assert demo.run("history", "show", "--share") == shared
    for words in (
        "$ meshctl probe http://127.0.0.1:",
        "context demo",
        "tokyo-1",
        "source-selective",
        "    + ",
    ):
        assert words in shared


def test_a_watch_of_some_rounds(demo: Demo) -> None:
    watch = ("--watch", "--every", "1", "--rounds", "2", *QUICK)
    lines = demo.run("probe", demo.target, "--from", "all", *watch, "-o", "jsonl", code=3).splitlines()
    first, second = map(json.loads, lines)
    assert (
        outcomes(first)
        == outcomes(second)
        == {
            "berlin-1": "ok",
            "tokyo-1": "timeout",
            "virginia-1": "ok",
        }
    )
    assert first["started_at"] < second["started_at"]
    (run,) = demo.value("history")["runs"]
    assert run["rounds"] == 2


def test_until_it_gives_up(demo: Demo) -> None:
    until = ("--until", "reachable", "--every", "1", "--within", "2", *QUICK)
    assert outcomes(demo.value("probe", demo.target, "--from", "all", *until, code=3))["tokyo-1"] == "timeout"
    assert outcomes(demo.value("probe", demo.target, "--from", "site=tokyo", *until, code=1))


def test_until_there_is_nothing_to_wait_for(demo: Demo) -> None:
    until = ("--until", "unreachable", "--every", "1", *QUICK)
    assert outcomes(demo.value("probe", demo.target, "--from", "site=tokyo", *until)) == {
        "tokyo-1": "timeout"
    }


def test_until_a_service_comes_and_until_it_is_gone(demo: Demo) -> None:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{listener.getsockname()[1]}"
        until = ("probe", target, "--every", "1", *QUICK, "-o", "json", "--until")
        with demo.start(*until, "reachable") as waiting:
            assert waiting.stdout is not None and waiting.stderr is not None
            read_until(waiting.stderr, "round 1: 0 of 4 reached, 4 failed")
            listener.listen(100)
            assert set(outcomes(json.load(waiting.stdout)).values()) == {"ok"}
            assert "reachable after" in waiting.stderr.read()
        assert waiting.returncode == 0
        with demo.start(*until, "unreachable") as waiting:
            assert waiting.stdout is not None and waiting.stderr is not None
            read_until(waiting.stderr, "round 1: 4 of 4 reached")
            listener.close()
            assert set(outcomes(json.load(waiting.stdout)).values()) == {"refused"}
        assert waiting.returncode == 0


def test_a_watch_says_what_changed(demo: Demo) -> None:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{listener.getsockname()[1]}"
        watch = ("probe", target, "--watch", "--every", "1", *QUICK, "--from", "berlin-1,self")
        with demo.start(*watch) as watching:
            assert watching.stdout is not None
            read_until(watching.stdout, "0 of 2 vantage points reached it")
            listener.listen(100)
            told = read_until(watching.stdout, "changed: ")
            assert "berlin-1: refused (tcp) → ok" in told[-1] and "self: refused (tcp) → ok" in told[-1]
            read_until(watching.stdout, "2 of 2 vantage points reached it")
            watching.send_signal(signal.SIGINT)
        assert watching.returncode == 130
    (run,) = demo.value("history")["runs"]
    assert run["exit_code"] == 130 and not run["interrupted"]
