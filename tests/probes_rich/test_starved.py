"""An agent that gets no processor says so, instead of calling its own delay the network's."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from probemesh_agent.env import ProbeEnv
from probemesh_shared.model import HttpSpec, Measurement, Options
from probemesh_shared.words import FailureKind, Outcome

from tests.conftest import wanting
from tests.probes_rich.rich_bench import Bench, at, saying, serving, silent

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
OPTIONS = Options(count=1, timeout_s=0.1)


async def measured(bench: Bench, port: int, waited_ms: float) -> Measurement:
    """A run whose every attempt waited so long for a processor."""
    readings = iter(range(0, 1 << 62, round(waited_ms * 1e6)) if waited_ms else iter(lambda: 0, 1))
    env: ProbeEnv = replace(bench.env(), lag_ns=lambda: next(readings))
    target = at(port)
    async for batch in bench.registry[target.kind or "http"].run(HttpSpec(OPTIONS), [target], env):  # type: ignore[index]
        return batch[0]
    raise AssertionError("no row")


@pytest.mark.parametrize(("waited_ms", "outcome"), [(0, "timeout"), (24, "timeout"), (26, "void")])
async def test_silence_while_the_agent_waited_says_nothing(
    bench: Bench, waited_ms: float, outcome: str
) -> None:
    async with serving(silent) as port:
        row = await measured(bench, port, waited_ms)
    assert row.outcome == outcome
    assert row.failure is not None
    starved = FailureKind.AGENT_STARVED if outcome == "void" else FailureKind.TIMEOUT
    assert row.failure.kind is starved


async def test_a_time_that_is_mostly_our_own_is_not_told(bench: Bench) -> None:
    async with serving(saying(ANSWER)) as port:
        calm, starved = await measured(bench, port, 0), await measured(bench, port, 5_000)
    assert calm.samples[0].rtt_ms is not None
    assert (starved.outcome, starved.samples[0].rtt_ms) == (Outcome.OK, None)
    assert "not told" in starved.log[0]


STARVING = """
import asyncio, json, os, socket, subprocess, sys
from probemesh_agent.env import ProbeEnv
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.probes.registry import Registry
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import *
from probemesh_shared.words import Kind

async def row(kind, spec, target):
    clock = SystemClock()
    network = SystemNetwork(clock, Policy.typed_by_user())
    env = ProbeEnv(network, clock, clock.monotonic() + 60)
    async for batch in Registry()[kind].run(spec, [target], env):
        return batch[0]

async def main():
    silent = socket.create_server(("127.0.0.1", 0))
    deaf = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    deaf.bind(("127.0.0.1", 0))
    port, udp = silent.getsockname()[1], deaf.getsockname()[1]
    options, at = Options(count=1, timeout_s=0.3), (PortRange(port, port),)
    asked = [(Kind.HTTP, HttpSpec(options), Target("x", "127.0.0.1", at)),
             (Kind.TLS, TlsSpec(options), Target("x", "127.0.0.1", at)),
             (Kind.DNS, DnsSpec(options),
              Target("x", "a.example", record_type="TXT", server=f"127.0.0.1:{udp}"))]
    for one in asked:
        await row(*one)  # once at ease: what is imported then is not waited for below
    cpu = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    spin = "print(flush=True)\\nwhile True: pass"
    spinner = subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE)
    spinner.stdout.readline()
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    try:
        told = {}
        for one in asked:
            for _ in range(20):  # the scheduler is fair now and then
                made = await row(*one)
                told[one[0]] = [made.outcome, made.failure.kind]
                if made.outcome == "void":
                    break
    finally:
        spinner.kill()
    print(json.dumps(told))

asyncio.run(main())
"""


def test_a_starved_process_calls_its_silence_void() -> None:
    """A process of the lowest class beside a busy one on one processor: what the scheduler really does."""
    if not Path("/proc/thread-self/schedstat").exists():
        wanting("wants a kernel that counts what threads wait for (schedstat)")
    done = subprocess.run([sys.executable, "-c", STARVING], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {kind: ["void", "agent-starved"] for kind in ("http", "tls", "dns")}
