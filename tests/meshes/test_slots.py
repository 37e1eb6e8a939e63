"""What is due when: the same at both ends, whole in whatever parts, spread evenly, every pair in its time."""

import itertools
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_controller.meshes.due import Closure, closures, course, due, rounds
from probemesh_controller.meshes.expanding import expand
from probemesh_controller.meshes.model import Schedule
from probemesh_shared.slots import Cell, Course, Round, phases, rounds_every, slot_id, state_of
from probemesh_shared.words import NOT_MEASURED, Outcome, SlotState

from tests.meshes.world import FLEET, HOUR_NS, MINUTE_NS, NOW_NS, agent, file, schedule

FULL = 'shape = "full"\nagents = "all"'
SECOND_NS = 1_000_000_000
BIG = tuple(agent(f"a-{number}") for number in range(40))


def cells(sources, targets=6, probes=("icmp", "udp")):
    return [Cell(f"s{s}", f"t{t}", probe) for s in range(sources) for t in range(targets) for probe in probes]


WHEN = st.sampled_from(
    [
        'every = "1s"',
        'every = "7s"\nspread = "1ms"',
        'every = "1m"\nevery_pair_within = "7m"',
        'every = "10s"\nspread = "3s"\nevery_pair_within = "25s"',
        'cron = "* * * * *"\nspread = "1h"',
        'cron = "*/7 3-12 * * *"',
        'cron = "0,1,3 * * * *"\nspread = "2m"',
    ]
)


@given(when=WHEN, offset=st.integers(0, 10**15), spans=st.lists(st.integers(0, 90 * SECOND_NS), max_size=8))
def test_the_parts_of_a_range_are_the_range(when, offset, spans):
    made = schedule(FULL, when)
    some = expand(made, FLEET).cells
    since = now = NOW_NS - offset
    parts = []
    for span in spans:
        parts += due(made, some, now, now + span)
        now += span
    whole = list(due(made, some, since, now))
    assert parts == whole
    assert all(since <= slot.due_ns < now for slot in whole)
    assert [slot.due_ns for slot in whole] == sorted(slot.due_ns for slot in whole)
    assert len({slot.id for slot in whole}) == len(whole)


@given(when=WHEN, chosen=st.sets(st.sampled_from([one.name for one in FLEET]), min_size=1))
def test_an_agent_computes_of_its_own_cells_what_the_controller_expects(when, chosen):
    made = schedule(FULL, when)
    every = expand(made, FLEET).cells
    own = [cell for cell in every if cell.source in chosen]
    until = NOW_NS + 20 * MINUTE_NS
    expected = [slot for slot in due(made, every, NOW_NS, until) if slot.cell.source in chosen]
    assert list(due(made, own, NOW_NS, until)) == expected


@given(st.integers(1, 9), st.integers(0, 10**15))
def test_every_cell_has_one_slot_in_every_round(minutes, offset):
    made = schedule(FULL)
    some = expand(made, FLEET).cells
    since = (NOW_NS - offset) // MINUTE_NS * MINUTE_NS
    found = Counter(slot.cell for slot in due(made, some, since, since + minutes * MINUTE_NS))
    assert found == dict.fromkeys(some, minutes)


@given(st.integers(2, 40), st.integers(1, 40))
def test_every_pair_has_its_turn_in_time_and_no_round_more_than_its_part(agents, cycle):
    """Each of a source's pairs once in a cycle, exactly a cycle apart; rounds differ by one pair at most."""
    names = [f"a{number}" for number in range(agents)]
    some = [Cell(a, b, probe) for a in names for b in names if a != b for probe in ("icmp", "udp")]
    turns = [Round(number, number * MINUTE_NS, MINUTE_NS) for number in range(3 * cycle)]
    found = defaultdict(list)
    per_round = Counter()
    for slot in Course("k", some, cycle).due(turns, 0, 3 * cycle * MINUTE_NS):
        found[slot.cell].append(slot.due_ns)
        per_round[slot.cell.source, slot.number] += 1
    assert found.keys() == set(some)
    for times in found.values():
        assert [b - a for a, b in itertools.pairwise(times)] == [cycle * MINUTE_NS] * 2
    for name in names:
        counts = [per_round[name, number] for number in range(3 * cycle)]
        assert max(counts) - min(counts) <= 2  # one pair of two cells


@pytest.mark.parametrize("spread", [MINUTE_NS, 1000], ids=["minute", "microsecond"])
def test_offsets_spread_evenly(spread):
    """20,000 cells over 100 equal parts: each has its 200 but for chance (±5 standard deviations)."""
    made = [Cell(f"s{n % 100}", f"t{n // 100}", "icmp") for n in range(20_000)]
    slots = list(Course("k", made).due([Round(0, 0, spread)], 0, spread))
    parts = Counter(slot.due_ns * 100 // spread for slot in slots)
    assert len(slots) == 20_000
    assert set(parts) == set(range(100))
    assert all(abs(count - 200) < 5 * 200**0.5 for count in parts.values())


def test_sources_do_not_all_begin_their_cycle_with_the_same_round():
    some = [Cell(f"s{n}", "t", "icmp") for n in range(600)]
    counts = Counter(phases("k", some, 6).values())
    assert set(counts) == set(range(6))
    assert all(abs(count - 100) < 50 for count in counts.values())


def test_a_pair_more_moves_the_others_of_its_source_by_a_place_at_most():
    cycle = 60
    before = phases("k", [Cell("s", f"t{n}", "icmp") for n in range(50)], cycle)
    after = phases("k", [Cell("s", f"t{n}", "icmp") for n in range(51)], cycle)
    moved = [(after[pair] - phase) % cycle for pair, phase in before.items()]
    assert all(min(by, cycle - by) <= 2 for by in moved)


def test_another_schedule_of_the_same_cells_has_other_slots_at_other_times():
    some = cells(3)
    first, second = (list(Course(key, some).due([Round(0, 0, 10**12)], 0, 10**12)) for key in ("a", "b"))
    assert not {slot.id for slot in first} & {slot.id for slot in second}
    assert not {slot.due_ns for slot in first} & {slot.due_ns for slot in second}


def test_the_id_is_of_schedule_number_and_cell():
    ids = {
        slot_id(key, number, Cell(*names))
        for key in ("k", "l")
        for number in (0, 1, -1)
        for names in (("a", "b", "c"), ("a", "b", "d"), ("ab", "", "c"), ("a", "bc", ""))
    }
    assert len(ids) == 24
    # kept: what an agent spooled yesterday is known today
    assert slot_id("k", 1, Cell("a", "b", "icmp")) == "b2fc12bc32694bb264f9067273b09739"


def test_a_key_changes_with_when_and_not_with_what():
    made = schedule(FULL)
    assert made.key == schedule('shape = "full"\nagents = "berlin-*"', 'every = "60s"\ncount = 5').key
    others = [
        'every = "2m"',
        'every = "1m"\nspread = "1s"',
        'every = "1m"\nevery_pair_within = "1h"',
        'cron = "* * * * *"',
    ]
    assert len({made.key, *(schedule(FULL, when).key for when in others)}) == 5


@given(st.integers(0, 10**18), st.integers(1, 10**12), st.integers(0, 10**12))
def test_rounds_of_an_interval_are_those_that_touch_the_range(since, every, length):
    for spread in {1, every // 2 or 1, every}:
        found = list(rounds_every(every, spread, since, since + min(length, 50 * every)))
        assert all(one.end_ns > since and one.at_ns < since + length for one in found)
        numbers = [one.number for one in found]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True


def test_rounds_of_cron_end_where_the_next_begins():
    made = schedule(FULL, 'cron = "0,1,30 * * * *"\nspread = "10m"')
    found = list(rounds(made, NOW_NS, NOW_NS + HOUR_NS))
    minutes = [((one.at_ns - NOW_NS) // MINUTE_NS, one.spread_ns // MINUTE_NS) for one in found]
    assert minutes == [(0, 1), (1, 10), (30, 10)]


@pytest.mark.parametrize("outcome", [*Outcome])
def test_every_outcome_has_one_state(outcome):
    said_nothing = state_of(outcome) in (SlotState.DENIED, SlotState.MISSED, SlotState.AGENT_LOST)
    assert said_nothing is (outcome in NOT_MEASURED)


# --- maintenance ---

WINDOWS = """
[[mesh]]
name = "m"
shape = "full"
agents = "all"
[[schedule]]
name = "s"
mesh = "m"
every = "1m"
[[schedule]]
name = "other"
mesh = "m"
every = "1m"
[[window]]
name = "nightly"
cron = "*/20 * * * *"
duration = "5m"
[[window]]
name = "once"
from = 2026-11-27T12:30:00Z
until = 2026-11-27T12:33:00Z
schedules = ["s"]
agents = "berlin-1"
"""


def closed(name, since, until):
    made = file(WINDOWS)
    which: Schedule = next(one for one in made.schedules if one.name == name)
    return which, closures(made.windows, which, FLEET, since, until)


def test_windows_leave_slots_out():
    until = NOW_NS + HOUR_NS
    which, shut = closed("s", NOW_NS, until)
    some = expand(which, FLEET).cells
    everything = list(due(which, some, NOW_NS, until))
    left = list(due(which, some, NOW_NS, until, shut))

    def is_closed(slot):
        minute = (slot.due_ns - NOW_NS) / MINUTE_NS
        touched = "berlin-1" in (slot.cell.source, slot.cell.target)
        return minute % 20 < 5 or (30 <= minute < 33 and touched)

    assert left == [slot for slot in everything if not is_closed(slot)]
    assert 0 < len(left) < len(everything)


def test_a_window_is_for_the_schedules_it_names():
    _, shut = closed("other", NOW_NS, NOW_NS + HOUR_NS)
    assert [one.agents for one in shut] == [None, None, None]


def test_a_window_that_began_before_the_range_still_holds():
    since = NOW_NS + 4 * MINUTE_NS
    _, shut = closed("other", since, since + SECOND_NS)
    assert shut == (Closure(NOW_NS, NOW_NS + 5 * MINUTE_NS),)
    assert closed("other", NOW_NS + 5 * MINUTE_NS, NOW_NS + 6 * MINUTE_NS)[1] == ()


@given(st.lists(st.integers(0, 40 * MINUTE_NS), min_size=1, max_size=5))
def test_windows_hold_in_parts_as_in_the_whole(spans):
    now, parts = NOW_NS, []
    for span in spans:
        which, shut = closed("s", now, now + span)
        some = expand(which, FLEET).cells
        parts += due(which, some, now, now + span, shut)
        now += span
    which, shut = closed("s", NOW_NS, now)
    assert parts == list(due(which, expand(which, FLEET).cells, NOW_NS, now, shut))


def test_windows_that_touch_or_overlap_are_one():
    made = file('[[window]]\nname = "w"\ncron = "*/5 0-12 * * *"\nduration = "7m"\n')
    shut = closures(made.windows, schedule(FULL), FLEET, NOW_NS, NOW_NS + 20 * MINUTE_NS)
    assert [(one.from_ns - NOW_NS, one.until_ns - NOW_NS) for one in shut] == [
        (-5 * MINUTE_NS, 22 * MINUTE_NS)
    ]


def test_a_course_may_be_kept():
    made = schedule(FULL)
    some = expand(made, BIG).cells
    kept = course(made, some)
    for minute in range(3):
        since = NOW_NS + minute * MINUTE_NS
        until = since + MINUTE_NS
        assert list(kept.due(rounds(made, since, until), since, until)) == list(due(made, some, since, until))
