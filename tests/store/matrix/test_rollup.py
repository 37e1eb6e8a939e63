"""Mergeable histograms: merging is associative and commutative; quantiles are near; bytes come back."""

import math
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_controller.store.matrix.codes import SILENT, Kept
from probemesh_controller.store.matrix.columns import columns_of
from probemesh_controller.store.matrix.rollup import (
    ALPHA,
    EMPTY,
    Rollup,
    bucket,
    decode,
    encode,
    merge,
    roll_up,
)
from probemesh_shared.errors import StateError

times = st.one_of(st.none(), st.integers(0, 5_000), st.integers(0, (1 << 32) - 1))


@st.composite
def kept_rows(draw: st.DrawFn) -> list[Kept]:
    some = draw(st.lists(st.tuples(st.integers(0, 5), times, st.integers(0, 9)), min_size=1, max_size=60))
    return [
        (number, number * 1000, state | (SILENT if rtt is None else 0), rtt, 9, lost, 0)
        for number, (state, rtt, lost) in enumerate(some)
    ]


def rolled(rows: list[Kept]) -> Rollup:
    return roll_up(columns_of(rows), 0, len(rows))


rollups = st.one_of(st.just(EMPTY), kept_rows().map(rolled))


@given(rollups, rollups, rollups)
def test_merging_is_associative_and_commutative(one: Rollup, two: Rollup, three: Rollup) -> None:
    assert merge(one, two) == merge(two, one)
    assert merge(merge(one, two), three) == merge(one, merge(two, three))
    assert merge(one, EMPTY) == one == merge(EMPTY, one)


@given(kept_rows(), st.data())
def test_parts_merged_are_the_whole(rows: list[Kept], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    columns = columns_of(rows)
    assert merge(roll_up(columns, 0, cut), roll_up(columns, cut, len(rows))) == rolled(rows)


@given(kept_rows(), st.floats(0, 1))
def test_a_quantile_is_within_two_percent_of_the_value_at_its_rank(rows: list[Kept], share: float) -> None:
    values = sorted(row[3] for row in rows if row[3] is not None)
    got = rolled(rows).quantile_us(share)
    if not values:
        assert got is None
        return
    assert got is not None
    exact = values[math.floor(share * (len(values) - 1))]
    assert abs(got - exact) <= ALPHA * exact * (1 + 1e-9)
    assert values[0] <= got <= values[-1]


@given(st.integers(0, (1 << 32) - 2))
def test_buckets_grow_with_what_is_in_them(value: int) -> None:
    assert 0 <= bucket(value) <= bucket(value + 1) <= 1 << 10


@given(st.dictionaries(st.integers(0, 59), rollups, max_size=60))
def test_bytes_come_back(some: dict[int, Rollup]) -> None:
    assert decode(encode(some)) == some


@given(kept_rows(), st.data())
def test_damage_is_a_state_error(rows: list[Kept], data: st.DataObject) -> None:
    body = encode({7: rolled(rows)})
    with pytest.raises(StateError, match="cannot be read"):
        decode(body[: data.draw(st.integers(0, len(body) - 1))])
    with pytest.raises(StateError, match="cannot be read"):
        decode(zlib.compress(zlib.decompress(body)[:-1]))


def test_states_sent_and_lost_are_summed_and_a_silent_row_has_no_round_trip() -> None:
    rows: list[Kept] = [(0, 0, 0, 1000, 3, 0, 0), (1, 1, 2 | SILENT, None, 3, 3, 1), (2, 2, 0, 3000, 3, 1, 0)]
    total = rolled(rows)
    assert (total.states, total.sent, total.lost) == ((2, 0, 1, 0, 0, 0), 9, 4)
    assert (total.low_us, total.high_us, total.slots) == (1000, 3000, 3)
    assert all(one <= other for one, other in pairwise(map(total.quantile_us, (0.0, 0.5, 0.95, 1.0))))  # type: ignore[operator]
