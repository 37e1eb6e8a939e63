"""What this host lets its agent probe. The controller can narrow it, never widen it. Pure but for
:func:`Policy.load`.

Kind, name, port and address are judged each by itself (:mod:`probemesh_agent.net.rungs`), and each must be
allowed. Of an address, in order: this host's own addresses (loopback aside: they are the target's own end);
what the owner denies; loopback; what the owner allows (an allowed block lifts a shipped denial only where it
is at least as specific: ``0.0.0.0/0`` opens no metadata service); the shipped denials; else unicast, public
and private, is allowed unless the owner switched that off.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from math import inf
from pathlib import Path

from probemesh_shared.words import Kind

from probemesh_agent.net.ranges import (
    DENIED,
    LOOPBACK,
    IPAddress,
    IPNetwork,
    Way,
    embedded,
    strip_scope,
    unmapped,
)
from probemesh_agent.net.rungs import Decision, Rungs


@dataclass(frozen=True, slots=True)
class KindLimits:
    """Those of one kind, beside those of all. ``concurrent``: attempts under way at once."""

    packets_per_s: float = inf
    connections_per_s: float = inf
    concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """This agent's own caps, whatever a job asks for. ``packets_per_s``: all that it sends, where opening a
    connection counts as one. ``concurrent``: sockets at once. ``target_…``: to any one address but loopback;
    twice what a mesh as shipped sends to one, so that they never shape what an honest controller asks."""

    packets_per_s: float = 100_000.0
    connections_per_s: float = inf
    concurrent: int = 4096
    target_packets_per_s: float = 1_000.0
    target_connections_per_s: float = 200.0
    kinds: Mapping[Kind, KindLimits] = field(default_factory=dict)

    def in_words(self, kind: Kind | None = None) -> str:
        """One line for people: what holds in all and to one address, or for one kind alone."""
        own = self.kinds.get(kind) if kind is not None else None
        rates = own if own is not None else self
        said = [
            *((f"{rates.packets_per_s:g} packets/s",) if rates.packets_per_s < inf else ()),
            *((f"{rates.connections_per_s:g} connections/s",) if rates.connections_per_s < inf else ()),
            *((f"{rates.concurrent} at once",) if rates.concurrent is not None else ()),
        ]
        if own is None:
            for each, what in (
                (self.target_packets_per_s, "packets/s"),
                (self.target_connections_per_s, "connections/s"),
            ):
                said += [f"{each:g} {what} to one address"] if each < inf else []
        return f"at most {', '.join(said)}"


_OWN_USERS = Limits(target_packets_per_s=inf, target_connections_per_s=inf)

#: Tells where this host would send a packet: :meth:`probemesh_agent.net.own.Routes.way`.
WayOf = Callable[[IPAddress], Way]


def _unknown(_: IPAddress) -> Way:
    return Way.UNKNOWN


_NO_RUNGS = Rungs()


@dataclass(frozen=True, slots=True)
class Policy:
    """Immutable. ``typed_loopback`` loosens loopback and own addresses for what a user typed, and that
    only. ``listen``: the far end of a diagnosis may open listeners for as long as that lasts."""

    allow: tuple[IPNetwork, ...] = ()
    deny: tuple[IPNetwork, ...] = ()
    rungs: Rungs = _NO_RUNGS
    loopback: bool = False
    unicast: bool = True
    limits: Limits = Limits()
    typed_loopback: bool = False
    listen: bool = True
    source: str = "the policy as shipped"

    @classmethod
    def shipped(cls) -> "Policy":
        """Unicast, public and private; nothing that is loopback, link-local, multicast or reserved."""
        return cls()

    @classmethod
    def typed_by_user(cls, base: "Policy | None" = None) -> "Policy":
        """For ``self`` and a standalone probe: ``base`` (default: as shipped, and as much to one address as
        the user likes), and loopback where the user typed it."""
        return replace(base or cls(limits=_OWN_USERS), typed_loopback=True)

    @classmethod
    def load(cls, path: Path) -> "Policy":
        """From TOML; raises :class:`StateError` that names the file and what is wrong with it (fail
        closed)."""
        from probemesh_agent.net.policyfile import read_policy  # not without a file

        return read_policy(path)

    def lists(self, address: IPAddress) -> bool:
        """Whether the owner's own list of blocks has it. Where names are listed too, an address that was not
        come to by one of them must be."""
        outer = strip_scope(unmapped(address))
        return all(_within(one, self.allow) for one in (outer, *(inner for _, inner in embedded(outer))))

    def explain(self, address: str | IPAddress, way_of: WayOf = _unknown, typed: bool = False) -> Decision:
        """Judges one address and every IPv4 address hidden in it; the first that is refused decides."""
        outer = unmapped(ip_address(address) if isinstance(address, str) else address)
        decision = self._judge(strip_scope(outer), way_of, typed)
        for how, inner in (*embedded(outer), *_dialled_instead(outer)):
            if not decision.allowed:
                break
            judged = self._judge(inner, way_of, typed)
            if not judged.allowed:
                decision = replace(judged, text=f"{outer} holds {inner} ({how}); {judged.text}")
        return decision

    def _judge(self, address: IPAddress, way_of: WayOf, typed: bool) -> Decision:
        typed = typed and self.typed_loopback
        loopback = _within(address, LOOPBACK)
        way = Way.UNKNOWN if loopback or address.is_unspecified else way_of(address)
        ours = way is Way.OWN
        if ours and not typed:
            return Decision(False, "own-address", f"{address} is this host's own address", own=True)
        if block := _within(address, self.deny):
            return Decision(False, "deny", f"{address} is in {block}, which {self.source} denies", own=ours)
        if loopback is not None:
            return self._loopback(address, loopback, typed)
        if ours:
            text = f"{address} is this host's own address, and was typed by the user of this host"
            return Decision(True, "own-address", text, own=True)
        return self._elsewhere(address, way)

    def _elsewhere(self, address: IPAddress, way: Way) -> Decision:
        rule, denied = _shipped_denial(address)
        if denied is None and way is Way.BROADCAST:
            rule, denied = "broadcast", ip_network(address)
        allowed = _within(address, self.allow)
        if allowed and (denied is None or allowed.prefixlen >= denied.prefixlen):
            return Decision(True, "allow", f"{address} is in {allowed}, which {self.source} allows")
        if denied is not None:
            return Decision(False, rule, f"{address} is {_WORDS[rule]} ({denied}), denied by default")
        if not self.unicast:
            return Decision(False, "not-allowed", f"{address} is in no block that {self.source} allows")
        return Decision(True, "unicast", f"{address} is ordinary unicast, allowed by {self.source}")

    def _loopback(self, address: IPAddress, block: IPNetwork, typed: bool) -> Decision:
        allowed = _within(address, self.allow)
        if self.loopback or (allowed and allowed.prefixlen >= block.prefixlen):
            return Decision(True, "loopback", f"{address} is loopback, which {self.source} allows")
        if typed:
            return Decision(
                True, "loopback", f"{address} is loopback, and was typed by the user of this host"
            )
        return Decision(False, "loopback", f"{address} is loopback ({block}), denied by default")


_WORDS: Mapping[str, str] = {
    "link-local": "link-local",
    "multicast": "multicast",
    "cloud-metadata": "a cloud's metadata service",
    "reserved": "reserved",
    "broadcast": "the broadcast address of a network of this host",
}


def _dialled_instead(address: IPAddress) -> tuple[tuple[str, IPAddress], ...]:
    """Who connects to no address at all reaches loopback."""
    return (("the kernel dials it instead", ip_address(_LOCAL[address.version])),) * address.is_unspecified


_LOCAL = {4: "127.0.0.1", 6: "::1"}


def _within(address: IPAddress, networks: tuple[IPNetwork, ...]) -> IPNetwork | None:
    """The most specific of ``networks`` that holds ``address``."""
    holding = [network for network in networks if network.version == address.version and address in network]
    return max(holding, key=lambda network: network.prefixlen, default=None)


def _shipped_denial(address: IPAddress) -> tuple[str, IPNetwork | None]:
    for rule, networks in DENIED:
        if network := _within(address, networks):
            return rule, network
    return "", None
