"""Everything is started with its secrets, and then they are looked for: in the arguments and the environment
of every process while it lives, in what was printed and logged with --debug, and in every file that is
left."""

import base64
import contextlib
import json
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.chaos.live import PROGRAMS, LiveMesh, until
from tests.chaos.origin import Origin

BEARER = "bearer-hJ8sT2vQ9xL4mN7pR1wZ"
PASSWORD = "basic-K3dF6gH9jW2eR5tY8uP1"
KEYS = {
    "state/controller/ca.key",
    "state/controller/key.pem",
    "state/operator/key.pem",
    "laptop/operator/key.pem",
    "alone-1/agent/key.pem",
}


class Watcher:
    """What every descendant of this process had as arguments and environment, looked at all the time."""

    def __init__(self) -> None:
        self.seen: dict[tuple[int, bytes], bytes] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def ran(self, *words: str) -> bool:
        """Whether it saw a process with these words in its command line."""
        return any(all(word.encode() in command for word in words) for _, command in list(self.seen))

    def holders(self, needle: bytes) -> list[str]:
        return [
            command.replace(b"\0", b" ").decode(errors="replace")
            for (_, command), environ in self.seen.items()
            if needle in command or needle in environ
        ]

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self._look(os.getpid())

    def _look(self, parent: int) -> None:
        for pid in _children(parent):
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if command and (pid, command) not in self.seen:
                    self.seen[pid, command] = Path(f"/proc/{pid}/environ").read_bytes()
            self._look(pid)


def _children(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


@dataclass
class Lived:
    """A mesh that has done everything that needs a secret, and was stopped."""

    mesh: LiveMesh
    watcher: Watcher
    tokens: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def secrets(self) -> dict[str, list[bytes]]:
        """By name: in which forms each could be found."""
        found = {
            name: _forms(key)
            for path in self.mesh.folder.rglob("*.key")
            for name, key in [(str(path.relative_to(self.mesh.folder)), path.read_bytes())]
        }
        for path in self.mesh.folder.rglob("key.pem"):
            found[str(path.relative_to(self.mesh.folder))] = _forms(path.read_bytes())
        for number, token in enumerate(self.tokens):
            found[f"token {number}"] = [token[-80:].encode()]
        found["bearer"] = [BEARER.encode()]
        both = f"somebody:{PASSWORD}".encode()
        found["basic"] = [PASSWORD.encode(), base64.b64encode(both)]
        return found


def _forms(pem: bytes) -> list[bytes]:
    """Of a P-256 key in PKCS #8: its lines, and its number."""
    lines = [line for line in pem.splitlines() if b"-----" not in line]
    number = base64.b64decode(b"".join(lines))[36:68]
    return [*lines, number, number.hex().encode()]


class Alone(LiveMesh):
    """Every program of it says all it can."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tokens: list[str] = []
        self.said: list[str] = []

    def _join(self, name: str, number: int) -> None:
        super()._join(name, number)
        self.members[name].program._command.append("--debug")

    def meshctl(self, *arguments: str) -> str:
        told = super().meshctl(*arguments)
        if "token" in arguments[0] or arguments[:2] == ("operator", "create"):
            self.tokens.append(json.loads(told)["token"])
        else:
            self.said.append(told)
        return told


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    origin = Origin()
    mesh = Alone(tmp_path_factory.mktemp("secrets"), origin, names=("alone-1",))
    with Watcher() as watcher:
        try:
            mesh.raise_it()
            _second_laptop(mesh)
            _measure(mesh)
        finally:
            mesh.close()
            origin.close()
    yield Lived(mesh, watcher, mesh.tokens, mesh.said)


def _second_laptop(mesh: Alone) -> None:
    """By a file this time."""
    mesh.meshctl("operator", "create", "bob", "-o", "json")
    given = mesh.folder / "given.token"
    given.touch(0o600)
    given.write_text(mesh.tokens[-1])
    environment = {**mesh.environment, "MESHCTL_CONFIG": str(mesh.folder / "laptop" / "config.toml")}
    state = str(mesh.folder / "laptop")
    joined = [str(PROGRAMS / "meshctl"), "join", mesh.address, "--token-file", str(given), "--state", state]
    done = subprocess.run(joined, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    mesh.said.append(done.stdout + done.stderr)
    given.unlink()


def _measure(mesh: Alone) -> None:
    """From the agent and from here, with what a request is let in by; until the run is in the store."""
    for option, text in (("--auth-bearer", BEARER), ("--auth-basic", f"somebody:{PASSWORD}")):
        file = mesh.folder / "login"
        file.touch(0o600)
        file.write_text(text)
        (url,) = mesh.origin.urls("secret", [0.0])
        asked = ["probe", url, "--kind", "http", option, str(file), "--count", "1"]
        mesh.meshctl(*asked, "-o", "json", "--debug")
        mesh.meshctl("history", "show", "@last")
        file.unlink()
    assert mesh.origin.answered("127.0.1.1") == mesh.origin.answered("127.0.0.1") == 2, "they did ask"
    until(lambda: len(mesh.runs()) > 0, 10, "the run is kept")


def test_the_watcher_saw_what_it_has_to_see(lived: Lived) -> None:
    """Also those that live for a moment."""
    ran = lived.watcher.ran
    assert ran("meshctl", "controller", "run")
    assert ran("mesh-agent", "join", "--token-file")
    assert ran("probemesh_shared.identity.keygen")
    assert ran("mesh-agent", "run")
    assert ran("probemesh_agent", "probe", "--frames")
    assert ran("meshctl", "probe", "--auth-bearer")


def test_all_secrets_are_known(lived: Lived) -> None:
    found = lived.secrets()
    assert {name for name in found if "/" in name} == KEYS
    assert len(lived.tokens) == 2
    assert all(len(form) >= 20 for forms in found.values() for form in forms)


def test_none_is_in_arguments_or_environment(lived: Lived) -> None:
    for name, forms in lived.secrets().items():
        assert [held for form in forms for held in lived.watcher.holders(form)] == [], name


def test_none_was_printed(lived: Lived) -> None:
    printed = "".join(lived.said).encode()
    for name, forms in lived.secrets().items():
        assert not any(form in printed for form in forms), name


def test_files_hold_none_but_their_own(lived: Lived) -> None:
    """Stores, logs, histories, audits: everything that is left."""
    files = {path: path.read_bytes() for path in lived.mesh.folder.rglob("*") if path.is_file()}
    kinds = {path.suffix for path in files}
    assert {".log", ".sqlite", ".toml", ".pem", ".key"} <= kinds, "there was something to look at"
    for name, forms in lived.secrets().items():
        held = {
            str(path.relative_to(lived.mesh.folder))
            for path, content in files.items()
            if any(form in content for form in forms)
        }
        assert held == ({name} & KEYS), name


def test_keys_are_their_owners_alone(lived: Lived) -> None:
    for name in KEYS:
        path = lived.mesh.folder / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
