"""What this host lets its agent probe. The controller can narrow it, never widen it. Pure but for
:func:`Policy.load`.

In order: this host's own addresses (loopback aside: they are the target's own end); what the owner denies;
loopback; what the owner allows (an allowed block lifts a shipped denial only where it is at least as
specific: ``0.0.0.0/0`` opens no metadata service); the shipped denials; else unicast, public and private,
is allowed unless the owner switched that off.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from probemesh_shared.errors import StateError

from probemesh_agent.net.ranges import (
    DENIED,
    LOOPBACK,
    IPAddress,
    IPNetwork,
    Way,
    embedded,
    strip_scope,
    unmapped,
    unmapped_network,
)

_MAX_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """This agent's own caps, whatever a job asks for."""

    packets_per_s: float = 100_000.0
    concurrent: int = 4096


@dataclass(frozen=True, slots=True)
class Decision:
    """``rule`` is a stable word; ``text`` one line for people. ``own``: an address of this host beside
    loopback."""

    allowed: bool
    rule: str
    text: str
    own: bool = False


#: Tells where this host would send a packet: :meth:`probemesh_agent.net.own.Routes.way`.
WayOf = Callable[[IPAddress], Way]


def _unknown(_: IPAddress) -> Way:
    return Way.UNKNOWN


@dataclass(frozen=True, slots=True)
class Policy:
    """Immutable. ``typed_loopback`` loosens loopback and own addresses for what a user typed, and that
    only. ``listen``: the far end of a diagnosis may open listeners for as long as that lasts."""

    allow: tuple[IPNetwork, ...] = ()
    deny: tuple[IPNetwork, ...] = ()
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
        """For ``self`` and a standalone probe: ``base`` (default: as shipped), and loopback where the user
        typed it."""
        return replace(base or cls.shipped(), typed_loopback=True)

    @classmethod
    def load(cls, path: Path) -> "Policy":
        """From TOML; raises :class:`StateError` that names the file and what is wrong with it (fail
        closed)."""
        return read_policy(path)

    def explain(self, address: str | IPAddress, way_of: WayOf = _unknown, typed: bool = False) -> Decision:
        """Judges one address and every IPv4 address hidden in it; the first that is refused decides."""
        outer = unmapped(ip_address(address) if isinstance(address, str) else address)
        decision = self._judge(strip_scope(outer), way_of, typed)
        for how, inner in embedded(outer):
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


def _within(address: IPAddress, networks: tuple[IPNetwork, ...]) -> IPNetwork | None:
    """The most specific of ``networks`` that holds ``address``."""
    holding = [network for network in networks if network.version == address.version and address in network]
    return max(holding, key=lambda network: network.prefixlen, default=None)


def _shipped_denial(address: IPAddress) -> tuple[str, IPNetwork | None]:
    for rule, networks in DENIED:
        if network := _within(address, networks):
            return rule, network
    return "", None


# --- the file ---------------------------------------------------------------------------------------------


def read_policy(path: Path) -> Policy:
    """``[allow] cidrs loopback unicast listen``, ``[deny] cidrs``, ``[limits] packets_per_s concurrent``; all
    optional, anything else is an error: a misspelt denial must not read as no denial."""
    tables = _tables(path)
    if not tables:
        raise _problem(path, "empty (to accept everything that is shipped, write [allow])")
    _known(path, "the file", tables, {"allow", "deny", "limits"})
    allow, deny, limits = (_table(path, tables, name) for name in ("allow", "deny", "limits"))
    _known(path, "[allow]", allow, {"cidrs", "loopback", "unicast", "listen"})
    _known(path, "[deny]", deny, {"cidrs"})
    _known(path, "[limits]", limits, {"packets_per_s", "concurrent"})
    shipped = Limits()
    return Policy(
        allow=_cidrs(path, "[allow]", allow),
        deny=_cidrs(path, "[deny]", deny),
        loopback=_flag(path, allow, "loopback", False),
        unicast=_flag(path, allow, "unicast", True),
        listen=_flag(path, allow, "listen", True),
        limits=Limits(
            packets_per_s=float(_positive(path, limits, "packets_per_s", shipped.packets_per_s)),
            concurrent=int(_positive(path, limits, "concurrent", shipped.concurrent, whole=True)),
        ),
        source=f"policy {path}",
    )


def _problem(path: Path, text: str) -> StateError:
    return StateError(
        f"policy {path}: {text}", "Nothing is probed until the file is right; see the reference."
    )


def _tables(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise _problem(path, f"cannot be read ({error.strerror or error})") from error
    if len(data) > _MAX_FILE:
        raise _problem(path, "larger than 1 MiB")
    try:
        return tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise _problem(path, f"not TOML: {error}") from error


def _known(path: Path, where: str, table: Mapping[str, Any], names: set[str]) -> None:
    if unknown := sorted(set(table) - names):
        raise _problem(path, f"{where} has an unknown key {unknown[0]!r} (known: {', '.join(sorted(names))})")


def _table(path: Path, tables: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise _problem(path, f"{name} must be a table, written [{name}]")
    return table


def _cidrs(path: Path, where: str, table: Mapping[str, Any]) -> tuple[IPNetwork, ...]:
    listed = table.get("cidrs", [])
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise _problem(path, f"{where} cidrs must be a list of strings")
    networks: list[IPNetwork] = []
    for text in listed:
        try:
            network = unmapped_network(ip_network(text))
        except ValueError as error:
            raise _problem(path, f"{where} cidrs: {error}") from error
        networks.append(network)
    return tuple(networks)


def _flag(path: Path, table: Mapping[str, Any], name: str, default: bool) -> bool:
    value = table.get(name, default)
    if not isinstance(value, bool):
        raise _problem(path, f"{name} must be true or false")
    return value


def _positive(
    path: Path, table: Mapping[str, Any], name: str, default: float, whole: bool = False
) -> int | float:
    value = table.get(name, default)
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < 1e9:
        raise _problem(path, f"[limits] {name} must be a {'whole ' if whole else ''}number above 0")
    return value
