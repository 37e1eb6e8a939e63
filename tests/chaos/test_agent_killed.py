"""SIGKILL for agents in the middle of a run: everybody is in the answer, what was committed is what is shown,
nothing is doubled, and what is missing is called agent-lost."""

import secrets
import signal

import pytest

from tests.chaos.live import LiveMesh, Told, until
from tests.chaos.origin import Origin

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

TARGETS = 40
DELAYS = [0.06 * number for number in range(TARGETS)]  # a row every 60 ms
SURVIVOR = "tokyo-1"


def begin_and_kill(mesh: LiveMesh, deadline: str, moments: tuple[int, ...], again: bool) -> tuple[Told, str]:
    """One run; each of the first agents dies when so many of its rows were measured (0: when it began)."""
    urls = mesh.origin.urls(secrets.token_hex(4), DELAYS)
    client = mesh.probe(*urls, "--kind", "http", "--count", "1", "--deadline", deadline, "--timeout", "10")
    waiting = dict(zip(mesh.names, moments, strict=False))

    def all_killed() -> bool:
        for name, moment in list(waiting.items()):
            member = mesh.members[name]
            begun = mesh.origin.arrived(member.address) > 0
            if begun and mesh.origin.answered(member.address) >= moment:
                del waiting[name]
                member.program.kill()
                if again:
                    member.program.start()
        return not waiting

    until(all_killed, 20, "every agent was killed at its moment")
    return client.finish(40), urls[0]


def judge(mesh: LiveMesh, told: Told, first: str, killed: tuple[str, ...]) -> None:
    everybody = {"self", *mesh.names}
    for result in told.results:
        assert [one["agent"] for one in result["vantages"]].count("self") == 1
        assert {one["agent"] for one in result["vantages"]} == everybody
        assert len(result["vantages"]) == len(everybody)
    stored = mesh.stored(first)
    for name in sorted(everybody):
        rows = told.rows(name)
        indices = [index for index, _ in rows]
        assert len(set(indices)) == len(indices), f"{name}: a row is doubled"
        if name != "self":
            assert sorted(rows) == stored[name], f"{name}: shown and committed differ"
        if name not in killed:
            assert indices == list(range(TARGETS)), f"{name} lived"
    for name in killed:
        vantages = told.vantages(name)
        assert {one["outcome"] for one in vantages if not one["measurements"]} <= {"agent-lost"}
        assert {one["outcome"] for one in vantages if one["measurements"]} <= {"ok"}
        assert all(one["reason"] for one in vantages if not one["measurements"])
    assert told.code == 3


def test_agents_that_die_and_stay_away(mesh: LiveMesh, origin: Origin) -> None:
    """At three moments in one run. It waits for them to its deadline, and three seconds more."""
    moments = (0, 12, 30)
    told, first = begin_and_kill(mesh, "5", moments, again=False)
    killed = mesh.names[: len(moments)]
    judge(mesh, told, first, killed)
    assert told.seconds < 14
    for name in killed:
        assert "agent-lost" in told.outcomes(name)
    assert 0 < len(told.rows("cairo-1")) < len(told.rows("lima-1")) < TARGETS


@pytest.mark.parametrize("moments", [(0, 12, 30), (3, 20, 33), (8, 8, 8)])
def test_agents_that_die_and_come_back_at_once(
    mesh: LiveMesh, origin: Origin, moments: tuple[int, ...]
) -> None:
    """The new process knows nothing of the job: nobody waits for it, and it is not begun anew."""
    told, first = begin_and_kill(mesh, "30", moments, again=True)
    killed = mesh.names[: len(moments)]
    judge(mesh, told, first, killed)
    assert told.seconds < 20
    for name in killed:
        assert "agent-lost" in told.outcomes(name)
        assert origin.arrived(mesh.members[name].address) <= TARGETS  # by its first life alone
    mesh.whole()
    after = mesh.probe(f"127.0.0.1:{origin.port}", "--count", "1").finish()
    assert after.code == 0, after.errors


def test_one_target_with_many_samples_on_the_ladder(mesh: LiveMesh, origin: Origin) -> None:
    """Thirty samples of six seconds: what the dead agent had told so far does not make it reachable."""
    client = mesh.probe(f"127.0.0.1:{origin.port}", "--count", "30", "--interval", "0.2")
    member = mesh.members["berlin-1"]
    until(lambda: origin.arrived(member.address) >= 5, 20, "berlin-1 connects")
    member.program.signal(signal.SIGKILL)
    assert member.program.wait(5) == -signal.SIGKILL
    member.program.start()
    told = client.finish(40)
    assert {one["agent"]: one["outcome"] for one in told.results[0]["vantages"]} == {
        "self": "ok",
        "berlin-1": "agent-lost",
        "cairo-1": "ok",
        "lima-1": "ok",
        "tokyo-1": "ok",
    }
    for vantage in told.results[0]["vantages"]:
        rows = [(row["kind"], row["address"], row["port"]) for row in vantage["measurements"]]
        assert len(set(rows)) == len(rows)
    assert told.code == 3
