"""Raw rows as bytes: what went in comes out, evenly stepping columns cost nothing, damage is said."""

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_controller.store.matrix.codes import FAILURES, SILENT, STATES, Kept, kept, row_of
from probemesh_controller.store.matrix.columns import QUICK, SMALL, columns_of, pack, unpack
from probemesh_controller.store.matrix.port import SlotRow
from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.words import FailureKind, SlotState

big = st.integers(0, (1 << 62) - 1)


@st.composite
def rows_of_a_series(draw: st.DrawFn) -> list[Kept]:
    count = draw(st.integers(1, 40))
    if draw(st.booleans()):
        start, step = draw(st.integers(0, 1 << 60)), draw(st.integers(1, 1 << 40))
        ats = [start + step * index for index in range(count)]
    else:
        ats = sorted(draw(st.lists(big, min_size=count, max_size=count)))
    found = []
    for at_ns in ats:
        rtt = draw(st.one_of(st.none(), st.integers(0, (1 << 32) - 1)))
        flags = (
            draw(st.integers(0, 5)) | (SILENT if rtt is None else 0) | draw(st.sampled_from([0, 16, 32, 48]))
        )
        sent, lost = draw(st.integers(0, 65535)), draw(st.integers(0, 65535))
        found.append((draw(big), at_ns, flags, rtt, sent, lost, draw(st.integers(0, 28))))
    return found


@given(rows_of_a_series(), st.sampled_from([QUICK, SMALL]))
def test_rows_come_back(rows: list[Kept], level: int) -> None:
    assert list(unpack(pack(columns_of(rows), level)).rows()) == rows


@given(st.lists(rows_of_a_series(), min_size=1, max_size=4))
def test_segments_come_back_one_after_the_other(parts: list[list[Kept]]) -> None:
    body = b"".join(pack(columns_of(rows), QUICK) for rows in parts)
    assert list(unpack(body).rows()) == [row for rows in parts for row in rows]


@given(rows_of_a_series(), st.data())
def test_damage_is_a_state_error(rows: list[Kept], data: st.DataObject) -> None:
    body = pack(columns_of(rows), SMALL)
    place = data.draw(st.integers(0, len(body) - 1))
    flipped = bytearray(body)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    for broken in (body[:place], bytes(flipped)):
        with contextlib.suppress(StateError):
            assert list(unpack(broken).rows()) == rows  # a bit that zlib does not mind


def test_an_hour_of_a_usual_series_is_below_three_bytes_a_row() -> None:
    chance = random.Random(5)
    rows: list[Kept] = [
        (number, number * 10_000_000_123, 0, int(12_000 * chance.lognormvariate(0, 0.05)), 3, 0, 0)
        for number in range(360)
    ]
    assert len(pack(columns_of(rows), SMALL)) < 3 * len(rows)


# --- words and numbers


def test_every_word_has_its_number_for_ever() -> None:
    assert set(STATES) == set(SlotState) and len(STATES) == len(SlotState)
    assert set(FAILURES) == set(FailureKind)
    assert len(set(FAILURES.values())) == len(FAILURES) and 0 not in FAILURES.values()
    pinned = {"timeout": 1, "refused": 2, "no-such-name": 9, "denied": 18, "internal": 28}
    assert {FAILURES[FailureKind(word)] for word in pinned} == set(pinned.values())
    assert [state.value for state in STATES] == [
        "ok",
        "failed",
        "timed-out",
        "denied",
        "missed",
        "agent-lost",
    ]


def test_a_failure_that_only_a_newer_program_knows_is_internal() -> None:
    assert row_of((0, 0, 1 | SILENT, None, 1, 1, 200)).failure is FailureKind.INTERNAL


@pytest.mark.parametrize(
    "bad",
    [
        SlotRow(-1, 5, SlotState.OK),
        SlotRow(1, -5, SlotState.OK),
        SlotRow(1, 1 << 63, SlotState.OK),
        SlotRow(1, 5, SlotState.OK, -0.1),
        SlotRow(1, 5, SlotState.OK, float("nan")),
        SlotRow(1, 5, SlotState.OK, float("inf")),
        SlotRow(1, 5, SlotState.OK, 1.0, -1),
    ],
    ids=["number", "before-time", "after-time", "rtt", "nan", "inf", "sent"],
)
def test_what_is_out_of_range_is_refused(bad: SlotRow) -> None:
    with pytest.raises(InvalidRequest, match="out of range"):
        kept(bad)


def test_a_round_trip_is_kept_to_the_microsecond_and_counts_are_cut() -> None:
    row = SlotRow(1, 5, SlotState.OK, 12.3456789, 70_000, 2, None, retried=True, filled=False)
    assert row_of(kept(row)) == row._replace(rtt_ms=12.346, sent=65_535)
