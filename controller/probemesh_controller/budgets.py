"""What the mesh's owner says may go to one target, a second: ``[[budget]]`` of ``limits.toml``. Pure.

    [[budget]]
    networks = ["10.1.0.0/16", "10.2.3.4"]
    packets-per-s = 2000
    connections-per-s = 20

It holds for each address of these networks by itself. The most specific network wins, as a whole: what its
entry does not say is as shipped.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.narrowing import read_list, read_network

from probemesh_controller.pacing import CONNECTS_PER_S, PACKETS_PER_S, Budget

_Network = IPv4Network | IPv6Network
KEYS = ("networks", "packets-per-s", "connections-per-s")
#: More a second than anybody sends.
_MOST_PER_S = 1_000_000
_MAPPED = IPv6Network("::ffff:0:0/96")
_SHIPPED = Budget()


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``[[budget]]``."""

    networks: tuple[_Network, ...]
    budget: Budget

    @property
    def in_words(self) -> str:
        each = f"{self.budget.packets_per_s:g} packets/s, {self.budget.connects_per_s:g} connections/s"
        return f"{', '.join(map(str, self.networks))}: {each} to each address"


def read_entry(table: Mapping[str, Any]) -> Entry:
    """Raises :class:`InvalidRequest`."""
    if unknown := sorted(set(table) - set(KEYS)):
        raise InvalidRequest(f"'{escape(unknown[0], 40)}' is not known", f"known: {', '.join(KEYS)}")
    if "networks" not in table:
        raise InvalidRequest("networks is missing", 'write networks = ["10.1.0.0/16"]')
    if len(table) == 1:
        raise InvalidRequest("nothing is said of how much", "give packets-per-s, connections-per-s or both")
    networks = tuple(map(_unmapped, read_list(table["networks"], read_network, "networks")))
    return Entry(
        networks,
        Budget(
            _rate(table, "packets-per-s", PACKETS_PER_S), _rate(table, "connections-per-s", CONNECTS_PER_S)
        ),
    )


def _rate(table: Mapping[str, Any], key: str, shipped: float) -> float:
    value = table.get(key, shipped)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.1 <= value <= _MOST_PER_S:
        hint = "to have nothing sent to it at all, write it into deny-networks of a [[limit]]"
        raise InvalidRequest(f"{key} must be a number from 0.1 to {_MOST_PER_S}", hint)
    return float(value)


def _unmapped(network: _Network) -> _Network:
    """Targets are counted by their IPv4 address, however that was written."""
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        first = ip_address(int(network.network_address) & 0xFFFF_FFFF)
        return ip_network(f"{first}/{network.prefixlen - 96}")
    return network


@dataclass(frozen=True)
class Budgets:
    """All entries. Raises :class:`InvalidRequest` where two of them say something of one network."""

    entries: tuple[Entry, ...] = ()
    _by_length: dict[tuple[int, int], dict[int, Budget]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found: dict[tuple[int, int], dict[int, Budget]] = {}
        for entry in self.entries:
            for network in entry.networks:
                same = found.setdefault((network.version, network.prefixlen), {})
                if int(network.network_address) in same:
                    raise InvalidRequest(f"{network} stands in two of them")
                same[int(network.network_address)] = entry.budget
        longest_first = dict(sorted(found.items(), key=lambda item: -item[0][1]))
        object.__setattr__(self, "_by_length", longest_first)

    def of(self, key: str) -> Budget:
        """Of an address, as :func:`probemesh_controller.pacing.canonical` spells it, or of a name: nobody
        knows yet where that leads, so it has no more than the least that is said of any."""
        try:
            address = ip_address(key)
        except ValueError:
            return self._least
        number, bits = int(address), address.max_prefixlen
        for (version, length), budgets in self._by_length.items():
            if version == address.version:
                budget = budgets.get(number >> (bits - length) << (bits - length))
                if budget is not None:
                    return budget
        return _SHIPPED

    @cached_property
    def _least(self) -> Budget:
        return least((_SHIPPED, *(entry.budget for entry in self.entries)))


def least(budgets: Iterable[Budget]) -> Budget:
    """The smaller of each rate."""
    several = list(budgets)
    return Budget(min(one.packets_per_s for one in several), min(one.connects_per_s for one in several))
