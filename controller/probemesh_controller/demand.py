"""What a probe sends: how many packets and connections, over how long. Pure."""

from dataclasses import dataclass

from probemesh_shared.model import (
    DnsSpec,
    FlowSpec,
    HttpSpec,
    IcmpSpec,
    LadderSpec,
    MtuSpec,
    Spec,
    Target,
    TcpSpec,
    TlsSpec,
    TraceSpec,
    UdpSpec,
    WatchSpec,
)
from probemesh_shared.words import DnsTransport, Transport

#: Connections of one enumeration of versions and ciphers, most of the time.
_ENUMERATED = 80
#: Sizes that a search for a path's MTU tries.
_HALVINGS = 16


@dataclass(frozen=True, slots=True)
class Demand:
    """What one agent sends to one target for one spec."""

    packets: int = 0
    connects: int = 0


def _ports(target: Target) -> int:
    return sum(r.last - r.first + 1 for r in target.ports) or 1


def demand(spec: Spec, target: Target) -> Demand:
    """An upper estimate for one address; a ladder may add one connection each for TLS and HTTP."""
    count, ports = spec.options.count, _ports(target)
    match spec:
        case DnsSpec(transport=transport):
            asked = count + spec.dnssec + spec.all_servers
            return Demand(packets=asked) if transport is DnsTransport.UDP else Demand(connects=asked)
        case IcmpSpec():
            return Demand(packets=count)
        case UdpSpec():
            return Demand(packets=count * ports)
        case TlsSpec():
            further = 1 + spec.ocsp + _ENUMERATED * spec.enumerate  # one, where a chain does not verify
            return Demand(connects=(count + further) * ports)
        case HttpSpec():
            return Demand(connects=count * ports * (spec.follow + 1))
        case TcpSpec():
            return Demand(connects=count * ports)
        case LadderSpec():
            return Demand(packets=count, connects=count * ports + 2 if target.ports else 0)
        case TraceSpec(max_hops=hops):
            return Demand(packets=count * hops)
        case MtuSpec():
            return Demand(packets=count * _HALVINGS)
        case FlowSpec(transport=transport, shots=shots):
            several = len(shots) or count
            return Demand(connects=several) if transport is Transport.TCP else Demand(packets=several)
        case WatchSpec():
            return Demand()


def natural_s(spec: Spec) -> float:
    """Seconds over which the attempts spread by themselves; never less than one."""
    if isinstance(spec, FlowSpec) and spec.shots:
        return max(1.0, max(shot.at_ms for shot in spec.shots) / 1000)
    return max(1.0, (spec.options.count - 1) * spec.options.interval_s)
