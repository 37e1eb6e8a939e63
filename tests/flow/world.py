"""Flows run to their end: in this process, or in a namespace as root or nobody."""

import asyncio
import pickle
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

from probemesh_agent.env import ProbeEnv
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.probes.flow import FlowProbe
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import (
    FlowDetail,
    FlowSpec,
    Measurement,
    Options,
    Pacing,
    PortRange,
    Shot,
    ShotSeen,
    Target,
)
from probemesh_shared.words import Transport

from tests.lab.netlab import Host

PROGRAM = Path(__file__).parent / "in_namespace.py"
TOKEN = bytes(range(100, 116))
NOBODY = 65_534


def spec_of(
    transport: Transport,
    *shots: Shot,
    timeout_s: float = 0.5,
    token: bytes | None = None,
    listen_ms: float = 0.0,
    **options: object,
) -> FlowSpec:
    made = Options(timeout_s=timeout_s, **options)  # type: ignore[arg-type]
    return FlowSpec(made, transport, shots, token, listen_ms)


def target_of(host: str, port: int = 0) -> Target:
    ports = (PortRange(port, port),) if port else ()
    return Target(f"{host} {port}", host, ports, addresses=(host,))


async def rows_of(
    spec: FlowSpec,
    target: Target,
    deadline_s: float = 10.0,
    *,
    policy: Policy | None = None,
    pacing: Pacing | None = None,
) -> list[Measurement]:
    clock = SystemClock()
    network = SystemNetwork(clock, policy or Policy.typed_by_user())
    env = ProbeEnv(network, clock, clock.monotonic() + deadline_s, pacing or Pacing())
    rows: list[Measurement] = []
    try:
        async with aclosing(FlowProbe().run(spec, (target,), env)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                rows.extend(batch)
    finally:
        network.close()
    return rows


def shots_of(row: Measurement) -> tuple[ShotSeen, ...]:
    assert isinstance(row.detail, FlowDetail), row
    return row.detail.shots


async def seen(spec: FlowSpec, host: str, port: int = 0, **more: object) -> tuple[ShotSeen, ...]:
    (row,) = await rows_of(spec, target_of(host, port), **more)  # type: ignore[arg-type]
    return shots_of(row)


def row_from(
    place: Host, spec: FlowSpec, host: str, port: int = 0, *, user: int = NOBODY, deadline_s: float = 10.0
) -> Measurement:
    """A flow from a namespace, without any privilege unless ``user`` is 0."""
    given = pickle.dumps((user, spec, target_of(host, port), deadline_s))
    command = place.command(sys.executable, str(PROGRAM))
    done = subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    print(done.stderr.decode(), file=sys.stderr)  # pytest shows it where the test fails
    (row,) = pickle.loads(done.stdout)
    assert isinstance(row, Measurement)
    return row


def seen_from(place: Host, spec: FlowSpec, host: str, port: int = 0, **more: int) -> tuple[ShotSeen, ...]:
    return shots_of(row_from(place, spec, host, port, **more))


def run(spec: FlowSpec, host: str, port: int = 0, **more: object) -> tuple[ShotSeen, ...]:
    return asyncio.run(seen(spec, host, port, **more))
