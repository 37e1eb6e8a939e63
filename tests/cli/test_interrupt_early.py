"""Ctrl-C before anything is known: 130, one line, and never a traceback. The programs that are installed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from probemesh_controller import config
from probemesh_controller.pair import saved
from probemesh_controller.pki.mesh import init_mesh
from probemesh_shared.interrupts import NOTHING_YET

from tests.cli.test_interrupt import start

PROGRAMS = Path(sys.executable).parent


@pytest.fixture
def silent(home, monkeypatch):
    """A controller that takes connections and says nothing; it is of the context in force."""
    state = home / "mesh"
    state.mkdir(mode=0o700)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = init_mesh(state, "demo")
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        context = config.MeshContext(made.mesh, made.mesh, state / "operator", controller=address)
        path = state / "config.toml"
        config.save(config.load(path).with_context(context))
        monkeypatch.setenv("MESHCTL_CONFIG", str(path))
        yield listener


#: Runs a program that is installed, and interrupts it by a signal when it is about to load a module.
AT_MODULE = """
import os, runpy, signal, sys
_, module, *sys.argv = sys.argv
class Finder:
    def find_spec(name, path=None, target=None):
        if name == module:
            sys.meta_path.remove(Finder)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def interrupted_at(module, program, *arguments):
    command = [sys.executable, "-c", AT_MODULE, module, str(PROGRAMS / program), *arguments]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("probemesh_controller.cli.main", NOTHING_YET),
        ("typer", NOTHING_YET),
        ("probemesh_controller.cli.lazy", NOTHING_YET),
        ("probemesh_shared.undumped", NOTHING_YET),
        ("resource", NOTHING_YET),  # loaded when all that is imported at first is there
        ("probemesh_controller.cli.diagnose", "interrupted"),
        ("probemesh_controller.cli.diagnosing", "interrupted"),
        ("probemesh_controller.remote", NOTHING_YET),  # in asyncio's loop
    ],
)
def test_meshctl_while_it_is_loaded(silent, module, words):
    assert interrupted_at(module, "meshctl", "diagnose", "a", "b") == (130, "", f"{words}\n")


@pytest.mark.parametrize(
    "module",
    ["probemesh_agent.main", "argparse", "probemesh_agent.arguments", "resource", "probemesh_agent.pipe"],
)
def test_mesh_agent_while_it_is_loaded(home, module):
    found = interrupted_at(module, "mesh-agent", "probe", "--frames")
    assert found == (130, "", "mesh-agent: interrupted\n")


def test_a_loop_that_is_cut_off_half_made_complains_of_nothing():
    """``hush``: what an interrupt left behind is thrown away later, by the interpreter."""
    program = (
        "import asyncio\n"
        "from probemesh_shared.interrupts import hush\n"
        "async def never(): pass\n"
        "coroutine, loop = never(), object.__new__(asyncio.SelectorEventLoop)\n"
        "hush()\n"
        "del coroutine, loop\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_controller_that_does_not_answer(silent):
    command = [str(PROGRAMS / "meshctl"), "diagnose", "berlin-1", "tokyo-1", "--tcp", "5432"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    silent.settimeout(120)
    connection, _ = silent.accept()
    with contextlib.closing(connection):
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=120) == ("", f"{NOTHING_YET}\n")
    assert process.returncode == 130


@pytest.mark.parametrize("moment", ["listing", "beginning"])
def test_a_diagnosis_of_which_nothing_is_known(config_file, tmp_path, moment):
    kept = tmp_path / "case.json"
    ends = ("berlin-1", "tokyo-1", "--tcp", "5432", "--save", str(kept))
    process = start(config_file, moment, "diagnose", *ends, program="waiting")
    assert process.stderr.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=120) == ("", f"{NOTHING_YET}\n")
    assert process.returncode == 130
    assert not kept.exists()


def test_a_diagnosis_of_which_only_the_ends_are_known(config_file, tmp_path):
    """It is shown and kept, and the reason is told."""
    kept = tmp_path / "case.json"
    ends = ("berlin-1", "tokyo-1", "--tcp", "5432", "--save", str(kept), "-o", "json")
    process = start(config_file, "arming", "diagnose", *ends, program="waiting")
    assert process.stderr.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert NOTHING_YET in err.splitlines() and "Traceback" not in err
    assert json.loads(out)["interrupted"] is True
    assert saved.from_text(kept.read_text()).rounds == ()


def test_whoever_ignores_interrupts_goes_on(silent):
    """As ``nohup`` and shells do with what runs in the background."""
    program = (
        "import os, signal\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from probemesh_shared.interrupts import end_at_once, raise_again\n"
        "end_at_once('words'); os.kill(os.getpid(), signal.SIGINT)\n"
        "raise_again(); os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=os.environ, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
