"""Which traces and control probes follow a failure, so that a finding can say where it lies. Pure.

Bounded: a few vantage points that fail and one that does not, one address each. Loopback has no way that
could be traced; agents that know no traces are left alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from probemesh_shared.hosts import bracketed
from probemesh_shared.model import (
    AgentInfo,
    IcmpSpec,
    Measurement,
    Options,
    PortRange,
    Spec,
    Target,
    TargetResult,
    TcpSpec,
    TraceSpec,
    Vantage,
)
from probemesh_shared.selectors import SELF
from probemesh_shared.targets import count_ports, unparse
from probemesh_shared.words import AgentState, Family, Kind, Outcome, Stage, Transport

#: TARGETs of one run, failing vantage points of one TARGET, and seconds that it may take.
MOST_TARGETS, MOST_FAILING = 2, 3
LONGEST_S, LEAST_S = 12.0, 2.5
#: This word among an agent's capabilities says that it can trace.
CAN_TRACE = f"kind:{Kind.TRACE}"
_FAILS = frozenset({Outcome.TIMEOUT, Outcome.UNREACHABLE, Outcome.PROHIBITED, Outcome.REFUSED})
_TRANSPORTS = {Kind.UDP: Transport.UDP, Kind.ICMP: Transport.ICMP}
_RUNGS = frozenset({Kind.TCP, Kind.UDP, Kind.ICMP, Kind.TLS, Kind.HTTP})
_CONNECTED = frozenset({Kind.TLS, Kind.HTTP})


@dataclass(frozen=True, slots=True)
class Ask:
    """One spec for some agents, about result ``index``. ``target`` is what is asked: a control's is another
    one."""

    agents: tuple[str, ...]
    index: int
    target: Target
    spec: Spec


@dataclass(frozen=True, slots=True)
class _Way:
    agent: str
    row: Measurement

    @property
    def transport(self) -> Transport:
        return _TRANSPORTS.get(self.row.kind, Transport.TCP)


def follow_up(
    results: Sequence[TargetResult], agents: Iterable[AgentInfo], controller: tuple[str, int] | None = None
) -> tuple[Ask, ...]:
    """What is asked; empty where nothing is worth it. ``controller`` is the address that agents dial: a
    target that is known to be good."""
    known = {agent.name: agent for agent in agents}
    asks: list[Ask] = []
    for index, result in enumerate(results):
        mine = _for_one(index, result, known, controller)
        asks += mine
        if len({ask.index for ask in asks}) >= MOST_TARGETS:
            break
    return tuple(asks)


def _for_one(
    index: int,
    result: TargetResult,
    known: Mapping[str, AgentInfo],
    controller: tuple[str, int] | None,
) -> list[Ask]:
    if result.target.kind is Kind.DNS or count_ports(result.target.ports) > 1:
        return []
    able = [one for one in result.vantages if not one.is_target and _can_trace(one.agent, known)]
    failing = _spread([(one, way) for one in able if (way := _failing(one)) is not None])
    if not failing:
        return []
    working = next((way for one in able if (way := _working(one, failing)) is not None), None)
    asks = [_trace(index, result.target, way) for way in (*failing, *([working] if working else []))]
    asks += [
        _trace(index, result.target, way, Transport.ICMP)
        for way in failing
        if way.transport is not Transport.ICMP
    ]
    mute = tuple(way.agent for way in failing if way.row.outcome is Outcome.TIMEOUT)
    return [*asks, *_controls(index, result, mute, known, controller)] if mute else asks


def _can_trace(name: str, known: Mapping[str, AgentInfo]) -> bool:
    return name == SELF or (name in known and CAN_TRACE in known[name].capabilities)


def _failing(vantage: Vantage) -> _Way | None:
    """The rung that broke before the service was asked anything."""
    if vantage.failed_at not in _RUNGS or vantage.outcome not in _FAILS or vantage.expect_fail:
        return None
    for row in vantage.measurements:
        late = row.kind in _CONNECTED and (row.failure is None or row.failure.stage is not Stage.CONNECT)
        if row.kind is vantage.failed_at and row.outcome is vantage.outcome and not late and _far(row):
            return _Way(vantage.agent, row)
    return None


def _working(vantage: Vantage, failing: Sequence[_Way]) -> _Way | None:
    """It reaches an address that others do not."""
    wanted = {way.row.address for way in failing}
    if vantage.outcome is not Outcome.OK or vantage.expect_fail:
        return None
    kinds = {way.row.kind for way in failing}
    for row in vantage.measurements:
        if row.kind in kinds and row.outcome is Outcome.OK and row.address in wanted and _far(row):
            return _Way(vantage.agent, row)
    return None


def _far(row: Measurement) -> bool:
    try:
        address = ip_address((row.address or "").partition("%")[0])
    except ValueError:  # agents are not trusted with the form of an address
        return False
    return not (address.is_loopback or address.is_link_local)


def _spread(found: Sequence[tuple[Vantage, _Way]]) -> list[_Way]:
    """At most a few, of different sites as far as there are."""
    firsts: dict[str | None, _Way] = {}
    rest = []
    for vantage, way in sorted(found, key=lambda one: one[0].agent):
        if vantage.site in firsts:
            rest.append(way)
        else:
            firsts[vantage.site] = way
    return [*firsts.values(), *rest][:MOST_FAILING]


def _trace(index: int, target: Target, way: _Way, transport: Transport | None = None) -> Ask:
    """To the very address; twice a hop is enough to tell where it ends."""
    address = way.row.address or ""
    chosen = transport or way.transport
    family = Family.IPV6 if ":" in address else Family.IPV4
    options = Options(family=family, count=2 if transport is None else 1, timeout_s=2.0)
    port = way.row.port
    ports = () if chosen is Transport.ICMP or port is None else (PortRange(port, port),)
    made = replace(target, ports=ports, kind=None, path="", secure=False)
    if target.agent is None:
        made = replace(made, addresses=(address,))
    # contrast needs another kind of packet: pings, or datagrams from agents that may not ping
    return Ask((way.agent,), index, made, TraceSpec(options, None if transport else chosen))


def _controls(
    index: int,
    result: TargetResult,
    mute: tuple[str, ...],
    known: Mapping[str, AgentInfo],
    controller: tuple[str, int] | None,
) -> list[Ask]:
    """Known-good targets for those who hear nothing: the controller, and an agent that reaches the target."""
    asks = []
    if controller is not None and _is_elsewhere(controller[0]):
        host, port = controller
        target = Target(f"{bracketed(host)}:{port}", host, (PortRange(port, port),))
        asks.append(Ask(mute, index, target, TcpSpec(Options(count=2, timeout_s=2.0))))
    well = [one.agent for one in result.vantages if one.outcome is Outcome.OK and one.agent in known]
    good = [name for name in well if known[name].state is AgentState.CONNECTED and known[name].addresses]
    if good:
        target = Target("", good[0], agent=good[0])
        target = replace(target, text=unparse(target))
        others = tuple(name for name in mute if name != SELF)
        asks += [Ask(others, index, target, IcmpSpec(Options(count=3, timeout_s=2.0)))] if others else []
    return asks


def _is_elsewhere(host: str) -> bool:
    """Loopback answers whatever the link is like."""
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


__all__ = ["CAN_TRACE", "LEAST_S", "LONGEST_S", "Ask", "follow_up"]
