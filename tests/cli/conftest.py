"""Drives ``meshctl`` in this process against a scripted mesh, in an empty home."""

from dataclasses import dataclass

import pytest
from probemesh_controller.cli import connect, main

from tests.cli.fakes import NOW_NS, FakeMesh, agent

_VARIABLES = "MESHCTL_CONFIG MESHCTL_CONTEXT MESHCTL_STATE STATE_DIRECTORY NO_COLOR FORCE_COLOR CI TERM"


@dataclass
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home: no configuration, no state, no terminal, no say of the environment."""
    for name in (
        "MESHCTL_CONFIG",
        "MESHCTL_CONTEXT",
        "MESHCTL_STATE",
        "STATE_DIRECTORY",
        "NO_COLOR",
        "FORCE_COLOR",
        "CI",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name[4:9].lower()))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def config_file(home, monkeypatch):
    path = home / "config.toml"
    path.write_text('current = "demo"\n[contexts.demo]\nmesh = "demo"\ncontroller = "mesh.example:7400"\n')
    monkeypatch.setenv("MESHCTL_CONFIG", str(path))
    return path


@pytest.fixture
def mesh(monkeypatch):
    fake = FakeMesh([agent("berlin-1", "berlin", role="db"), agent("tokyo-1", "tokyo")])

    async def open_mesh(context, with_self):
        fake.contexts.append(context)
        return fake

    monkeypatch.setattr(connect, "open_mesh", open_mesh)
    return fake


@pytest.fixture
def meshctl(home, capsys, monkeypatch):
    """Runs one command line: ``meshctl("probe", "db:5432").code``."""
    monkeypatch.setattr("probemesh_controller.cli.probing.time.time_ns", lambda: NOW_NS)

    def run(*arguments):
        code = main.run(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run
