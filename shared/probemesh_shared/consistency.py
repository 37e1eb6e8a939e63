"""Who saw what of one target: its vantage points grouped by what they were told, aspect by aspect. Pure, and
independent of their order.

Derived, not stored, as statistics are. What vantage points *conclude* from a difference is the business of
findings; here it is only laid open.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from probemesh_shared import stats
from probemesh_shared.model import Measurement, Target, TargetResult, Vantage
from probemesh_shared.outcomes import is_own_fault
from probemesh_shared.said import NOTHING, Said, dialled, said
from probemesh_shared.words import Aspect, Kind, Outcome

Key = TypeVar("Key", bound=Hashable)

#: A list of ports has an aspect a port; more than this are not shown.
MOST_ASPECTS = 100
#: Where so many vantage points were told as many things, the thing is made anew for everyone who asks.
DISTINCT: Mapping[Aspect, int] = {Aspect.BODY: 3, Aspect.BANNER: 3, Aspect.ANSWER: 3, Aspect.DATAGRAM: 2}
#: One family is slower where its median is so many times the other's, and so much above it.
SLOWER_RATIO = 2.0
SLOWER_MS = 10.0
ENOUGH_SAMPLES = 3

ALIKE = "alike"
_RTT_KINDS = (Kind.TCP, Kind.UDP, Kind.ICMP, Kind.TLS, Kind.HTTP)


@dataclass(frozen=True, slots=True)
class ValueGroup:
    """Who was told the same. A vantage point that was told several things is in several groups."""

    value: str
    vantages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AspectView:
    """``agreed``: nobody was told anything that others were not; sets of addresses that overlap, and answers
    that two vantage points share, agree. For ``family-rtt``: the families are alike for everybody."""

    aspect: Aspect
    port: int | None
    groups: tuple[ValueGroup, ...]
    agreed: bool


def consistency(result: TargetResult) -> tuple[AspectView, ...]:
    """The views of one target, in the order of :class:`Aspect`, then by port."""
    told: defaultdict[tuple[Aspect, int], list[tuple[str, Said]]] = defaultdict(list)
    for vantage in result.vantages:
        for one in () if vantage.is_target else said_by(result.target, vantage):
            told[one.aspect, one.port or 0].append((vantage.agent, one))
    order = list(Aspect)
    keys = sorted(told, key=lambda key: (order.index(key[0]), key[1]))
    views = (_view(aspect, port or None, told[aspect, port]) for aspect, port in keys)
    return tuple(view for view in views if view is not None)[:MOST_ASPECTS]


def said_by(target: Target, vantage: Vantage) -> tuple[Said, ...]:
    """All that one vantage point was told, each thing once."""
    rows = vantage.measurements
    named = any(row.kind is Kind.DNS for row in rows)
    found = [one for row in rows for one in said(row)]
    found += [] if named else dialled(target, rows)
    return tuple(dict.fromkeys([*found, *_families(rows)]))


def _view(aspect: Aspect, port: int | None, told: Sequence[tuple[str, Said]]) -> AspectView | None:
    parts = parts_by(told)
    if is_made_anew(aspect, parts):
        return None
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for agent, one in told:
        groups[f"{one.text} ({one.by})" if one.by else one.text].add(agent)
    listed = [ValueGroup(value, tuple(sorted(names))) for value, names in groups.items()]
    listed.sort(key=lambda group: (-len(group.vantages), group.value))
    return AspectView(aspect, port, tuple(listed), _agreed(aspect, told))


def parts_by(told: Iterable[tuple[Key, Said]]) -> dict[Key, frozenset[str]]:
    """All that each was told, together."""
    found: dict[Key, frozenset[str]] = {}
    for key, one in told:
        found[key] = found.get(key, frozenset()) | one.parts
    return found


def is_made_anew(aspect: Aspect, parts: Mapping[Key, frozenset[str]]) -> bool:
    """Everybody was told something else: a page with the time on it says nothing about who asks."""
    enough = DISTINCT.get(aspect)
    return enough is not None and len(parts) >= enough and len(pools(parts)) == len(parts)


def _agreed(aspect: Aspect, told: Sequence[tuple[str, Said]]) -> bool:
    if aspect is Aspect.FAMILY_RTT:
        return all(one.text == ALIKE for _, one in told)
    if aspect is Aspect.CERTIFICATE:
        return len({one.parts for _, one in told}) == 1
    return len(pools({(agent, one.by): one.parts for agent, one in told})) == 1


def pools(parts: Mapping[Key, frozenset[str]]) -> list[list[Key]]:
    """Keys that hang together by shared parts, the largest pool first, then in the order given."""
    left: list[tuple[list[Key], set[str]]] = []
    for key, mine in parts.items():
        joined, rest = [key], []
        values = set(mine)
        for keys, others in left:
            if others & mine:
                joined, values = keys + joined, values | others
            else:
                rest.append((keys, others))
        left = [*rest, (joined, values)]
    place = {key: index for index, key in enumerate(parts)}
    found = [sorted(keys, key=place.__getitem__) for keys, _ in left]
    return sorted(found, key=lambda keys: (-len(keys), place[keys[0]]))


# --- families -----------------------------------------------------------------------------------------


def _families(rows: Iterable[Measurement]) -> Iterable[Said]:
    """One line about IPv4 beside IPv6: of the first kind by which both were tried."""
    looked = [row for row in rows if row.address and not is_own_fault(row) and row.kind in _RTT_KINDS]
    for kind in _RTT_KINDS:
        four = [row for row in looked if row.kind is kind and ":" not in (row.address or "")]
        six = [row for row in looked if row.kind is kind and ":" in (row.address or "")]
        if four and six and (word := compared(four, six)) is not None:
            yield Said(Aspect.FAMILY_RTT, None, frozenset({word}), word)
            return


def compared(four: Sequence[Measurement], six: Sequence[Measurement]) -> str | None:
    """``alike``, ``ipv6 slower``, ``ipv4 fails`` ...; None where too little was sampled, or both fail.

    Each family by its fastest address: a second one that is far away makes no family slow."""
    works = [any(row.outcome is Outcome.OK for row in rows) for rows in (four, six)]
    if works != [True, True]:
        return None if not any(works) else "ipv6 fails" if works[0] else "ipv4 fails"
    best = [min(found) if (found := _medians(rows)) else None for rows in (four, six)]
    if best[0] is None or best[1] is None:
        return None
    for name, mine, other in (("ipv6", best[1], best[0]), ("ipv4", best[0], best[1])):
        if mine >= SLOWER_RATIO * other and mine - other >= SLOWER_MS:
            return f"{name} slower"
    return ALIKE


def _medians(rows: Iterable[Measurement]) -> list[float]:
    found = []
    for row in rows:
        rtts = [one.rtt_ms for one in row.samples if one.outcome is Outcome.OK and one.rtt_ms is not None]
        rtt = stats.round_trips(rtts)
        if rtt is not None and len(rtts) >= ENOUGH_SAMPLES:
            found.append(rtt.median_ms)
    return found


__all__ = [
    "ALIKE",
    "NOTHING",
    "AspectView",
    "ValueGroup",
    "compared",
    "consistency",
    "is_made_anew",
    "parts_by",
    "pools",
    "said_by",
]
