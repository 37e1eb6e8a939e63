"""Nothing is installed that is not locked: the locks fit what is asked for, each other and what runs here."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from supply.sbom import Pin, pins

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def lock(name: str) -> dict[str, Pin]:
    return {pin.name: pin for pin in pins((ROOT / "supply" / f"{name}.txt").read_text())}


RUN, BUILD, DEV = lock("run"), lock("build"), lock("dev")
ASKED_RUN = PROJECT["project"]["dependencies"]
ASKED_BUILD = PROJECT["dependency-groups"]["build"] + PROJECT["build-system"]["requires"]
ASKED_DEV = PROJECT["project"]["optional-dependencies"]["dev"] + ASKED_BUILD + ASKED_RUN


@pytest.mark.parametrize(
    ("asked", "locked"),
    [(ASKED_RUN, RUN), (ASKED_BUILD, BUILD), (ASKED_DEV, DEV)],
    ids=["run", "build", "dev"],
)
def test_what_is_asked_for_is_locked(asked: list[str], locked: dict[str, Pin]) -> None:
    """Where this fails after a change of pyproject.toml: make lock."""
    for requirement in map(Requirement, asked):
        pin = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin.version), f"{requirement} and {pin.version}: make lock"


@pytest.mark.parametrize("name", ["run", "build", "dev"])
def test_every_package_has_the_hashes_of_its_files(name: str) -> None:
    locked = lock(name)
    assert locked
    assert [pin.name for pin in locked.values() if not pin.hashes] == []


def test_what_is_developed_with_is_what_runs() -> None:
    for pin in (*RUN.values(), *BUILD.values()):
        assert DEV[pin.name].version == pin.version
        assert set(DEV[pin.name].hashes) == set(pin.hashes)


def test_hosts_get_nothing_that_only_builds_or_tests() -> None:
    assert not RUN.keys() & {"hatchling", "editables", "pytest", "mypy", "grpcio-tools", "setuptools"}


def test_this_environment_is_the_locked_one() -> None:
    found = {}
    for pin in DEV.values():
        if pin.wanted_here():
            try:
                found[pin.name] = version(pin.name)
            except PackageNotFoundError:
                found[pin.name] = "missing"
    assert found == {pin.name: pin.version for pin in DEV.values() if pin.wanted_here()}


def test_make_installs_by_hash_or_itself() -> None:
    """The one exception is the program that locks."""
    makefile = (ROOT / "Makefile").read_text()
    installs = re.findall(r"(?:pip|\$\(PIP\)) (install [^\n]*)", makefile)
    assert len(installs) >= 3
    free = [one for one in installs if "--require-hashes" not in one and "--no-deps" not in one]
    assert free == ["install uv==$(UV)"]


@pytest.mark.parametrize("text", ["grpcio>=1.84\n", "-e .\n", "https://example.org/a.whl\n", "--pre\n"])
def test_a_lock_that_does_not_pin_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="not a line of a lock"):
        list(pins(text))
