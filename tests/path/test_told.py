"""Where a trace ended, in words."""

import pytest
from probemesh_agent.path.told import words_of
from probemesh_shared.model import HopAnswer, IcmpError, TraceHop
from probemesh_shared.words import Family

R, S = "10.1.0.1", "198.51.100.2"


def said(sender: str, icmp_type: int, code: int = 0) -> HopAnswer:
    return HopAnswer(sender, icmp=IcmpError(Family.IPV4, icmp_type, code, sender, 64, None))


def hop(number: int, *answers: HopAnswer) -> TraceHop:
    return TraceHop(number, 3, answers)


@pytest.mark.parametrize(
    ("hops", "words"),
    [
        ((hop(1), hop(2)), "no hop answered"),
        ((hop(1, said(R, 3)),), "no hop passed it on"),
        (
            (hop(1, said(R, 11)), hop(2), hop(3)),
            f"the last hop that answered is 1 ({R}); after it 2 were silent",
        ),
        ((hop(1, said(R, 11)), hop(2, said(S, 11))), f"the last hop that answered is 2 ({S})"),
    ],
)
def test_where_it_ended(hops, words):
    assert words_of(hops) == words
