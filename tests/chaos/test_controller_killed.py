"""SIGKILL for the controller in the middle of a run: the client ends with what it has and says why, the mesh
comes together again by itself, and the store is whole."""

import secrets
import signal

import pytest
from probemesh_controller.store.sqlite import SqliteStore

from tests.chaos.live import LiveMesh, Told, until
from tests.chaos.origin import Origin

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

TARGETS = 40
DELAYS = [0.06 * number for number in range(TARGETS)]


def kill_at(mesh: LiveMesh, moment: int) -> None:
    """When the first agent has begun, and has measured so many rows."""
    address = mesh.members[mesh.names[0]].address
    until(lambda: mesh.origin.arrived(address) > 0, 20, "the run begins")
    until(lambda: mesh.origin.answered(address) >= moment, 20, f"{moment} rows are measured")
    mesh.controller.kill()


def judge(mesh: LiveMesh, told: Told, first: str, everybody: set[str]) -> None:
    """Nobody is missing, nothing is doubled, nothing is shown that was not committed, all else has a
    reason."""
    (error,) = [line for line in told.errors.splitlines() if line.startswith("warning:")]
    assert "the controller" in error or f"{mesh.address} cannot be reached" in error
    assert len(told.results) == TARGETS
    stored = mesh.stored(first)
    for name in sorted(everybody):
        vantages, rows = told.vantages(name), told.rows(name)
        assert len(vantages) == TARGETS
        assert all(len(one["measurements"]) <= 1 for one in vantages)
        if name == "self":
            assert told.outcomes(name) == {"ok"}
        else:
            assert set(rows) <= set(stored[name])
            assert len(stored[name]) == len(set(stored[name]))
        for one in vantages:
            assert one["outcome"] == ("ok" if one["measurements"] else "unmeasured")
            assert one["measurements"] or one["reason"]
    store = SqliteStore(mesh.state / "controller" / "store.sqlite")  # it looks for damage as it opens
    store.close()


def test_what_a_forgotten_run_sends_ends_with_it(mesh: LiveMesh, origin: Origin) -> None:
    """A controller that was killed has forgotten its runs; agents that find it again stop theirs."""
    target = f"127.0.0.1:{origin.port}"
    options = ("--kind", "tcp", "--count", "600", "--interval", "0.05", "--deadline", "60", "--from", "all")
    client = mesh.probe(target, *options)
    addresses = [member.address for member in mesh.members.values()]
    until(lambda: all(origin.arrived(one) >= 10 for one in addresses), 20, "all agents measure")
    mesh.controller.kill()
    mesh.start_controller()
    mesh.reconnected()
    until(lambda: origin.quiet_s() > 0.5, 5, "no agent sends any more")
    told = client.finish(20)
    assert told.code == 4
    assert {one["outcome"] for one in told.results[0]["vantages"]} == {"unmeasured"}


@pytest.mark.parametrize(("moment", "with_self"), [(15, True), (0, True), (30, True), (0, False)])
def test_a_controller_that_is_killed_and_started_again(
    mesh: LiveMesh, origin: Origin, moment: int, with_self: bool
) -> None:
    urls = origin.urls(secrets.token_hex(4), DELAYS)
    from_ = () if with_self else ("--from", "all")
    options = ("--kind", "http", "--count", "1", "--deadline", "20", "--timeout", "10")
    client = mesh.probe(*urls, *options, *from_)
    kill_at(mesh, moment)
    mesh.start_controller()
    told = client.finish(20)
    judge(mesh, told, urls[0], {*mesh.names} | ({"self"} if with_self else set()))
    some = with_self or any(told.rows(name) for name in mesh.names)
    assert told.code == (3 if some else 4)
    if moment >= 15:
        assert told.rows(mesh.names[0])  # what had come was kept


def test_sigterm_of_an_idle_controller(mesh: LiveMesh) -> None:
    mesh.controller.signal(signal.SIGTERM)
    assert mesh.controller.wait(10) == 0
    assert mesh.controller.said.rstrip().endswith("controller stopped")


def test_a_controller_that_stays_away(mesh: LiveMesh, origin: Origin) -> None:
    """The client looks for it for half a minute, and not for ever."""
    urls = origin.urls(secrets.token_hex(4), DELAYS)
    client = mesh.probe(*urls, "--kind", "http", "--count", "1", "--timeout", "10")
    kill_at(mesh, 20)
    told = client.finish(45)
    judge(mesh, told, urls[0], {"self", *mesh.names})
    assert told.code == 3
    away = mesh.probe(f"127.0.0.1:{origin.port}").finish(15)
    assert (away.code, away.results) == (4, [])
    assert [line for line in away.errors.splitlines() if line.startswith("error:")]
    mesh.start_controller()
    assert mesh.reconnected() < 30
    after = mesh.probe(f"127.0.0.1:{origin.port}", "--count", "1").finish()
    assert after.code == 0, after.errors
