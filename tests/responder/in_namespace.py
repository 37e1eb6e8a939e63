"""Run as a program inside a namespace: a watch, looked at on demand. On stdin pickled
``(user, spec, target)``, then one byte for each look (``l``, or ``q`` for a quiet one); on stdout the rows,
each pickled with its length before it. ``user`` 0 keeps every privilege."""

import asyncio
import encodings.idna  # noqa: F401 - getaddrinfo wants it, and it may be unreadable once the user has changed
import os
import pickle
import struct
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from probemesh_agent.env import ProbeEnv
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.policy import Policy
from probemesh_agent.probes.watch import WatchProbe
from probemesh_shared.clock import SystemClock


def tell(row: object) -> None:
    data = pickle.dumps(row)
    sys.stdout.buffer.write(struct.pack("=I", len(data)) + data)
    sys.stdout.buffer.flush()


async def main() -> None:
    user, spec, target = pickle.load(sys.stdin.buffer)
    await asyncio.to_thread(lambda: None)  # loads what may be unreadable afterwards
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    clock = SystemClock()
    network = SystemNetwork(clock, Policy.shipped())
    probe = WatchProbe()

    def env() -> ProbeEnv:
        return ProbeEnv(network, clock, clock.monotonic() + 60.0)

    async def arm() -> None:
        async for rows in probe.run(spec, (target,), env()):
            tell(rows[0])

    arming = asyncio.create_task(arm())
    while word := await asyncio.to_thread(sys.stdin.buffer.read, 1):
        look = replace(spec, look=True, quiet=word == b"q")
        async for rows in probe.run(look, (target,), env()):
            tell(rows[0])
    arming.cancel()
    await asyncio.gather(arming, return_exceptions=True)


asyncio.run(main())
