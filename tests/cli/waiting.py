"""Run as a program by test_interrupt_early: ``meshctl`` on a mesh that stops answering at the moment that the
first argument names. It says ``ready`` when it does."""

import asyncio
import sys

from probemesh_controller.cli import connect, main

from tests.cli.fakes import FakeMesh, agent

moment = sys.argv[1]


class Silent(FakeMesh):
    asked = 0

    async def agents(self):
        self.asked += 1
        if (moment, self.asked) in (("listing", 1), ("beginning", 2)):
            await self.never()
        return await super().agents()

    async def run(self, request):
        await self.never()
        yield

    async def never(self):
        print("ready", file=sys.stderr, flush=True)
        await asyncio.Event().wait()


fake = Silent([agent("berlin-1", "berlin"), agent("tokyo-1", "tokyo")], {})


async def open_mesh(context, with_self):
    return fake


connect.open_mesh = open_mesh
sys.exit(main.run(sys.argv[2:]))
