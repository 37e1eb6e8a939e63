"""Every conjunction that explains a failing cell and no healthy one, as far as it can matter: what a more
general one explains already is left out. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from probemesh_controller.collapse.model import Exclusion, Kind, Term, Way
from probemesh_controller.collapse.universe import Universe, end_terms, probe_terms, rank

#: So many exceptions one cause may have.
MOST_EXCLUSIONS = 2
#: Exceptions are tried on causes between two particular sides only in meshes up to so many cells.
SMALL = 4096
_ANY: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """A cause as a conjunction, without what it covers."""

    source: Term | None = None
    target: Term | None = None
    way: Way = Way.ONE
    probe: tuple[Term, ...] = ()
    but: tuple[Exclusion, ...] = ()

    @property
    def price(self) -> int:
        """To be added up and compared: causes and exceptions first, then causes, then terms, then how far the
        terms are from naming agents."""
        ends = [term for term in (self.source, self.target) if term is not None]
        terms = len(ends) + len(self.probe) + len(self.but) + (self.way is Way.BOTH)
        labels = sum(term.kind in (Kind.LABEL, Kind.NETWORK) for term in ends)
        return (1 + len(self.but)) << 48 | 1 << 32 | terms << 16 | labels

    @property
    def order(self) -> tuple[object, ...]:
        def ranks(terms: tuple[Term, ...]) -> list[tuple[int, str]]:
            return [rank(term) for term in terms]

        ends = [ranks(() if term is None else (term,)) for term in (self.source, self.target)]
        return self.price, ends, self.way, ranks(self.probe), [(one.side, rank(one.term)) for one in self.but]


def candidates(universe: Universe) -> dict[int, Shape]:
    """Failing cells → the cheapest shape that explains just these."""
    return _Search(universe).found


class _Search:
    def __init__(self, universe: Universe) -> None:
        self._u = universe
        self._all = universe.failing | universe.healthy
        self.found: dict[int, Shape] = {}
        self._clean: set[tuple[Term | None, Term | None, tuple[Term, ...]]] = set()
        self._small = len(universe.cells) <= SMALL
        self._both = self._both_ways()
        whole = {term: universe.all_sources[term] | universe.all_targets[term] for term in self._both}
        self._either = {term: mask for term, mask in whole.items() if mask != self._all}
        for probe, mask in ((_ANY, self._all), *universe.probes.items()):
            if mask & universe.failing:
                self._ends(probe, mask)

    def _both_ways(self) -> list[Term]:
        """Terms of ends that are both sources and targets; of those that mean the same cells the first."""
        u = self._u
        firsts: dict[tuple[int, int], Term] = {}
        for term in sorted(u.all_sources.keys() & u.all_targets.keys(), key=rank):
            firsts.setdefault((u.all_sources[term], u.all_targets[term]), term)
        return list(firsts.values())

    def _ends(self, probe: tuple[Term, ...], mask: int) -> None:
        u = self._u
        if self._try(Shape(probe=probe), mask):
            return
        for term, either in self._either.items():
            if either & mask & u.failing:
                self._try(Shape(term, None, Way.BOTH, probe), either & mask)
        targets = [(term, one) for term in u.targets if (one := u.targets[term] & mask) & u.failing]
        open_targets = [
            (term, one) for term, one in targets if not self._try(Shape(None, term, probe=probe), one)
        ]
        for source, of_source in u.sources.items():
            one = of_source & mask
            if not one & u.failing or self._try(Shape(source, probe=probe), one):
                continue
            failing = one & u.failing
            for target, of_target in open_targets:
                if failing & of_target:
                    self._try(Shape(source, target, probe=probe), one & of_target)
        self._between(probe)

    def _between(self, probe: tuple[Term, ...]) -> None:
        """Pairs of ends between which nothing passes either way."""
        u = self._u
        mask = self._probe_mask(probe)
        for a, b in self._pairs(probe):
            there, back = (
                u.all_sources[a] & u.all_targets[b] & mask,
                u.all_sources[b] & u.all_targets[a] & mask,
            )
            if there & u.failing and back & u.failing and not (there | back) & u.healthy:
                self._keep(Shape(a, b, Way.BOTH, probe), there | back)

    def _pairs(self, probe: tuple[Term, ...]) -> list[tuple[Term, Term]]:
        """All of them, or in a large mesh those that are clean in both directions and in no wider cause."""
        if self._small:
            return list(combinations(self._both, 2))
        clean = [(a, b) for a, b, one in self._clean if one == probe and a is not None and b is not None]
        return [(a, b) for a, b in clean if rank(a) < rank(b) and (b, a, probe) in self._clean]

    def _probe_mask(self, probe: tuple[Term, ...]) -> int:
        return self._u.probes[probe] if probe else self._all

    def _try(self, shape: Shape, mask: int) -> bool:
        """Whether it is clean, so that nothing narrower need be looked at."""
        u = self._u
        if shape.probe and self._general(shape):
            return True
        bad = mask & u.healthy
        if not bad:
            if shape.way is Way.ONE:
                self._clean.add((shape.source, shape.target, shape.probe))
            self._keep(shape, mask)
            return True
        general = shape.source is None or shape.target is None
        if self._small or (general and (mask & u.failing).bit_count() > bad.bit_count()):
            self._but(shape, mask, bad)
        return False

    def _general(self, shape: Shape) -> bool:
        """The same ends are clean with fewer words on the probe."""
        return shape.way is Way.ONE and any(
            (shape.source, shape.target, fewer) in self._clean
            for fewer in (_ANY, *((term,) for term in shape.probe if len(shape.probe) > 1))
        )

    def _but(self, shape: Shape, mask: int, bad: int) -> None:
        """Leaves out what the first healthy cell has, until none is left."""
        for exclusion, left_out in self._exclusions(shape, bad):
            left, still = mask & ~left_out, bad & ~left_out
            if (left & self._u.failing).bit_count() < 2:
                continue
            but = tuple(sorted((*shape.but, exclusion), key=lambda one: (one.side, rank(one.term))))
            narrower = Shape(shape.source, shape.target, shape.way, shape.probe, but)
            if not still:
                self._keep(narrower, left)
            elif len(but) < MOST_EXCLUSIONS:
                self._but(narrower, left, still)

    def _exclusions(self, shape: Shape, bad: int) -> Iterator[tuple[Exclusion, int]]:
        u = self._u
        cell = u.cells[(bad & -bad).bit_length() - 1]
        if shape.way is Way.BOTH:
            for term in (*end_terms(cell.source), *end_terms(cell.target)):
                if term in self._either and term != shape.source:
                    yield Exclusion("either", term), self._either[term]
            return
        if not (shape.source is not None and shape.source.kind is Kind.AGENT):
            yield from (
                (Exclusion("source", t), u.sources[t]) for t in end_terms(cell.source) if t in u.sources
            )
        if not (shape.target is not None and shape.target.kind is Kind.AGENT):
            yield from (
                (Exclusion("target", t), u.targets[t]) for t in end_terms(cell.target) if t in u.targets
            )
        for terms in probe_terms(cell.probe):
            if len(terms) == 1 and terms in u.probes and terms != shape.probe:
                yield Exclusion("probe", terms[0]), u.probes[terms]

    def _keep(self, shape: Shape, mask: int) -> None:
        covered = mask & self._u.failing
        before = self.found.get(covered)
        if covered and (before is None or shape.order < before.order):
            self.found[covered] = shape
