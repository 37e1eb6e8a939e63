"""Random small meshes, nothing planted: no set of conjunctions of the whole vocabulary is smaller."""

import itertools
import random

import pytest
from probemesh_controller.collapse import Cell, End, ProbeLabel, State, Way, explain
from probemesh_controller.collapse.candidates import Shape
from probemesh_controller.collapse.explaining import fits
from probemesh_controller.collapse.universe import end_terms, probe_terms

#: Larger ones would take long to try all of.
MOST = 4


def fewest(cells: list[Cell]) -> int | None:
    """By trying all, exceptions apart; None where it takes more than ``MOST``."""

    def bits(shape: Shape) -> int:
        return sum(1 << place for place, cell in enumerate(cells) if fits(shape, cell))

    def those(state: State) -> int:
        return sum(1 << place for place, cell in enumerate(cells) if cell.state is state)

    ends = {cell.source for cell in cells} | {cell.target for cell in cells}
    terms = [None, *{term for end in ends for term in end_terms(end)}]
    probes = [(), *{one for cell in cells for one in probe_terms(cell.probe)}]
    shapes = (Shape(*parts) for parts in itertools.product(terms, terms, Way, probes))
    failing, healthy = those(State.FAILING), those(State.OK)
    masks = {bits(shape) for shape in shapes if shape.way is Way.ONE or shape.source is not None}
    clean = {mask & failing for mask in masks if not mask & healthy}
    widest = [mask for mask in clean if not any(mask != other and not mask & ~other for other in clean)]
    for count in range(MOST + 1):
        for chosen in itertools.combinations(widest, count):
            if failing == sum(
                1 << place for place in range(len(cells)) if any(m >> place & 1 for m in chosen)
            ):
                return count
    return None


@pytest.mark.parametrize("seed", range(40))
def test_nothing_smaller_explains_it(seed: int) -> None:
    rng = random.Random(seed)
    ends = [End(f"a{n}", "xy"[n // 2], (f"rack={n % 2}",)) for n in range(4)]
    probes = [ProbeLabel("tcp", 5432), ProbeLabel("icmp")][: rng.choice([1, 2])]
    share = rng.choice([0.2, 0.5, 0.8])
    weights = [share, 1 - share, 0.1]
    states = [State.FAILING, State.OK, State.UNKNOWN]
    places = itertools.product(ends, ends, probes)
    cells = [Cell(a, b, p, rng.choices(states, weights)[0]) for a, b, p in places if a != b]
    found = explain(cells)
    least = fewest(cells)
    assert found.exact
    assert least is None or sum(1 + len(cause.but) for cause in found.causes) <= least
