"""From where a pair leads and what a schedule asks for to the cells of the pair, each with what an agent is
asked for it. Pure.

The ports that stand in an end win over those of the kinds; a TARGET whose spelling forces a kind is measured
by that kind alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from probemesh_shared.model import (
    DnsSpec,
    FlowSpec,
    HttpSpec,
    IcmpSpec,
    Options,
    PortRange,
    Spec,
    Target,
    TcpSpec,
    TlsSpec,
    UdpSpec,
)
from probemesh_shared.slots import Cell
from probemesh_shared.targets import expand_ports, parse_target, unparse
from probemesh_shared.words import Family, Kind, Transport

from probemesh_controller.meshes.model import Probe
from probemesh_controller.meshes.probes import label, usual_port


@dataclass(frozen=True, slots=True)
class Aim:
    """One cell, and the TARGET by which its source measures it. ``responder``: UDP to an agent without a port
    of its own: the port is one that the agent opens, and which answers to a token."""

    cell: Cell
    probe: Probe
    target: Target
    responder: bool = False

    @property
    def agent(self) -> str | None:
        """The target, where it is an agent."""
        return self.target.agent


@dataclass(frozen=True, slots=True)
class Way:
    """One probe to an end, whoever the source is. ``name``: the target of its cells."""

    name: str
    label: str
    probe: Probe
    target: Target
    responder: bool = False

    def aim(self, source: str) -> Aim:
        return Aim(Cell(source, self.name, self.label), self.probe, self.target, self.responder)


def ways(to: Target, probes: Sequence[Probe], family: Family) -> tuple[Way, ...]:
    """``to`` is a TARGET, an agent's own perhaps. Empty where its spelling leaves nothing to measure."""
    name = to.agent or to.text
    if to.kind is not None:
        return tuple(Way(name, label(probe, family), probe, target) for probe, target in _forced(to))
    found: dict[Probe, Way] = {}
    for asked in probes:
        for probe, target in _aimed(to, asked):
            responder = to.agent is not None and probe == Probe(Kind.UDP)
            found.setdefault(probe, Way(name, label(probe, family), probe, target, responder))
    return tuple(found.values())


def spec_of(aim: Aim, options: Options, token: bytes | None = None) -> Spec:
    """What is sent. ``token`` is what the responder answers to, where the aim wants one."""
    match aim.probe.kind:
        case Kind.ICMP:
            return IcmpSpec(options)
        case Kind.UDP if aim.responder:
            return FlowSpec(options, Transport.UDP, token=token)
        case Kind.UDP:
            return UdpSpec(options)
        case Kind.TLS:
            return TlsSpec(_unsized(options))
        case Kind.HTTP:
            return HttpSpec(_unsized(options))
        case Kind.DNS:
            return DnsSpec(_unsized(options))
    return TcpSpec(_unsized(options))


def _unsized(options: Options) -> Options:
    """A payload's size is a matter of icmp and udp."""
    return options if options.size is None else replace(options, size=None)


def _forced(to: Target) -> Iterator[tuple[Probe, Target]]:
    assert to.kind is not None
    for port in expand_ports(to.ports) or (None,):
        yield Probe(to.kind, port, to.secure), _with_port(to, port)


def _aimed(to: Target, asked: Probe) -> Iterator[tuple[Probe, Target]]:
    if asked.kind is Kind.ICMP:
        yield asked, _pinged(to)
        return
    ports = expand_ports(to.ports)
    if not ports and asked.kind is Kind.UDP and asked.port is None:
        if to.agent is not None:
            yield asked, to
        return
    usual = usual_port(asked)
    for port in ports or (() if usual is None else (usual,)):
        probe = replace(asked, port=port)
        target = replace(_with_port(to, port), secure=probe.secure)
        yield probe, target if to.agent is not None else _spelled(target, probe)


def _spelled(target: Target, probe: Probe) -> Target:
    """HTTP asks for a URL."""
    if probe.kind is not Kind.HTTP:
        return replace(target, secure=False)
    url = replace(target, kind=Kind.HTTP, path="/")
    return replace(url, text=unparse(url))


def _pinged(to: Target) -> Target:
    if to.agent is not None:
        return _with_port(to, None)
    return parse_target(f"icmp:{to.host}")


def _with_port(target: Target, port: int | None) -> Target:
    ported = replace(target, ports=() if port is None else (PortRange(port, port),))
    return replace(ported, text=unparse(ported))
