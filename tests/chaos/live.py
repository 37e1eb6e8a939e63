"""A mesh of real programs: ``meshctl controller run``, ``mesh-agent run`` and ``meshctl probe``, which can be
killed and started again at any moment. Nothing waits for a fixed time: :func:`until` waits for what is
meant."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from probemesh_controller.remote import RemoteMesh
from probemesh_controller.store.sqlite import SqliteStore
from probemesh_shared.identity.files import load_identity
from probemesh_shared.jsonout import result_to_json
from probemesh_shared.model import TargetResult, Vantage
from probemesh_shared.targets import parse_target
from probemesh_shared.undumped import DUMPABLE
from probemesh_shared.words import AgentState, Outcome

from tests.addresses import COMES_BACK
from tests.chaos.origin import Origin

PROGRAMS = Path(sys.executable).parent
POLICY = "[allow]\nloopback = true\n"
LISTEN = f"{COMES_BACK}:0"


def until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Seconds that it took; AssertionError where it did not come in time."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)
    return time.monotonic() - start


def _no_certificates(der: bytes) -> NoReturn:
    raise AssertionError("nothing here speaks TLS")


class Program:
    """One process at a time, in a group of its own; what it says goes to a file, over all its lives."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self._command = command
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert not self.alive
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        assert self._process is not None
        return self._process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL, reaped."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def descriptors(self) -> int:
        return len(self.open_files())

    def open_files(self) -> list[str]:
        """What every descriptor is of (proc(5)); those that close meanwhile are left out."""
        found = []
        for one in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.append(str(one.readlink()))
        return found

    def cpu_s(self) -> float:
        """Processor time it has used so far, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Told:
    """What a ``meshctl probe -o json`` that is over has said. ``results`` is always the list."""

    code: int
    results: list[dict[str, Any]]
    errors: str
    seconds: float

    def vantages(self, agent: str) -> list[dict[str, Any]]:
        """Of one vantage point, target by target."""
        return [one for result in self.results for one in result["vantages"] if one["agent"] == agent]

    def rows(self, agent: str) -> list[tuple[int, str]]:
        """(target index, row as text), in order."""
        return [
            (index, json.dumps(row, sort_keys=True))
            for index, vantage in enumerate(self.vantages(agent))
            for row in vantage["measurements"]
        ]

    def outcomes(self, agent: str) -> set[str]:
        return {vantage["outcome"] for vantage in self.vantages(agent)}


class Client:
    """One ``meshctl`` under way."""

    def __init__(self, mesh: "LiveMesh", arguments: tuple[str, ...]) -> None:
        number = len(list(mesh.folder.glob("client-*.out")))
        self._out, self._err = (mesh.folder / f"client-{number}.{end}" for end in ("out", "err"))
        self._started = time.monotonic()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [str(PROGRAMS / "meshctl"), *arguments],
                env=mesh.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                process_group=0,
            )

    def finish(self, seconds: float = 30.0) -> Told:
        """Waits for its end; what it printed must be whole JSON, and nothing of ours a traceback."""
        try:
            code = self.process.wait(seconds)
        finally:
            self.process.kill()
            self.process.wait()
        took = time.monotonic() - self._started
        out, errors = self._out.read_text(), self._err.read_text()
        assert "Traceback" not in errors, errors
        found = json.loads(out) if out else []
        return Told(code, found if isinstance(found, list) else [found], errors, took)


@dataclass
class Member:
    """An agent: its probes come from ``address``."""

    name: str
    address: str
    program: Program


@dataclass
class LiveMesh:
    """``whole`` brings everything up (again). ``folder`` holds logs and state."""

    folder: Path
    origin: Origin
    names: tuple[str, ...] = ("berlin-1", "cairo-1", "lima-1", "tokyo-1")
    environment: dict[str, str] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    address: str = ""

    def __post_init__(self) -> None:
        self.state = self.folder / "state"
        ours = ("MESHCTL_", "XDG_")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
            "HOME": str(self.folder / "home"),
            "MESHCTL_CONFIG": str(self.state / "config.toml"),
            "PYTHONUNBUFFERED": "1",
            # descriptors are counted from outside, which only root may otherwise
            **({} if os.geteuid() == 0 else {DUMPABLE: "1"}),
        }
        self.controller = self._controller(LISTEN)

    def raise_it(self) -> None:
        """From nothing to all agents connected."""
        self.meshctl("init", "--state", str(self.state), "--name", "chaos")
        self.start_controller()
        self.controller = self._adopted(self.address)
        with ThreadPoolExecutor(2) as pool:
            for _ in pool.map(self._join, self.names, range(1, len(self.names) + 1)):
                pass
        self.whole()

    def _controller(self, listen: str) -> Program:
        run = ["controller", "run", "--state", str(self.state), "--listen", listen]
        return Program([str(PROGRAMS / "meshctl"), *run], self.folder / "controller.log", self.environment)

    def _adopted(self, listen: str) -> Program:
        """The one that runs, which when started again listens where it did."""
        again = self._controller(listen)
        again._process = self.controller._process
        return again

    def meshctl(self, *arguments: str) -> str:
        command = [str(PROGRAMS / "meshctl"), *arguments]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _join(self, name: str, number: int) -> None:
        token = json.loads(self.meshctl("token", "create", "--name", name, "--site", name[:-2], "-o", "json"))
        state = self.folder / name
        command = [str(PROGRAMS / "mesh-agent")]
        subprocess.run(
            [*command, "join", self.address, "--token-file", "-", "--state", str(state)],
            input=token["token"].encode(),
            env=self.environment,
            capture_output=True,
            timeout=60,
            check=True,
        )
        (state / "policy.toml").write_text(POLICY)
        address, policy = f"127.0.1.{number}", str(state / "policy.toml")
        run = ["run", "--state", str(state), "--policy", policy, "--source", address, "--advertise", address]
        log = self.folder / f"{name}.log"
        self.members[name] = Member(name, address, Program([*command, *run], log, self.environment))

    # --- up and down

    def start_controller(self) -> None:
        before = len(self.controller.said)
        self.controller.start()

        def ready() -> bool:
            found = re.search(r"is reached at (\S+)\n", self.controller.said[before:])
            self.address = found[1] if found else self.address
            assert self.controller.alive, self.controller.said[before:]
            return found is not None

        until(ready, 60, "the controller is up")

    def connected(self) -> set[str]:
        async def ask() -> set[str]:
            mesh = RemoteMesh(self.address, load_identity(self.state / "operator"))
            try:
                return {one.name for one in await mesh.agents() if one.state is AgentState.CONNECTED}
            finally:
                await mesh.aclose()

        return asyncio.run(ask())

    def reconnected(self) -> float:
        """Waits until all agents are connected, which is their own affair; seconds that it took."""
        return until(lambda: self.connected() == set(self.names), 30, "all agents are connected")

    def whole(self) -> None:
        """Everything runs. Agents that lately lost several links in a row would wait long before they dial
        again; new processes do not."""
        if not self.controller.alive:
            self.start_controller()
        there = self.connected()
        for name, member in self.members.items():
            if name not in there:
                member.program.kill()
                member.program.start()
        self.reconnected()

    def close(self) -> None:
        for member in self.members.values():
            member.program.kill()
        self.controller.kill()

    # --- measuring

    def probe(self, *arguments: str) -> Client:
        return Client(self, ("probe", *arguments, "-o", "json"))

    def runs(self) -> set[str]:
        """The first TARGET of every run that was begun."""
        store = SqliteStore(self.state / "controller" / "store.sqlite")
        try:
            return {run.targets[0] for run in store.runs(1000)}
        finally:
            store.close()

    def stored(self, first_target: str) -> dict[str, list[tuple[int, str]]]:
        """What is committed of the run over a TARGET that no other run had: as :meth:`Told.rows`, by
        agent."""
        store = SqliteStore(self.state / "controller" / "store.sqlite")
        try:
            (run,) = [run for run in store.runs(1000) if run.targets[0] == first_target]
            names = {agent.id: agent.name for agent in store.agents()}
            found: dict[str, list[tuple[int, str]]] = {name: [] for name in names.values()}
            for one in store.measurements(run.id):
                row = one.measurement
                vantage = Vantage(names[one.agent_id], None, Outcome.OK, measurements=(row,))
                result = TargetResult(parse_target(run.targets[row.target_index]), 0, (vantage,))
                told = result_to_json(result, _no_certificates)["vantages"][0]["measurements"][0]
                found[names[one.agent_id]].append((row.target_index, json.dumps(told, sort_keys=True)))
        finally:
            store.close()
        return {name: sorted(rows) for name, rows in found.items()}
