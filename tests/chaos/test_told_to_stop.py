"""SIGTERM in the middle of a run, and Ctrl-C at the client: in order, in time, and no packet later."""

import secrets
import signal
import time

import pytest

from tests.chaos.live import LiveMesh, until
from tests.chaos.origin import Origin

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

TARGETS = 40
HTTP = ("--kind", "http", "--count", "1", "--deadline", "30", "--timeout", "20")


@pytest.mark.parametrize(("longest_s", "finishes"), [(2.0, True), (16.0, False)])
def test_an_agent_that_is_told_to_stop(
    mesh: LiveMesh, origin: Origin, longest_s: float, finishes: bool
) -> None:
    """What ends by itself within three seconds is finished; of the rest, what was measured is told."""
    urls = origin.urls(secrets.token_hex(4), [longest_s * n / TARGETS for n in range(TARGETS)])
    member = mesh.members["cairo-1"]
    client = mesh.probe(*urls, *HTTP, "--from", "cairo-1")
    until(lambda: origin.answered(member.address) >= 5, 20, "some rows are measured")
    member.program.signal(signal.SIGTERM)
    assert member.program.wait(10) == 0
    told = client.finish()
    rows, answered = told.rows("cairo-1"), origin.answered(member.address)
    assert sorted(rows) == mesh.stored(urls[0])["cairo-1"]
    if finishes:
        assert (told.code, len(rows), told.outcomes("cairo-1")) == (0, TARGETS, {"ok"})
        return
    assert told.code == 3
    reached = [one for one in told.vantages("cairo-1") if one["outcome"] == "ok"]
    assert answered - 2 <= len(reached) <= answered  # the last answers may have been on their way
    left = [one for one in told.vantages("cairo-1") if one["outcome"] != "ok"]
    assert {one["outcome"] for one in left} == {"cancelled"}
    assert all("shutting down" in one["reason"] for one in left), left[0]


def test_a_controller_that_is_told_to_stop(mesh: LiveMesh, origin: Origin) -> None:
    urls = origin.urls(secrets.token_hex(4), [0.2 * n for n in range(TARGETS)])
    client = mesh.probe(*urls, *HTTP, "--from", "all")
    addresses = [member.address for member in mesh.members.values()]
    until(lambda: all(origin.answered(one) >= 5 for one in addresses), 20, "all agents measure")
    mesh.controller.signal(signal.SIGTERM)
    assert mesh.controller.wait(10) == 0
    assert "Traceback" not in mesh.controller.said
    told = client.finish(45)
    assert told.code == 3
    stored = mesh.stored(urls[0])
    for name in mesh.names:
        assert sorted(told.rows(name)) == stored[name]
        assert len(told.rows(name)) >= 4
        assert told.outcomes(name) <= {"ok", "cancelled", "unmeasured"}
        assert all(one["reason"] for one in told.vantages(name) if one["outcome"] != "ok")
    mesh.start_controller()
    assert mesh.reconnected() < 30
    assert mesh.probe(f"127.0.0.1:{origin.port}", "--count", "1").finish().code == 0


@pytest.mark.parametrize("interval", ["0.05", "0.5"])
def test_ctrl_c_stops_packets_within_a_second(mesh: LiveMesh, origin: Origin, interval: str) -> None:
    options = ("--kind", "tcp", "--count", "600", "--interval", interval, "--deadline", "600")
    client = mesh.probe(f"127.0.0.1:{origin.port}", *options)
    sources = ["127.0.0.1", *(member.address for member in mesh.members.values())]
    until(lambda: all(origin.arrived(one) >= 3 for one in sources), 20, "everybody measures")
    pressed = time.monotonic()
    client.process.send_signal(signal.SIGINT)
    told = client.finish(10)
    until(lambda: origin.quiet_s() > 1.5, 10, "nobody sends any more")  # three intervals of the slower
    late = origin.after(pressed + 1.0)
    assert not late, f"{len(late)} connections later than a second, the last after {1 + late[-1]:.1f} s"
    assert told.code == 130
    assert {one["agent"] for one in told.results[0]["vantages"]} == {"self", *mesh.names}
