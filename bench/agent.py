"""An agent as its host feels it: memory and processor time while idle, time until ready, memory after work.

A ``mesh-agent run`` from a wheel, in a child process, linked over mutual TLS to a controller's end in this
one. Memory is from ``/proc/PID/smaps_rollup``, processor time from ``/proc/PID/stat``. ``--json`` prints rows
for ``bench/run.py``.
"""

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from probemesh_shared.model import (
    DnsSpec,
    HttpSpec,
    IcmpSpec,
    LadderSpec,
    Options,
    Spec,
    TcpSpec,
    TlsSpec,
    UdpSpec,
)

IDLE_S = 15.0
_TICKS = os.sysconf("SC_CLK_TCK")


def _mesh_module() -> Any:
    path = Path(__file__).resolve().parent.parent / "tests" / "agent" / "mesh.py"
    spec = importlib.util.spec_from_file_location("bench_mesh", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def memory_mib(pid: int) -> tuple[float, float]:
    """(resident, private), MiB."""
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        fields[name] = int(value.split()[0])
    return fields["Rss"] / 1024, (fields["Private_Clean"] + fields["Private_Dirty"]) / 1024


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def everything(mesh: Any, controller: Any, port: int, tag: str) -> None:
    """A job of every kind, against loopback."""
    once = Options(count=1, timeout_s=0.5)
    specs: list[tuple[Spec, str]] = [
        (IcmpSpec(once), "127.0.0.1"),
        (TcpSpec(once), f"127.0.0.1:{port}"),
        (UdpSpec(once), "udp://127.0.0.1:9"),
        (DnsSpec(once), "dns:example.org@127.0.0.1:9"),
        (TlsSpec(once), f"127.0.0.1:{port}"),
        (HttpSpec(once), f"http://127.0.0.1:{port}/"),
        (LadderSpec(once), f"localhost:{port}"),
    ]
    for number, (spec, target) in enumerate(specs):
        controller.send(mesh.job(f"{tag}-{number}", target, spec=spec))
        await controller.end_of(f"{tag}-{number}")


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1024)
    writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    writer.close()


async def measure(folder: Path) -> list[dict[str, object]]:
    mesh_module = _mesh_module()
    mesh, controller = mesh_module.Mesh(folder), mesh_module.Controller()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    web = server.sockets[0].getsockname()[1]
    async with mesh.serving(controller) as (_, port):
        ready_s = []
        for number in range(3):
            state = mesh.agent_state(f"start-{number}", f"127.0.0.1:{port}")
            began = time.monotonic()
            async with mesh_module.running(state) as agent:
                await controller.ready.wait()
                ready_s.append(time.monotonic() - began)
                await agent.stop()
            controller.ready.clear()
        state = mesh.agent_state("idle", f"127.0.0.1:{port}")
        async with mesh_module.running(state) as agent:
            await controller.ready.wait()
            pid = agent.process.pid
            await asyncio.sleep(1.0)
            before = cpu_s(pid)
            await asyncio.sleep(IDLE_S)
            idle_cpu = (cpu_s(pid) - before) / IDLE_S * 100
            resident, private = memory_mib(pid)
            await everything(mesh_module, controller, web, "first")
            worked, _ = memory_mib(pid)
            for repeat in range(10):
                await everything(mesh_module, controller, web, f"again-{repeat}")
            repeated, _ = memory_mib(pid)
            await agent.stop()
    server.close()
    return [
        _row("agent ready, session included (fastest of 3)", min(ready_s), "s", 0.4),
        _row("agent idle, resident", resident, "MiB", 45),
        _row("agent idle, private", private, "MiB", 24),
        _row("agent idle, processor", idle_cpu, "%", 0.2),
        _row("agent after a job of every kind, resident", worked, "MiB", 60),
        _row("agent after ten more of each, growth", repeated - worked, "MiB", 4),
    ]


def _row(what: str, ours: float, unit: str, budget: float) -> dict[str, object]:
    return {"what": what, "ours": round(ours, 3), "unit": unit, "budget": budget, "at_most": True}


def install_wheel(folder: Path) -> None:
    """What the children import is the wheel, as hosts have it, not the source tree."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    tree = Path(__file__).resolve().parent.parent
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, tree], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    os.environ["PYTHONPATH"] = str(folder / "site")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        install_wheel(Path(folder))
        rows = asyncio.run(measure(Path(folder)))
    if "--json" in sys.argv:
        print(json.dumps(rows))
    else:
        for row in rows:
            print(f"{row['what']!s:<48} {row['ours']:>9} {row['unit']!s:<4} ≤ {row['budget']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
