"""``mesh-agent policy check TARGET…``: would they be probed from here, and by which rule?"""

from collections.abc import Sequence
from pathlib import Path

from probemesh_shared.clock import SystemClock
from probemesh_shared.escape import escape
from probemesh_shared.model import Options, Target
from probemesh_shared.targets import parse_target

from probemesh_agent.kit import agent_policy
from probemesh_agent.net.network import SystemNetwork

_RESOLVE_S = 10.0
_WORDS = {True: "allowed", False: "denied"}


async def check(texts: Sequence[str], file: Path | None) -> tuple[tuple[bool, ...], str]:
    """Whether any address of each target may be probed, and a line for each address.

    Raises :class:`MeshError`, also where one of several targets cannot be read.
    """
    targets = [parse_target(text) for text in texts]
    clock = SystemClock()
    network = SystemNetwork(clock, agent_policy(file))
    try:
        judged = [await _judge(target, network, clock.monotonic() + _RESOLVE_S) for target in targets]
    finally:
        network.close()
    return tuple(allowed for allowed, _ in judged), "".join(text for _, text in judged)


async def _judge(target: Target, network: SystemNetwork, deadline: float) -> tuple[bool, str]:
    found = await network.resolve(target, Options(), deadline)
    judged = [address.host for address in found.addresses] + [refused.host for refused in found.refused]
    decisions = [(host, network.explain(host)) for host in judged]
    lines = [
        f"{_WORDS[decision.allowed]:<8} {escape(host)}  {decision.rule}: {escape(decision.text)}"
        for host, decision in decisions
    ]
    if not lines and found.failure is not None:
        lines = [f"nothing to judge: {escape(target.text, 300)}: {escape(found.failure.detail)}"]
    return any(decision.allowed for _, decision in decisions), "".join(f"{line}\n" for line in lines)
