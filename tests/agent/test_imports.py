"""What each way of starting the agent must not load, with the reason."""

import json
import subprocess
import sys

import pytest

FORBIDDEN = {
    "typer": "the agent parses with argparse",
    "rich": "the agent prints plainly",
    "click": "comes with typer",
    "yaml": "only meshctl writes it",
    "probemesh_controller": "agent and controller stand beside each other",
    "cryptography": "18 MB; keys and requests are made in a child",
    "dns": "15 MB and 100 ms; loaded by the dns kind when first asked",
    "h11": "loaded by the http kind when first asked",
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
