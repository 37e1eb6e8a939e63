"""Output that cannot be written is told as that, by every command, and is no fault of ours nor a result."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FULL = "error: stdout cannot be written: No space left on device"
CLOSED = "error: stdout cannot be written: it is closed"


@pytest.fixture
def shell(config_file):
    """``meshctl`` as a process of its own, with the shell's redirections."""
    roots = [str(ROOT / name) for name in ("agent", "controller", "shared")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(roots)}

    def run(arguments, redirected):
        line = f'"$0" -m probemesh_controller.cli.main {arguments} {redirected}'
        command = ["bash", "-o", "pipefail", "-c", line, sys.executable]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.parametrize(("redirected", "said"), [(">/dev/full", FULL), (">&-", CLOSED)])
@pytest.mark.parametrize(
    "arguments", ["version", "--help", "modules", "modules list -o json", "history -o csv"]
)
def test_what_cannot_be_written_is_4_and_one_clear_line(shell, config_file, redirected, said, arguments):
    """The long text does not fit a buffer, so that it fails in the middle."""
    with config_file.open("a") as file:
        file.write(f'[modules.long]\nkind = "tcp"\ndescription = "{"x" * 50_000}"\n')
    ran = shell(arguments, redirected)
    assert ran.returncode == 4
    first, hint = ran.stderr.splitlines()
    assert first == said and hint.startswith("hint: ")


@pytest.mark.parametrize(("redirected", "said"), [(">/dev/full", FULL), (">&-", CLOSED)])
@pytest.mark.parametrize("options", ["-o json", "--share", "--watch --rounds 1"])
def test_a_run_that_could_not_be_printed_is_kept_all_the_same(shell, config_file, redirected, said, options):
    config_file.write_text("")  # no mesh
    ran = shell(f"probe 127.0.0.1:1 --from self --kind tcp {options}", redirected)
    assert ran.returncode == 4 and said in ran.stderr.splitlines()
    assert "Traceback" not in ran.stderr and "fault" not in ran.stderr
    (kept,) = json.loads(shell("history -o json", "").stdout)["runs"]
    assert (kept["exit_code"], kept["summary"]["failed"]) == (1, 1)


@pytest.mark.parametrize("arguments", ["version", "help exit-codes"])
def test_a_reader_that_has_gone_is_told_nothing(shell, arguments):
    ran = shell(arguments, "| exec true")
    assert ran.stderr == "" and ran.returncode in (0, 4)  # it may have gone only after all was written


def test_notes_that_cannot_be_written_change_nothing(shell):
    for redirected in ("2>/dev/full", "2>&-", "<&- 2>&-"):
        ran = shell("probe nowhere.invalid:0", redirected)
        assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", "")
        assert shell("version", redirected).stdout.startswith("meshctl ")
