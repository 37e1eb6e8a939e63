"""Run as a program inside a namespace: pickled (conditions, kind, spec, targets) on stdin, rows on
stdout."""

import asyncio
import os
import pickle
import resource
import sys

from probemesh_agent.env import ProbeEnv
from probemesh_agent.expecting import measured
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.probes.registry import Registry
from probemesh_shared.clock import SystemClock
from probemesh_shared.model import Measurement, Options, Pacing, PortRange, Spec, Target


async def main() -> None:
    conditions, kind, spec, targets = pickle.load(sys.stdin.buffer)
    clock = SystemClock()
    network = SystemNetwork(clock, Policy.shipped() if "shipped" in conditions else Policy.typed_by_user())
    registry = Registry()

    async def rows(spec: Spec, targets: list[Target], seconds: float, pacing: Pacing) -> list[Measurement]:
        env = ProbeEnv(network, clock, clock.monotonic() + seconds, pacing)
        return [row async for batch in measured(registry[kind], kind, spec, targets, env) for row in batch]

    slow = Pacing(1.0, 1.0) if "paced" in conditions else Pacing()
    if "descriptors" in conditions:
        warm = Target("warm", "127.0.0.1", (PortRange(9, 9),), server="127.0.0.1:9")
        await rows(type(spec)(Options(count=1, timeout_s=0.2)), [warm], 2.0, Pacing())
        hog()
    found = await rows(spec, targets, 0.5 if "paced" in conditions else 8.0, slow)
    sys.stdout.buffer.write(pickle.dumps(found))


def hog() -> None:
    """Takes every descriptor that this process may have."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        while True:
            os.open("/dev/null", os.O_RDONLY)
    except OSError:
        pass


asyncio.run(main())
