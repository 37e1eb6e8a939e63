"""A matrix of real agents: everybody reaches everybody, an agent that is killed is unknown and not down, and
responders are given back."""

import signal

import pytest

from tests.chaos.live import Client, LiveMesh, Told, until

#: A responder has eight sockets; the first probe of all leaves one for asking the kernel of routes.
RESPONDER, KEPT = 8, 1
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def matrix(mesh: LiveMesh, *arguments: str) -> Client:
    return Client(mesh, ("matrix", "run", *arguments, "-o", "json"))


def cells(told: Told) -> dict[tuple[str, str, str], dict[str, object]]:
    (value,) = told.results
    return {(one["source"], one["target"], one["probe"]): one for one in value["cells"]}


def sockets(mesh: LiveMesh, name: str) -> int:
    return sum(path.startswith("socket:") for path in mesh.members[name].program.open_files())


def test_everybody_reaches_everybody_and_nothing_is_left_open(mesh: LiveMesh) -> None:
    before = {name: sockets(mesh, name) for name in mesh.names}
    told = matrix(mesh).finish()
    assert told.code == 0, told.errors
    found = cells(told)
    pairs = [(a, b) for a in mesh.names for b in mesh.names if a != b]
    assert found.keys() == {(*pair, probe) for pair in pairs for probe in ("icmp", "udp")}
    for (_, target, _), one in found.items():
        assert (one["state"], one["sent"], one["lost"]) == ("ok", 3, 0)
        assert one["address"] == mesh.members[target].address
        assert isinstance(one["rtt_ms"], float) and one["rtt_ms"] > 0
    until(
        lambda: all(sockets(mesh, one) <= before[one] + KEPT for one in mesh.names), 10, "all is given back"
    )


def test_an_agent_that_is_dead_is_gone_and_not_down(mesh: LiveMesh) -> None:
    gone = mesh.names[2]
    mesh.members[gone].program.kill()
    until(lambda: gone not in mesh.connected(), 30, "the controller knows")
    told = matrix(mesh).finish()
    assert told.code == 3
    for (source, target, probe), one in cells(told).items():
        if source == gone or (target == gone and probe == "udp"):
            assert one["state"] == "agent-lost"
            assert "not connected" in str(one["reason"])
        else:  # its host is there, and answers pings
            assert one["state"] == "ok"
    (value,) = told.results
    assert value["summary"]["failed"] == 0


def test_an_agent_that_dies_in_the_middle(mesh: LiveMesh) -> None:
    dies = mesh.names[0]
    before = sockets(mesh, dies)
    client = matrix(mesh, "--count", "25")
    until(lambda: sockets(mesh, dies) >= before + RESPONDER, 20, "it has opened its responder")
    mesh.members[dies].program.kill()
    told = client.finish(60)
    assert told.code == 3, told.errors
    found = cells(told)
    assert len(found) == 24
    for (source, target, probe), one in found.items():
        if source == dies:
            assert one["state"] == "agent-lost", one
        elif target == dies and probe == "udp":
            # it may have died before it told its port
            assert one["state"] in ("ok", "agent-lost", "missed"), one
        else:
            assert one["state"] == "ok", one


def test_an_interrupt_gives_the_responders_back(mesh: LiveMesh) -> None:
    name = mesh.names[1]
    before = sockets(mesh, name)
    client = matrix(mesh, "--count", "100")
    until(lambda: sockets(mesh, name) >= before + RESPONDER, 20, "it has opened its responder")
    client.process.send_signal(signal.SIGINT)
    told = client.finish()
    assert told.code == 130
    assert told.results[0]["interrupted"] is True
    until(lambda: sockets(mesh, name) <= before + KEPT, 15, "it is given back")
