"""Run as a program by test_interrupt: ``meshctl probe`` on a mesh whose second agent never ends."""

import sys

from probemesh_controller.cli import connect, main

from tests.cli.fakes import FakeMesh, agent, tcp_row


class Stuck(FakeMesh):
    async def run(self, request):
        count = 0
        async for event in super().run(request):
            yield event
            count += 1
            if count == 3:  # planned, the first agent's rows, and its end
                print("ready", file=sys.stderr, flush=True)


fake = Stuck([agent("berlin-1", "berlin"), agent("tokyo-1", "tokyo")], {"berlin-1": (tcp_row(),)}, block=True)


async def open_mesh(context, with_self):
    return fake


connect.open_mesh = open_mesh
code = main.run(sys.argv[1:])
print(f"cancelled={fake.cancelled} closed={fake.closed}", file=sys.stderr, flush=True)
sys.exit(code)
