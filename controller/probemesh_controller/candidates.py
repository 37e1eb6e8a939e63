"""By which addresses one agent probes another. Pure.

An address that the prober has too, or that two agents claim, says nothing about who would answer; it is
used only where it was configured so on purpose. An agent that was told its addresses says so in its hello
(``advertised``); loopback ones must have been, as no agent gathers those by itself.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace

from probemesh_shared import failures
from probemesh_shared.failures import outcome_of
from probemesh_shared.model import AgentInfo, Failure, Measurement, Options, Spec, Target
from probemesh_shared.session.frames import ADVERTISED
from probemesh_shared.words import FailureKind, Family, Kind, Origin, Stage

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _parse(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    useless = address.is_unspecified or address.is_multicast or address.is_link_local
    return None if useless or address == ipaddress.IPv4Address("255.255.255.255") else address


def readable(addresses: Iterable[str]) -> tuple[str, ...]:
    """The canonical spellings of those that could be probed at all, each once, in their order."""
    return tuple(dict.fromkeys(str(address) for text in addresses if (address := _parse(text)) is not None))


def usable(prober: AgentInfo, target: AgentInfo, fleet: Iterable[AgentInfo]) -> tuple[str, ...]:
    """Addresses of ``target`` that mean ``target`` alone when ``prober`` dials them."""
    configured = ADVERTISED in target.capabilities
    others = {address for a in (prober, *fleet) if a.id != target.id for address in readable(a.addresses)}
    return tuple(
        text
        for text in readable(target.addresses)
        if configured or text not in others or ipaddress.ip_address(text).is_loopback
    )


@dataclass(frozen=True, slots=True)
class Addressed:
    """``targets`` are ready for the job; ``indices`` say which of the run's each is; ``refused`` are rows for
    those that this prober cannot probe, with the run's index."""

    targets: tuple[Target, ...]
    indices: tuple[int, ...]
    refused: tuple[Measurement, ...]


def address(
    spec: Spec, targets: tuple[Target, ...], prober: AgentInfo, fleet: tuple[AgentInfo, ...], now_ns: int
) -> Addressed:
    """Fills the addresses of ``agent:`` targets for one prober."""
    ready: list[Target] = []
    indices: list[int] = []
    refused: list[Measurement] = []
    for index, target in enumerate(targets):
        failure = None
        if target.agent is not None:
            target, failure = _fill(target, prober, fleet, spec.options.family)
        if failure is None:
            ready.append(target)
            indices.append(index)
        else:
            refused.append(_row(spec, target, index, failure, now_ns))
    return Addressed(tuple(ready), tuple(indices), tuple(refused))


def unsupported(spec: Spec, targets: tuple[Target, ...], detail: str, now_ns: int) -> tuple[Measurement, ...]:
    """Rows for a spec that is not sent to an agent because it cannot do what is asked."""
    failure = failures.unsupported(Stage.SEND, detail)
    return tuple(_row(spec, target, index, failure, now_ns) for index, target in enumerate(targets))


def _fill(
    target: Target, prober: AgentInfo, fleet: tuple[AgentInfo, ...], family: Family
) -> tuple[Target, Failure | None]:
    named = next((agent for agent in fleet if agent.name == target.agent), None)
    if named is None:
        return target, _failure(FailureKind.NOT_ADDRESSABLE, f"there is no agent {target.agent}")
    if named.name == prober.name:
        return target, _failure(FailureKind.OWN_ADDRESS, f"{prober.name} is the target itself")
    addresses = usable(prober, named, fleet)
    if not addresses:
        why = "none that is its alone" if named.addresses else "none known"
        return target, _failure(
            FailureKind.NOT_ADDRESSABLE, f"{named.name} has no usable address for {prober.name} ({why})"
        )
    if not any(_is_of(family, text) for text in addresses):
        what = "IPv6" if family is Family.IPV6 else "IPv4"
        return target, _failure(
            FailureKind.NOT_ADDRESSABLE, f"{named.name} has no usable {what} address for {prober.name}"
        )
    return replace(target, host=target.host or named.name, addresses=addresses), None


def _is_of(family: Family, text: str) -> bool:
    return family is Family.BOTH or (family is Family.IPV6) == (":" in text)


def _failure(kind: FailureKind, detail: str) -> Failure:
    return Failure(Stage.RESOLVE, kind, Origin.AGENT, detail)


def kind_of(spec: Spec, target: Target) -> Kind:
    """The kind under which a row that was never probed is shown; a ladder's first rung is its resolving."""
    kind = Kind(type(spec).__name__.removesuffix("Spec").lower())
    return (target.kind or Kind.DNS) if kind is Kind.LADDER else kind


def _row(spec: Spec, target: Target, index: int, failure: Failure, now_ns: int) -> Measurement:
    options: Options = spec.options
    port = target.ports[0].first if len(target.ports) == 1 else None
    return Measurement(
        kind=kind_of(spec, target),
        target_index=index,
        target=target.text,
        address=None,
        port=port,
        outcome=outcome_of(failure),
        started_ns=now_ns,
        failure=failure,
        log=(f"{failure.detail}; family {options.family}",),
    )
