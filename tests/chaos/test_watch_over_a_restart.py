"""A watch outlives its controller: rounds without one are unmeasured and say why; with one it goes on."""

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.chaos.live import PROGRAMS, LiveMesh
from tests.chaos.origin import Origin

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def watching(mesh: LiveMesh, origin: Origin) -> Iterator["subprocess.Popen[str]"]:
    watch = ("--watch", "--every", "1", "-o", "jsonl", "-c", "1", "--kind", "tcp", "--from", "all")
    command = [str(PROGRAMS / "meshctl"), "probe", f"127.0.0.1:{origin.port}", *watch]
    log = mesh.folder / "watch.err"
    with (
        log.open("w") as err,
        subprocess.Popen(
            command, env=mesh.environment, stdout=subprocess.PIPE, stderr=err, text=True
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def a_round_where_all_are(outcome: str, process: "subprocess.Popen[str]") -> list[str | None]:
    """Reads rounds until one is so; the reasons given in it."""
    assert process.stdout is not None
    for line in process.stdout:
        found = json.loads(line)["vantages"]
        assert len(found) == 4
        if {one["outcome"] for one in found} == {outcome}:
            return [one["reason"] for one in found]
    raise AssertionError(f"it ended with {process.wait()}")


def test_it_goes_on(watching: "subprocess.Popen[str]", mesh: LiveMesh) -> None:
    assert a_round_where_all_are("ok", watching) == [None] * 4
    mesh.controller.kill()
    reasons = a_round_where_all_are("unmeasured", watching)
    assert all(reason for reason in reasons)
    mesh.start_controller()
    mesh.reconnected()
    a_round_where_all_are("ok", watching)
    watching.send_signal(signal.SIGINT)
    assert watching.wait(30) == 130
    said = (mesh.folder / "watch.err").read_text()
    assert "warning: " in said and "Traceback" not in said
    assert len(said.splitlines()) < 10, said  # what is said of each round is said once
