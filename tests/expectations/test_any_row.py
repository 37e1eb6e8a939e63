"""Any row that can cross the wire can be judged by any expectation, however odd what it holds."""

from hypothesis import given, settings
from hypothesis import strategies as st
from probemesh_shared.expectations import KEYS, Judge, parse_expectation
from probemesh_shared.model import Measurement
from probemesh_shared.words import NOT_MEASURED, Outcome

from tests.wire.strategies import instances

JUDGES = [
    Judge([parse_expectation(key.example)], ladder=ladder) for key in KEYS.values() for ladder in (0, 1)
]


@settings(max_examples=150, deadline=None)
@given(instances(Measurement), st.sampled_from([None, Outcome.OK]))
def test_any_row_is_judged_without_a_fault(row, outcome):
    if outcome is not None:
        row = row.__class__(**{name: getattr(row, name) for name in row.__slots__} | {"outcome": outcome})
    for judge in JUDGES:
        told = judge.judged(row)
        assert told.samples is row.samples and told.detail is row.detail
        assert told.outcome in (row.outcome, Outcome.ANSWER_UNEXPECTED, Outcome.OK)
        assert row.outcome not in NOT_MEASURED or told is row
        if told.failure is not None and told is not row:
            assert told.failure.detail.isprintable() and len(told.failure.detail) < 1000
