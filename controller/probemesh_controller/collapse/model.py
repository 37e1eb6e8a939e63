"""What goes in and what comes out. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    OK = "ok"
    FAILING = "failing"
    UNKNOWN = "unknown"  # neither forbids a cause nor demands one


@dataclass(frozen=True, slots=True, order=True)
class End:
    """An agent, or a plain target. ``labels`` are ``key=value``, ``networks`` prefixes of its addresses."""

    name: str
    site: str | None = None
    labels: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProbeLabel:
    """``tcp/5432``, ``udp``, ``icmp`` …; ``family`` (``ipv4``, ``ipv6``) where it was forced."""

    transport: str
    port: int | None = None
    family: str | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """``word`` says shortly how it fails: an outcome or a verdict."""

    source: End
    target: End
    probe: ProbeLabel
    state: State
    word: str = ""


class Kind(StrEnum):
    """What a term speaks of; the order is that of preference between terms that mean the same cells."""

    AGENT = "agent"
    SITE = "site"
    NETWORK = "network"
    LABEL = "label"
    PORT = "port"
    TRANSPORT = "transport"
    FAMILY = "family"


@dataclass(frozen=True, slots=True)
class Term:
    kind: Kind
    value: str


class Way(StrEnum):
    ONE = "one-way"  # from source to target
    BOTH = "both-ways"  # between the two; to and from ``source`` where there is no target


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Cells that a cause leaves out: ``side`` is ``source``, ``target`` or ``probe``."""

    side: str
    term: Term


@dataclass(frozen=True, slots=True)
class Cause:
    """A conjunction; None stands for anything. ``failing`` of ``known`` cells are explained by it (the same
    number, as no healthy cell may be among them), ``unknown`` more lie in it unmeasured. ``words`` says
    how they fail, the most frequent first."""

    source: Term | None = None
    target: Term | None = None
    way: Way = Way.ONE
    probe: tuple[Term, ...] = ()
    but: tuple[Exclusion, ...] = ()
    failing: int = 0
    known: int = 0
    unknown: int = 0
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """``exact``: no smaller set of causes exists among all that were considered."""

    causes: tuple[Cause, ...]
    failing: int
    healthy: int
    unknown: int
    exact: bool
