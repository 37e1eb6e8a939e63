"""Programs that crash leave no memory behind: each is started with core files wanted, and killed by a signal
that makes them; the kernel itself says whether one was made."""

import contextlib
import fcntl
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from probemesh_controller.pki.mesh import init_mesh
from probemesh_shared.identity.files import save_identity
from probemesh_shared.undumped import DUMPABLE

from tests.conftest import wanting

PROGRAMS = Path(sys.executable).parent
CORE_BYTES = 1 << 20  # enough for the kernel to say that it wrote one
PATIENCE_S = 60  # a loaded machine takes its time to start a program


def controller(folder: Path) -> list[str]:
    init_mesh(folder, "lab")
    return [str(PROGRAMS / "meshctl"), "controller", "run", "--state", str(folder), "--listen", "127.0.0.1:0"]


def agent(folder: Path) -> list[str]:
    """That dials in vain."""
    made = init_mesh(folder / "mesh", "lab")
    save_identity(folder / "agent", made.operator)
    (folder / "agent" / "agent.toml").write_text('controller = "127.0.0.1:1"\n')
    return [str(PROGRAMS / "mesh-agent"), "run", "--state", str(folder)]


def prober(folder: Path) -> list[str]:
    """The child by which a laptop is a vantage point: it has the keys of its user's requests."""
    return [str(PROGRAMS / "mesh-agent"), "probe", "--frames"]


def keys(folder: Path) -> list[str]:
    """The child that makes an agent's key; nobody takes it, so that it stays."""
    return [sys.executable, "-P", "-m", "probemesh_shared.identity.keygen"]


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """Whoever writes to it waits."""
    reader, writer = os.pipe()
    size = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
    os.write(writer, bytes(size))
    yield writer
    os.close(reader)
    os.close(writer)


@contextlib.contextmanager
def cores_wanted() -> Iterator[None]:
    """Of what is started meanwhile. Not between fork and exec: a process with gRPC's threads does not bear
    that."""
    was = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (CORE_BYTES, was[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, was)


def crashed(
    command: list[str], folder: Path, out: int, ready: Callable[[int], bool], **environ: str
) -> tuple[bool, int]:
    """Whether a core was dumped by the SEGV that is sent once it is ``ready``, and which signal ended it."""
    log = folder / "said.log"
    with log.open("wb") as said, cores_wanted():
        child = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "XDG_STATE_HOME": str(folder), **environ},
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=said,
        )
    try:
        until = time.monotonic() + PATIENCE_S
        while not ready(child.pid):
            assert child.poll() is None, f"it ended by itself: {log.read_text()[-2000:]}"
            assert time.monotonic() < until, "it never came so far"
            time.sleep(0.01)
        child.send_signal(signal.SIGSEGV)
        _, status = os.waitpid(child.pid, 0)
        child.returncode = status
    finally:
        if child.returncode is None:
            child.kill()
            child.wait()
        assert child.stdin is not None
        child.stdin.close()
    return os.WCOREDUMP(status), os.WTERMSIG(status)


def no_core_wanted(pid: int) -> bool:
    """It has come as far as that; the other half comes before it."""
    return resource.prlimit(pid, resource.RLIMIT_CORE)[0] == 0


def asked_for_one_again(pid: int) -> bool:
    """What core_pattern may do to a limit: a pipe knows none."""
    if not no_core_wanted(pid):
        return False
    resource.prlimit(pid, resource.RLIMIT_CORE, (CORE_BYTES, CORE_BYTES))
    return True


MAKERS = [controller, agent, prober, keys]


@pytest.fixture
def cores() -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard != resource.RLIM_INFINITY and hard < CORE_BYTES:
        wanting("wants a machine that lets processes dump core")


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize("made", MAKERS, ids=lambda made: made.__name__)
def test_a_crash_leaves_no_core(made: Callable[[Path], list[str]], tmp_path: Path, full_pipe: int) -> None:
    """The limit alone, and without it."""
    command = made(tmp_path)
    for ready in (no_core_wanted, asked_for_one_again):
        assert crashed(command, tmp_path, full_pipe, ready) == (False, signal.SIGSEGV)


@pytest.mark.usefixtures("cores")
def test_who_debugs_may_have_one(tmp_path: Path, full_pipe: int) -> None:
    """And so it is seen that this machine would make one."""

    def started(pid: int) -> bool:
        return "mesh-agent" in Path(f"/proc/{pid}/cmdline").read_text()

    command = prober(tmp_path)
    assert crashed(command, tmp_path, full_pipe, started, **{DUMPABLE: "1"}) == (True, signal.SIGSEGV)
