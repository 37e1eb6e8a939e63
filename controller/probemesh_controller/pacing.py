"""Mesh-wide limits to one target: how much each agent may send, and what to tell people where that slows a
run.

Limits are per target as it was named (an address, or a name: all of its addresses together, which is
stricter), over all agents and all runs of this controller at a time. Loopback is exempt at the agent. Pure
but for the ledger of what is under way.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from probemesh_shared.model import (
    DnsSpec,
    FlowSpec,
    HttpSpec,
    IcmpSpec,
    LadderSpec,
    MtuSpec,
    Pacing,
    Spec,
    Target,
    TcpSpec,
    TlsSpec,
    TraceSpec,
    UdpSpec,
    WatchSpec,
)
from probemesh_shared.words import DnsTransport, Transport

PACKETS_PER_S = 500.0
CONNECTS_PER_S = 100.0
#: What a run gets even where others have taken all: a fleet of clients must not starve each other.
_FLOOR = 0.05
#: Twice the natural rate is room enough not to be felt; more is left for others.
_ROOM = 2.0
#: A flow's shots are laid out in time by whoever planned it: where a second of it lies within the limit it
#: is not paced, only counted.
_AS_LAID_OUT = 10.0
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
            several = len(shots)
            return Demand(connects=several) if transport is Transport.TCP else Demand(packets=several)
        case WatchSpec():
            return Demand()


def _natural_s(spec: Spec) -> float:
    """Seconds over which the attempts spread by themselves; never less than one."""
    if isinstance(spec, FlowSpec) and spec.shots:
        return max(1.0, max(shot.at_ms for shot in spec.shots) / 1000)
    return max(1.0, (spec.options.count - 1) * spec.options.interval_s)


def is_loopback(target: Target) -> bool:
    """True where nothing but loopback can be meant: no pacing there, and nothing to announce."""
    names = target.addresses or (target.host,)
    return all(_loopback(name) for name in names)


def _loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _key(target: Target) -> str:
    return f"agent:{target.agent}" if target.agent else target.host.lower()


@dataclass(frozen=True, slots=True)
class PacingPlan:
    """``pacing`` goes into each of the run's jobs; ``notes`` are for people."""

    pacing: Pacing
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Ledger:
    """What the runs under way may send, by target."""

    packets_per_s: float = PACKETS_PER_S
    connects_per_s: float = CONNECTS_PER_S
    _claims: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)

    def claim(
        self, run_id: str, specs: Sequence[Spec], targets: Sequence[Target], agents: int, deadline_s: float
    ) -> PacingPlan:
        """Reserves this run's rates, to be given back by ``release``."""
        jobs = max(1, agents * len(specs))
        natural = max((_natural_s(spec) for spec in specs), default=1.0)
        notes: list[str] = []
        laid_out = all(isinstance(spec, FlowSpec) for spec in specs)
        packets, connects = (
            _AS_LAID_OUT * limit if laid_out else limit for limit in (self.packets_per_s, self.connects_per_s)
        )
        claims: dict[str, tuple[float, float]] = {}
        for key, sums in self._sums(specs, targets).items():
            wanted = agents * sums.packets, agents * sums.connects
            room = 1 if laid_out else _ROOM
            rates = (
                self._share(key, 0, room * wanted[0] / natural, self.packets_per_s),
                self._share(key, 1, room * wanted[1] / natural, self.connects_per_s),
            )
            claims[key] = rates
            if not laid_out or rates[0] * natural < wanted[0]:
                packets = min(packets, rates[0])
            if not laid_out or rates[1] * natural < wanted[1]:
                connects = min(connects, rates[1])
            for total, rate, noun in zip(wanted, rates, ("packets", "connections"), strict=True):
                notes += _note(key, total, rate, noun, natural, deadline_s)
        self._claims[run_id] = claims
        return PacingPlan(Pacing(packets / jobs, connects / jobs), tuple(notes))

    def release(self, run_id: str) -> None:
        self._claims.pop(run_id, None)

    def _sums(self, specs: Sequence[Spec], targets: Iterable[Target]) -> dict[str, Demand]:
        sums: dict[str, Demand] = {}
        for target in targets:
            if is_loopback(target):
                continue
            before = sums.get(_key(target), Demand())
            parts = [demand(spec, target) for spec in specs]
            sums[_key(target)] = Demand(
                before.packets + sum(part.packets for part in parts),
                before.connects + sum(part.connects for part in parts),
            )
        return sums

    def _share(self, key: str, which: int, wanted_rate: float, limit: float) -> float:
        taken = sum(claims[key][which] for claims in self._claims.values() if key in claims)
        return min(max(wanted_rate, 1.0), max(limit - taken, limit * _FLOOR))


def _note(key: str, total: int, rate: float, noun: str, natural_s: float, deadline_s: float) -> list[str]:
    seconds = total / rate
    if seconds <= 1.5 * natural_s:
        return []
    text = f"pacing: {total} {noun} to {key} at {rate:.0f}/s mesh-wide take at least {seconds:.0f} s"
    if seconds > deadline_s:
        text += f"; the deadline of {deadline_s:g} s leaves {1 - deadline_s / seconds:.0%} unmeasured"
    return [text]
