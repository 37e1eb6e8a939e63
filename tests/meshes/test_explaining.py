"""What a file comes to, what it exceeds, and whom it means that is not there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_controller.meshes.due import closures, due
from probemesh_controller.meshes.expanding import expand
from probemesh_controller.meshes.explaining import explain
from probemesh_controller.meshes.model import Budget
from probemesh_controller.meshes.rates import over, rates
from probemesh_controller.meshes.remarks import remarks
from probemesh_controller.meshes.table import duration_text

from tests.meshes.world import FLEET, HOUR_NS, MINUTE_NS, NOW_NS, agent, file, schedule

FULL = 'shape = "full"\nagents = "all"'
MESH = f'[[mesh]]\nname = "m"\n{FULL}\n'


def said(text, fleet=FLEET):
    return [problem.at("f") for problem in remarks(file(text), fleet)]


@pytest.mark.parametrize(
    ("selector", "problem"),
    [
        ("berln-1", "f:2: there is no agent or group called 'berln-1' (did you mean 'berlin-1'?)"),
        ("site=berln", "f:2: no agent is of the site 'berln' (did you mean 'berlin'?)"),
        ("site=x", "f:2: no agent is of the site 'x' (known: berlin, tokyo)"),
        ("rol=db", "f:2: no agent has a label 'rol' (did you mean 'role'?)"),
        ("role=dbs", "f:2: no agent has the label 'role=dbs' (did you mean 'db'?)"),
        ("oslo-1", "f:2: there is no agent or group called 'oslo-1' (did you mean 'tokyo-1'?)"),
        ("site=tokyo+role=web", "f:2: the group 'g' (site=tokyo+role=web) matches no agent (meshctl agents"),
        ("x*", "f:2: the group 'g' (x*) matches no agent (meshctl agents list"),
        ("berlin-1,tokio-1", "f:2: there is no agent or group called 'tokio-1' (did you mean 'tokyo-1'?)"),
        ("berlin-1,site=tokyo+role=d?", None),
    ],
)  # fmt: skip
def test_a_selector_that_means_nobody(selector, problem):
    found = said(f'[groups]\ng = "{selector}"\n')
    assert [one[: len(problem)] for one in found] == [problem] if problem else found == []


def test_wherever_a_selector_stands():
    text = (
        '[[mesh]]\nname = "m"\nshape = "disjoint"\nleft = "all"\nright = ["agent:grup:22",\n"tokyo-9"]\n'
        'exclude = ["site=x",\n["y-1", "all"]]\n[[window]]\nname = "w"\ncron = "*/2 * * * *"\n'
        'duration = "1m"\nagents = "z=1"\n[groups]\ngroup = "all"\n'
    )
    found = [(one.line, one.hint) for one in remarks(file(text), FLEET)]
    assert [line for line, _ in found] == [5, 6, 7, 8, 13]
    assert found[0][1] == "did you mean 'group'?"


def test_a_schedule_without_a_pair():
    text = MESH.replace('"all"', '"berlin-1"') + '[[schedule]]\nname = "s"\nmesh = "m"\nevery = "1m"\n'
    assert said(text) == ["f:5: the schedule 's' has no pair to measure (see the mesh 'm')"]
    assert "no agent has joined yet" in said('[groups]\ng = "site=x"\n', ())[0]


def test_rates_are_what_a_round_sends_over_its_spread():
    made = schedule(FULL, 'every = "1m"\nspread = "30s"\nkinds = ["icmp", "tcp/22"]\ncount = 6')
    found = rates(made, expand(made, FLEET).aims)
    # 4 agents: 3 targets each, 6 samples of 1 and of 4 packets, in 30 s
    assert found.by_agent == dict.fromkeys(["berlin-1", "berlin-2", "tokyo-1", "tokyo-2"], 3.0)
    assert found.by_target == found.by_agent
    assert found.total == pytest.approx(12.0)


def test_a_host_is_one_target_whatever_its_ports():
    made = schedule(
        'shape = "disjoint"\nleft = "all"\nright = ["db:1", "db:2", "icmp:db"]',
        'every = "1s"\ncount = 1\nkinds = ["tcp"]',
    )
    assert rates(made, expand(made, FLEET).aims).by_target == {"db": 4 * (4 + 4 + 1)}


def test_a_sample_sends_its_part():
    whole, part = (schedule(FULL, f'every = "1m"\n{more}') for more in ("", 'every_pair_within = "10m"'))
    totals = [rates(one, expand(one, FLEET).aims).total for one in (whole, part)]
    assert totals[0] == pytest.approx(10 * totals[1])


def test_budgets_in_words():
    made = schedule(FULL, 'every = "1s"')
    found = rates(made, expand(made, FLEET).aims)  # 12 pairs × 6 packets a second
    assert over(Budget(18, 18, 72), found, "it") == ()
    assert over(Budget(17, 10, 71), found, "the schedule 's'") == (
        "the schedule 's' sends 72 packets/s in all, and the budget is 71 packets/s",
        "the schedule 's' has tokyo-2 (and 3 more) send 18 packets/s, and the budget of one agent is"
        " 17 packets/s",
        "the schedule 's' sends tokyo-2 (and 3 more) 18 packets/s, and the budget of one target is"
        " 10 packets/s",
    )


TWO = (
    MESH
    + '[[schedule]]\nname = "a"\nmesh = "m"\nevery = "1s"\nbudget = { total = 36 }\n'
    + '[[schedule]]\nname = "b"\nmesh = "m"\ncron = "*/5 * * * *"\n'
)


def test_what_helps_does():
    (problem,) = explain(file(TWO), FLEET, NOW_NS).over
    assert (problem.line, problem.text) == (
        9,
        "the schedule 'a' sends 72 packets/s in all, and the budget is 36 packets/s",
    )
    assert problem.hint == 'every = "2s", a sample (every_pair_within = "2s"), or a smaller count'
    assert explain(file(TWO.replace('"1s"', '"2s"')), FLEET, NOW_NS).over == ()
    sampled = TWO.replace('"1s"', '"1s"\nevery_pair_within = "2s"')
    assert explain(file(sampled), FLEET, NOW_NS).over == ()


def test_all_schedules_together_have_a_budget():
    found = explain(
        file(TWO.replace("total = 36", "total = 72") + "[budget]\nper_agent = 18\n"), FLEET, NOW_NS
    ).over
    assert [problem.at("f") for problem in found] == [
        "f:14: the whole file has tokyo-2 (and 3 more) send 18.3 packets/s, and the budget of one agent is"
        " 18 packets/s (longer intervals, a sample (every_pair_within), fewer kinds, a smaller count)"
    ]  # fmt: skip


def test_no_target_is_sent_more_than_everybody_may_send_it():
    text = '[[mesh]]\nname = "m"\nshape = "disjoint"\nleft = "all"\nright = "icmp:192.0.2.1"\n'
    text += '[[schedule]]\nname = "s"\nmesh = "m"\nevery = "1s"\ncount = 90\ninterval = "10ms"\n'
    many = tuple(agent(f"a-{number}") for number in range(6))
    (problem,) = explain(file(text), many, NOW_NS).over
    assert "192.0.2.1 540 packets/s, and the budget of one target is 500 packets/s" in problem.text


def test_counts_and_first_due_times():
    made = file(TWO)
    a, b = explain(made, FLEET, NOW_NS).schedules
    assert (a.pairs, a.cells, b.cells) == (12, 24, 24)
    assert (a.slots_an_hour, b.slots_an_hour) == (24 * 3600, 24 * 12)
    for one in (a, b):
        some = expand(one.schedule, FLEET).cells
        assert list(one.first) == list(due(one.schedule, some, NOW_NS, NOW_NS + HOUR_NS))[:3]


def test_a_yearly_cron_is_found():
    made = file(MESH + '[[schedule]]\nname = "s"\nmesh = "m"\ncron = "0 0 26 11 *"\n')
    (one,) = explain(made, FLEET, NOW_NS).schedules
    assert len(one.first) == 3
    assert one.first[0].due_ns - NOW_NS > 363 * 24 * HOUR_NS


def test_what_is_closed_for_long_is_not_looked_through():
    text = MESH + '[[schedule]]\nname = "s"\nmesh = "m"\nevery = "1s"\n'
    text += '[[window]]\nname = "w"\nfrom = 2026-11-27T00:00:00Z\nuntil = 2027-11-27T00:00:00Z\n'
    (one,) = explain(file(text), FLEET, NOW_NS).schedules
    assert (one.first, one.slots_an_hour) == ((), 0)
    opens = text.replace("2027-11-27T00:00:00Z", "2026-11-27T12:01:00Z")
    (one,) = explain(file(opens), FLEET, NOW_NS).schedules
    assert len(one.first) == 3 and one.first[0].due_ns >= NOW_NS + MINUTE_NS


@given(
    st.sampled_from(['every = "5m"', 'every = "1m"\nevery_pair_within = "1h"', 'cron = "*/10 * * * *"']),
    st.sampled_from(["", 'agents = "site=berlin"', 'agents = "tokyo-1"']),
)
def test_slots_an_hour_are_what_is_due_in_a_day(when, who):
    text = MESH + f'[[schedule]]\nname = "s"\nmesh = "m"\n{when}\nkinds = ["icmp"]\n'
    text += f'[[window]]\nname = "w"\ncron = "0 */6 * * *"\nduration = "1h"\n{who}\n'
    made = file(text)
    (one,) = explain(made, FLEET, NOW_NS).schedules
    until = NOW_NS + 24 * HOUR_NS
    shut = closures(made.windows, one.schedule, FLEET, NOW_NS, until)
    counted = sum(1 for _ in due(one.schedule, expand(one.schedule, FLEET).cells, NOW_NS, until, shut))
    # a window closes whole rounds here, but for the one that is spread over its edge
    assert one.slots_an_hour * 24 == pytest.approx(counted, rel=0.05, abs=1)


def test_without_a_mesh_nothing_is_said_of_agents():
    found = explain(file(TWO), None, NOW_NS)
    assert (found.agents, found.schedules, found.warnings, found.over) == (None, (), (), ())


@pytest.mark.parametrize(
    ("value", "text"),
    [(MINUTE_NS, "1m"), (90 * 10**9, "90s"), (HOUR_NS, "1h"), (48 * HOUR_NS, "2d"), (10**6, "1ms")],
)
def test_durations_are_written_as_they_are_read(value, text):
    assert duration_text(value) == text
    assert schedule(FULL, f'every = "5d"\nspread = "{text}"').spread_ns == value
