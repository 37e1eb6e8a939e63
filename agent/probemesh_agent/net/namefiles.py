"""``/etc/hosts`` and the ``hosts:`` line of nsswitch.conf(5): what stands before a name server is asked."""

from dataclasses import dataclass
from pathlib import Path

from probemesh_shared.model import HostsLine

from probemesh_agent.net.literals import parse_literal

_MAX_HOSTS = 1 << 20
_MAX_NSSWITCH = 64 * 1024
_MOST_LINES = 16
_MOST_NAMES = 16
_MOST_SERVICES = 16
#: What the C library does where the file, or its line, is missing.
_DEFAULT_ORDER = ("files", "dns")


@dataclass(frozen=True, slots=True)
class NameFiles:
    """The files' text, as much of it as is looked at."""

    hosts: str = ""
    nsswitch: str = ""


def read_name_files(hosts: Path, nsswitch: Path) -> NameFiles:
    """Never raises: a file that is missing says the same as an empty one."""
    return NameFiles(_text(hosts, _MAX_HOSTS), _text(nsswitch, _MAX_NSSWITCH))


def _text(path: Path, most: int) -> str:
    try:
        with path.open("rb") as file:
            return file.read(most).decode("utf-8", "replace")
    except OSError:
        return ""


def hosts_lines(text: str, name: str) -> tuple[HostsLine, ...]:
    """The lines that have ``name``, counted from 1, at most sixteen."""
    wanted = name.removesuffix(".").lower()
    found: list[HostsLine] = []
    for number, line in enumerate(text.lower().split("\n"), 1):
        if wanted not in line:  # most lines of a large file
            continue
        literal, *names = line.partition("#")[0].split() or [""]
        if wanted in names and (address := parse_literal(literal)) is not None:
            found.append(HostsLine(number, str(address), tuple(names[:_MOST_NAMES])))
        if len(found) == _MOST_LINES:
            break
    return tuple(found)


def hosts_order(text: str) -> tuple[str, ...]:
    """The services that are asked for hosts, in order, with actions such as ``[notfound=return]``."""
    for line in text.split("\n"):
        database, colon, services = line.partition("#")[0].partition(":")
        if colon and database.strip() == "hosts" and services.strip():
            return tuple(services.lower().split()[:_MOST_SERVICES])
    return _DEFAULT_ORDER
