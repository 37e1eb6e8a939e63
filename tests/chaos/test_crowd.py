"""Many agents lose their controller at once, and come back: all of them, in half a minute, with nothing more
than a word about it in anybody's log.

A hundred of them. The thousand that are promised want two processors of their own: ``PROBEMESH_CROWD=1000``.
"""

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterator

import pytest
from probemesh_controller.remote import RemoteMesh
from probemesh_shared.identity.files import load_identity

from tests.chaos.crowd import Crowd, Share, crowd
from tests.chaos.live import LiveMesh
from tests.chaos.origin import Origin

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

AGENTS = int(os.environ.get("PROBEMESH_CROWD", "100"))
PROCESSES = 2
BACK_S = 30.0
#: What else a controller has open, and clients on their way.
SPARE = 64
#: How a link ended, or how an attempt went that has a next one.
BACKING_OFF = re.compile(r"the (controller is away|link ended).*; next attempt in [\d.]+ s", re.DOTALL)
SESSION = re.compile(r"session with controller:")
USUAL = re.compile(r"\S+ info fleet: agent crowd-\d+ is (attached|gone)|controller of |next: ")


class Scene:
    """A controller, the crowd, and an operator who asks all the time."""

    def __init__(self, mesh: LiveMesh, agents: Crowd) -> None:
        self.mesh = mesh
        self.agents = agents
        self.answered: list[float] = []

    def ask(self) -> int:
        """How many agents are connected, by an operator who dials for it."""

        async def ask() -> int:
            mesh = RemoteMesh(self.mesh.address, load_identity(self.mesh.state / "operator"))
            try:
                return (await mesh.status()).agents_connected
            finally:
                await mesh.aclose()

        began = time.monotonic()
        found = asyncio.run(ask())
        self.answered.append(time.monotonic() - began)
        return found

    def until_all_are_there(self, share: Share, sessions: int, within_s: float = BACK_S) -> None:
        """So many have begun, and all are up at their own end and at the controller's."""
        agents, there = self.agents, self.ask()
        while agents.ask("sessions") < sessions or agents.ask("ready") < agents.count or there < agents.count:
            share.look()
            assert share.seconds() - share.kept_waiting_s() < within_s, f"not within {within_s:g} s: {share}"
            time.sleep(1.0)  # each look costs the controller a list of all agents
            there = self.ask()

    def returns_after(self, what: Callable[[], object]) -> None:
        """``what`` ends all links at once."""
        said, logged = self.agents.mark(), len(self.mesh.controller.said)
        sessions = self.agents.ask("sessions")
        self.answered.clear()
        share = Share(self.agents.pids)
        what()
        share.also(self.mesh.controller.pid)
        self.until_all_are_there(share, sessions + self.agents.count)
        waited = max(self.answered)
        print(f"{self.agents.count} are back after {share}; an operator waited {waited:.2f} s")
        self.quiet(said, logged)
        assert waited < 5 + share.kept_waiting_s(), self.answered

    def quiet(self, said: list[int], logged: int) -> None:
        """Since then: agents told of back-off and nothing else, the controller of who comes and goes."""
        for record in self.agents.said(said):
            expected = BACKING_OFF if record["level"] == "warning" else SESSION
            assert record["level"] in ("info", "warning"), record
            assert expected.match(record["message"]), record
            assert "trace" not in record, record
        lines = self.mesh.controller.said[logged:].splitlines()
        assert [line for line in lines if not USUAL.match(line)] == []


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, shared_origin: Origin) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("crowd")
    mesh = LiveMesh(folder, shared_origin, names=())
    try:
        mesh.raise_it()
        with crowd(mesh.state, folder, mesh.address, AGENTS, PROCESSES, mesh.environment) as agents:
            made = Scene(mesh, agents)
            made.until_all_are_there(Share([mesh.controller.pid, *agents.pids]), AGENTS, within_s=120)
            yield made
    finally:
        mesh.close()


def test_streams_cut_at_once_come_back(scene: Scene) -> None:
    """The controller lives on; a balancer in between was restarted, say."""
    port = scene.mesh.address.rpartition(":")[2]
    scene.returns_after(lambda: scene.agents.ask(f"cut {port}"))


def test_agents_of_a_controller_that_was_killed_come_back(scene: Scene) -> None:
    def restart() -> None:
        scene.mesh.controller.kill()
        scene.mesh.start_controller()

    scene.returns_after(restart)


def test_nobody_holds_more_than_before(scene: Scene) -> None:
    """One connection of each agent, and no agent more than its three descriptors."""
    assert scene.mesh.controller.descriptors() <= AGENTS + SPARE
    assert scene.agents.descriptors() <= 3 * AGENTS + PROCESSES * SPARE
