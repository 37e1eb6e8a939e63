"""An engine for each test, and a lab of three namespaces: a prober, a router that rejects, a target."""

import contextlib
import itertools
import os
import pickle
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from probemesh_agent import kernel
from probemesh_agent.engine.loop import Engine
from probemesh_shared.model import Measurement, Spec, Target
from probemesh_shared.words import Kind

HERE = Path(__file__).parent
NUMBERS = itertools.count()


@pytest.fixture
def engine() -> Iterator[Engine]:
    """Closed afterwards; its sockets, epoll and eventfd are to be gone then."""
    before = descriptors()
    made = Engine()
    yield made
    made.close()
    assert made.sockets == 0
    assert descriptors() == before


@pytest.fixture
def stamping() -> Iterator[None]:
    """The kernel begins to stamp arrivals some milliseconds after the first socket that asks for it: waits
    for that, and keeps it on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        own.settimeout(5)
        own.setsockopt(socket.SOL_SOCKET, kernel.SO_TIMESTAMPING, kernel.RX_SOFTWARE | kernel.REPORT_SOFTWARE)
        stamp = None
        while stamp is None:
            own.sendto(b"x", own.getsockname())
            stamp, _ = kernel.arrival(own.recvmsg(10, 256)[1])
        yield


def descriptors() -> int:
    """Epoll descriptors and eventfds of this process."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += str(entry.readlink()) in ("anon_inode:[eventpoll]", "anon_inode:[eventfd]")
    return found


def run(*words: str, given: str | None = None) -> str:
    done = subprocess.run(words, input=given, text=True, capture_output=True, timeout=20)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr}")
    return done.stdout


@dataclass
class Lab:
    """A 10.77.1.2, fd77:1::2 - R - B 10.77.2.2, fd77:2::2; ``prefix`` names the namespaces."""

    prefix: str

    def name(self, letter: str) -> str:
        return f"{self.prefix}-{letter}"

    def at(self, letter: str, *words: str, given: str | None = None) -> str:
        return run("ip", "netns", "exec", self.name(letter), *words, given=given)

    def rules(self, letter: str, text: str) -> None:
        """Replaces the nftables rules of one namespace."""
        self.at(letter, "nft", "-f", "-", given=f"flush ruleset\n{text}\n")

    def probe(
        self, kind: Kind, spec: Spec, targets: Sequence[Target], *, deadline_s: float = 10.0, user: int = 0
    ) -> list[Measurement]:
        """Rows of a run from A."""
        command = ["ip", "netns", "exec", self.name("a"), sys.executable, str(HERE / "in_namespace.py")]
        given = pickle.dumps((user, kind, spec, list(targets), deadline_s))
        done = subprocess.run(command, input=given, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        rows: list[Measurement] = pickle.loads(done.stdout)
        return rows


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab(f"pe-{os.getpid()}-{next(NUMBERS)}")
    names = [made.name(letter) for letter in "arb"]
    try:
        for name in names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        _wire(made, "a", 1)
        _wire(made, "b", 2)
        for key in (
            "net.ipv4.ip_forward=1",
            "net.ipv6.conf.all.forwarding=1",
            "net.ipv4.icmp_ratelimit=0",
            "net.ipv6.icmp.ratelimit=0",
        ):
            made.at("r", "sysctl", "-qw", key)
        made.at("b", "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")
        _warm(made)
        yield made
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def _warm(lab: Lab) -> None:
    """All neighbours are known on both ways: a first packet that is lost for want of one comes a second late,
    which is longer than tests wait. Pinged until the first answer, in ten seconds at most."""
    if shutil.which("ping") is None:
        return
    for letter, addresses in (("a", ("10.77.2.2", "fd77:2::2")), ("b", ("10.77.1.2", "fd77:1::2"))):
        for address in addresses:
            lab.at(letter, "ping", "-n", "-q", "-c", "1", "-w", "10", "-i", "0.2", address)


def _wire(lab: Lab, letter: str, net: int) -> None:
    """A veth pair between R (.1) and one end (.2), with the default routes of the end."""
    end, router = lab.name(letter), lab.name("r")
    run("ip", "-n", router, "link", "add", f"r{net}", "type", "veth", "peer", "name", "e0", "netns", end)
    for name, device, host in ((router, f"r{net}", 1), (end, "e0", 2)):
        run("ip", "-n", name, "addr", "add", f"10.77.{net}.{host}/24", "dev", device)
        run("ip", "-n", name, "addr", "add", f"fd77:{net}::{host}/64", "dev", device, "nodad")
        run("ip", "-n", name, "link", "set", device, "up")
    run("ip", "-n", end, "route", "add", "default", "via", f"10.77.{net}.1")
    run("ip", "-n", end, "-6", "route", "add", "default", "via", f"fd77:{net}::1")
