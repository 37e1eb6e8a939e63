"""Which hop is asked next, on a simulated path: a virtual clock, no packet."""

import itertools
from dataclasses import dataclass, field

import pytest
from probemesh_agent.path.walk import FULL, MOST, RETRY_GAP_S, SILENT, Ask, Heard, Over, Walk


@dataclass
class Path:
    """``length``: the hop at which the target answers (None: it never does). ``mute`` hops say nothing,
    ``slow`` ones answer once a second after a burst of two. ``refuses``: a router that says no."""

    length: int | None
    mute: frozenset[int] = frozenset()
    slow: frozenset[int] = frozenset()
    refuses: int | None = None
    trip_s: float = 0.01
    end: int = 8  # routers there are, where the target never answers
    tokens: dict[int, tuple[float, float]] = field(default_factory=dict)

    def answer(self, hop: int, now: float) -> Heard | None:
        if self.refuses is not None and (hop == FULL or hop > self.refuses):
            return Heard.REFUSAL
        if self.length is not None and (hop == FULL or hop >= self.length):
            return Heard.TARGET
        if hop == FULL or hop in self.mute or (self.length is None and hop > self.end):
            return None
        return Heard.HOP if hop not in self.slow or self._token(hop, now) else None

    def _token(self, hop: int, now: float) -> bool:
        count, then = self.tokens.get(hop, (2.0, now))
        count = min(2.0, count + (now - then))
        self.tokens[hop] = (count - 1, now) if count >= 1 else (count, now)
        return count >= 1


@dataclass
class Walked:
    walk: Walk
    asked: list[tuple[float, int]]
    took_s: float

    def times(self, hop: int) -> list[float]:
        return [at for at, one in self.asked if one == hop]


def walked(path: Path, *, count: int = 3, window: int = 1, most: int = 30, first: int = 1) -> Walked:
    walk = Walk(first, most, count, 3.0, 0.2, window)
    now, asked = 0.0, []
    coming: list[tuple[float, int, int, Heard]] = []
    while (step := walk.step(now)) is not None:
        assert len(asked) <= MOST
        if isinstance(step, Ask):
            number = walk.sent(step.hop, now)
            asked.append((now, step.hop))
            if (what := path.answer(step.hop, now)) is not None:
                coming.append((now + path.trip_s, number, step.hop, what))
            continue
        coming.sort()
        if coming and coming[0][0] <= step.until:
            now, number, hop, what = coming.pop(0)
            walk.heard(number, hop, what, path.trip_s)
        else:
            assert step.until > now, "no busy loop"
            now = step.until
    return Walked(walk, asked, now)


@pytest.mark.parametrize("window", [1, 8])
def test_a_path_that_answers_is_walked_to_its_end_and_every_hop_asked_three_times(window: int) -> None:
    done = walked(Path(5), window=window)
    assert (done.walk.over, done.walk.end) == (Over.TARGET, 5)
    assert {hop: len(done.times(hop)) for hop in range(1, 6)} == dict.fromkeys(range(1, 6), 3)
    for hop in range(1, 6):
        times = done.times(hop)
        assert all(after - before >= 0.2 - 1e-9 for before, after in itertools.pairwise(times))


def test_one_packet_is_on_its_way_at_a_time_in_single_file() -> None:
    done = walked(Path(5, trip_s=0.03))
    gaps = [after - before for (before, _), (after, _) in zip(done.asked, done.asked[1:], strict=False)]
    assert min(gaps) >= 0.03 - 1e-9


@pytest.mark.parametrize("window", [1, 8])
def test_a_silent_hop_is_asked_again_slowly_and_ends_nothing_where_the_target_answers(window: int) -> None:
    done = walked(Path(9, mute=frozenset({2, 3, 4, 5, 6, 7})), window=window)
    assert done.walk.end == 9
    times = done.times(3)
    assert len(times) == 3
    assert all(after - before >= RETRY_GAP_S - 1e-9 for before, after in itertools.pairwise(times))


@pytest.mark.parametrize("window", [1, 8])
def test_silence_ends_a_trace_that_the_target_does_not_answer(window: int) -> None:
    done = walked(Path(None, end=3), window=window)
    assert (done.walk.over, done.walk.end, done.walk.silent_tail) == (Over.SILENCE, None, SILENT)
    assert max(hop for _, hop in done.asked) == 3 + SILENT
    assert done.took_s < 12


@pytest.mark.parametrize("window", [1, 8])
def test_a_router_that_answers_once_a_second_is_no_silent_hop(window: int) -> None:
    path = Path(4, slow=frozenset({1, 2, 3}))
    for hop in (1, 2, 3):
        path.tokens[hop] = (0.0, 0.0)  # another trace has just used them up
    done = walked(path, window=window)
    assert all(done.walk.hops[hop].answers for hop in (1, 2, 3))


def test_who_says_no_ends_the_ascent_there() -> None:
    done = walked(Path(9, refuses=2))
    assert (done.walk.over, done.walk.end, done.walk.ended_by) == (Over.ERROR, 3, Heard.REFUSAL)
    assert max(hop for _, hop in done.asked) == 3


def test_no_more_hops_than_are_allowed() -> None:
    done = walked(Path(9), most=4)
    assert (done.walk.over, done.walk.end, done.walk.knocked) == (Over.HOPS, None, Heard.TARGET)
    assert max(hop for _, hop in done.asked) == 4


def test_it_begins_where_it_was_told_to() -> None:
    done = walked(Path(5), first=3)
    assert {hop for _, hop in done.asked} == {FULL, 3, 4, 5}


def test_the_wait_follows_the_longest_round_trip() -> None:
    done = walked(Path(None, end=3, trip_s=0.4))
    (first, second) = done.times(5)[0], done.times(6)[0]
    assert second - first == pytest.approx(1.2)


def test_a_packet_that_was_too_big_is_asked_again_at_once() -> None:
    walk = Walk(1, 30, 1, 3.0)
    number = walk.sent(FULL, 0.0)
    walk.heard(number, FULL, Heard.TARGET, 0.01)
    number = walk.sent(1, 0.01)
    walk.too_big(number)
    assert walk.hops[1].sent == 0
    assert walk.step(0.02) == Ask(2)
    walk.heard(walk.sent(2, 0.02), 2, Heard.TARGET, 0.01)
    assert walk.step(0.03) == Ask(1)


def test_the_packets_of_one_trace_are_bounded() -> None:
    done = walked(Path(30), count=1000)
    assert len(done.asked) == MOST
