"""What chance does: intervals that hold the truth, and limiters told from loss."""

import random

import pytest
from probemesh_controller.pair.tour import chance
from probemesh_controller.pair.tour.chance import Burst, Share, all_lost, policed, wilson


@pytest.mark.parametrize(
    ("hits", "tries", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (55, 300, 0.1437, 0.2309), (1, 2, 0.0945, 0.9055)],
)
def test_the_interval_is_wilsons(hits: int, tries: int, low: float, high: float) -> None:
    assert wilson(hits, tries) == pytest.approx((low, high), abs=5e-4)


def test_nothing_tried_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert policed([]) is None and policed([[]]) is None


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    chosen = random.Random(7)
    held = 0
    for _ in range(2000):
        lost = sum(chosen.random() < 0.2 for _ in range(200))
        low, high = Share(lost, 200).interval
        held += low <= 0.2 <= high
    assert 0.93 <= held / 2000 <= 0.97


def test_how_likely_it_is_that_one_of_many_flows_fails_by_chance() -> None:
    assert all_lost(0.04, 6, flows=64) == pytest.approx(64 * 0.04**6)
    assert all_lost(0.9, 1, flows=64) == 1.0


def every(count: int, rate: float, from_ms: float = 0.0) -> list[float]:
    return [from_ms + 1000 * number / rate for number in range(count)]


def lossy(chosen: random.Random, share: float, *bursts: list[float]) -> tuple[Burst, ...]:
    return tuple(Burst(tuple((at, chosen.random() >= share) for at in burst)) for burst in bursts)


def limited(
    chosen: random.Random, rate: float, depth: int, *bursts: list[float], loss: float = 0.0
) -> tuple[Burst, ...]:
    """A token bucket that sees packets up to 2 ms late, and some loss behind it."""
    tokens, last, found = float(depth), 0.0, []
    for burst in bursts:
        kept = []
        for at in burst:
            came = max(last, at + chosen.uniform(0, 2))
            tokens = min(float(depth), tokens + rate * (came - last) / 1000)
            last = came
            there = tokens >= 1
            tokens -= there
            kept.append((at, there and chosen.random() >= loss))
        found.append(Burst(tuple(kept)))
    return tuple(found)


@pytest.mark.parametrize("share", [0.02, 0.04, 0.1, 0.2, 0.28])
def test_loss_is_never_taken_for_a_limit(share: float) -> None:
    chosen = random.Random(int(share * 1000))
    said = [
        policed(
            [
                lossy(chosen, share, every(64, 125)),
                lossy(chosen, share, every(100, 100), every(150, 400, 1500)),
            ]
        )
        for _ in range(300)
    ]
    assert True not in said
    assert said.count(False) >= 280


@pytest.mark.parametrize(("rate", "depth"), [(10, 5), (5, 5), (20, 5)])
@pytest.mark.parametrize("loss", [0.0, 0.02])
def test_a_limit_is_never_taken_for_loss(rate: float, depth: int, loss: float) -> None:
    chosen = random.Random(rate)
    said = [
        policed(
            [
                limited(chosen, rate, depth, every(64, 125), loss=loss),
                limited(chosen, rate, depth, every(18, 0.7 * rate), loss=loss),
            ]
        )
        for _ in range(200)
    ]
    assert False not in said
    assert said.count(True) >= 180


def test_few_losses_at_one_rate_fit_both() -> None:
    burst = Burst(tuple((8.0 * number, number != 40) for number in range(64)))
    assert policed([[burst]]) is None


def test_a_bucket_is_carried_from_burst_to_burst_of_one_step() -> None:
    """A slow one after a fast one finds it empty: that is the limit's doing, not chance."""
    chosen = random.Random(3)
    bursts = limited(chosen, 2, 6, every(40, 100), every(8, 3, 500))
    assert bursts[1].lost
    assert policed([limited(chosen, 2, 6, every(64, 125)), bursts]) is not False


def test_the_tail_of_chi_squared() -> None:
    for statistic, freedom, share in ((3.841459, 1, 0.05), (5.991465, 2, 0.05), (7.814728, 3, 0.05)):
        assert chance.tail(statistic, freedom) == pytest.approx(share, rel=1e-5)
    assert chance.tail(23.92813, 1) == pytest.approx(1e-6, rel=1e-4)
    assert chance.tail(30.0, 0) == 1.0
