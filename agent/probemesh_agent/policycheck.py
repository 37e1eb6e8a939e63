"""``mesh-agent policy check TARGET…``: would they be probed from here, and by which rule?

Each rung is judged by itself and has a line: kind, name, port, address. All must hold; of several kinds,
ports and addresses one.
"""

from collections.abc import Sequence
from pathlib import Path

from probemesh_shared.clock import SystemClock
from probemesh_shared.escape import escape
from probemesh_shared.model import Options, PortRange, Target
from probemesh_shared.narrowing import ports_text
from probemesh_shared.targets import parse_target
from probemesh_shared.words import Kind

from probemesh_agent.climb import needed, ports_of
from probemesh_agent.kit import agent_policy
from probemesh_agent.net.literals import parse_literal
from probemesh_agent.net.network import SystemNetwork
from probemesh_agent.net.rungs import Decision

_RESOLVE_S = 10.0
_WORDS = {True: "allowed", False: "denied"}
_Rung = list[tuple[str, Decision]]


async def check(
    texts: Sequence[str], file: Path | None, kind: str | None = None
) -> tuple[tuple[bool, ...], str]:
    """Whether each target may be probed (by ``kind``, else by whatever a climb would come to), a line for
    each rung that says something and for each address, and how much of it.

    Raises :class:`MeshError`, also where one of several targets cannot be read.
    """
    targets = [parse_target(text) for text in texts]
    clock = SystemClock()
    network = SystemNetwork(clock, agent_policy(file))
    said = _limits(network, Kind(kind) if kind is not None else None)
    try:
        judged = [await _judge(target, kind, network, clock.monotonic() + _RESOLVE_S) for target in targets]
    finally:
        network.close()
    return tuple(allowed for allowed, _ in judged), "".join(text for _, text in judged) + said


async def _judge(
    target: Target, kind: str | None, network: SystemNetwork, deadline: float
) -> tuple[bool, str]:
    rungs = [_kinds(target, kind, network), _names(target, network), _ports(target, network)]
    before = all(any(one.allowed for _, one in rung) for rung in rungs if rung)
    lines = [_line(what, one) for rung in rungs for what, one in rung if one.rule != "unlimited" or kind]
    addresses: _Rung = []
    if all(one.allowed for _, one in rungs[1]):  # a name that is denied is not looked up
        found = await network.resolve(target, Options(), deadline)
        hosts = [one.host for one in found.addresses] + [one.host for one in found.refused]
        addresses = [(host, network.explain_found(target.host, host)) for host in hosts]
        lines += [_line(escape(host), one) for host, one in addresses]
        if not addresses and found.failure is not None:
            lines.append(f"nothing to judge: {escape(target.text, 300)}: {escape(found.failure.detail)}\n")
    return before and any(one.allowed for _, one in addresses), "".join(lines)


def _kinds(target: Target, kind: str | None, network: SystemNetwork) -> _Rung:
    kinds = [Kind(kind)] if kind is not None else sorted({one for one, _ in needed(target)})
    return [(f"kind {one}", network.explain_kind(one)) for one in kinds]


def _names(target: Target, network: SystemNetwork) -> _Rung:
    if not target.host or parse_literal(target.host) is not None:
        return []
    return [(f"name {escape(target.host)}", network.explain_name(target.host))]


def _ports(target: Target, network: SystemNetwork) -> _Rung:
    """A range is told by where its decisions change."""
    told: list[tuple[PortRange, Decision]] = []
    for span in ports_of(target):
        for port in range(span.first, span.last + 1):
            decision = network.explain_port(port)
            last = told[-1] if told else None
            if last is not None and last[0].last == port - 1 and _same(last[1], decision):
                told[-1] = (PortRange(last[0].first, port), last[1])
            else:
                told.append((PortRange(port, port), decision))
    return [(f"port {ports_text(span)}", decision) for span, decision in told]


def _limits(network: SystemNetwork, kind: Kind | None) -> str:
    """What holds in all, and beside that for this kind, or for all that have a word of their own."""
    limits = network.limits
    lines = [f"limits   {limits.in_words()}\n"]
    kinds = sorted(limits.kinds) if kind is None else [kind] if kind in limits.kinds else []
    return "".join([*lines, *(f"limits   kind {one}  {limits.in_words(one)}\n" for one in kinds)])


def _same(one: Decision, other: Decision) -> bool:
    return (one.allowed, one.rule) == (other.allowed, other.rule)


def _line(what: str, decision: Decision) -> str:
    return f"{_WORDS[decision.allowed]:<8} {what}  {decision.rule}: {escape(decision.text)}\n"
