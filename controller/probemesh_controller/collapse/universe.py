"""The cells as bits: which cells each term means, as one Python integer a term. Pure.

Only what is known has a bit; the order of bits is that of the cells' names, so that the order of input never
matters.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from probemesh_controller.collapse.model import Cell, End, Kind, ProbeLabel, State, Term

_KINDS = tuple(Kind)
Thing = TypeVar("Thing")
Name = TypeVar("Name")


def bits_of(places: Iterable[int], count: int) -> int:
    field = bytearray(count // 8 + 1)
    for place in places:
        field[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(field, "little")


def rank(term: Term) -> tuple[int, str]:
    return _KINDS.index(term.kind), term.value


def end_terms(end: End) -> Iterator[Term]:
    yield Term(Kind.AGENT, end.name)
    if end.site:
        yield Term(Kind.SITE, end.site)
    for network in end.networks:
        yield Term(Kind.NETWORK, network)
    for label in end.labels:
        yield Term(Kind.LABEL, label)


def probe_terms(probe: ProbeLabel) -> Iterator[tuple[Term, ...]]:
    """Every conjunction that fits it, short ones first."""
    what = [(Term(Kind.TRANSPORT, probe.transport),)]
    if probe.port is not None:
        what.append((Term(Kind.PORT, f"{probe.transport}/{probe.port}"),))
    yield from what
    if probe.family is not None:
        family = Term(Kind.FAMILY, probe.family)
        yield (family,)
        yield from ((*one, family) for one in what)


def ordered(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Each cell once, by its names. Raises ValueError where one is told in two ways."""
    found: dict[tuple[End, End, ProbeLabel], Cell] = {}
    for cell in cells:
        key = (cell.source, cell.target, cell.probe)
        if found.setdefault(key, cell) != cell:
            raise ValueError(f"two accounts of {cell.source.name} → {cell.target.name}")
    return tuple(sorted(found.values(), key=_key))


def _key(cell: Cell) -> tuple[object, ...]:
    probe = cell.probe
    return _end(cell.source), _end(cell.target), probe.transport, probe.port or 0, probe.family or ""


def _end(end: End) -> tuple[object, ...]:
    return end.name, end.site or "", end.labels, end.networks


@dataclass(frozen=True, slots=True)
class Universe:
    """``sources``, ``targets``, ``probes``: what means different cells, to those cells, in a fixed order:
    of terms for the same cells only the first is there, and none that means all cells or none failing."""

    cells: Sequence[Cell]
    failing: int
    healthy: int
    sources: Mapping[Term, int]
    targets: Mapping[Term, int]
    probes: Mapping[tuple[Term, ...], int]
    all_sources: Mapping[Term, int]
    all_targets: Mapping[Term, int]

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> "Universe":
        count = len(cells)
        failing = bits_of((n for n, cell in enumerate(cells) if cell.state is State.FAILING), count)
        every = (1 << count) - 1
        sources = _masks((cell.source for cell in cells), end_terms, count)
        targets = _masks((cell.target for cell in cells), end_terms, count)
        probes = _masks((cell.probe for cell in cells), probe_terms, count)

        def telling(masks: Mapping[tuple[Term, ...], int]) -> dict[tuple[Term, ...], int]:
            firsts: dict[int, tuple[Term, ...]] = {}
            for name in sorted(masks, key=lambda terms: (len(terms), [rank(term) for term in terms])):
                if masks[name] != every:
                    firsts.setdefault(masks[name], name)
            return {name: mask for mask, name in firsts.items()}

        def ends(masks: Mapping[Term, int]) -> dict[Term, int]:
            return {name[0]: mask for name, mask in telling({(one,): m for one, m in masks.items()}).items()}

        return cls(
            cells, failing, every & ~failing, ends(sources), ends(targets), telling(probes), sources, targets
        )


def _masks(things: Iterable[Thing], names: Callable[[Thing], Iterable[Name]], count: int) -> dict[Name, int]:
    places: dict[Thing, list[int]] = {}
    for place, thing in enumerate(things):
        places.setdefault(thing, []).append(place)
    found: dict[Name, int] = {}
    for thing, where in places.items():
        mask = bits_of(where, count)
        for name in names(thing):
            found[name] = found.get(name, 0) | mask
    return found
