"""Which addresses this host's own resolver came to by which name.

A job may bring addresses beside a name. Where names are what is allowed, that the two belong together is
believed of our own resolver alone.
"""

from collections.abc import Iterable

from probemesh_agent.net.ranges import IPAddress

_MOST, _MOST_OF_ONE = 4096, 256


def plain_name(host: str) -> str:
    """As it is compared: in lower case, as the resolver would be asked (A-labels), no dot at its end. What
    cannot be written so is no name, and is like none."""
    try:
        name = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
    return name.lower().removesuffix(".")


class Resolved:
    """The last few thousand names."""

    def __init__(self) -> None:
        self._found: dict[str, frozenset[IPAddress]] = {}

    def note(self, host: str, addresses: Iterable[IPAddress]) -> None:
        name = plain_name(host)
        before = self._found.pop(name, frozenset())
        self._found[name] = frozenset(list(before.union(addresses))[:_MOST_OF_ONE])
        if len(self._found) > _MOST:
            del self._found[next(iter(self._found))]

    def has(self, host: str, address: IPAddress) -> bool:
        return address in self._found.get(plain_name(host), ())
