"""What is said of an agent of the demo that never joins."""

import asyncio
import sys

import pytest
from probemesh_controller.cli import main
from probemesh_controller.demo import crew, stage
from probemesh_shared.errors import MeshError


@pytest.fixture
def stuck(monkeypatch):
    """All agents are programs that read nothing and never end; nobody waits for them for long."""
    spawn = asyncio.create_subprocess_exec

    async def never(_program, *_arguments, **settings):
        return await spawn(sys.executable, "-c", "import signal; signal.pause()", **settings)

    monkeypatch.setattr(crew.asyncio, "create_subprocess_exec", never)
    monkeypatch.setattr(crew, "JOIN_S", 0.01)


async def test_it_is_named_with_a_hint_and_all_of_them_are_ended(stuck, tmp_path):
    with pytest.raises(MeshError, match=r"agent [a-z]+-1 did not join within 0\.01 s") as told:
        async with stage.raised(tmp_path):
            raise AssertionError("it is up")
    assert "busy" in (told.value.hint or "")
    assert main.exit_code_of(told.value) == 4
