"""What was seen once is concluded from for ever: recorded labs, replayed in milliseconds."""

import random
from dataclasses import replace

import pytest
from probemesh_controller.pair import assess
from probemesh_controller.pair.case import Case, Limits, RoundDone, StepDone
from probemesh_controller.pair.causes import FLOW, HARMLESS
from probemesh_controller.pair.conclude import conclude
from probemesh_controller.pair.cost import all_planned, packets
from probemesh_controller.pair.plan import next_round
from probemesh_controller.pair.registry import CAUSES, READERS
from probemesh_controller.pair.signs import Notes
from probemesh_shared.model import WatchDetail
from probemesh_shared.words import Confidence, Direction, Verdict

from tests.pair.scenario import load, names, outcome


@pytest.mark.parametrize("name", names())
def test_it_is_concluded_as_ever(name: str):
    case, expected = load(name)
    told = outcome(conclude(case))
    assert told["forward"] == expected["forward"]
    assert told["reverse"] == expected["reverse"]
    assert [list(map(_plain, one)) for one in told["findings"]] == expected["findings"]


def _plain(value: object) -> object:
    return str(value) if isinstance(value, str) else value


@pytest.mark.parametrize("name", names())
def test_the_plan_ends_however_little_comes_of_it(name: str):
    """From every point of a recorded case on nothing that is asked for is answered any more."""
    whole, _ = load(name)
    for known in range(len(whole.rounds) + 1):
        case = replace(whole, rounds=whole.rounds[:known])
        for _ in range(40):
            wanted = next_round(case)
            if wanted is None:
                break
            assert wanted.steps
            assert len({step.id for step in wanted.steps}) == len(wanted.steps)
            done = RoundDone(tuple(StepDone(step, problem="nothing came") for step in wanted.steps))
            case = replace(case, rounds=(*case.rounds, done))
        assert next_round(case) is None


@pytest.mark.parametrize("name", names())
def test_the_plan_keeps_within_the_packets_that_are_allowed(name: str):
    whole, _ = load(name)
    few = replace(whole.asked, limits=Limits(packets=60))
    case = replace(whole, asked=few, rounds=())
    for _ in range(40):
        wanted = next_round(case)
        if wanted is None:
            break
        alone = len(case.rounds) == 0 or packets(case) + all_planned(step.spec for step in wanted.steps) <= 60
        if not alone:
            break  # the driver's to refuse
        done = RoundDone(tuple(StepDone(step, problem="nothing came") for step in wanted.steps))
        case = replace(case, rounds=(*case.rounds, done))
    assert packets(case) <= 60


@pytest.mark.parametrize("name", names())
def test_something_is_always_left_that_may_be_the_matter(name: str):
    """Where every cause is struck out, some sign is wrong."""
    case, _ = load(name)
    assert all(side.judgements[FLOW].left for side in assess.assess(case, Notes()))


@pytest.mark.parametrize("name", names())
def test_every_finding_stands_on_evidence_and_says_it_in_words(name: str):
    case, _ = load(name)
    for finding in conclude(case).findings:
        assert finding.evidence, finding
        assert finding.summary
        if finding.verdict is Verdict.UNDETERMINED:
            assert len(finding.alternatives) > 1


@pytest.mark.parametrize("name", names())
def test_what_it_is_not_is_not_the_answer_of_its_direction(name: str):
    case, _ = load(name)
    found = conclude(case)
    for direction, told in ((Direction.FORWARD, found.forward), (Direction.REVERSE, found.reverse)):
        out = {one.verdict for one in found.excluded if one.direction is direction}
        assert out.isdisjoint((told.verdict, *told.alternatives))
    assert all(one.by and all(one.by) for one in found.excluded)


@pytest.mark.parametrize("name", names())
def test_the_order_of_rows_and_readers_decides_nothing(name: str, monkeypatch: pytest.MonkeyPatch):
    case, _ = load(name)
    before = outcome(conclude(case))
    for seed in range(3):
        shuffled = random.Random(seed)
        causes, readers = list(CAUSES), list(READERS)
        shuffled.shuffle(causes)
        shuffled.shuffle(readers)
        monkeypatch.setattr(assess, "CAUSES", tuple(causes))
        monkeypatch.setattr(assess, "READERS", tuple(readers))
        assert outcome(conclude(case)) == before


@pytest.mark.parametrize("name", names())
def test_knowing_less_never_turns_a_set_into_another_certainty(name: str):
    """Without the far end's accounts, without its counters, or with the last rounds missing, what is said
    with certainty is what was said before, or part of the set that it was."""
    case, _ = load(name)
    whole = conclude(case)
    for less in _less(case):
        found = conclude(less)
        for direction in ("forward", "reverse"):
            before, now = getattr(whole, direction), getattr(found, direction)
            if now.confidence is not Confidence.CERTAIN or now.verdict in HARMLESS:
                continue
            assert now.verdict == before.verdict or now.verdict in before.alternatives, (direction, now)


def _less(case: Case) -> list[Case]:
    blind = tuple(
        replace(done, looks=tuple(replace(one, account=_without_counters(one.account)) for one in done.looks))
        for done in case.rounds
    )
    alone = tuple(replace(end, armed=None, why_not="masked") for end in case.ends)
    no_looks = tuple(replace(done, looks=()) for done in case.rounds)
    return [
        replace(case, rounds=blind),
        replace(case, rounds=no_looks),
        replace(case, rounds=no_looks, ends=alone),
        *(replace(case, rounds=case.rounds[:count]) for count in range(len(case.rounds))),
    ]


def _without_counters(account: WatchDetail) -> WatchDetail:
    return replace(account, counters=(), blind=(*account.blind, "counters"))


def test_a_third_agent_is_asked_as_whom_they_come_though_a_foreign_service_answers():
    """It says nothing of the prober's address, and by UDP no table of connections does either."""
    whole, _ = load("port-handed-on-udp")
    known = next(
        number
        for number, done in enumerate(whole.rounds)
        if any(one.step.purpose.startswith("reflect") for one in done.steps)
    )
    able = tuple(replace(info, capabilities=("kind:flow", "kind:watch")) for info in whole.fleet)
    before = replace(whole, rounds=whole.rounds[:known], ends=whole.ends[:2], fleet=able)
    assert conclude(before).reverse.verdict is Verdict.UNDETERMINED
    wanted = next_round(before)
    assert wanted is not None and wanted.thirds == ("c",)
    assert any(step.purpose.startswith("reflect") for step in wanted.steps)
