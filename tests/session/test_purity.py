"""The session itself reaches for nothing: no loop, no link, no clock, no protobuf."""

import subprocess
import sys


def test_the_machine_loads_no_io() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "import probemesh_shared.session.machine\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "probemesh_shared.session.outbox" in loaded
    assert not {"asyncio", "grpc", "socket", "ssl", "google.protobuf"} & set(loaded)
