"""Run as a program: ``meshctl probe`` on a mesh whose second agent reaches its target every other round."""

import sys

from probemesh_controller.cli import connect, main
from probemesh_shared.words import Outcome

from tests.cli.fakes import FakeMesh, agent, tcp_row


class Alternating(FakeMesh):
    async def run(self, request):
        outcome = Outcome.OK if len(self.requests) % 2 else Outcome.TIMEOUT
        self.script = {"berlin-1": (tcp_row(),), "tokyo-1": (tcp_row(outcome),)}
        async for event in super().run(request):
            yield event


fake = Alternating([agent("berlin-1", "berlin"), agent("tokyo-1", "tokyo")])


async def open_mesh(context, with_self):
    return fake


connect.open_mesh = open_mesh
sys.exit(main.run(sys.argv[1:]))
