"""The cheapest set of candidates that covers every failing cell: exactly by branch and bound where that ends
soon, else greedily with local improvement. Pure; work is bounded by counting steps, never by a clock."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

#: With more candidates, more bits to compare among them, and after so many steps, the greedy answer stands.
MOST_EXACT = 1200
MOST_BITS = 8_000_000_000
MOST_STEPS = 60_000
_ROUNDS = 4
_MOST_PAIRS = 24


@dataclass(frozen=True, slots=True)
class Candidate:
    """``covers`` are bits. Candidates stand in a fixed order, the first of equal ones wins."""

    covers: int
    price: int


def cover(wanted: int, candidates: Sequence[Candidate]) -> tuple[list[int], bool]:
    """Numbers of the chosen candidates, and whether nothing cheaper exists. Every bit of ``wanted`` must be
    in some candidate."""
    best = _improved(wanted, candidates, _greedy(wanted, candidates))
    if len(candidates) > MOST_EXACT or len(candidates) ** 2 * wanted.bit_length() > MOST_BITS:
        return best, len(best) <= 1
    search = _Exact(wanted, candidates, best)
    return search.run()


def _price(candidates: Sequence[Candidate], chosen: Sequence[int]) -> int:
    return sum(candidates[number].price for number in chosen)


def _greedy(wanted: int, candidates: Sequence[Candidate]) -> list[int]:
    """Most new cells for the price. Gains only shrink, so a stale gain is an upper bound."""

    def gain(number: int, left: int) -> tuple[float, int]:
        one = candidates[number]
        return -((one.covers & left).bit_count() / (one.price / (1 << 48))), number

    heap = [gain(number, wanted) for number in range(len(candidates))]
    heapq.heapify(heap)
    chosen, left = [], wanted
    while left:
        _, number = heapq.heappop(heap)
        now = gain(number, left)
        if not now[0]:
            continue
        if heap and now > heap[0]:
            heapq.heappush(heap, now)
            continue
        chosen.append(number)
        left &= ~candidates[number].covers
    return chosen


def _improved(wanted: int, candidates: Sequence[Candidate], chosen: list[int]) -> list[int]:
    """Drops what is not needed, then puts one in the place of one or two, while that is cheaper."""
    chosen = _needed(wanted, candidates, chosen)
    for _ in range(_ROUNDS):
        changed = _replaced(wanted, candidates, chosen)
        if changed is None:
            break
        chosen = _needed(wanted, candidates, changed)
    return sorted(chosen)


def _needed(wanted: int, candidates: Sequence[Candidate], chosen: Sequence[int]) -> list[int]:
    kept = list(chosen)
    once = _covered_once(candidates, kept)
    for number in sorted(chosen, key=lambda one: (-candidates[one].price, -one)):
        if not wanted & candidates[number].covers & once:
            kept.remove(number)
            once = _covered_once(candidates, kept)
    return kept


def _covered_once(candidates: Sequence[Candidate], chosen: Sequence[int]) -> int:
    once = more = 0
    for number in chosen:
        covers = candidates[number].covers
        more |= once & covers
        once |= covers
    return once & ~more


def _replaced(wanted: int, candidates: Sequence[Candidate], chosen: list[int]) -> list[int] | None:
    if len(chosen) > _MOST_PAIRS:
        return None
    groups = [(one,) for one in chosen] + [(a, b) for a in chosen for b in chosen if a < b]
    for group in groups:
        rest = 0
        for other in chosen:
            rest |= candidates[other].covers if other not in group else 0
        missing, price = wanted & ~rest, _price(candidates, group)
        fits = [
            number
            for number, one in enumerate(candidates)
            if one.price < price and missing & ~one.covers == 0 and number not in group
        ]
        if fits:
            cheapest = min(fits, key=lambda number: (candidates[number].price, number))
            return [one for one in chosen if one not in group] + [cheapest]
    return None


class _Exact:
    def __init__(self, wanted: int, candidates: Sequence[Candidate], best: list[int]) -> None:
        self._candidates = _undominated(candidates)
        self._prices = {number: candidates[number].price for number in self._candidates}
        self._best, self._best_price = best, _price(candidates, best)
        self._rows = self._distinct_rows(wanted, candidates)
        self._covers = self._rows_covered()
        self._steps = 0

    def _distinct_rows(self, wanted: int, candidates: Sequence[Candidate]) -> list[tuple[int, ...]]:
        """For each cell the candidates that cover it; what a harder cell asks for anyway is left out."""
        rows: set[tuple[int, ...]] = set()
        while wanted:
            bit = wanted & -wanted
            covering = [number for number in self._candidates if candidates[number].covers & bit]
            rows.add(tuple(covering))
            alike = wanted
            for number in self._candidates:
                covers = candidates[number].covers
                alike &= covers if covers & bit else ~covers
            wanted &= ~alike
        kept: list[tuple[int, ...]] = []
        sets: list[set[int]] = []
        for row in sorted(rows, key=lambda one: (len(one), one)):
            mine = set(row)
            if not any(other <= mine for other in sets):
                kept.append(row)
                sets.append(mine)
        return kept

    def _rows_covered(self) -> dict[int, int]:
        covers: dict[int, int] = {}
        for place, row in enumerate(self._rows):
            for number in row:
                covers[number] = covers.get(number, 0) | 1 << place
        return covers

    def run(self) -> tuple[list[int], bool]:
        whole = self._branch((1 << len(self._rows)) - 1, [], 0)
        return sorted(self._best), whole

    def _branch(self, left: int, chosen: list[int], price: int) -> bool:
        """False where the steps ran out."""
        self._steps += 1 + left.bit_count()
        if self._steps > MOST_STEPS:
            return False
        if not left:
            if price < self._best_price:
                self._best, self._best_price = list(chosen), price
            return True
        bound, row = self._bound(left)
        if price + bound >= self._best_price:
            return True
        for number in sorted(row, key=lambda one: (-(self._covers[one] & left).bit_count(), one)):
            chosen.append(number)
            whole = self._branch(left & ~self._covers[number], chosen, price + self._prices[number])
            chosen.pop()
            if not whole:
                return False
        return True

    def _bound(self, left: int) -> tuple[int, tuple[int, ...]]:
        """At least this much is still to be paid: rows that share no candidate are paid for apart. And the
        row with the fewest candidates."""
        taken: set[int] = set()
        total, first = 0, None
        while left:
            place = (left & -left).bit_length() - 1
            left &= left - 1
            row = self._rows[place]
            first = row if first is None else first
            if taken.isdisjoint(row):
                taken.update(row)
                total += min(self._prices[number] for number in row)
        return total, first or ()


def _undominated(candidates: Sequence[Candidate]) -> list[int]:
    """Without those of which a cheaper or equal one covers at least as much."""
    kept: list[int] = []
    order = sorted(
        range(len(candidates)), key=lambda n: (-candidates[n].covers.bit_count(), candidates[n].price, n)
    )
    for number in order:
        one = candidates[number]
        if not any(
            candidates[other].price <= one.price and one.covers & ~candidates[other].covers == 0
            for other in kept
        ):
            kept.append(number)
    return sorted(kept)
