"""Starts hostile servers and their victim, and says what has to hold of every meeting."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

GROWN_MOST = 16 << 20
#: Of all rows of one job: several would still go into one message.
TOLD_MOST = 256 << 10
#: A job that is not over half a second after its deadline is ended; only a starved machine comes to that.
STARVED_S = 0.3


@dataclass
class Victim:
    """The program :mod:`tests.hostile_targets.victim`."""

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
def program(*command: str, log: Path) -> Iterator["subprocess.Popen[str]"]:
    with log.open("w") as said:
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=said, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.hostile_targets.{name}", *arguments)


@contextlib.contextmanager
def victim(folder: Path, ports: str, *prefix: str, warming: Sequence[str]) -> Iterator[Victim]:
    """An agent's runner, warm: what is loaded once is no harm that is done to it. ``ports`` and the authority
    are in ``folder``, as :mod:`tests.hostile_targets.foe` puts them there; ``prefix`` goes before its
    command."""
    (folder / "ports.json").write_text(ports)
    files = (str(folder / "ports.json"), str(folder / "ca.pem"), "127.0.0.1")
    log = folder / "victim.log"
    with program(*prefix, *module("victim", *files), log=log) as process:
        assert process.stdin is not None and process.stdout is not None
        made = Victim(process.stdin, process.stdout, log)
        for name in warming:
            made.meet(name)
        yield made


def judge(told: dict[str, Any], log: Path) -> None:
    """The deadline within a tenth, memory, what is told, and no fault of ours."""
    for name, job in told["jobs"].items():
        assert job["took_s"] <= 1.1 * told["budget_s"], (name, job)
        assert job["status"] == "done" or job["waited_s"] > STARVED_S, (name, job)
        assert job["bytes"] <= TOLD_MOST, (name, job)
        for words in job["words"]:
            assert "NOT FIT FOR THE WIRE" not in words, (name, words)
            assert "its own fault" not in words, (name, words, log.read_text()[-4000:])
    assert told["grown"] <= GROWN_MOST
    assert "Traceback" not in log.read_text()
