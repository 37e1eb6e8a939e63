"""Denied targets, in every spelling and by every kind, judged by the kernel's own counters."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.net.test_policy import DENIED

pytestmark = pytest.mark.netns

RULES = """
table inet watch {
  chain out {
    type filter hook output priority 0; policy accept;
    meta l4proto { tcp, udp } counter
    icmp type echo-request counter
    icmpv6 type echo-request counter
  }
}
"""

PROGRAM = """
import asyncio, json, sys
from probemesh_agent.env import ProbeEnv
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.probes.registry import Registry
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import *
from probemesh_shared.words import Kind

SPECS = {Kind.ICMP: IcmpSpec, Kind.DNS: DnsSpec, Kind.TCP: TcpSpec, Kind.UDP: UdpSpec, Kind.TLS: TlsSpec,
         Kind.HTTP: HttpSpec, Kind.FLOW: FlowSpec}

def target(kind, host):
    if kind is Kind.DNS:
        server = f"[{host}]:53" if ":" in host and "[" not in host else f"{host}:53"
        return Target(host, "a.example", record_type="A", server=server)
    return Target(host, host, () if kind is Kind.ICMP else (PortRange(80, 80),))

async def main(spellings):
    clock = SystemClock()
    network = SystemNetwork(clock, Policy.shipped())
    registry, outcomes = Registry(), set()
    options = Options(count=1, timeout_s=0.3)
    for kind, spec in SPECS.items():
        targets = [target(kind, host) for host in spellings]
        env = ProbeEnv(network, clock, clock.monotonic() + 20)
        rows = 0
        async for batch in registry[kind].run(spec(options), targets, env):
            rows += len(batch)
            outcomes.update(str(row.outcome) for row in batch)
        assert rows >= len(targets)
    network.close()
    print(json.dumps(sorted(outcomes)))

asyncio.run(main(json.loads(sys.argv[1])))
"""


def run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def namespace() -> Iterator[str]:
    """A host with loopback, a network and a default route, so that anything that is sent leaves a mark."""
    name = f"pmdeny{os.getpid()}"
    run("ip", "netns", "add", name)
    try:
        inside = ("ip", "-n", name)
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
        run(*inside, "link", "set", "eth1", "up")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "addr", "add", "10.9.0.1/24", "dev", "eth0")
        run(*inside, "addr", "add", "fd09::1/64", "dev", "eth0", "nodad")
        run(*inside, "route", "add", "default", "dev", "eth0")
        run(*inside, "-6", "route", "add", "default", "dev", "eth0")
        run("ip", "netns", "exec", name, "nft", "-f", "-", text=RULES)
        yield name
    finally:
        run("ip", "netns", "del", name)


def probed(name: str, spellings: list[str]) -> tuple[list[str], int]:
    """The outcomes, and the packets that left."""
    command = ("ip", "netns", "exec", name, sys.executable, "-c", PROGRAM, json.dumps(spellings))
    outcomes = json.loads(run(*command))
    rules = json.loads(run("ip", "netns", "exec", name, "nft", "-j", "list", "ruleset"))
    counters = [
        part["counter"]["packets"]
        for item in rules["nftables"]
        if "rule" in item
        for part in item["rule"]["expr"]
        if "counter" in part
    ]
    assert len(counters) == 3
    return outcomes, sum(counters)


def test_every_spelling_by_every_kind_sends_nothing(namespace: str) -> None:
    assert probed(namespace, list(DENIED)) == (["denied"], 0)


def test_own_address_and_broadcast_send_nothing(namespace: str) -> None:
    outcomes, packets = probed(namespace, ["10.9.0.1", "fd09::1", "10.9.0.255"])
    assert (set(outcomes), packets) == ({"denied", "unmeasured"}, 0)


def test_the_counters_do_see_what_is_allowed(namespace: str) -> None:
    outcomes, packets = probed(namespace, ["10.9.0.77"])
    assert "denied" not in outcomes and packets >= 6
