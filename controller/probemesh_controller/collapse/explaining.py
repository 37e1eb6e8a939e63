"""Cells → causes. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence

from probemesh_controller.collapse.candidates import Shape, candidates
from probemesh_controller.collapse.cover import Candidate, cover
from probemesh_controller.collapse.model import Cause, Cell, Exclusion, Explanation, State, Term, Way
from probemesh_controller.collapse.universe import Universe, end_terms, ordered, probe_terms


def explain(cells: Iterable[Cell]) -> Explanation:
    """The fewest causes (an exception counts as one), then the fewest words, that explain every failing cell
    and no healthy one; the same whatever the order of ``cells``. Raises ValueError where one cell is told in
    two ways."""
    every = ordered(cells)
    unknown = [cell for cell in every if cell.state is State.UNKNOWN]
    known = [cell for cell in every if cell.state is not State.UNKNOWN]
    universe = Universe.of(known)
    found = sorted(candidates(universe).items(), key=lambda item: item[1].order)
    chosen, exact = cover(universe.failing, [Candidate(covers, shape.price) for covers, shape in found])
    causes = [_cause(*found[number], known, unknown) for number in chosen]
    causes.sort(key=lambda cause: -cause.failing)  # stable: else by price
    failing = universe.failing.bit_count()
    return Explanation(tuple(causes), failing, len(known) - failing, len(unknown), exact)


def _cause(covers: int, shape: Shape, known: Sequence[Cell], unknown: Sequence[Cell]) -> Cause:
    words: Counter[str] = Counter()
    left = covers
    while left:
        word = known[(left & -left).bit_length() - 1].word
        words[word] += bool(word)
        left &= left - 1
    failing = covers.bit_count()
    silent = sum(fits(shape, cell) for cell in unknown)
    told = tuple(word for word, count in sorted(words.items(), key=lambda one: (-one[1], one[0])) if count)
    return Cause(
        shape.source, shape.target, shape.way, shape.probe, shape.but, failing, failing, silent, told
    )


def fits(cause: Cause | Shape, cell: Cell) -> bool:
    """Whether the cell lies in what the cause speaks of."""
    source, target = set(end_terms(cell.source)), set(end_terms(cell.target))
    if not _ends_fit(cause, source, target) or (
        cause.probe and cause.probe not in set(probe_terms(cell.probe))
    ):
        return False
    probe = {terms[0] for terms in probe_terms(cell.probe) if len(terms) == 1}
    sides = {"source": source, "target": target, "probe": probe, "either": source | target}
    return not any(_holds(one, sides[one.side]) for one in cause.but)


def _holds(one: Exclusion, terms: set[Term]) -> bool:
    return one.term in terms


def _ends_fit(cause: Cause | Shape, source: set[Term], target: set[Term]) -> bool:
    def one_way(there: set[Term], back: set[Term]) -> bool:
        from_ok = cause.source is None or cause.source in there
        return from_ok and (cause.target is None or cause.target in back)

    return one_way(source, target) or (cause.way is Way.BOTH and one_way(target, source))
