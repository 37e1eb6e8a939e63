"""Honest peers lose nothing while others flood the controller, and wait no longer than a person notices. How
much longer it is than when all is quiet is ``bench/floods.py``'s."""

from collections.abc import Iterator

import pytest

from tests.chaos.crowd import Share
from tests.chaos.live import LiveMesh
from tests.chaos.origin import Origin
from tests.hostile.floods import KINDS
from tests.hostile.health import flood, honest, villain

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SECONDS = 2.0
BOUND_S = 1.0


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    origin = Origin()
    made = LiveMesh(tmp_path_factory.mktemp("health"), origin, names=())
    try:
        made.raise_it()
        yield made
    finally:
        made.close()
        origin.close()


@pytest.mark.parametrize(("number", "kind"), [*enumerate(KINDS)])
async def test_honest_peers_under_a_flood(mesh: LiveMesh, number: int, kind: str) -> None:
    """No request fails, no link of theirs breaks. Each comes from another address: from one in disgrace
    nobody could begin."""
    who = villain(mesh.state, mesh.folder / kind.replace(" ", "-"))
    async with honest(mesh.state, mesh.address) as peers:
        share = Share([mesh.controller.pid])
        with flood(kind, mesh.address, who, f"127.0.66.{1 + number}") as done:
            felt = await peers.feel(SECONDS)
        share.look()
    assert done.sent > 0 or kind == "connections", "no flood"
    assert done.dialled > 0, "no flood"
    assert felt.p99_s < BOUND_S + share.kept_waiting_s(), (felt, str(share))
    assert " error " not in mesh.controller.said
    assert "Traceback" not in mesh.controller.said
