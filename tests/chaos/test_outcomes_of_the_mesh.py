"""What only the mesh can say, whatever was measured: ``agent-lost`` and ``cancelled``."""

import signal

import pytest
from probemesh_shared.words import OF_DIAGNOSIS, Kind

from tests.chaos.live import Client, LiveMesh, until
from tests.chaos.origin import Origin

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

AGENT = "berlin-1"
#: Ten seconds of samples, so that no row is whole when the end comes. Each run has a target of its own.
LASTING = ("--from", AGENT, "--count", "50", "--interval", "0.2", "--timeout", "0.5")
#: What a person can ask for: the kinds of diagnosis come to their end in tests of their own.
#: The search for an MTU is over at once where the target answers: nobody could interrupt it.
QUICK = frozenset({Kind.LADDER, Kind.MTU})
KINDS = [kind for kind in Kind if kind not in QUICK | OF_DIAGNOSIS]


def begun(mesh: LiveMesh, kind: Kind, number: int, deadline: str) -> Client:
    """A run that the controller has given to the agent."""
    host, port = f"127.0.9.{number}", mesh.origin.port
    target = {Kind.ICMP: f"icmp:{host}", Kind.DNS: f"dns:n{number}.test@{host}"}.get(kind, f"{host}:{port}")
    client = mesh.probe(target, "--kind", kind.value, *LASTING, "--deadline", deadline)
    until(lambda: target in mesh.runs(), 20, f"the run of {target} began")
    return client


@pytest.mark.parametrize("kind", KINDS)
def test_an_agent_that_dies_is_lost(mesh: LiveMesh, origin: Origin, kind: Kind) -> None:
    client = begun(mesh, kind, 10 + KINDS.index(kind), "3")
    mesh.members[AGENT].program.kill()
    told = client.finish()
    assert (told.code, told.outcomes(AGENT)) == (4, {"agent-lost"})


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_interrupted_is_cancelled(mesh: LiveMesh, origin: Origin, kind: Kind) -> None:
    client = begun(mesh, kind, 30 + KINDS.index(kind), "15")
    client.process.send_signal(signal.SIGINT)
    told = client.finish()
    assert (told.code, told.outcomes(AGENT)) == (130, {"cancelled"})
