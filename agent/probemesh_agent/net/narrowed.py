"""One job's view of the network: what this host's policy allows, and what the mesh has narrowed it to.

It stands before the real one and only ever takes away: whatever passes here has passed the policy as well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any, cast

from probemesh_shared.model import Failure, Narrowing, Options, PortRange, Target
from probemesh_shared.narrowing import MOST_NARROWINGS
from probemesh_shared.words import FailureKind, Kind, Origin, Stage

from probemesh_agent.env import (
    Address,
    Datagrams,
    Nameservers,
    Network,
    ProbeFailed,
    Refused,
    Resolution,
    Stream,
)
from probemesh_agent.net.judge import refused_of
from probemesh_agent.net.literals import parse_literal
from probemesh_agent.net.ranges import IPAddress, IPNetwork, embedded, strip_scope, unmapped, unmapped_network
from probemesh_agent.net.resolved import Resolved, plain_name
from probemesh_agent.net.rungs import Decision, Rungs


@dataclass(frozen=True, slots=True)
class Lens:
    """One narrowing, ready to judge."""

    networks: tuple[IPNetwork, ...]
    denied: tuple[IPNetwork, ...]
    rungs: Rungs
    source: str

    @classmethod
    def of(cls, narrowing: Narrowing) -> "Lens":
        """Raises ValueError where a network cannot be read: such a job is not to be done at all."""
        return cls(
            _networks(narrowing.networks),
            _networks(narrowing.deny_networks),
            Rungs(narrowing.kinds, tuple(name.lower() for name in narrowing.names), narrowing.ports),
            narrowing.source[:200] or "the mesh",
        )

    def explain(self, address: IPAddress, *, named: bool) -> Decision:
        """``named``: our own resolver came to it by a name that passed, or this host itself is set up so."""
        outer = strip_scope(unmapped(address))
        every = (outer, *(inner for _, inner in embedded(outer)))
        if any(_holds(self.denied, one) for one in every):
            return Decision(False, "narrowed", f"{outer} is in a network that {self.source} denies")
        listed = bool(self.networks) and all(_holds(self.networks, one) for one in every)
        if self.networks and not listed:
            return Decision(False, "narrowed", f"{outer} is in no network that {self.source} allows")
        if self.rungs.names and not (named or listed):
            return Decision(False, "narrowed", f"{outer} was come to by no name that {self.source} allows")
        return Decision(True, "narrowed", f"{outer} is within what {self.source} allows")


def _networks(texts: Sequence[str]) -> tuple[IPNetwork, ...]:
    return tuple(unmapped_network(ip_network(text, strict=False)) for text in texts)


def _holds(networks: Sequence[IPNetwork], address: IPAddress) -> bool:
    return any(network.version == address.version and address in network for network in networks)


def narrowed(network: Network, narrowings: Sequence[Narrowing]) -> Network:
    """The view of a job with these narrowings. What cannot be read lets nothing through."""
    if not narrowings:
        return network
    try:
        if len(narrowings) > MOST_NARROWINGS:
            raise ValueError(f"more than {MOST_NARROWINGS} narrowings")
        lenses = tuple(map(Lens.of, narrowings))
    except ValueError as error:
        return cast(
            Network, _Narrowed(network, (), f"what the mesh narrows this job to cannot be read: {error}")
        )
    return cast(Network, _Narrowed(network, lenses))


class _Narrowed:
    """:class:`probemesh_agent.env.Network`; what is not named here is the real one's."""

    def __init__(self, network: Network, lenses: tuple[Lens, ...], unreadable: str = "") -> None:
        self._network = network
        self._lenses = lenses
        self._unreadable = unreadable
        self._resolved = Resolved()

    def __getattr__(self, name: str) -> Any:
        if name not in _PASSED_ON:
            raise AttributeError(name)
        return getattr(self._network, name)

    # --- what is judged -------------------------------------------------------------------------------

    def refused_kind(self, kind: Kind) -> Failure | None:
        judged = self._first(lambda lens: lens.rungs.of_kind(kind, lens.source))
        return self._network.refused_kind(kind) or judged

    def refused_port(self, port: int) -> Failure | None:
        judged = self._first(lambda lens: lens.rungs.of_port(port, lens.source)) if port else None
        return self._network.refused_port(port) or judged

    def refused_ports(self, spans: Sequence[PortRange]) -> Mapping[int, Failure]:
        judged = self._network.refused_ports(spans)
        if not self._unreadable and not any(lens.rungs.ports for lens in self._lenses):
            return judged
        return refused_of(spans, self.refused_port)

    def refused_name(self, host: str) -> Failure | None:
        refused = self._network.refused_name(host)
        if refused is not None or parse_literal(host) is not None:
            return refused or self._first(lambda lens: _fine)
        return self._first(lambda lens: lens.rungs.of_name(plain_name(host), lens.source))

    def _refused(self, host: str, address: IPAddress, *, own: bool = False) -> Failure | None:
        named = own or self._resolved.has(host, address)
        return self._first(lambda lens: lens.explain(address, named=named))

    def _first(self, judge: Callable[[Lens], Decision]) -> Failure | None:
        if self._unreadable:
            return _denied(self._unreadable)
        for lens in self._lenses:
            if not (decision := judge(lens)).allowed:
                return _denied(decision.text)
        return None

    # --- the network ----------------------------------------------------------------------------------

    async def resolve(self, target: Target, options: Options, deadline: float) -> Resolution:
        if not target.addresses and (refused := self.refused_name(target.host)) is not None:
            return Resolution(target.host, failure=refused)
        found = await self._network.resolve(target, options, deadline)
        return self._kept(found)

    async def resolve_host(self, host: str, options: Options, deadline: float) -> Resolution:
        if (refused := self.refused_name(host)) is not None:
            return Resolution(host, failure=refused)
        return self._kept(await self._network.resolve_host(host, options, deadline))

    def _kept(self, found: Resolution) -> Resolution:
        """Of what the policy lets through, what the narrowings let through too."""
        read = [(address, ip_address(address.host)) for address in found.addresses]
        if found.names_asked:
            self._resolved.note(found.host, [address for _, address in read])
        kept: list[Address] = []
        refused = list(found.refused)
        for address, number in read:
            failure = self._refused(found.host, number)
            if failure is None:
                kept.append(address)
            else:
                refused.append(Refused(address.host, failure))
        nothing = found.failure
        if not kept and nothing is None and refused:
            nothing = refused[-1].failure
        return replace(found, addresses=tuple(kept), refused=tuple(refused), failure=nothing)

    def nameservers(self, options: Options) -> Nameservers:
        found = self._network.nameservers(options)
        judged = [(one, self._refused("", ip_address(one.host), own=True)) for one in found.addresses]
        return replace(
            found,
            addresses=tuple(one for one, failure in judged if failure is None),
            refused=(*found.refused, *(Refused(one.host, why) for one, why in judged if why is not None)),
        )

    def may_answer(self, address: str) -> bool:
        number = parse_literal(address)
        if number is None or not self._network.may_answer(address):
            return False
        return self._first(lambda lens: lens.explain(number, named=True)) is None

    async def connect(self, address: Address, port: int, options: Options, deadline: float) -> Stream:
        if (refused := self.refused_port(port)) is not None:
            raise ProbeFailed(refused)
        return await self._network.connect(address, port, options, deadline)

    async def datagrams(self, address: Address, port: int, options: Options, deadline: float) -> Datagrams:
        if (refused := self.refused_port(port)) is not None:
            raise ProbeFailed(refused)
        return await self._network.datagrams(address, port, options, deadline)


#: What a narrowing says nothing about. A part of the network that is new must be put here or judged above.
_PASSED_ON = frozenset({"admit", "sending", "engine", "is_own", "name_files", "may_listen"})
_fine = Decision(True, "literal", "")


def _denied(detail: str) -> Failure:
    return Failure(Stage.RESOLVE, FailureKind.DENIED, Origin.AGENT, detail)


__all__ = ["Lens", "narrowed"]
