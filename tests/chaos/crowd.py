"""Many agents in few processes: each is the agent's whole service (its own dialler, certificate, channel and
session), they only share a process and what is imported.

As a program it is one such process: ``python -m tests.chaos.crowd FOLDER FIRST COUNT`` runs the agents whose
state stands in ``FOLDER/crowd-NNNN``. A line on its stdin is a command, answered by one line: ``cut`` ends
all connections to the controller as a network that breaks would, ``ready`` counts the links that are up,
``sessions`` those that ever were.
Logs go to stderr as JSON. It ends with stdin.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from probemesh_agent import dial, links
from probemesh_agent.service import Service, ServiceOptions
from probemesh_controller.pki.authority import Authority
from probemesh_controller.pki.ca import new_key, private_pem
from probemesh_shared import logs
from probemesh_shared.identity.files import make_identity
from probemesh_shared.identity.names import Subject
from probemesh_shared.words import Role

_TICKS = os.sysconf("SC_CLK_TCK")


def name_of(number: int) -> str:
    return f"crowd-{number:04}"


# --- the process of agents --------------------------------------------------------------------------------


class Agents:
    def __init__(self, folder: Path, numbers: range) -> None:
        self.sessions = 0
        logging.getLogger(links.__name__).addFilter(self._count)
        self._services = [Service(ServiceOptions(folder / name_of(number))) for number in numbers]

    async def start(self) -> None:
        for service in self._services:
            await service.start()

    def _count(self, record: logging.LogRecord) -> bool:
        self.sessions += record.getMessage().startswith("session with ")
        return True

    def ready(self) -> int:
        return sum(live.session.ready for service in self._services for live in service._links._live)

    def cut(self, port: int) -> int:
        """Both ends read an end of file; how many connections that were."""
        found = 0
        for descriptor in list(Path("/proc/self/fd").iterdir()):
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(descriptor.name))) as one:
                if one.type == socket.SOCK_STREAM and one.getpeername()[1:2] == (port,):
                    one.shutdown(socket.SHUT_RDWR)
                    found += 1
        return found


async def run(folder: Path, numbers: range) -> None:
    logs.configure(as_json=True)
    dial.HEALTHY_S = 1.0  # links of a test are never a minute old; those of a mesh are, and come back soonest
    # what an agent does in threads it does in its own
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(64))
    agents = Agents(folder, numbers)
    await agents.start()
    loop = asyncio.get_running_loop()
    while words := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        match words:
            case ["ready"]:
                print(agents.ready(), flush=True)
            case ["sessions"]:
                print(agents.sessions, flush=True)
            case ["cut", port]:
                print(agents.cut(int(port)), flush=True)


# --- the test's end -----------------------------------------------------------------------------------------


def enlist(state: Path, folder: Path, address: str, count: int) -> None:
    """Writes what joining leaves, for all of them."""
    ca = Authority(state / "controller").signing()
    for number in range(count):
        name, key = name_of(number), new_key()
        issued = ca.issue(Subject(ca.mesh, Role.AGENT, f"id-{name}", name), key.public_key())
        identity = make_identity(issued.certificate_pem, private_pem(key), ca.certificate_pem)
        home = folder / name / "agent"
        home.mkdir(parents=True, mode=0o700)
        for file, data in (
            ("ca.pem", identity.ca_pem),
            ("cert.pem", identity.certificate_pem),
            ("key.pem", identity.key_pem),
            ("agent.toml", f'controller = "{address}"\n'.encode()),
        ):
            (home / file).write_bytes(data)
            (home / file).chmod(0o600)


class Crowd:
    """``count`` agents in ``processes`` processes."""

    def __init__(self, folder: Path, count: int, processes: int, environment: dict[str, str]) -> None:
        share = -(-count // processes)
        self.count = count
        self._logs = [folder / f"crowd-{number}.log" for number in range(processes)]
        self._children: list[subprocess.Popen[str]] = []
        for number, log in enumerate(self._logs):
            first = number * share
            words = [str(folder), str(first), str(min(share, count - first))]
            with log.open("ab") as out:
                child = subprocess.Popen(
                    [sys.executable, "-m", "tests.chaos.crowd", *words],
                    env=environment,
                    cwd=Path(__file__).resolve().parents[2],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=out,
                    text=True,
                )
            self._children.append(child)

    def ask(self, command: str) -> int:
        """The sum of the answers."""
        for child in self._children:
            assert child.stdin is not None
            child.stdin.write(command + "\n")
            child.stdin.flush()
        return sum(int(child.stdout.readline() or 0) for child in self._children if child.stdout is not None)

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in self._children]

    def descriptors(self) -> int:
        return sum(1 for pid in self.pids for _ in Path(f"/proc/{pid}/fd").iterdir())

    def mark(self) -> list[int]:
        """How long their logs are now."""
        return [log.stat().st_size for log in self._logs]

    def said(self, since: list[int]) -> list[dict[str, Any]]:
        """All records of their logs after a mark; what is no record is a fault that nobody caught."""
        said = [log.read_bytes()[mark:] for log, mark in zip(self._logs, since, strict=True)]
        return [json.loads(line) for each in said for line in each.splitlines()]

    def close(self) -> None:
        for child in self._children:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()


# --- time on a machine that others use too ------------------------------------------------------------------


class Share:
    """Time since it was made, and how much of it other programs kept ours (``pids``) waiting for a processor:
    nobody promises anything for a machine that is not there."""

    def __init__(self, pids: list[int]) -> None:
        self._began = time.monotonic()
        self._busy = _busy_s()
        self._first: dict[int, tuple[float, float]] = {}
        self._last: dict[int, tuple[float, float]] = {}
        for pid in (os.getpid(), *pids):
            self.also(pid)

    def also(self, pid: int) -> None:
        """Another one of ours, from now on."""
        self._first[pid] = self._last[pid] = _used_and_waited_s(pid)

    def look(self) -> None:
        for pid in self._first:
            with contextlib.suppress(FileNotFoundError):
                self._last[pid] = _used_and_waited_s(pid)

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def kept_waiting_s(self) -> float:
        """For how long others had the machine, all processors of it, as far as threads of ours stood ready
        meanwhile; what ours take from each other is no excuse."""
        used = sum(self._last[pid][0] - self._first[pid][0] for pid in self._first)
        others = max(0.0, _busy_s() - self._busy - used) / (os.cpu_count() or 1)
        return min(others, sum(self._last[pid][1] - self._first[pid][1] for pid in self._first))

    def __str__(self) -> str:
        return f"{self.seconds():.1f} s, kept waiting {self.kept_waiting_s():.1f} s"


def _busy_s() -> float:
    """Of all processors, whoever used them, the hypervisor's other guests among them (proc(5))."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _used_and_waited_s(pid: int) -> tuple[float, float]:
    """Processor time of all its threads, and how long they stood ready and got none."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    waited_ns = 0
    for thread in list(Path(f"/proc/{pid}/task").iterdir()):
        with contextlib.suppress(OSError, IndexError):
            waited_ns += int((thread / "schedstat").read_text().split()[1])
    return (int(fields[11]) + int(fields[12])) / _TICKS, waited_ns / 1e9


@contextlib.contextmanager
def crowd(
    state: Path, folder: Path, address: str, count: int, processes: int, environment: dict[str, str]
) -> Iterator[Crowd]:
    enlist(state, folder, address, count)
    made = Crowd(folder, count, processes, environment)
    try:
        yield made
    finally:
        made.close()


if __name__ == "__main__":
    where, first, number = sys.argv[1:]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(Path(where), range(int(first), int(first) + int(number))))
