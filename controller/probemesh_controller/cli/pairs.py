"""What ``meshctl diagnose`` was asked, read: which two agents, by what, or one agent and a target that is
none. Pure; who exists is handed in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from probemesh_shared.errors import InvalidRequest, NotFound
from probemesh_shared.escape import escape
from probemesh_shared.hosts import is_address
from probemesh_shared.model import AgentInfo, PortRange, Target
from probemesh_shared.names import closest, did_you_mean
from probemesh_shared.selectors import SELF, check_agent
from probemesh_shared.targets import count_ports, parse_target, unparse
from probemesh_shared.words import AgentState, Family, Kind, Transport

from probemesh_controller.candidates import readable
from probemesh_controller.cli.output import Format
from probemesh_controller.cli.specs.values import read_bytes
from probemesh_controller.pair.case import Asked, Limits

LEAST_S, MOST_S = 2.0, 300.0
MOST_IDLE_S = 60.0
LEAST_PACKETS, USUAL_PACKETS, MOST_PACKETS = 50, 3000, 100_000
_TRANSPORTS = {
    None: Transport.TCP,
    Kind.TCP: Transport.TCP,
    Kind.HTTP: Transport.TCP,
    Kind.UDP: Transport.UDP,
}
_BOTH_ENDS = "it needs an agent at both ends, and TO is none"


@dataclass(frozen=True, slots=True)
class PairAsked:
    """The command line."""

    from_: str | None = None
    to: str | None = None
    tcp: int | None = None
    udp: int | None = None
    icmp: bool = False
    reverse_port: int | None = None
    address: str | None = None
    listen: bool = False
    send: str | None = None
    idle: float = 0.0
    ticket: bool = False
    ipv4: bool = False
    ipv6: bool = False
    deadline: float = 30.0
    max_packets: int = USUAL_PACKETS
    save: str | None = None
    replay: str | None = None
    output: Format = Format.TABLE

    @property
    def family(self) -> Family:
        return Family.IPV4 if self.ipv4 else Family.IPV6 if self.ipv6 else Family.BOTH


@dataclass(frozen=True, slots=True)
class OneEnded:
    """``target`` is no agent's."""

    source: str
    target: Target


@dataclass(frozen=True, slots=True)
class Flow:
    """What is sent: ``port`` None with ICMP."""

    transport: Transport
    port: int | None


def check(asked: PairAsked) -> None:
    """What can be said without knowing who exists. Raises InvalidRequest."""
    if asked.ticket and asked.output not in (Format.TABLE, Format.WIDE):
        raise InvalidRequest(f"--ticket is a text: it does not go with -o {asked.output}", "give one of them")
    if asked.replay is not None:
        _check_replay(asked)
        return
    if not asked.from_ or not asked.to:
        raise InvalidRequest(
            "diagnose wants two ends", "meshctl diagnose FROM TO --tcp PORT, or --replay FILE"
        )
    if asked.ipv4 and asked.ipv6:
        raise InvalidRequest("-4 and -6 exclude each other", "give neither to have both")
    given = [name for name, value in _flows(asked) if value]
    if len(given) > 1:
        raise InvalidRequest(f"{' and '.join(given)} exclude each other", "one at a time")
    for name, port in (("--tcp", asked.tcp), ("--udp", asked.udp), ("--reverse-port", asked.reverse_port)):
        if port is not None and not 1 <= port <= 65535:
            raise InvalidRequest(f"{name} {port} is no port", "ports are 1 to 65535")
    _check_limits(asked)
    flow = flow_of(asked, parse_target(asked.to))
    if flow.transport is Transport.ICMP and (asked.reverse_port is not None or asked.listen):
        option = "--listen" if asked.listen else "--reverse-port"
        raise InvalidRequest(f"ping has no ports: {option} means nothing here", "give --tcp or --udp")
    if asked.address is not None:
        _check_address(asked.address, asked.family)
    _check_extras(asked, flow)


def _check_extras(asked: PairAsked, flow: Flow) -> None:
    if asked.send is not None and flow.transport is not Transport.TCP:
        raise InvalidRequest(f"--send is for connections, and this is {flow.transport}", "give --tcp PORT")
    if asked.idle and flow.transport is not Transport.UDP:
        raise InvalidRequest(f"--idle is for flows of UDP, and this is {flow.transport}", "give --udp PORT")
    if asked.idle and not 1.0 <= asked.idle <= min(MOST_IDLE_S, asked.deadline / 2):
        most = min(MOST_IDLE_S, asked.deadline / 2)
        raise InvalidRequest(f"--idle {asked.idle:g} is out of range", f"1 to {most:g} s: half of --deadline")


def _flows(asked: PairAsked) -> tuple[tuple[str, bool], ...]:
    return ("--tcp", asked.tcp is not None), ("--udp", asked.udp is not None), ("--icmp", asked.icmp)


def _check_replay(asked: PairAsked) -> None:
    plain = PairAsked(replay=asked.replay, output=asked.output, ticket=asked.ticket)
    if asked != plain:
        raise InvalidRequest(
            "--replay concludes from what was saved: it takes no ends and no options of a new diagnosis",
            "meshctl diagnose --replay FILE, with --ticket or -o",
        )


def _check_limits(asked: PairAsked) -> None:
    if not LEAST_S <= asked.deadline <= MOST_S:
        raise InvalidRequest(
            f"--deadline {asked.deadline:g} is out of range", f"{LEAST_S:g} to {MOST_S:g} seconds"
        )
    if not LEAST_PACKETS <= asked.max_packets <= MOST_PACKETS:
        raise InvalidRequest(
            f"--max-packets {asked.max_packets} is out of range", f"{LEAST_PACKETS} to {MOST_PACKETS}"
        )


def _check_address(text: str, family: Family) -> None:
    found = readable((text,))
    if not found:
        raise InvalidRequest(f"--address '{escape(text, 60)}' is no address that can be dialled")
    if family is not Family.BOTH and (":" in found[0]) != (family is Family.IPV6):
        raise InvalidRequest(f"--address {found[0]} is not of the family asked for")


def flow_of(asked: PairAsked, to: Target) -> Flow:
    """By the options, else by how TO is written, else ping. Raises InvalidRequest where the two differ."""
    if count_ports(to.ports) > 1:
        raise InvalidRequest("a diagnosis is about one port", "give one: --tcp PORT")
    by_option: Flow | None = None
    if asked.tcp is not None or asked.udp is not None:
        by_option = Flow(Transport.UDP if asked.udp else Transport.TCP, asked.udp or asked.tcp)
    elif asked.icmp:
        by_option = Flow(Transport.ICMP, None)
    by_text: Flow | None = None
    if to.kind is Kind.ICMP:
        by_text = Flow(Transport.ICMP, None)
    elif to.ports and to.kind in _TRANSPORTS:
        by_text = Flow(_TRANSPORTS[to.kind], to.ports[0].first)
    if by_option is not None and by_text is not None and by_option != by_text:
        raise InvalidRequest(f"{escape(to.text, 80)} says one thing and the options another", "give one")
    return by_option or by_text or Flow(Transport.ICMP, None)


def read(asked: PairAsked, agents: Sequence[AgentInfo]) -> Asked | OneEnded:
    """Raises InvalidRequest, and NotFound for agents that there are none of."""
    assert asked.from_ is not None and asked.to is not None
    source, to = as_agent(asked.from_), parse_target(asked.to)
    flow = flow_of(asked, to)
    target, address = agent_of(to, agents)
    if target is None:
        return _one_ended(asked, source, to, flow, agents)
    if source == SELF:
        raise InvalidRequest(
            "self can be no end of a diagnosis: it is no agent that the other end could dial",
            "join this machine (meshctl token create), or ask from one end: meshctl probe",
        )
    check_source(source, agents)
    if source == target:
        raise InvalidRequest(f"{source} is both ends", "give two different agents")
    return Asked(
        source,
        target,
        flow.transport,
        flow.port,
        None if flow.port is None else asked.reverse_port or flow.port,
        asked.family,
        asked.listen,
        Limits(asked.max_packets, asked.deadline),
        readable((asked.address,))[0] if asked.address is not None else address,
        None if asked.send is None else read_bytes(asked.send, "--send"),
        asked.idle,
    )


def as_agent(text: str) -> str:
    """The name of FROM, however it is spelled: TO may be ``B.`` or ``agent:B`` as well."""
    return text.lower().removeprefix("agent:").removesuffix(".")


def check_source(name: str, agents: Sequence[AgentInfo]) -> None:
    if any(char in name for char in ",+=*?[ "):
        raise InvalidRequest(
            f"FROM is one agent, and '{escape(name, 80)}' is none", "meshctl agents lists them"
        )
    check_agent(name, agents)


def agent_of(to: Target, agents: Sequence[AgentInfo]) -> tuple[str | None, str | None]:
    """(agent, the address that was named): by its name, else by an address that it alone has."""
    if to.agent is not None:
        check_agent(to.agent, agents)
        return to.agent, None
    if to.kind is Kind.DNS:
        return None, None
    if any(agent.name == to.host for agent in agents):
        check_agent(to.host, agents)
        return to.host, None
    if not is_address(to.host):
        return None, None
    present = [agent for agent in agents if agent.state is not AgentState.REVOKED]
    owners = [agent.name for agent in present if to.host in readable(agent.addresses)]
    return (owners[0], to.host) if len(owners) == 1 else (None, None)


def _one_ended(
    asked: PairAsked, source: str, to: Target, flow: Flow, agents: Sequence[AgentInfo]
) -> OneEnded:
    assert asked.to is not None
    spelled = "://" in asked.to or asked.to.startswith(("icmp:", "dns:"))
    names = [agent.name for agent in agents if agent.state is not AgentState.REVOKED]
    near = closest(to.host, names)
    bare = not to.ports and "." not in to.host and not is_address(to.host)
    if not spelled and not is_address(to.host) and (near is not None or bare):
        as_host = f"tcp://{to.host}:PORT" if flow.port is None else _spelled(to, flow)
        hint = did_you_mean(to.host, names) or "meshctl agents list shows them."
        raise NotFound(
            f"there is no agent called '{to.host}'", f"{hint} A host that is no agent is written {as_host}"
        )
    for option, given in (
        ("--listen", asked.listen),
        ("--send", asked.send is not None),
        ("--idle", bool(asked.idle)),
        ("--max-packets", asked.max_packets != USUAL_PACKETS),
        ("--ticket", asked.ticket),
        ("--save", asked.save is not None),
        ("--reverse-port", asked.reverse_port is not None),
        ("--address", asked.address is not None),
    ):
        if given:
            raise InvalidRequest(f"{option} does not go with {escape(to.text, 80)}: {_BOTH_ENDS}")
    if source != SELF:
        check_source(source, agents)
    return OneEnded(source, _target(to, flow))


def _spelled(to: Target, flow: Flow) -> str:
    made = _target(to, flow)
    return unparse(replace(made, kind=made.kind or Kind.TCP))


def _target(to: Target, flow: Flow) -> Target:
    """As it would have been written in full."""
    if to.kind in (Kind.DNS, Kind.HTTP):
        return to
    if flow.port is None:
        made = replace(to, kind=Kind.ICMP, ports=())
    else:
        kind = Kind.UDP if flow.transport is Transport.UDP else to.kind
        made = replace(to, kind=kind, ports=(PortRange(flow.port, flow.port),))
    return replace(made, text=unparse(made))
