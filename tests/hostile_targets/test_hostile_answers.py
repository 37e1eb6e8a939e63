"""Servers that mean harm, against every kind that reads what they say: the deadline is kept, memory is
bounded, what is told fits into a message, and whatever they say is no fault of ours."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
from probemesh_agent.kit import all_probes
from probemesh_agent.runner import KINDS

from tests.hostile_targets.meetings import MEETINGS, Servers

GROWN_MOST = 16 << 20
#: Of all rows of one job: several would still go into one message.
TOLD_MOST = 256 << 10
#: A job that is not over half a second after its deadline is ended; only a starved machine comes to that.
STARVED_S = 0.3


@dataclass
class Victim:
    asking: IO[str]
    saying: IO[str]
    log: Path

    def meet(self, name: str) -> dict[str, Any]:
        self.asking.write(f"{name}\n")
        self.asking.flush()
        line = self.saying.readline()
        assert line, self.log.read_text()[-4000:]
        told: dict[str, Any] = json.loads(line)
        return told


@contextlib.contextmanager
def program(module: str, *arguments: str, log: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", f"tests.hostile_targets.{module}", *arguments]
    with log.open("w") as said:
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=said, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """An agent's runner, warm: what is loaded once is no harm that is done to it."""
    folder = tmp_path_factory.mktemp("foe")
    host = "127.0.0.1"
    with program("foe", host, str(folder), log=folder / "foe.log") as foe:
        assert foe.stdout is not None
        ports = foe.stdout.readline()
        assert ports, (folder / "foe.log").read_text()
        (folder / "ports.json").write_text(ports)
        files = (str(folder / "ports.json"), str(folder / "ca.pem"), host)
        with program("victim", *files, log=folder / "victim.log") as process:
            assert process.stdin is not None and process.stdout is not None
            made = Victim(process.stdin, process.stdout, folder / "victim.log")
            for name in WARMING * 2:
                made.meet(name)
            yield made


WARMING = [
    next(name for name in MEETINGS if name.startswith(way)) for way in ("clear: ", "secure: ", "bloated: ")
]


def judged(told: dict[str, Any], log: Path) -> None:
    """What holds of every meeting."""
    budget_s = told["budget_s"]
    for name, job in told["jobs"].items():
        assert job["took_s"] <= 1.1 * budget_s, (name, job)
        assert job["status"] == "done" or job["waited_s"] > STARVED_S, (name, job)
        assert job["bytes"] <= TOLD_MOST, (name, job)
        for words in job["words"]:
            assert "NOT FIT FOR THE WIRE" not in words, (name, words)
            assert "its own fault" not in words, (name, words, log.read_text()[-4000:])
    assert told["grown"] <= GROWN_MOST
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("name", MEETINGS)
def test_a_hostile_server_does_no_harm(victim: Victim, name: str) -> None:
    judged(victim.meet(name), victim.log)


def test_the_good_answer_wins_though_it_comes_last(victim: Victim) -> None:
    """By another id, to another question, from another port, no answer at all; then the one that is meant."""
    (job,) = victim.meet("forged")["jobs"].values()
    assert job["outcomes"] in (["ok"], ["void"]), job  # void: this machine let the agent wait


def test_every_kind_meets_somebody() -> None:
    servers = Servers("192.0.2.1", b"", _Every(), _Every())
    met = {KINDS[type(spec)] for one in MEETINGS.values() for spec, _ in one.jobs(servers).values()}
    assert met == set(all_probes())


class _Every(dict[str, int]):
    def __missing__(self, name: str) -> int:
        return 1
