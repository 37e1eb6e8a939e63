"""What is concluded about the NAT or firewall in front of one agent, in the words of RFC 4787. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from probemesh_shared.words import Family


class NatRule(StrEnum):
    """Of a mapping: for which destinations an inside address and port keep the same outside ones. Of a
    filter: whose datagrams it lets in. RFC 4787 §4.1 and §5; ``undetermined`` where several remain."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    UNDETERMINED = "undetermined"


#: All that a mapping or a filter can be, the most open first.
RULES = (
    NatRule.ENDPOINT_INDEPENDENT,
    NatRule.ADDRESS_DEPENDENT,
    NatRule.ADDRESS_AND_PORT_DEPENDENT,
)


class Pooling(StrEnum):
    """RFC 4787 §4.1: whether one inside host keeps one outside address."""

    PAIRED = "paired"
    ARBITRARY = "arbitrary"


class HairpinSource(StrEnum):
    """RFC 4787 REQ-9: whose address a hairpinned datagram carries."""

    EXTERNAL = "external"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Ruling:
    """One rule, or ``undetermined`` with the two or three that remain."""

    rule: NatRule = NatRule.UNDETERMINED
    alternatives: tuple[NatRule, ...] = RULES

    @classmethod
    def of(cls, *remaining: NatRule) -> "Ruling":
        """What is left: one is the answer, several are a set, in the order of ``RULES``."""
        kept = tuple(rule for rule in RULES if rule in remaining)
        return cls(kept[0], ()) if len(kept) == 1 else cls(NatRule.UNDETERMINED, kept)

    @property
    def possible(self) -> tuple[NatRule, ...]:
        return self.alternatives or (self.rule,)


@dataclass(frozen=True, slots=True)
class ReflectorSeen:
    """An agent that was asked where datagrams came from. ``sees`` are the addresses it saw; ``outside``:
    it saw a translated one; None: it heard nothing."""

    agent: str
    addresses: tuple[str, ...] = ()
    sees: tuple[str, ...] = ()
    outside: bool | None = None
    hops: int | None = None  # routers on the way to it, by the TTL of what came


@dataclass(frozen=True, slots=True)
class NatBehaviour:
    """One agent's. ``behind_nat`` None: nothing was heard, or only from where no NAT could stand between.

    ``ports_kept`` of ``ports_tried`` sockets kept their source port. ``mapped_addresses`` are outside
    addresses, empty without a NAT; ``seen_addresses`` is what the reflectors saw in any case. ``layers``
    is how many NATs there are where that is certain; else ``layers_least`` to ``layers_most``. ``cgn``: an
    address of 100.64.0.0/10 was met on the way or outside. A mapping lived ``lifetime_s`` of silence, and not
    ``lifetime_most_s``. ``firewall_only``: no NAT, and not everybody may send in. ``sent`` datagrams were
    sent to reflectors. ``notes`` say by what this is known, ``missing`` what kept it from being known
    better: both for people."""

    agent: str
    site: str | None = None
    family: Family = Family.IPV4
    behind_nat: bool | None = None
    mapping: Ruling = Ruling()
    filtering: Ruling = Ruling()
    firewall_only: bool | None = None
    port_preservation: bool | None = None
    ports_kept: int = 0
    ports_tried: int = 0
    hairpinning: bool | None = None
    hairpin_source: HairpinSource | None = None
    pooling: Pooling | None = None
    mapped_addresses: tuple[str, ...] = ()
    seen_addresses: tuple[str, ...] = ()
    own_addresses: tuple[str, ...] = ()
    layers: int | None = None
    layers_least: int | None = None
    layers_most: int | None = None
    cgn: bool | None = None
    lifetime_s: float | None = None
    lifetime_most_s: float | None = None
    reflectors: tuple[ReflectorSeen, ...] = ()
    sent: int = 0
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
