"""Run as a program by test_interrupt_early: ``meshctl`` on a mesh that stops answering at the moment that the
first argument names. It says ``ready`` when it does."""

import asyncio
import sys

from probemesh_controller.cli import connect, main

from tests.cli.fakes import FakeMesh
from tests.pair.fakes import info

moment = sys.argv[1]


class Silent(FakeMesh):
    asked, ready = 0, False

    async def agents(self):
        self.asked += 1
        if (moment, self.asked) in (("listing", 1), ("beginning", 2)):
            await self.never()
        return await super().agents()

    async def run(self, request):
        await self.never()
        yield

    async def never(self):
        if not self.ready:
            print("ready", file=sys.stderr, flush=True)
        self.ready = True
        await asyncio.Event().wait()


fake = Silent([info("berlin-1", "10.1.0.2"), info("tokyo-1", "203.0.113.2")], {})


async def open_mesh(context, with_self):
    return fake


connect.open_mesh = open_mesh
sys.exit(main.run(sys.argv[2:]))
