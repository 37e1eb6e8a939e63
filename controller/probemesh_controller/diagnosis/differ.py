"""What rules about different answers share: who was told what, in pools of those who agree, and who is the
minority."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from probemesh_shared.consistency import parts_by, pools
from probemesh_shared.model import Evidence
from probemesh_shared.said import Said
from probemesh_shared.targets import DNS_PORT, server_text
from probemesh_shared.words import Aspect

from probemesh_controller.diagnosis.facts import Facts
from probemesh_controller.diagnosis.observations import Observation
from probemesh_controller.diagnosis.wording import bounded, names

#: Answers that a sentence names; the others are counted.
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Told:
    """One vantage point heard one thing."""

    seen: Observation
    said: Said

    @property
    def source(self) -> str:
        return self.seen.source

    @property
    def who(self) -> tuple[str, str]:
        """A vantage point may ask several nameservers; each of them is one who answers."""
        return self.seen.source, self.said.by or ""


def told(facts: Facts, aspect: Aspect) -> dict[int, list[Told]]:
    """By port (0: none), in the order of observations. Of a failed row nothing counts but that a name is not
    there: other findings speak of it."""
    found: defaultdict[int, list[Told]] = defaultdict(list)
    for one in facts.observations:
        for said in one.said:
            if said.aspect is aspect and said.held:
                found[said.port or 0].append(Told(one, said))
    return dict(sorted(found.items()))


def pooled(rows: Sequence[Told], who: Callable[[Told], tuple[str, str]]) -> list[list[Told]]:
    """Rows of those who agree, the pool of most vantage points first; ties in the order of their names."""
    keyed = sorted(rows, key=who)
    parts = parts_by((who(row), row.said) for row in keyed)
    found = [[row for row in keyed if who(row) in keys] for keys in map(set, pools(parts))]
    return sorted(found, key=lambda pool: (-len(sources(pool)), sources(pool)))


def sources(rows: Iterable[Told]) -> tuple[str, ...]:
    return tuple(sorted({row.source for row in rows}))


def has_majority(groups: Sequence[Sequence[Told]]) -> bool:
    """The first group holds more vantage points than any other."""
    return len(groups) > 1 and len(sources(groups[0])) > len(sources(groups[1]))


def minority(groups: Sequence[Sequence[Told]]) -> tuple[str, ...]:
    """Whom a difference is about: all but the majority, or everybody where there is none."""
    apart = groups[1:] if has_majority(groups) else groups
    return sources(row for group in apart for row in group)


def listed(groups: Sequence[Sequence[Told]], text: Callable[[Sequence[Told]], str]) -> str:
    """``X for a and b, Y for c``, the minority first where there is one."""
    order = [*groups[1:], groups[0]] if has_majority(groups) else list(groups)
    shown = order if len(order) <= SHOWN else [*order[: SHOWN - 1], order[-1]]
    said = [f"{text(group)} for {names(sources(group))}" for group in shown]
    rest = len(order) - len(shown)
    return ", ".join([*said, f"and {rest} more answers"] if rest else said)


def evidence_of(groups: Iterable[Iterable[Told]], value: Callable[[Told], str]) -> tuple[Evidence, ...]:
    """One piece an observation. All of it supports: a difference takes two."""
    texts: defaultdict[str, dict[str, None]] = defaultdict(dict)
    where: dict[str, Observation] = {}
    for row in (row for group in groups for row in group):
        where[row.seen.id] = row.seen
        texts[row.seen.id][value(row)] = None
    found = []
    for identifier in sorted(texts):
        one = where[identifier]
        at = f" {one.address}" if one.address else ""
        found.append(
            Evidence(identifier, True, f"{one.source}: {one.kind}{at}: {'; '.join(texts[identifier])}")
        )
    return bounded(found)


def at_server(address: str, asked: Observation | None = None) -> str:
    """A name server as it ends a target of dns, at the port at which it was ``asked``; that of dot or doh is
    another protocol's."""
    plain = asked is not None and asked.transport in ("udp", "tcp")
    return f"@{server_text(address, (asked.port if asked and plain else None) or DNS_PORT)}"


def address_in_common(groups: Sequence[Sequence[Told]]) -> bool:
    """Two groups were told different things by the same address."""
    met: set[str] = set()
    for group in groups:
        mine = {row.seen.address for row in group if row.seen.address}
        if met & mine:
            return True
        met |= mine
    return False
