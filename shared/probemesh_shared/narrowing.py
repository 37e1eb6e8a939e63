"""What a host's owner and the mesh write about what may be probed: networks, names, ports and kinds. Pure.

The owner's policy file, the options of ``meshctl token create`` and the controller's ``limits.toml`` are read
by the same functions, so that a word means the same wherever it stands.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, TypeVar

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.specs import PortRange
from probemesh_shared.words import Kind

#: Entries of one list, and narrowings of one job.
MOST_ENTRIES, MOST_NARROWINGS = 1024, 64
#: Entries of one narrowing in all: with the targets a job has to fit into one message.
MOST_IN_ONE = 256
_MOST_PATTERN = 253
_PATTERN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.*?")
#: A climb is made of the others.
NAMED_KINDS = tuple(kind for kind in Kind if kind is not Kind.LADDER)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What the mesh adds to an agent's own policy, for one job: all that is given must hold as well. Empty:
    not narrowed in that respect. It can take away and never give (docs/decisions/0029).

    ``networks`` and ``deny_networks`` are CIDR blocks, ``names`` globs; ``source`` says to people who
    narrowed."""

    networks: tuple[str, ...] = ()
    deny_networks: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    ports: tuple[PortRange, ...] = ()
    kinds: tuple[Kind, ...] = ()
    source: str = ""

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, one.name) for one in fields(self) if one.name != "source")


def matches(pattern: str, name: str) -> bool:
    """``*`` is any run of characters, dots among them, and ``?`` one; in time that grows with the product of
    the lengths alone."""
    at = star = 0
    resume: int | None = None
    for_name = 0
    while for_name < len(name):
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, for_name
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", name[for_name]):
            at, for_name = at + 1, for_name + 1
        elif resume is not None:
            resume += 1
            at, for_name = star + 1, resume
        else:
            return False
    return not pattern[at:].strip("*")


# --- reading: each raises InvalidRequest in words that name the entry ---------------------------------------


def read_network(text: str) -> IPv4Network | IPv6Network:
    """A CIDR block, or an address as a block of one."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise InvalidRequest(f"'{escape(text, 80)}' is no network: {error}", "write 10.1.0.0/16") from None


def read_name(text: str) -> str:
    """A name or a glob of names, in lower case and without a dot at its end."""
    pattern = text.lower().removesuffix(".")
    if not pattern or len(pattern) > _MOST_PATTERN or not _PATTERN.issuperset(pattern):
        hint = "write a name or a glob of names, db.internal or *.internal; addresses are networks"
        raise InvalidRequest(f"'{escape(text, 80)}' is no glob of names", hint)
    if set("0123456789") & set(pattern) and not set(pattern) - set("0123456789.*?"):
        raise InvalidRequest(f"'{escape(text, 80)}' reads as an address, not as a name", "use a network")
    return pattern


def read_ports(entry: str | int) -> PortRange:
    """``443``, ``"443"`` or ``"8000-8100"``."""
    if isinstance(entry, int) and entry.bit_length() > 64:  # one of thousands of digits has no str
        raise InvalidRequest("a port is not between 1 and 65535", "write 443 or 8000-8100")
    first, dash, last = str(entry).partition("-")
    texts = (first, last if dash else first)
    if isinstance(entry, bool) or not all(text.isascii() and text.isdigit() for text in texts):
        raise InvalidRequest(f"'{escape(str(entry), 40)}' is no port", "write 443 or 8000-8100")
    low, high = (int(text[:6]) for text in texts)
    if not 1 <= low <= high <= 65_535:
        raise InvalidRequest(f"the ports {low}-{high} are not between 1 and 65535, in order")
    return PortRange(low, high)


def read_kind(text: str) -> Kind:
    known = ", ".join(NAMED_KINDS)
    if text == Kind.LADDER:
        raise InvalidRequest("'ladder' is no kind by itself: its rungs are the others", f"known: {known}")
    try:
        return Kind(text)
    except ValueError:
        raise InvalidRequest(f"'{escape(text, 40)}' is no probe kind", f"known: {known}") from None


def _shown(entry: Any) -> str:
    try:
        return escape(repr(entry), 40)
    except ValueError:  # Python writes no number of thousands of digits
        return "a number without end"


def read_list(
    entries: Any,
    read: Callable[[Any], T],
    what: str,
    types: tuple[type, ...] = (str,),
    *,
    may_be_empty: bool = False,
) -> list[T]:
    """Entries of a list that somebody wrote, without doubles. An empty list of what is allowed would allow
    everything, where its writer may have meant nothing."""
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise InvalidRequest(f"{what} must be a list of strings")
    if not entries and not may_be_empty:
        raise InvalidRequest(f"{what} is empty", "leave it out to say nothing about it")
    if len(entries) > MOST_ENTRIES:
        raise InvalidRequest(f"{what} has more than {MOST_ENTRIES} entries")
    for entry in entries:
        if not isinstance(entry, types) or isinstance(entry, bool):
            raise InvalidRequest(f"{what} holds {_shown(entry)}, which is no text")
    try:
        return list(dict.fromkeys(map(read, entries)))
    except InvalidRequest as error:
        raise InvalidRequest(f"{what}: {error}", error.hint) from None


#: Key as people write it → field of Narrowing, reader, types of an entry.
_KEYS: Mapping[str, tuple[str, Callable[[Any], Any], tuple[type, ...]]] = {
    "networks": ("networks", lambda text: str(read_network(text)), (str,)),
    "deny-networks": ("deny_networks", lambda text: str(read_network(text)), (str,)),
    "names": ("names", read_name, (str,)),
    "ports": ("ports", read_ports, (str, int)),
    "kinds": ("kinds", read_kind, (str,)),
}
KEYS = tuple(_KEYS)


def read_narrowing(table: Mapping[str, Any], source: str) -> Narrowing:
    """From lists by :data:`KEYS`; those that are missing say nothing. Raises :class:`InvalidRequest`, also
    where nothing is left to say."""
    if unknown := sorted(set(table) - set(_KEYS)):
        raise InvalidRequest(f"'{escape(unknown[0], 40)}' is not known", f"known: {', '.join(_KEYS)}")
    found = {
        name: tuple(read_list(table[key], read, key, types))
        for key, (name, read, types) in _KEYS.items()
        if key in table
    }
    if not found:
        raise InvalidRequest("nothing is narrowed", f"give some of {', '.join(_KEYS)}")
    if sum(map(len, found.values())) > MOST_IN_ONE:
        raise InvalidRequest(f"more than {MOST_IN_ONE} entries in all")
    return Narrowing(**found, source=source)


def as_table(narrowing: Narrowing) -> dict[str, list[str]]:
    """What :func:`read_narrowing` reads."""
    texts = {
        "networks": list(narrowing.networks),
        "deny-networks": list(narrowing.deny_networks),
        "names": list(narrowing.names),
        "ports": [ports_text(span) for span in narrowing.ports],
        "kinds": [kind.value for kind in narrowing.kinds],
    }
    return {key: values for key, values in texts.items() if values}


def in_words(narrowing: Narrowing) -> str:
    """One line for people: ``networks 10.0.0.0/8; ports 443, 8000-8100``."""
    texts: dict[str, Iterable[str]] = {
        "networks": narrowing.networks,
        "not networks": narrowing.deny_networks,
        "names": narrowing.names,
        "ports": map(ports_text, narrowing.ports),
        "kinds": narrowing.kinds,
    }
    listed = ((what, ", ".join(values)) for what, values in texts.items())
    return "; ".join(f"{what} {values}" for what, values in listed if values)


def ports_text(ports: PortRange) -> str:
    return str(ports.first) if ports.first == ports.last else f"{ports.first}-{ports.last}"
