"""``mesh-agent policy check TARGET``: would it be probed from here, and by which rule?"""

from pathlib import Path

from probemesh_shared.clock import SystemClock
from probemesh_shared.escape import escape
from probemesh_shared.model import Options
from probemesh_shared.targets import parse_target

from probemesh_agent.kit import agent_policy
from probemesh_agent.net.network import SystemNetwork

_RESOLVE_S = 10.0
_WORDS = {True: "allowed", False: "denied"}


async def check(text: str, file: Path | None) -> tuple[bool, str]:
    """Whether any of the target's addresses may be probed, and a line for each. Raises :class:`MeshError`."""
    target = parse_target(text)
    clock = SystemClock()
    network = SystemNetwork(clock, agent_policy(file))
    try:
        found = await network.resolve(target, Options(), clock.monotonic() + _RESOLVE_S)
        judged = [address.host for address in found.addresses] + [refused.host for refused in found.refused]
        decisions = [(host, network.explain(host)) for host in judged]
    finally:
        network.close()
    lines = [
        f"{_WORDS[decision.allowed]:<8} {escape(host)}  {decision.rule}: {escape(decision.text)}"
        for host, decision in decisions
    ]
    if not lines and found.failure is not None:
        lines = [f"nothing to judge: {escape(found.failure.detail)}"]
    return any(decision.allowed for _, decision in decisions), "\n".join(lines) + "\n"
