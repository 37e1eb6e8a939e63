"""Streams and datagrams behind a filter: what the error queue tells, by type, code and sender."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.netns

RULES = """
table inet filter {
  chain in {
    type filter hook input priority 0; policy accept;
    tcp dport 81 reject with icmp type admin-prohibited
    udp dport 81 reject with icmp type admin-prohibited
    tcp dport 82 drop
    tcp dport 83 reject with tcp reset
    udp dport 83 reject with icmp type host-unreachable
  }
  chain out {
    type filter hook output priority 0; policy accept;
    tcp dport 84 drop
  }
}
"""

PROGRAM = """
import asyncio, json
from dataclasses import asdict
from probemesh_agent.env import ProbeEnv
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.probes.registry import Registry
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import *
from probemesh_shared.words import Kind

async def main():
    clock = SystemClock()
    network = SystemNetwork(clock, Policy.typed_by_user())
    options, registry, told = Options(count=1, timeout_s=0.4), Registry(), {}
    async def one(name, kind, spec, target):
        env = ProbeEnv(network, clock, clock.monotonic() + 10)
        async for (row,) in registry[kind].run(spec, [target], env):
            told[name] = [row.outcome, asdict(row.failure)]
    for port in (81, 82, 83, 84, 85):
        for kind, spec in ((Kind.TLS, TlsSpec(options)), (Kind.HTTP, HttpSpec(options))):
            await one(f"{kind}:{port}", kind, spec, Target("x", "127.0.0.1", (PortRange(port, port),)))
        target = Target("x", "a.example", record_type="TXT", server=f"127.0.0.1:{port}")
        await one(f"dns:{port}", Kind.DNS, DnsSpec(options), target)
    await one("route", Kind.HTTP, HttpSpec(options), Target("x", "203.0.113.1", (PortRange(80, 80),)))
    print(json.dumps(told))

asyncio.run(main())
"""


def run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, tuple[str, dict[str, object]]]]:
    name = f"pmfilt{os.getpid()}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "netns", "exec", name, "nft", "-f", "-", text=RULES)
        yield json.loads(run("ip", "netns", "exec", name, sys.executable, "-c", PROGRAM))
    finally:
        run("ip", "netns", "del", name)


CASES = {
    "tls:81": ("prohibited", "prohibited", (3, 13)),
    "http:81": ("prohibited", "prohibited", (3, 13)),
    "dns:81": ("prohibited", "prohibited", (3, 13)),
    "tls:82": ("timeout", "timeout", None),
    "http:82": ("timeout", "timeout", None),
    "tls:83": ("refused", "refused", None),
    "dns:83": ("unreachable", "unreachable", (3, 1)),
    "http:84": ("timeout", "timeout", None),  # the kernel keeps to itself that our own filter dropped the SYN
    "http:85": ("refused", "refused", None),
    "dns:85": ("refused", "refused", (3, 3)),
    "route": ("unreachable", "no-route", None),
}


@pytest.mark.parametrize("case", CASES)
def test_filters_are_told_apart(told: dict[str, tuple[str, dict[str, object]]], case: str) -> None:
    outcome, kind, icmp = CASES[case]
    seen, failure = told[case]
    error = failure["icmp"]
    assert (seen, failure["kind"]) == (outcome, kind), failure
    if icmp is None:
        assert error is None
    else:
        assert isinstance(error, dict)
        assert ((error["type"], error["code"]), error["sender"]) == (icmp, "127.0.0.1")
