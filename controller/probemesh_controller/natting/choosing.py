"""Who reflects for whom, and in which family. Pure."""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from probemesh_shared.model import AgentInfo
from probemesh_shared.selectors import SELF
from probemesh_shared.session.frames import ADVERTISED
from probemesh_shared.words import AgentState, Family, Kind

from probemesh_controller.candidates import usable
from probemesh_controller.natting.around import is_private
from probemesh_controller.pair.part import cannot
from probemesh_controller.pair.reaching import of_family

#: More agents, or more addresses of one, tell nothing new.
MOST_REFLECTORS = 3
MOST_ADDRESSES = 2


@dataclass(frozen=True, slots=True)
class Reflector:
    """An agent, and the addresses by which the subject may dial it, best first."""

    info: AgentInfo
    addresses: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.info.name


def family_for(subject: AgentInfo, fleet: Sequence[AgentInfo], asked: Family) -> Family:
    """IPv4 where there is anybody to dial by it, as that is where NATs are; else IPv6."""
    if asked is not Family.BOTH:
        return asked
    return Family.IPV4 if reflectors_for(subject, fleet, Family.IPV4) else Family.IPV6


def reflectors_for(subject: AgentInfo, fleet: Sequence[AgentInfo], family: Family) -> tuple[Reflector, ...]:
    """Those with a public address first, then those of another site: they are most likely to lie beyond
    the NAT. ``self`` cannot be kept waiting for datagrams."""
    there = [agent for agent in fleet if agent.state is not AgentState.REVOKED]
    found = []
    for agent in there:
        if agent.name in (subject.name, SELF) or cannot(agent, Kind.WATCH) is not None:
            continue
        addresses = sorted(of_family(usable(subject, agent, there), family), key=is_private)
        if addresses:
            found.append(Reflector(agent, tuple(addresses[:MOST_ADDRESSES])))
    same_site = subject.site is not None

    def rank(one: Reflector) -> tuple[bool, bool, str]:
        near = same_site and one.info.site == subject.site
        return is_private(one.addresses[0]), near, one.name

    return tuple(sorted(found, key=rank)[:MOST_REFLECTORS])


def helpers_for(subject: AgentInfo, fleet: Sequence[AgentInfo]) -> tuple[AgentInfo, ...]:
    """Who may try to reach the subject; whether they can be dialled does not matter. Other sites first."""
    there = [
        agent
        for agent in fleet
        if agent.name not in (subject.name, SELF) and cannot(agent, Kind.FLOW) is None
    ]
    near = subject.site
    there.sort(key=lambda agent: (near is not None and agent.site == near, agent.name))
    return tuple(there[:MOST_REFLECTORS])


def own_addresses(agent: AgentInfo, family: Family) -> tuple[str, ...]:
    """Of its interfaces. Where addresses were configured nobody knows whether it has them: a NAT may."""
    return () if ADVERTISED in agent.capabilities else of_family_only(agent.addresses, family)


def of_family_only(addresses: Iterable[str], family: Family) -> tuple[str, ...]:
    """The readable ones of that family, loopback too."""
    version = 4 if family is Family.IPV4 else 6
    found = []
    for text in addresses:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            continue
        if address.version == version:
            found.append(str(address))
    return tuple(dict.fromkeys(found))
