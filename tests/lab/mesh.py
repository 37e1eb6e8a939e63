"""A real mesh on a stage: ``meshctl controller run`` in its namespace, ``mesh-agent run`` in every agent's,
without any privilege or with CAP_NET_RAW alone."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.labs import Case
from tests.lab.programs import DROP, KEEP_RAW, NOBODY, AgentProgram
from tests.lab.stage import Stage

BIN = Path(sys.executable).parent
PORT = 7400
START_S = 60.0
#: A diagnosis ends by 30 s by its own limit; the program's start and its report come to that.
ASK_S = 60.0
#: What Linux 5.4 does not count, for agents that are to do without.
NEWER = (
    "Ip.OutTransmits",
    "Ip6.OutTransmits",
    "Icmp.OutRateLimitGlobal",
    "Icmp.OutRateLimitHost",
    "Icmp6.OutRateLimitHost",
)
MASKED = {"PROBEMESH_MASK_SIGNALS": ",".join(f"counter:{name}" for name in NEWER)}
#: Everything that a lab must not be told.
OURS = ("MESHCTL_", "XDG_", "PROBEMESH_")


@dataclass(frozen=True)
class Told:
    """What a ``meshctl`` that is over has said."""

    code: int
    out: str
    errors: str
    seconds: float

    def json(self) -> Any:
        """AssertionError with what was said instead, where that is no JSON."""
        try:
            return json.loads(self.out)
        except ValueError:
            raise AssertionError(
                f"exit code {self.code}, no JSON: {self.out[-500:]}{self.errors[-2000:]}"
            ) from None


class Mesh:
    """``folder`` holds state and logs. :meth:`running` brings everything up."""

    def __init__(self, stage: Stage, folder: Path, program: AgentProgram, raw: bool, masked: bool) -> None:
        self.stage = stage
        self.folder = folder
        self.program = program
        self.raw = raw
        self.masked = masked
        self.home, self.address = stage.controller
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(OURS)},
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "client"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "MESHCTL_CONFIG": str(folder / "mesh" / "config.toml"),
            "PYTHONUNBUFFERED": "1",
        }

    def meshctl(self, *words: str, seconds: float = ASK_S) -> Told:
        began = time.monotonic()
        done = subprocess.run(
            self.home.command(str(BIN / "meshctl"), *words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Told(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    def diagnose(self, case: Case, *more: str) -> Told:
        return self.meshctl(*case.command(), *more)

    @contextlib.contextmanager
    def running(self) -> Iterator["Mesh"]:
        state = self.folder / "mesh"
        made = self.meshctl("init", "--state", str(state), "--name", "lab")
        assert made.code == 0, made.errors
        with contextlib.ExitStack() as held:
            where = f"{self.address}:{PORT}"
            self._start(held, "controller", self._controller(state, where), self.environment)
            token = self._token()
            agents = tuple(self.stage.topology.agents)
            with ThreadPoolExecutor(len(agents)) as pool:
                list(pool.map(lambda name: self._join(name, where, token), agents))
            for name in agents:
                words = [word for one in self.stage.topology.agents[name] for word in ("--advertise", one)]
                command = self._agent(name, "run", "--state", str(self.folder / name), *words)
                self._start(held, name, command, self._agent_environment())
            until(lambda: self.connected() == set(agents), "all agents are connected")
            yield self

    def connected(self) -> set[str]:
        told = self.meshctl("agents", "-o", "json")
        if told.code != 0:
            return set()
        return {one["name"] for one in told.json()["agents"] if one["state"] == "connected"}

    def log(self, name: str) -> str:
        file = self.folder / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def _controller(self, state: Path, where: str) -> list[str]:
        return self.home.command(
            str(BIN / "meshctl"), "controller", "run", "--state", str(state), "--listen", where
        )

    def _agent(self, name: str, *words: str) -> list[str]:
        drop = KEEP_RAW if self.raw else DROP
        return self.stage[name].command(*drop, *self.program.command, *words)

    def _agent_environment(self) -> Mapping[str, str]:
        return {**self.program.environment, **(MASKED if self.masked else {})}

    def _token(self) -> str:
        """As soon as the controller is there."""
        words = ("token", "create", "--uses", "20", "-o", "json")
        end = time.monotonic() + START_S
        while (told := self.meshctl(*words)).code != 0:
            assert time.monotonic() < end, f"no token: {told.errors}{self.log('controller')}"
            time.sleep(0.05)
        return str(told.json()["token"])

    def _join(self, name: str, where: str, token: str) -> None:
        state = self.folder / name
        state.mkdir(mode=0o700)
        os.chown(state, NOBODY, NOBODY)
        command = self._agent(name, "join", where, "--token-file", "-", "--name", name, "--state", str(state))
        done = subprocess.run(
            command,
            env=dict(self._agent_environment()),
            input=token,
            capture_output=True,
            text=True,
            timeout=START_S,
            cwd="/",
            check=False,
        )
        assert done.returncode == 0, f"{name} does not join: {done.stderr}"

    def _start(
        self, held: contextlib.ExitStack, name: str, command: list[str], environment: Mapping[str, str]
    ) -> None:
        log = held.enter_context((self.folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            command, env=dict(environment), cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        held.callback(_end, process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def until(holds: Callable[[], bool], what: str) -> None:
    """Processes of others have no event to wait for: asks again."""
    end = time.monotonic() + START_S
    while not holds():
        assert time.monotonic() < end, f"not within {START_S:g} s: {what}"
        time.sleep(0.05)
