"""Run as a program inside a namespace: a pickled (kind, spec, targets, deadline_s) on stdin, pickled rows on
stdout."""

import asyncio
import os
import pickle
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from probemesh_agent.engine.loop import Engine

from tests.probes_packet.world import env_of, run_kind


async def main() -> None:
    user, kind, spec, targets, deadline_s = pickle.load(sys.stdin.buffer)
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    engine = Engine()
    try:
        rows = await run_kind(kind, spec, targets, env_of(engine, deadline_s))
    finally:
        engine.close()
    sys.stdout.buffer.write(pickle.dumps(rows))


asyncio.run(main())
