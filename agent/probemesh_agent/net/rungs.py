"""What is judged beside the address: probe kinds, names and ports. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from probemesh_shared.model import PortRange
from probemesh_shared.narrowing import matches, ports_text
from probemesh_shared.words import Kind


@dataclass(frozen=True, slots=True)
class Decision:
    """``rule`` is a stable word; ``text`` one line for people. ``own``: an address of this host beside
    loopback."""

    allowed: bool
    rule: str
    text: str
    own: bool = False


@dataclass(frozen=True, slots=True)
class Rungs:
    """A list that is empty says nothing; what is denied is denied whatever is allowed."""

    kinds: tuple[Kind, ...] = ()
    names: tuple[str, ...] = ()
    ports: tuple[PortRange, ...] = ()
    deny_kinds: tuple[Kind, ...] = ()
    deny_names: tuple[str, ...] = ()
    deny_ports: tuple[PortRange, ...] = ()

    def of_kind(self, kind: Kind, source: str) -> Decision:
        if kind is Kind.LADDER:
            return Decision(True, "unlimited", "a climb is judged rung by rung")
        if kind in self.deny_kinds:
            return Decision(False, "deny", f"the kind {kind} is one that {source} denies")
        if self.kinds and kind not in self.kinds:
            return Decision(False, "not-allowed", f"the kind {kind} is none that {source} allows")
        return _allowed(bool(self.kinds), f"the kind {kind}", source)

    def of_port(self, port: int, source: str) -> Decision:
        if (span := _holding(port, self.deny_ports)) is not None:
            return Decision(False, "deny", f"port {port} is in {ports_text(span)}, which {source} denies")
        if self.ports and _holding(port, self.ports) is None:
            return Decision(False, "not-allowed", f"port {port} is none that {source} allows")
        return _allowed(bool(self.ports), f"port {port}", source)

    def of_name(self, name: str, source: str, spellings: Sequence[str] = ()) -> Decision:
        """``name`` in lower case, no dot at its end. ``spellings``: what the host's search list may make of
        it, which counts for denials alone."""
        for spelling in (name, *spellings):
            if pattern := _matching(spelling, self.deny_names):
                return Decision(False, "deny", f"{spelling} is like {pattern}, which {source} denies")
        if self.names and _matching(name, self.names) is None:
            return Decision(False, "not-allowed", f"{name[:253]} is like no name that {source} allows")
        return _allowed(bool(self.names), name[:253], source)


def _allowed(listed: bool, what: str, source: str) -> Decision:
    if listed:
        return Decision(True, "allow", f"{what} is one that {source} allows")
    return Decision(True, "unlimited", f"{what}: {source} does not limit that")


def _holding(port: int, ranges: Sequence[PortRange]) -> PortRange | None:
    return next((span for span in ranges if span.first <= port <= span.last), None)


def _matching(name: str, patterns: Sequence[str]) -> str | None:
    return next((pattern for pattern in patterns if matches(pattern, name)), None)
