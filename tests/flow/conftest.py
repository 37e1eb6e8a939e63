"""A lab of four namespaces: A - R - S - B. Between A and R a packet takes 5 ms, so that no ICMP error comes
while ``connect`` still holds its socket; all else is at once."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flow.world import TOKEN
from tests.lab.netlab import Host, NetLab

PORT = 5001
V4 = "203.0.113.2"
OTHER = "203.0.113.3"
V6 = "2001:db8:3::2"


@dataclass
class Way:
    a: Host
    r: Host
    s: Host
    b: Host

    def clear(self) -> None:
        """No rules, no remembered path MTU."""
        for host in (self.a, self.r, self.s, self.b):
            host.nft_flush()
        for host in (self.a, self.b):
            host.run("ip", "route", "flush", "cache")
            host.run("ip", "-6", "route", "flush", "cache")

    @contextlib.contextmanager
    def responder(self, *more: str) -> Iterator[None]:
        """The far responder on :data:`PORT` at B."""
        program = str(Path(__file__).parent / "responder.py")
        words = (sys.executable, program, str(PORT), TOKEN.hex(), *more)
        with self.b.start(*words, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            with process.stdout as said:
                assert said.readline() == b"ready\n"
            yield


@pytest.fixture(scope="session")
def _way() -> Iterator[Way]:
    with NetLab() as lab:
        a, r, s, b = lab.host("a"), lab.router("r"), lab.router("s"), lab.host("b")
        lab.delayed(a, r, "10.1.0.2/24", "10.1.0.1/24", "2001:db8:1::2/64", "2001:db8:1::1/64")
        lab.link(r, s, "198.51.100.1/24", "198.51.100.2/24", "2001:db8:2::1/64", "2001:db8:2::2/64")
        lab.link(s, b, "203.0.113.1/24", f"{V4}/24", "2001:db8:3::1/64", f"{V6}/64")
        b.run("ip", "addr", "add", f"{OTHER}/24", "dev", "eth0")
        a.default_via("10.1.0.1", "2001:db8:1::1")
        b.default_via("203.0.113.1", "2001:db8:3::1")
        r.route("203.0.113.0/24", "via", "198.51.100.2")
        r.route("2001:db8:3::/64", "via", "2001:db8:2::2")
        s.route("10.1.0.0/24", "via", "198.51.100.1")
        s.route("2001:db8:1::/64", "via", "2001:db8:2::1")
        b.sysctl(net__ipv4__icmp_ratelimit=0, net__ipv6__icmp__ratelimit=0)
        for address in (V4, V6):  # neighbours are known before anybody waits for an answer
            a.run("ping", "-n", "-q", "-c", "1", "-w", "10", "-i", "0.2", address)
        yield Way(a, r, s, b)


@pytest.fixture
def way(_way: Way) -> Iterator[Way]:
    yield _way
    _way.clear()
