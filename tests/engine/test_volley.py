"""Numbers and instants of echo requests that leave together; samples made in large numbers."""

import dataclasses

import pytest
from probemesh_agent.engine.item import Item
from probemesh_agent.engine.outcomes import quick_sample
from probemesh_agent.engine.volley import GIVEN_UP, NUMBERS, Numbers, Volley, evenly
from probemesh_shared.model import Sample
from probemesh_shared.words import Outcome, Timing


def held(numbers: Numbers, wanted: int) -> Volley:
    first, count = numbers.take(wanted)
    items = [Item(i, "t", "127.0.0.1", None, ("127.0.0.1", 0), True) for i in range(count)]
    volley = Volley(items, 0, first, 1.0, 1.0)
    numbers.hold(volley)
    return volley


def test_numbers_under_way_are_never_given_twice():
    numbers = Numbers()
    stuck = held(numbers, 10)
    for _ in range(NUMBERS // 1000):
        volley = held(numbers, 1000)
        assert all(numbers.volleys[volley.first + i] is volley for i in range(len(volley.items)))
        for position in numbers.open_of(volley):
            numbers.states[volley.first + position] = GIVEN_UP
    again = held(numbers, 1000)
    while again.first > stuck.first + 10:
        again = held(numbers, 1000)
    assert again.first >= 10
    assert numbers.open_of(stuck) == list(range(10))


def test_a_gap_between_numbers_under_way_is_used_as_far_as_it_goes():
    numbers = Numbers()
    volley = held(numbers, NUMBERS)
    for number in (5, 6, 7, 100):
        numbers.states[number] = GIVEN_UP
    assert [numbers.take(10), numbers.take(10)] == [(5, 3), (100, 1)]
    assert len(numbers.open_of(volley)) == NUMBERS - 4


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ({}, [0.0, 0.0, 0.0]),
        ({0: 1.0}, [1.0, 1.0, 1.0]),
        ({1: 1.0}, [1.0, 1.0, 1.0]),
        ({0: 1.0, 2: 2.0}, [1.0, 1.5, 2.0]),
        ({2: 2.0, 0: 1.0, 1: 1.1}, [1.0, 1.1, 2.0]),
    ],
)
def test_what_has_no_stamp_left_between_those_that_have(stamps, expected):
    assert evenly(stamps, 3) == pytest.approx(expected)


def test_a_quick_sample_is_a_sample_like_any_other():
    made = quick_sample(1, 2.0, 3.0, Outcome.OK, None, Timing.USER, 64, 0)
    slow = Sample(1, 2.0, 3.0, Outcome.OK, None, Timing.USER, 64, 0)
    assert type(made) is Sample and made == slow and hash(made) == hash(slow)
    assert dataclasses.replace(made, seq=2).seq == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.seq = 2  # type: ignore[misc]
