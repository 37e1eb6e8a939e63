"""The bill of materials of a wheel that is built as ``make wheel`` builds it."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from supply.sbom import LOCK, bill, main, pins

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without the network: what builds it is installed."""
    folder = tmp_path_factory.mktemp("dist")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-index", "--no-deps"]
    done = subprocess.run(
        [*pip, "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def written(wheel: Path) -> dict[str, Any]:
    assert main([str(wheel)]) == 0
    found: dict[str, Any] = json.loads(wheel.with_suffix(".cdx.json").read_text())
    return found


def test_it_is_of_that_wheel(wheel: Path, written: dict[str, Any]) -> None:
    ours = written["metadata"]["component"]
    assert (written["bomFormat"], written["specVersion"]) == ("CycloneDX", "1.6")
    assert (ours["name"], ours["type"]) == ("probemesh", "application")
    assert ours["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}]


def test_it_names_all_that_is_locked_and_nothing_else(written: dict[str, Any]) -> None:
    locked = {pin.name: pin for pin in pins(LOCK.read_text())}
    named = {one["name"]: one for one in written["components"]}
    assert named.keys() == locked.keys()
    for name, one in named.items():
        files = {file["hashes"][0]["content"] for file in one["externalReferences"]}
        assert (one["version"], files) == (locked[name].version, set(locked[name].hashes))


def test_it_says_under_which_licence_everything_comes_that_is_needed_here(written: dict[str, Any]) -> None:
    silent = [
        one["name"] for one in written["components"] if one["scope"] == "required" and not one["licenses"]
    ]
    assert silent == []


def test_everything_that_is_needed_hangs_together(written: dict[str, Any]) -> None:
    """From us to each package: one that hangs in the air is one that nobody asked for, or a gap."""
    graph = {one["ref"]: one["dependsOn"] for one in written["dependencies"]}
    reached, next_ones = set(), [written["metadata"]["component"]["bom-ref"]]
    while next_ones:
        one = next_ones.pop()
        if one not in reached:
            reached.add(one)
            next_ones += graph[one]
    needed = {one["bom-ref"] for one in written["components"] if one["scope"] == "required"}
    assert reached - {written["metadata"]["component"]["bom-ref"]} == needed


def test_the_same_again_is_the_same(wheel: Path, written: dict[str, Any]) -> None:
    assert bill(wheel, LOCK.read_text()) == written


def test_a_lock_of_other_releases_is_not_billed(wheel: Path) -> None:
    other = "grpcio==0.0.1 \\\n    --hash=sha256:" + "0" * 64 + "\n"
    with pytest.raises(ValueError, match=r"grpcio .* is installed, and 0\.0\.1 locked"):
        bill(wheel, other)
    missing = other.replace("grpcio", "nobody-has-this")
    with pytest.raises(ValueError, match="is not installed"):
        bill(wheel, missing)
