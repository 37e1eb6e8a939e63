"""One mesh of real programs for all tests here; each finds it whole, whatever the one before it killed. And
another that is left alone."""

import time
from collections.abc import Iterator

import pytest

from tests.chaos.live import LiveMesh, Program
from tests.chaos.origin import Origin


class Unasked:
    """A controller and an agent, and what they had used when they came up."""

    def __init__(self, mesh: LiveMesh) -> None:
        self.mesh = mesh
        self._programs: dict[str, Program] = {"controller": mesh.controller}
        self._programs |= {name: member.program for name, member in mesh.members.items()}
        self._since = time.monotonic()
        self._said = {name: program.said for name, program in self._programs.items()}
        self._used = {name: program.cpu_s() for name, program in self._programs.items()}
        self.descriptors_before = self.descriptors()

    def seconds(self) -> float:
        return time.monotonic() - self._since

    def cpu_s(self) -> dict[str, float]:
        return {name: program.cpu_s() - self._used[name] for name, program in self._programs.items()}

    def descriptors(self) -> dict[str, int]:
        return {name: program.descriptors() for name, program in self._programs.items()}

    def news(self) -> dict[str, str]:
        """What they have logged since."""
        return {name: program.said[len(self._said[name]) :] for name, program in self._programs.items()}


@pytest.fixture(scope="session")
def shared_origin() -> Iterator[Origin]:
    made = Origin()
    yield made
    made.close()


@pytest.fixture(scope="session")
def unasked(tmp_path_factory: pytest.TempPathFactory, shared_origin: Origin) -> Iterator[Unasked]:
    made = LiveMesh(tmp_path_factory.mktemp("unasked"), shared_origin, names=("idle-1",))
    try:
        made.raise_it()
        yield Unasked(made)
    finally:
        made.close()


@pytest.fixture(scope="session")
def one_mesh(
    tmp_path_factory: pytest.TempPathFactory, shared_origin: Origin, unasked: Unasked
) -> Iterator[LiveMesh]:
    """``unasked`` is up as long, so that it has been idle for a while when it is looked at."""
    made = LiveMesh(tmp_path_factory.mktemp("chaos"), shared_origin)
    try:
        made.raise_it()
        yield made
    finally:
        made.close()


@pytest.fixture
def mesh(one_mesh: LiveMesh) -> LiveMesh:
    one_mesh.whole()
    one_mesh.origin.forget()
    return one_mesh


@pytest.fixture
def origin(mesh: LiveMesh) -> Origin:
    return mesh.origin
