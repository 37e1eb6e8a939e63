"""Meshes, controllers and a server that accepts and says nothing."""

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _beside(name: str) -> None:
    """Helper modules of this folder, importable as ``agent_tests_NAME``: tests/ is no package."""
    spec = importlib.util.spec_from_file_location(f"agent_tests_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)


for helper in ("mesh", "fakes"):
    _beside(helper)


@pytest.fixture
async def quiet_port() -> AsyncIterator[int]:
    """A TCP server on loopback that accepts and says nothing."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
