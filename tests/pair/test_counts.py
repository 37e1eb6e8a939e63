"""What counters may say of a burst: about n and out of the noise, or nothing at all."""

import pytest
from probemesh_controller.pair.flow.counts import Counts, Host
from probemesh_shared.model import Counter


def _counts(n: int = 10, window_ms: float = 1000.0, **deltas: tuple[int, float, float]) -> Counts:
    counters = tuple(
        Counter(name.replace("_", "."), delta, mean, deviation)
        for name, (delta, mean, deviation) in deltas.items()
    )
    return Counts(counters, window_ms, n)


@pytest.mark.parametrize(
    ("delta", "mean", "deviation", "rose"),
    [
        (10, 0.0, 0.0, True),
        (11, 0.0, 0.1, True),
        (8, 0.0, 0.0, True),  # two of ten were lost on the way
        (5, 0.0, 0.0, None),
        (1, 0.0, 0.0, False),
        (0, 0.0, 0.0, False),
        (30, 1.0, 0.2, True),  # 20 would have come by themselves
        (20, 1.0, 0.2, False),
        (30, 1.0, 2.0, None),  # too busy to tell
        (0, 0.0, 2.0, None),  # ten would not have stood out
    ],
)
def test_a_counter_rose_by_the_burst_or_not(delta: int, mean: float, deviation: float, rose: bool | None):
    counts = _counts(Tcp_OutRsts=(delta, mean, deviation))
    assert counts.rose("Tcp.OutRsts") is rose


def test_a_counter_that_the_kernel_does_not_have_says_nothing():
    assert _counts(Tcp_OutRsts=(10, 0.0, 0.0)).rose("Ip.OutTransmits") is None
    assert _counts(n=0, Tcp_OutRsts=(10, 0.0, 0.0)).rose("Tcp.OutRsts") is None


def test_what_was_received_and_delivered_to_nobody_was_eaten():
    quiet = (0.0, 0.0)
    eaten = _counts(Ip_InReceives=(14, *quiet), Ip_InDelivers=(4, *quiet), Ip_ForwDatagrams=(0, *quiet))
    assert Host(eaten, v6=False).ate() is True
    taken = _counts(Ip_InReceives=(14, *quiet), Ip_InDelivers=(14, *quiet), Ip_ForwDatagrams=(0, *quiet))
    assert Host(taken, v6=False).ate() is False


def test_what_was_forwarded_was_not_eaten():
    quiet = (0.0, 0.0)
    passed = _counts(Ip_InReceives=(14, *quiet), Ip_InDelivers=(4, *quiet), Ip_ForwDatagrams=(10, *quiet))
    assert Host(passed, v6=False).ate() is False


def test_a_busy_host_that_counts_alike_can_still_tell():
    """Two thousand packets a second, all of them delivered: the burst is the difference."""
    busy = (100.0, 20.0)
    eaten = _counts(Ip_InReceives=(2010, *busy), Ip_InDelivers=(2000, *busy))
    assert Host(eaten, v6=False).ate() is True


def test_a_busy_host_that_drops_by_itself_cannot():
    eaten = _counts(Ip_InReceives=(2010, 100.0, 20.0), Ip_InDelivers=(2000, 99.0, 19.5))
    assert Host(eaten, v6=False).ate() is None


def test_each_ip_version_has_counters_of_its_own():
    quiet = (0.0, 0.0)
    counts = _counts(
        Ip_InReceives=(14, *quiet),
        Ip_InDelivers=(4, *quiet),
        Ip6_InReceives=(10, *quiet),
        Ip6_InDelivers=(10, *quiet),
    )
    assert Host(counts, v6=False).ate() is True
    assert Host(counts, v6=True).ate() is False


def test_without_the_newer_counter_it_is_not_known_what_left():
    assert Host(_counts(Ip_OutRequests=(10, 0.0, 0.0)), v6=False).kept_in() is None
