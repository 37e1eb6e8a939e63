"""A mesh that nobody asks anything of, for longer than six keepalive pings: its streams live, and it costs
next to nothing. It is up while all other tests here run, so that the wait is theirs too."""

import pytest

from tests.chaos.conftest import Unasked
from tests.chaos.live import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

#: Keepalive is every ten seconds; a server left at grpc's defaults cuts a stream off after fifty.
IDLE_S = 75.0


def test_an_idle_mesh_stays_up_and_costs_nothing(unasked: Unasked) -> None:
    until(lambda: unasked.seconds() >= IDLE_S, IDLE_S + 5, "it was idle for long enough")
    wall = unasked.seconds()
    shares = {name: used / wall for name, used in unasked.cpu_s().items()}
    assert max(shares.values()) < 0.01, shares
    now = unasked.descriptors()
    assert all(now[name] <= before for name, before in unasked.descriptors_before.items()), now
    assert unasked.news() == {"controller": "", "idle-1": ""}  # no link broke, none was made
    assert unasked.mesh.connected() == {"idle-1"}
