"""What each way of starting the agent must not load, with the reason."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from agent_tests_mesh import Controller, Mesh

FORBIDDEN = {
    "typer": "the agent parses with argparse",
    "rich": "the agent prints plainly",
    "click": "comes with typer",
    "yaml": "only meshctl writes it",
    "probemesh_controller": "agent and controller stand beside each other",
    "cryptography": "18 MB; keys and requests are made in a child",
    "dns": "15 MB and 100 ms; loaded by the dns kind when first asked",
    "h11": "loaded by the http kind when first asked",
    "h2": "loaded by the http kind when a server may speak it",
}


def loaded(code: str) -> set[str]:
    program = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize(
    "module",
    ["main", "service", "listen", "doctor", "standalone", "pipe", "joining", "policycheck", "showing"],
)
def test_modules_that_stay_out(module: str) -> None:
    found = loaded(f"import probemesh_agent.{module}") & FORBIDDEN.keys()
    assert not found, {name: FORBIDDEN[name] for name in found}


@pytest.mark.parametrize("module", ["main", "standalone", "pipe"])
def test_measuring_alone_needs_no_grpc(module: str) -> None:
    assert "grpc" not in loaded(f"import probemesh_agent.{module}")


def test_running_jobs_loads_a_kind_when_it_is_asked_for() -> None:
    code = (
        "from probemesh_agent.kit import all_probes as a\nfrom probemesh_shared.words import Kind\np = a()\n"
    )
    assert "dns" not in loaded(code + "list(p), Kind.DNS in p")
    assert "dns" in loaded(code + "p[Kind.DNS]")
    assert "h2" not in loaded(code + "p[Kind.HTTP].prepare(False)")
    assert "h2" in loaded(code + "p[Kind.HTTP].prepare(True)")
    assert not {"h11", "h2"} & loaded(code + "p[Kind.DNS]"), "only where somebody asks by HTTPS"


def test_protobufs_python_half_is_there_for_who_wants_it() -> None:
    code = (
        "import probemesh, sys\nfrom google.protobuf.internal import python_message as p\n"
        "assert 'google.protobuf.internal.encoder' not in sys.modules\n"
        "assert isinstance(p.GeneratedProtocolMessageType, type)\n"
        "assert p.GeneratedProtocolMessageType is sys.modules[p.__name__].GeneratedProtocolMessageType\n"
    )
    assert "google" in loaded(code)


#: What one live link and no job do without: each was in a budget's way once.
NOT_IDLE = {
    **FORBIDDEN,
    "bz2": "comes with shutil",
    "email": "comes with importlib.metadata",
    "google.protobuf.internal.encoder": "a MiB; protobuf's Python half, where it has a compiled one",
    "hashlib": "secrets and tokens bring it, and OpenSSL's digests with it",
    "http": "nothing idle speaks it",
    "importlib.metadata": "2 MiB; the version is the metadata's name",
    "json": "for lines of the log, where so asked, and joining",
    "lzma": "comes with shutil",
    "probemesh_agent.engine.loop": "loaded by the first job that sends packets",
    "probemesh_agent.ladder": "loaded by the first job that climbs",
    "probemesh_agent.responder": "loaded by the first watch",
    "probemesh_shared.identity.token": "for joining",
    "probemesh_shared.targets": "half a MiB; jobs have targets",
    "probemesh_shared.rpc.explain": "for links that failed",
    "secrets": "brings hmac and hashlib; os.urandom will do",
    "shutil": "three compressors; argparse loads it unless it is told the width",
    "tempfile": "brings shutil",
    "tenacity": "16 modules; for links that were lost",
}


async def test_an_idle_agent_with_a_live_link_holds_no_more_than_it_needs(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom probemesh_agent.main import main\n"
        "main(sys.argv[1:])\nprint(*sys.modules, sep='\\n')"
    )
    mesh, controller = Mesh(tmp_path), Controller()
    async with mesh.serving(controller) as (_, port):
        state = mesh.agent_state("idle", f"127.0.0.1:{port}")
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, "run", "--state", str(state)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(20):
            await controller.ready.wait()
            child.terminate()
            out, _ = await child.communicate()
    modules = set(out.decode().split())
    assert "grpc" in modules
    found = modules & NOT_IDLE.keys()
    assert not found, {name: NOT_IDLE[name] for name in found}
