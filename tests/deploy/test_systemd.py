"""The units as systemd itself judges them: they parse, name only what exists, and stay locked down."""

import subprocess
import sys
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))

#: Exposure in tenths, as ``systemd-analyze security`` counts; 20 means 2.0, "OK".
MAX_EXPOSURE = 20


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


def test_there_is_a_unit_for_each_role() -> None:
    assert [unit.stem for unit in UNITS] == ["probemesh-agent", "probemesh-controller"]


@pytest.mark.tool("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_unit_verifies(unit: Path, tmp_path: Path) -> None:
    # verify wants the program to exist: point the unit at the one of this environment
    installed = tmp_path / unit.name
    installed.write_text(unit.read_text().replace("/usr/local/bin/", f"{Path(sys.executable).parent}/"))
    result = analyze("verify", "--man=no", "--recursive-errors=no", str(installed))
    assert (result.returncode, result.stderr.strip()) == (0, "")


@pytest.mark.tool("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_unit_stays_locked_down(unit: Path) -> None:
    result = analyze("security", "--offline=true", f"--threshold={MAX_EXPOSURE}", str(unit))
    assert result.returncode == 0, result.stdout[-2000:]
