"""What was observed of one agent's datagrams, as data: everything is concluded from a :class:`Seen` alone.

The agent whose NAT is looked at is the *subject*; the others see its datagrams (*sightings*), and send it
some that it did not ask for (*knocks*). Sockets are numbered over the whole inquiry: one number is one
local port, so one mapping. Pure.
"""

from dataclasses import dataclass
from enum import StrEnum

from probemesh_shared.words import Family


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """The subject's socket ``socket``, bound to ``local_port``, sent to ``to`` of agent ``reflector``,
    where the datagram came from ``seen``. ``order`` is that of sending; ``ttl`` as it arrived."""

    socket: int
    local_port: int
    reflector: str
    to: Endpoint
    seen: Endpoint
    order: int = 0
    ttl: int | None = None


class Knocker(StrEnum):
    """From where an unasked datagram came, as the mapping knows it."""

    ASKED = "asked"  # the very address and port that the socket has sent to
    OTHER_PORT = "other-port"  # the same address, another port
    OTHER_ADDRESS = "other-address"  # an address that the socket never sent to


@dataclass(frozen=True, slots=True)
class Knock:
    """``sent`` datagrams to the mapping of ``socket``, of which ``arrived`` came in. The mapping was fresh:
    nothing had been sent from it but to the asked reflector. ``agent`` knocked, from its ``source``;
    ``came_from`` are the addresses that what arrived bore."""

    socket: int
    knocker: Knocker
    agent: str
    source: str
    sent: int
    arrived: int
    came_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hairpin:
    """Two sockets of the subject's (or of two subjects behind one NAT) that sent to each other's outside
    address. ``sources`` are where the datagrams that came in came from; ``outside`` are the two mappings,
    ``kept``: both were seen unchanged afterwards (or nobody looked: None)."""

    sent: int
    outside: tuple[Endpoint, ...]
    sources: tuple[Endpoint, ...] = ()
    kept: bool | None = None


@dataclass(frozen=True, slots=True)
class Rung:
    """A datagram to ``outside``, an outside address of the subject's own, with this TTL, and who answered it:
    ``reached`` is an answer of that address itself, else a hop said that its time was over."""

    outside: str
    ttl: int
    sender: str | None = None
    reached: bool = False


@dataclass(frozen=True, slots=True)
class Clash:
    """Two agents behind one outside address used the same source port. ``first`` sent to one endpoint;
    ``second`` then sent, in this order, to another address, to another port of the same address, and to
    that endpoint."""

    first: tuple[Sighting, ...]
    second: tuple[Sighting, ...]


@dataclass(frozen=True, slots=True)
class Silence:
    """A mapping that was silent for ``idle_s``, and whether an answer of the asked reflector then came in.
    ``late_s``: by how much longer it may have been silent, where the reflector was not quick to begin."""

    idle_s: float
    arrived: bool
    late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reached:
    """An agent that the subject cannot reach sent to ``address``, one of the subject's own, and it arrived
    there unasked and untranslated."""

    agent: str
    address: str
    ttl: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A reflector that was asked: all the endpoints at which it listened for the subject."""

    agent: str
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """All about one subject in one family. ``own`` are the addresses of its interfaces. ``sent`` counts
    datagrams to reflectors. ``heard`` are the endpoints whose answers came in, from whatever socket."""

    agent: str
    site: str | None = None
    family: Family = Family.IPV4
    own: tuple[str, ...] = ()
    reflectors: tuple[Asked, ...] = ()
    sent: int = 0
    sightings: tuple[Sighting, ...] = ()
    heard: frozenset[Endpoint] = frozenset()
    knocks: tuple[Knock, ...] = ()
    hairpin: Hairpin | None = None
    ladder: tuple[Rung, ...] = ()
    clashes: tuple[Clash, ...] = ()
    silences: tuple[Silence, ...] = ()
    reached: tuple[Reached, ...] = ()
    problems: tuple[str, ...] = ()
