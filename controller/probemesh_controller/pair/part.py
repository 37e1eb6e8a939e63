"""Who can take part in a case, and with what. Pure."""

from collections.abc import Iterable
from dataclasses import replace

from probemesh_shared.errors import NotFound
from probemesh_shared.model import AgentInfo, PortRange, Target
from probemesh_shared.names import did_you_mean, join_host_port
from probemesh_shared.words import AgentState, Kind

from probemesh_controller.pair.case import Case, End, EndRole, Step


def named(fleet: Iterable[AgentInfo], name: str) -> AgentInfo:
    known = tuple(fleet)
    for info in known:
        if info.name == name:
            return info
    hint = did_you_mean(name, (info.name for info in known)) or "see: meshctl agents"
    raise NotFound(f"there is no agent {name}", hint)


def cannot(info: AgentInfo, kind: Kind) -> str | None:
    """Why an agent is not even asked; the reader knows which."""
    if info.state is not AgentState.CONNECTED:
        state = "revoked" if info.state is AgentState.REVOKED else "not connected"
        return f"it is {state}" + (f": {info.reason}" if info.reason else "")
    if f"kind:{kind}" not in info.capabilities:
        version = info.version or "an older version"
        return f"it runs {version}, which knows no {kind}: upgrade it"
    return None


def no_listener(end: End) -> str | None:
    """Where ``--listen`` was asked for and is not to be had; what listens there already is watched."""
    failure = end.armed.listen_failure if end.armed is not None else None
    if failure is None:
        return None
    return f"{end.name} does not listen there itself: {failure.detail or failure.kind}"


def kind_of(step: Step) -> Kind:
    return Kind(type(step.spec).__name__.removesuffix("Spec").lower())


def target_of(address: str, port: int | None) -> Target:
    ports = () if port is None else (PortRange(port, port),)
    text = address if port is None else join_host_port(address, port)
    return Target(text, address, ports)


def with_lost(case: Case, names: Iterable[str]) -> Case:
    """Who was there at the beginning and went away, each once."""
    return replace(case, lost=tuple(dict.fromkeys((*case.lost, *names))))


def takes_part(case: Case, end: End) -> bool:
    there = end.info.state is AgentState.CONNECTED and end.name not in case.lost
    return there and end.role is not EndRole.THIRD
