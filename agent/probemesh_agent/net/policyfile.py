"""The owner's policy file. Anything that is not known is an error: a misspelt denial must not read as no
denial."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.escape import escape
from probemesh_shared.narrowing import read_kind, read_list, read_name, read_network, read_ports
from probemesh_shared.words import Kind

from probemesh_agent.net.policy import KindLimits, Limits, Policy
from probemesh_agent.net.ranges import IPNetwork, unmapped_network
from probemesh_agent.net.rungs import Rungs

_MAX_FILE = 1 << 20
_READERS: Mapping[str, tuple[Callable[[Any], Any], tuple[type, ...]]] = {
    "cidrs": (read_network, (str,)),
    "names": (read_name, (str,)),
    "ports": (read_ports, (str, int)),
    "kinds": (read_kind, (str,)),
}
_LISTS = set(_READERS)
_RATES = ("packets_per_s", "connections_per_s")
_RATES_TO_ONE = ("target_packets_per_s", "target_connections_per_s")
#: A trace asks a port by SYN segments of its own, which are packets.
_NEVER_CONNECT = frozenset({Kind.ICMP, Kind.UDP, Kind.TRACE, Kind.MTU})
#: Their sockets are few, and what they send is counted packet by packet.
_NO_SOCKETS = frozenset({Kind.TRACE, Kind.MTU})


def read_policy(path: Path) -> Policy:
    """``[allow] cidrs names ports kinds loopback unicast listen``, ``[deny] cidrs names ports kinds``,
    ``[limits] packets_per_s connections_per_s concurrent target_packets_per_s target_connections_per_s``,
    ``[limits.KIND] packets_per_s connections_per_s concurrent``; all optional. Raises :class:`StateError`."""
    tables = _tables(path)
    if not tables:
        raise _problem(path, "empty (to accept everything that is shipped, write [allow])")
    _known(path, "the file", tables, {"allow", "deny", "limits"})
    allow, deny, limits = (_table(path, tables, name) for name in ("allow", "deny", "limits"))
    _known(path, "[allow]", allow, _LISTS | {"loopback", "unicast", "listen"})
    _known(path, "[deny]", deny, _LISTS)
    if "deny" in tables and not deny:  # what denied something once, cut in the middle, is one
        raise _problem(path, "[deny] denies nothing (leave it out to deny what is shipped alone)")
    if "limits" in tables and not limits:
        raise _problem(path, "[limits] limits nothing (leave it out to keep to what is shipped)")
    return Policy(
        allow=_cidrs(path, "[allow]", allow),
        deny=_cidrs(path, "[deny]", deny),
        rungs=Rungs(
            kinds=_list(path, "[allow]", allow, "kinds"),
            names=_list(path, "[allow]", allow, "names"),
            ports=_list(path, "[allow]", allow, "ports"),
            deny_kinds=_list(path, "[deny]", deny, "kinds"),
            deny_names=_list(path, "[deny]", deny, "names"),
            deny_ports=_list(path, "[deny]", deny, "ports"),
        ),
        loopback=_flag(path, allow, "loopback", False),
        unicast=_flag(path, allow, "unicast", True),
        listen=_flag(path, allow, "listen", True),
        limits=_limits(path, limits),
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
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise _problem(path, f"not TOML: {error}") from error


def _known(path: Path, where: str, table: Mapping[str, Any], names: set[str]) -> None:
    if unknown := sorted(set(table) - names):
        raise _problem(path, f"{where} has an unknown key {unknown[0]!r} (known: {', '.join(sorted(names))})")


def _table(path: Path, tables: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise _problem(path, f"{name} must be a table, written [{name}]")
    return table


def _list(path: Path, where: str, table: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    if name not in table:
        return ()
    read, types = _READERS[name]
    harmless = name == "cidrs" or where == "[deny]"
    try:
        return tuple(read_list(table[name], read, f"{where} {name}", types, may_be_empty=harmless))
    except InvalidRequest as error:
        raise _problem(path, str(error)) from error


def _cidrs(path: Path, where: str, table: Mapping[str, Any]) -> tuple[IPNetwork, ...]:
    return tuple(map(unmapped_network, _list(path, where, table, "cidrs")))


def _flag(path: Path, table: Mapping[str, Any], name: str, default: bool) -> bool:
    value = table.get(name, default)
    if not isinstance(value, bool):
        raise _problem(path, f"{name} must be true or false")
    return value


def _limits(path: Path, table: Mapping[str, Any]) -> Limits:
    of_kinds = {name: value for name, value in table.items() if isinstance(value, dict)}
    in_all = {name: value for name, value in table.items() if name not in of_kinds}
    kinds = {_kind(path, name): _of_kind(path, name, own) for name, own in of_kinds.items()}
    given = _numbers(path, "[limits]", in_all, {*_RATES, *_RATES_TO_ONE})
    return Limits(**given, kinds=MappingProxyType(kinds))


def _kind(path: Path, name: str) -> Kind:
    try:
        kind = read_kind(name)
    except InvalidRequest as error:
        raise _problem(path, f"[limits.{escape(name, 40)}]: {error}") from error
    if kind is Kind.WATCH:
        raise _problem(path, "[limits.watch]: a watch sends nothing")
    return kind


def _of_kind(path: Path, name: str, table: Mapping[str, Any]) -> KindLimits:
    where = f"[limits.{name}]"
    if not table:
        raise _problem(path, f"{where} is empty")
    if "connections_per_s" in table and name in _NEVER_CONNECT:
        raise _problem(path, f"{where} connections_per_s: {name} opens no connections, limit its packets")
    if "concurrent" in table and name in _NO_SOCKETS:
        raise _problem(path, f"{where} concurrent: {name} is limited by its packets alone")
    return KindLimits(**_numbers(path, where, table, set(_RATES)))


def _numbers(path: Path, where: str, table: Mapping[str, Any], rates: set[str]) -> dict[str, Any]:
    """What is given of ``rates`` and ``concurrent``."""
    _known(path, where, table, rates | {"concurrent"})
    for name, value in table.items():
        whole = name == "concurrent"
        types = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, types) or not 0 < value < 1e9:
            raise _problem(path, f"{where} {name} must be a {'whole ' if whole else ''}number above 0")
    return {name: value if name == "concurrent" else float(value) for name, value in table.items()}
