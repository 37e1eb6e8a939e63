"""Redirects to where policy does not let a probe go, judged by the kernel's own counter: nothing leaves."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.netns

RULES = """
table inet watch {
  chain out {
    type filter hook output priority 0; policy accept;
    tcp dport 8080 accept
    tcp sport 8080 accept
    meta l4proto tcp counter
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

async def main(places):
    where = iter(places)

    async def redirect(reader, writer):
        await reader.readuntil(b"\\r\\n\\r\\n")
        there = next(where)
        writer.write(f"HTTP/1.1 307 x\\r\\nLocation: {there}\\r\\nContent-Length: 0\\r\\n\\r\\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(redirect, "127.0.0.1", 8080)
    clock = SystemClock()
    network, registry, told = SystemNetwork(clock, Policy.typed_by_user()), Registry(), {}
    target = Target("x", "127.0.0.1", (PortRange(8080, 8080),))
    for place in places:
        spec = HttpSpec(Options(count=1, timeout_s=1.0), follow=5)
        env = ProbeEnv(network, clock, clock.monotonic() + 5)
        async for (row,) in registry[Kind.HTTP].run(spec, [target], env):
            told[place] = [row.outcome, row.failure.stage, row.failure.detail]
    server.close()
    print(json.dumps(told))

asyncio.run(main(sys.argv[1:]))
"""

PLACES = (
    "http://169.254.169.254/latest/meta-data/",
    "https://169.254.169.254/",
    "http://[::ffff:169.254.169.254]/",
    "http://[fd00:ec2::254]/",
    "http://127.0.0.1/",
    "http://127.0.0.1:22/",
    "http://[::ffff:127.0.0.1]:6379/",
    "http://[::1]/",
    "http://metadata.example/",
    "http://sneaky.example:6379/",
    "http://own.example/",
    "http://10.9.0.1/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
)
HOSTS = "169.254.169.254 metadata.example\n127.0.0.1 sneaky.example\n10.9.0.1 own.example\n"


def run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_leaves_for_where_a_redirect_must_not_lead(tmp_path) -> None:
    name = f"pmredir{os.getpid()}"
    hosts = tmp_path / "hosts"
    hosts.write_text(HOSTS)
    inside = ("ip", "netns", "exec", name)
    run("ip", "netns", "add", name)
    try:
        for command in (
            "link set lo up",
            "link add d0 type veth peer name d1",
            "addr add 10.9.0.1/24 dev d0",
            "link set d0 up",
            "link set d1 up",
            "route add default via 10.9.0.2",
        ):
            run("ip", "-n", name, *command.split())
        run(*inside, "nft", "-f", "-", text=RULES)
        mounted = f'mount --bind {hosts} /etc/hosts && exec "$@"'
        program = (sys.executable, "-c", PROGRAM, *PLACES)
        told = json.loads(run(*inside, "unshare", "-m", "sh", "-c", mounted, "sh", *program))
        counted = run(*inside, "nft", "list", "ruleset")
        run(*inside, sys.executable, "-c", "import socket; socket.socket().connect_ex(('127.0.0.1', 9))")
        control = run(*inside, "nft", "list", "ruleset")
    finally:
        run("ip", "netns", "del", name)
    for place in PLACES:
        outcome, stage, words = told[place]
        assert (outcome, stage) == ("denied", "redirect"), (place, told[place])
        assert words.startswith("redirect 1 to "), words
    assert "counter packets 0 bytes 0" in counted, counted
    assert "counter packets 0 " not in control, "the counter counts"
