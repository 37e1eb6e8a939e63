"""A server in a process of its own: prints its address, serves until stdin closes."""

import asyncio
import sys
from pathlib import Path

from probemesh.v1 import mesh_pb2_grpc
from probemesh_shared.identity.files import load_identity
from probemesh_shared.rpc.server import MeshServer


class Silent(mesh_pb2_grpc.MeshServicer):
    """No method is made."""


async def main() -> None:
    server = MeshServer(load_identity(Path(sys.argv[1])))
    server.add(mesh_pb2_grpc.add_MeshServicer_to_server, Silent())
    print(f"127.0.0.1:{await server.start('127.0.0.1:0')}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


asyncio.run(main())
