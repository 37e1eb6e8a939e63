"""The nameservers that this host itself is configured to ask: resolv.conf(5)."""

from dataclasses import dataclass
from pathlib import Path

from probemesh_shared.words import Family

from probemesh_agent.net.literals import family_of, parse_literal
from probemesh_agent.net.ranges import IPAddress

_MAX_SERVERS = 3  # MAXNS of the C library: it reads no more
_MAX_SEARCH = 6
_MAX_FILE = 64 * 1024


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """``servers`` in order (a file that names none means 127.0.0.1, as the C library has it)."""

    servers: tuple[IPAddress, ...] = ()
    search: tuple[str, ...] = ()
    ndots: int = 1

    def of_family(self, family: Family) -> tuple[IPAddress, ...]:
        return tuple(a for a in self.servers if family is Family.BOTH or family_of(a) is family)


def read_resolv_conf(path: Path) -> ResolvConf:
    """Never raises: a file that is missing says the same as an empty one."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE).decode("utf-8", "replace")
    except OSError:
        text = ""
    return parse_resolv_conf(text)


def parse_resolv_conf(text: str) -> ResolvConf:
    servers: list[IPAddress] = []
    search: tuple[str, ...] = ()
    ndots = 1
    for line in text.splitlines():
        match line.split("#")[0].split(";")[0].split():
            case ["nameserver", server, *_]:
                if (address := parse_literal(server)) is not None:
                    servers.append(address)
            case ["domain" | "search", *names]:
                search = tuple(names[:_MAX_SEARCH])
            case ["options", *options]:
                ndots = _ndots(options, ndots)
    found = tuple(servers[:_MAX_SERVERS])
    if not found and (default := parse_literal("127.0.0.1")) is not None:
        found = (default,)
    return ResolvConf(found, search, ndots)


def _ndots(options: list[str], default: int) -> int:
    for option in options:
        name, _, value = option.partition(":")
        if name == "ndots" and value.isascii() and value.isdigit():
            return min(15, int(value[:4]))
    return default


def candidates(name: str, conf: ResolvConf) -> tuple[str, ...]:
    """The full names that the C library would try for ``name``, in order, without trailing dots."""
    if name.endswith(".") or not conf.search:
        return (name.removesuffix("."),)
    searched = tuple(f"{name}.{domain.strip('.')}" for domain in conf.search if domain.strip("."))
    return (name, *searched) if name.count(".") >= conf.ndots else (*searched, name)
