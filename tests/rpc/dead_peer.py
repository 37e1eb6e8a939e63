"""Inside a network namespace of its own: a client and a server over loopback, then silence by nftables.

Prints JSON: seconds until each end noticed that the other is gone.
"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from probemesh.v1 import session_pb2, session_pb2_grpc
from probemesh_shared.errors import MeshError
from probemesh_shared.identity.files import load_identity
from probemesh_shared.identity.names import controller_dns
from probemesh_shared.rpc.client import connect
from probemesh_shared.rpc.framestream import fleet_link
from probemesh_shared.rpc.server import MeshServer

SILENCE = """table inet quiet {
  chain in {
    type filter hook input priority 0
    tcp dport %d drop
    tcp sport %d drop
  }
}
"""


def silence(port: int) -> None:
    subprocess.run(["nft", "-f", "-"], input=SILENCE % (port, port), text=True, check=True)


class Fleet:
    """Notes when its one stream ended."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def Attach(self, frames: Any, context: Any) -> None:
        try:
            await context.write(session_pb2.ControllerFrame(heartbeat=session_pb2.Heartbeat(seq=1)))
            async for _ in frames:
                pass
        finally:
            self.ended.set()


async def main(state: Path) -> None:
    loop = asyncio.get_running_loop()
    server, fleet = MeshServer(load_identity(state / "controller")), Fleet()
    server.add(session_pb2_grpc.add_FleetServicer_to_server, fleet)  # type: ignore[arg-type]
    port = await server.start("127.0.0.1:0")
    agent = load_identity(state / "agent")
    link = fleet_link(connect(f"127.0.0.1:{port}", agent, controller_dns(agent.mesh)))
    await link.read()
    await asyncio.to_thread(silence, port)
    start = loop.time()

    async def client() -> float:
        try:
            await link.read()
        except MeshError:
            return loop.time() - start
        raise AssertionError("a frame came through the silence")

    async def served() -> float:
        await fleet.ended.wait()
        return loop.time() - start

    async with asyncio.timeout(60):
        times = await asyncio.gather(client(), served())
    print(json.dumps({"client_s": times[0], "server_s": times[1]}))
    await server.stop(0)


asyncio.run(main(Path(sys.argv[1])))
