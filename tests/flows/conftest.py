"""Machines as a newcomer has them: a home each, the installed programs, the documented commands as typed."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.addresses import COMES_BACK

PROGRAMS = Path(sys.executable).parent
POLICY = "[allow]\nloopback = true\n"


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Running:
    """A program that goes on; what it says goes to a file."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self._log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                process_group=0,
            )

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def until_said(self, pattern: str) -> re.Match[str]:
        found: list[re.Match[str]] = []

        def there() -> bool:
            match = re.search(pattern, self.said)
            found.extend([match] if match else [])
            assert match or self.process.poll() is None, self.said
            return match is not None

        until(there, pattern)
        return found[0]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


@dataclass
class Machine:
    """One home directory. ``meshctl`` and ``agent`` run to their end; ``start`` keeps a program running."""

    home: Path
    running: list[Running] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        ours = ("MESHCTL_", "XDG_", "STATE_DIRECTORY")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.environment = {**kept, "HOME": str(self.home), "PYTHONUNBUFFERED": "1"}

    def meshctl(self, *arguments: str, stdin: str = "") -> Said:
        return self._run("meshctl", arguments, stdin)

    def agent(self, *arguments: str, stdin: str = "") -> Said:
        return self._run("mesh-agent", arguments, stdin)

    def _run(self, program: str, arguments: tuple[str, ...], stdin: str) -> Said:
        done = subprocess.run(
            [str(PROGRAMS / program), *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Said(done.returncode, done.stdout, done.stderr)

    def start(self, program: str, *arguments: str) -> Running:
        log = self.home / f"{program}-{len(self.running)}.log"
        made = Running([str(PROGRAMS / program), *arguments], log, self.environment)
        self.running.append(made)
        return made

    def close(self) -> None:
        for one in self.running:
            one.stop()


def until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


@dataclass
class Site:
    """All machines of a test, by name."""

    folder: Path
    machines: dict[str, Machine] = field(default_factory=dict)

    def machine(self, name: str) -> Machine:
        if name not in self.machines:
            self.machines[name] = Machine(self.folder / name)
        return self.machines[name]

    def mesh(self, name: str) -> "Founded":
        """``init`` and a running controller on a machine of that name."""
        machine = self.machine(name)
        assert machine.meshctl("init", "--name", name).code == 0
        controller = machine.start("meshctl", "controller", "run", "--listen", f"{COMES_BACK}:0")
        address = controller.until_said(r"is reached at (\S+)\n")[1]
        controller.until_said("next:")
        return Founded(self, machine, controller, address)


@dataclass
class Founded:
    site: Site
    machine: Machine
    controller: Running
    address: str

    def host(self, name: str, *more: str) -> Machine:
        """A host that joined as ``name``."""
        told = self.machine.meshctl("token", "create", "--name", name, "--site", "lab", "-o", "json")
        host = self.site.machine(name)
        joined = host.agent("join", self.address, "--token-file", "-", stdin=told.json["token"])
        assert joined.code == 0, joined.err
        (host.home / "policy.toml").write_text(POLICY)
        return host

    def listening(self, name: str, port: int) -> Running:
        host = self.host(name)
        policy = str(host.home / "policy.toml")
        agent = host.start("mesh-agent", "run", "--listen", f"127.0.0.1:{port}", "--policy", policy)
        agent.until_said(f"listening on 127.0.0.1:{port}")
        return agent

    def laptop(self, name: str, role: str = "operator") -> Machine:
        """Another machine, by ``operator create`` and ``join``."""
        told = self.machine.meshctl("operator", "create", name, "--role", role, "-o", "json")
        laptop = self.site.machine(f"laptop-{name}")
        joined = laptop.meshctl("join", self.address, "--token-file", "-", stdin=told.json["token"])
        assert joined.code == 0, joined.err
        return laptop

    def away(self) -> None:
        self.controller.stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    try:
        yield made
    finally:
        for machine in made.machines.values():
            machine.close()


@pytest.fixture
def service() -> Iterator[int]:
    """A port on loopback where connections are taken."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])
