"""Ctrl-C: what was measured is printed, the run is cancelled at the agents, 130."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def start(config_file, *arguments, program="interrupted", **streams):
    roots = [str(ROOT), *(str(ROOT / name) for name in ("agent", "controller", "shared"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(roots)}
    command = [sys.executable, "-m", f"tests.cli.{program}", *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen(command, env=environment, cwd=ROOT, text=True, **streams)


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


def test_an_interrupted_run_is_kept_and_marked(config_file, meshctl):
    process = start(config_file, "probe", "db:5432", "--from", "all", "-o", "json")
    assert process.stderr.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    (run,) = json.loads(meshctl("history", "-o", "json").out)["runs"]
    assert run["interrupted"] is True and run["exit_code"] == 130
    shown = meshctl("history", "show", "-o", "json")
    assert shown.out == out and "interrupted" in shown.err
    assert "exit code 130: interrupted" in meshctl("history", "show", "--share").out


@pytest.mark.parametrize("options", [("--watch", "-o", "jsonl"), ("--until", "reachable", "-o", "json")])
def test_repeated_runs_are_interrupted_in_their_first_round_too(config_file, options):
    process = start(config_file, "probe", "db:5432", "--from", "all", *options)
    assert process.stderr.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    outcomes = {one["agent"]: one["outcome"] for one in json.loads(out)["vantages"]}
    assert outcomes == {"berlin-1": "ok", "tokyo-1": "cancelled"}
    assert "cancelled=True closed=True" in err and "Traceback" not in err


def test_a_watch_streams_a_line_a_round_and_keeps_the_last_one(config_file, meshctl):
    arguments = ("probe", "db:5432", "--from", "all", "--watch", "--every", "1", "-o", "jsonl")
    process = start(config_file, *arguments, program="alternating")
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (130, False)
    lines += [json.loads(line) for line in out.splitlines()]
    assert [line["summary"]["failed"] for line in lines[:2]] == [1, 0]
    (run,) = json.loads(meshctl("history", "-o", "json").out)["runs"]
    assert (run["rounds"], run["exit_code"], run["interrupted"]) == (len(lines), 130, False)
    assert json.loads(meshctl("history", "show", "-o", "json").out) == lines[-1]


def test_on_a_terminal_a_watch_redraws_and_leaves_its_last_frame(config_file):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 100))
    arguments = ("probe", "db:5432", "--from", "all", "--watch", "--every", "1")
    os.environ["TERM"], before = "xterm", os.environ.get("TERM")
    try:
        process = start(config_file, *arguments, program="alternating", stdin=theirs, stdout=theirs)
    finally:
        os.environ.pop("TERM") if before is None else os.environ.update(TERM=before)
    os.close(theirs)
    shown = ""
    with contextlib.suppress(OSError):  # the end of a terminal is an error
        while "round 2" not in shown or "changed now" not in shown:
            shown += os.read(ours, 4096).decode(errors="replace")
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):
        while more := os.read(ours, 4096):
            shown += more.decode(errors="replace")
    os.close(ours)
    process.communicate(timeout=60)
    assert process.returncode == 130
    frames = re.split(r"\x1b\[\d+F\x1b\[J", shown)
    assert len(frames) >= 3 and "round 1 …" in frames[0]
    assert "round 1 ·" in frames[1] and "round 2 ·" in frames[2]
    assert "changed now: tokyo-1: timeout (tcp) → ok" in frames[2]
    assert "round" in frames[-1] and "FROM" in frames[-1]
