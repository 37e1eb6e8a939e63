"""A NAT of RFC 4787 in a few lines, and an inquiry of it as the driver makes one of a real network.

Time is left out: mappings do not expire. ``reuse`` is what Linux does: a mapping by destination that is
given again to the same inside endpoint wherever it is free.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from probemesh_controller.natting.seen import (
    Asked,
    Clash,
    Endpoint,
    Hairpin,
    Knock,
    Knocker,
    Seen,
    Sighting,
)
from probemesh_shared.nat import NatRule

EI, AD, APD = (
    NatRule.ENDPOINT_INDEPENDENT,
    NatRule.ADDRESS_DEPENDENT,
    NatRule.ADDRESS_AND_PORT_DEPENDENT,
)


@dataclass
class Nat:
    mapping: NatRule
    filtering: NatRule
    preserve: bool = True
    reuse: bool = False
    hairpins: bool = False
    pool: tuple[str, ...] = ("198.51.100.1",)
    loss: float = 0.0
    dice: random.Random = field(default_factory=lambda: random.Random(1))
    table: dict[tuple[Endpoint, object], Endpoint] = field(default_factory=dict)
    asked: dict[Endpoint, set[Endpoint]] = field(default_factory=dict)  # by outside endpoint

    def _scope(self, rule: NatRule, to: Endpoint) -> object:
        return {EI: None, AD: to.address}.get(rule, to)

    def out(self, inside: Endpoint, to: Endpoint) -> Endpoint:
        """The outside endpoint of a datagram that leaves."""
        scope = self._scope(self.mapping, to)
        if (inside, scope) not in self.table:
            self.table[inside, scope] = self._fresh(inside, scope)
        found = self.table[inside, scope]
        self.asked.setdefault(found, set()).add(to)
        return found

    def _fresh(self, inside: Endpoint, scope: object) -> Endpoint:
        taken = {found for (_, other), found in self.table.items() if other == scope}
        before = [found for (who, _), found in self.table.items() if who == inside and self.reuse]
        address = self.dice.choice(self.pool)
        wish = [Endpoint(address, inside.port)] if self.preserve else []
        for found in (*before, *wish):
            if found not in taken:
                return found
        while True:
            found = Endpoint(address, self.dice.randint(1024, 65535))
            if found not in taken:
                return found

    def lets_in(self, source: Endpoint, outside: Endpoint) -> bool:
        asked = self.asked.get(outside)
        if asked is None:
            return False
        if self.filtering is EI:
            return True
        return source in asked if self.filtering is APD else source.address in {to.address for to in asked}

    def lost(self) -> bool:
        return self.dice.random() < self.loss


@dataclass
class Reflectors:
    """``main`` first: agent → its addresses; every address listens on ``ports``."""

    agents: dict[str, tuple[str, ...]]
    ports: tuple[int, ...] = (6001, 6002)

    def asked(self) -> tuple[Asked, ...]:
        return tuple(
            Asked(name, tuple(Endpoint(a, p) for a in addresses for p in self.ports))
            for name, addresses in self.agents.items()
        )

    @property
    def endpoints(self) -> list[tuple[str, Endpoint]]:
        return [(one.agent, endpoint) for one in self.asked() for endpoint in one.endpoints]


@dataclass
class Inquiry:
    """What one subject at ``address`` does and is told."""

    nat: Nat
    reflectors: Reflectors
    address: str = "10.1.0.2"
    sockets: int = 0
    order: int = 0
    sightings: list[Sighting] = field(default_factory=list)
    heard: set[Endpoint] = field(default_factory=set)

    def send(self, socket: int, port: int, agent: str, to: Endpoint) -> Sighting | None:
        self.order += 1
        seen = self.nat.out(Endpoint(self.address, port), to)
        if self.nat.lost():
            return None
        if self.nat.lets_in(to, seen) and not self.nat.lost():
            self.heard.add(to)
        return Sighting(socket, port, agent, to, seen, self.order, 62)

    def port(self) -> tuple[int, int]:
        self.sockets += 1
        return self.sockets, self.nat.dice.randint(32768, 60999)

    def knock(self) -> list[Knock]:
        """One fresh mapping: opened to the main reflector's first endpoint, then knocked at."""
        socket, port = self.port()
        agent, main = self.reflectors.endpoints[0]
        opened = [one for _ in range(3) if (one := self.send(socket, port, agent, main))]
        self.sightings += opened
        if not opened:
            return []
        mapped = opened[0].seen
        knocks = [self._knock(socket, Knocker.OTHER_PORT, agent, Endpoint(main.address, 40000), mapped)]
        others = {to.address: who for who, to in self.reflectors.endpoints if to.address != main.address}
        knocks += [
            self._knock(socket, Knocker.OTHER_ADDRESS, who, Endpoint(address, 40000), mapped)
            for address, who in others.items()
        ]
        return knocks

    def _knock(self, socket: int, who: Knocker, agent: str, source: Endpoint, mapped: Endpoint) -> Knock:
        arrived = sum(self.nat.lets_in(source, mapped) and not self.nat.lost() for _ in range(3))
        return Knock(socket, who, agent, source.address, 3, arrived)

    def look_round(self, port: int | None = None) -> list[Sighting]:
        """One socket to every endpoint, twice."""
        socket, chosen = self.port()
        return [
            one
            for _ in range(2)
            for agent, to in self.reflectors.endpoints
            if (one := self.send(socket, port or chosen, agent, to))
        ]

    def clash(self, second: "Inquiry") -> Clash:
        socket, port = self.port()
        endpoints = self.reflectors.endpoints
        agent, main = endpoints[0]
        beside = [one for one in endpoints if one[1].address == main.address and one[1] != main]
        away = [one for one in endpoints if one[1].address != main.address]
        first = [one for _ in range(3) if (one := self.send(socket, port, agent, main))]
        order = [*away[:1], *beside[:1], (agent, main)]
        told = [one for _ in range(3) for who, to in order if (one := second.send(socket, port, who, to))]
        return Clash(tuple(first), tuple(told))

    def hairpin(self) -> Hairpin:
        ports, agent, main = [self.port(), self.port()], *self.reflectors.endpoints[0]
        found = [one for socket, port in ports if (one := self.send(socket, port, agent, main))]
        if len(found) < 2:
            return Hairpin(0, ())
        outside = [one.seen for one in found]
        sources = []
        for (_, port), to in zip(ports, reversed(outside), strict=True):
            self.nat.out(Endpoint(self.address, port), to)
        for (_, port), to in zip(ports, reversed(outside), strict=True):
            source = self.nat.out(Endpoint(self.address, port), to)
            if self.nat.hairpins and self.nat.lets_in(source, to):
                sources.append(source)
        return Hairpin(2, tuple(outside), tuple(sources))


def inquire(
    nat: Nat,
    reflectors: Reflectors,
    sockets: int = 3,
    neighbour: bool = False,
    order: Sequence[str] = ("knock", "map"),
    own: Iterable[str] = ("10.1.0.2",),
) -> Seen:
    """A whole inquiry of one subject behind ``nat``, with a second agent behind it where asked for."""
    subject = Inquiry(nat, reflectors)
    knocks: list[Knock] = []
    for what in order:
        for _ in range(sockets):
            if what == "knock":
                knocks += subject.knock()
            else:
                subject.sightings += subject.look_round()
    clashes = (subject.clash(Inquiry(nat, reflectors, "10.1.0.3")),) if neighbour else ()
    return Seen(
        agent="a",
        own=tuple(own),
        reflectors=reflectors.asked(),
        sent=subject.order,
        sightings=tuple(subject.sightings),
        heard=frozenset(subject.heard),
        knocks=tuple(knocks),
        hairpin=subject.hairpin(),
        clashes=clashes,
    )
