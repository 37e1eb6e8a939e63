"""Instants of a crowd: told stamp by stamp, they are those of all stamps together."""

from hypothesis import given
from hypothesis import strategies as st
from probemesh_agent.engine.volley import Volley, evenly

COUNT = 40


@given(
    st.lists(st.tuples(st.integers(0, COUNT - 1), st.integers(0, 10**9)), unique_by=lambda one: one[0]),
    st.sets(st.integers(0, COUNT)),
)
def test_reading_in_between_changes_nothing(stamps: list[tuple[int, int]], asked_after: set[int]) -> None:
    volley = Volley([object()] * COUNT, 0, 0, 0.0, 0.0)  # type: ignore[list-item]
    for number, (position, wall_ns) in enumerate(stamps):
        volley.stamp(position, wall_ns)
        if number in asked_after:
            assert volley.time() == evenly(volley.stamps, COUNT)
    assert volley.time() == evenly(volley.stamps, COUNT)
