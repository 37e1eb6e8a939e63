"""Ctrl-C: what was measured is printed, the run is cancelled at the agents, 130."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def start(config_file, *arguments):
    roots = [str(ROOT), *(str(ROOT / name) for name in ("agent", "controller", "shared"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(roots)}
    command = [sys.executable, "-m", "tests.cli.interrupted", *arguments]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_partial_results_are_printed_and_the_run_is_cancelled(config_file, number):
    process = start(config_file, "probe", "db:5432", "--from", "all", "-o", "json")
    assert process.stderr.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    outcomes = {one["agent"]: one["outcome"] for one in json.loads(out)["vantages"]}
    assert outcomes == {"berlin-1": "ok", "tokyo-1": "cancelled"}
    assert "cancelled=True closed=True" in err
    assert "Traceback" not in err
