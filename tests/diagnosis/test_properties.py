"""What holds for every input: purity, order, and that who did not look changes nothing."""

import ast
import random
from dataclasses import replace
from pathlib import Path

import probemesh_controller.diagnosis as package
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probemesh_controller.diagnosis import diagnose, with_findings
from probemesh_controller.render import table, wide
from probemesh_shared.consistency import consistency
from probemesh_shared.model import AgentInfo, Measurement, PortRange, Target, TargetResult, Vantage
from probemesh_shared.outcomes import RUNGS, exit_code
from probemesh_shared.words import Confidence, Outcome, Verdict

from tests.diagnosis.scenario import FAILURES, Scenario, load, read_result, vantage
from tests.wire.strategies import instances

SCENARIOS = load()
INFORMATIONAL = {
    Verdict.NAMES_DIFFER,
    Verdict.CERTIFICATE_DIFFERS,
    Verdict.ANSWER_DIFFERS,
    Verdict.SLOW_FROM,
}
AGENTS = ("berlin-1", "berlin-2", "tokyo-1", "virginia-1")
NOT_LOOKED = ("denied", "unsupported", "descriptors", "deadline")

FAILED = (
    Outcome.REFUSED,
    Outcome.TIMEOUT,
    Outcome.PROHIBITED,
    Outcome.UNREACHABLE,
    Outcome.ANSWER_UNEXPECTED,
)

#: Words that fit a connect to one address.
CONNECTS = (
    "ok",
    "silent",
    "refused",
    "icmp:3/13@198.51.100.1",
    "icmp:3/1@192.0.2.7",
    "no-route",
    "unmet:too_slow",
    *NOT_LOOKED,
)
#: Names may be broken at any vantage point.
ROWS = st.dictionaries(
    st.sampled_from(AGENTS),
    st.tuples(st.sampled_from(CONNECTS), st.sampled_from((*CONNECTS, "absent"))),
    min_size=1,
)


def build(ways: dict[str, tuple[str, str]]) -> tuple[TargetResult, tuple[AgentInfo, ...]]:
    rows = [f"{name} tcp 192.0.2.7:80 {four}" for name, (four, _) in ways.items()]
    rows += [
        f"{name} tcp [2001:db8::7]:80 {six.replace('3/13', '1/1').replace('3/1@', '1/3@')}"
        for name, (_, six) in ways.items()
        if six != "absent"
    ]
    return read_result({"target": "web.internal:80", "rows": rows})


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_the_order_of_vantage_points_and_rows_changes_nothing(scenario: Scenario) -> None:
    before = diagnose(scenario.results, scenario.agents)
    mixed = random.Random(7)
    for _ in range(3):
        results = tuple(shuffled(result, mixed) for result in scenario.results)
        agents = mixed.sample(scenario.agents, len(scenario.agents))
        assert diagnose(results, agents) == before


def shuffled(result: TargetResult, mixed: random.Random) -> TargetResult:
    vantages = [
        replace(one, measurements=tuple(mixed.sample(one.measurements, len(one.measurements))))
        for one in result.vantages
    ]
    mixed.shuffle(vantages)
    return replace(result, vantages=tuple(vantages))


@pytest.mark.parametrize("word", NOT_LOOKED)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_who_did_not_look_changes_nothing(scenario: Scenario, word: str) -> None:
    before = diagnose(scenario.results, scenario.agents)
    extra, (agent,) = read_result(
        {"target": "web.internal:80", "rows": [f"zurich-9 tcp 192.0.2.7:80 {word}"]}
    )
    silent = Vantage("zurich-8", "zurich", Outcome.UNMEASURED)
    results = tuple(
        replace(one, vantages=(*one.vantages, *extra.vantages, silent)) for one in scenario.results
    )
    assert diagnose(results, (*scenario.agents, agent)) == before


@given(ROWS, st.sampled_from(NOT_LOOKED))
def test_an_unmeasured_row_beside_others_changes_nothing(ways: dict[str, tuple[str, str]], word: str) -> None:
    result, agents = build({name: (four, "absent") for name, (four, _) in ways.items()})
    more, _ = build({name: (four, word) for name, (four, _) in ways.items()})
    assert diagnose([result], agents) == diagnose([more], agents)


@given(ROWS)
def test_no_finding_where_everybody_reaches_every_address(ways: dict[str, tuple[str, str]]) -> None:
    result, agents = build(
        {name: ("ok", "absent" if six == "absent" else "ok") for name, (_, six) in ways.items()}
    )
    assert diagnose([result], agents) == ((),)


@given(ROWS)
def test_silence_is_never_certain_and_findings_name_only_those_who_failed(
    ways: dict[str, tuple[str, str]],
) -> None:
    result, agents = build(ways)
    (findings,) = diagnose([result], agents)
    for finding in findings:
        bad = [one for one in finding.evidence if one.supports and "no answer" in one.text]
        assert not (bad and finding.confidence is Confidence.CERTAIN)
        for name in finding.scope.sources:
            assert set(ways[name]) - {"ok", "absent"} - set(NOT_LOOKED)


@given(ROWS)
def test_one_who_reaches_it_by_any_address_is_not_told_that_it_cannot(
    ways: dict[str, tuple[str, str]],
) -> None:
    result, agents = build(ways)
    (findings,) = diagnose([result], agents)
    reached = {one.agent for one in result.vantages if one.outcome is Outcome.OK}
    for finding in findings:
        if finding.verdict in (Verdict.SOURCE_SELECTIVE, Verdict.NOT_LISTENING, Verdict.SILENT_FOR_ALL):
            assert not reached & set(finding.scope.sources)
            assert not any("unmet:too_slow" in ways[name] for name in finding.scope.sources)


@given(ROWS)
def test_every_vantage_point_that_failed_is_in_some_finding(ways: dict[str, tuple[str, str]]) -> None:
    result, agents = build(ways)
    (findings,) = diagnose([result], agents)
    named = {name for finding in findings for name in finding.scope.sources}
    failed = {one.agent for one in result.vantages if one.outcome in FAILED}
    assert failed <= named


def test_another_target_shows_that_a_lone_vantage_point_is_well() -> None:
    silent, agents = read_result({"target": "db:5432", "rows": ["berlin-1 tcp 192.0.2.7:5432 silent"]})
    well, _ = read_result({"target": "web:80", "rows": ["berlin-1 tcp 192.0.2.8:80 ok"]})
    (alone,) = diagnose([silent], agents)
    beside, nothing = diagnose([silent, well], agents)
    assert Verdict.SOURCE_OUTPUT_FILTER in alone[0].alternatives
    assert Verdict.SOURCE_OUTPUT_FILTER not in beside[0].alternatives
    assert nothing == ()


def test_findings_are_put_beside_their_results() -> None:
    result, agents = read_result({"target": "db:5432", "rows": ["berlin-1 tcp 192.0.2.7:5432 refused"]})
    (judged,) = with_findings([result], agents)
    assert judged.findings == diagnose([result], agents)[0]
    assert replace(judged, findings=()) == result


def test_evidence_is_bounded() -> None:
    rows = [f"a{n} tcp 192.0.2.7:{port} refused" for n in range(40) for port in range(1, 11)]
    result, agents = read_result({"target": "db", "ports": [[1, 10]], "rows": rows})
    (findings,) = diagnose([result], agents)
    assert len(findings) == 1
    assert len(findings[0].evidence) == 50
    assert findings[0].evidence[-1].text == "and 351 more observations"
    assert "and 37 more" in findings[0].summary


def test_what_speaks_against_a_finding_keeps_its_place_in_bounded_evidence() -> None:
    rows = [f"a{n} icmp 192.0.2.7 ok" for n in range(40)]
    rows += [f"a{n} tcp 192.0.2.7:{port} silent" for n in range(40) for port in (1, 2)]
    result, agents = read_result({"target": "db", "ports": [[1, 2]], "rows": rows})
    ((finding,),) = diagnose([result], agents)
    assert len(finding.evidence) == 50
    assert sum(not one.supports for one in finding.evidence) == 10
    assert finding.evidence[-1].text == "and 71 more observations"


@given(ROWS)
def test_an_error_of_one_end_is_not_certain_where_it_leaves_a_set(ways: dict[str, tuple[str, str]]) -> None:
    result, agents = build(ways)
    (findings,) = diagnose([result], agents)
    mechanisms = (Verdict.FORWARD_REJECT, Verdict.TARGET_INPUT_REJECT, Verdict.NOT_LISTENING)
    for finding in findings:
        if finding.verdict in mechanisms and finding.alternatives:
            assert finding.confidence is not Confidence.CERTAIN
        assert finding.verdict is not Verdict.TARGET_INPUT_REJECT or finding.alternatives


def test_every_way_to_fail_is_read_without_a_fault_of_ours() -> None:
    for word in FAILURES:
        result, agents = read_result({"target": "db:5432", "rows": [f"berlin-1 tcp 192.0.2.7:5432 {word}"]})
        diagnose([result], agents)


def test_a_vantage_point_unknown_to_the_fleet_is_judged_by_its_result_alone() -> None:
    _, (agent,) = read_result({"target": "db:1", "agents": {"x": {}}})
    rows = read_result({"target": "db:1", "rows": ["x tcp 192.0.2.7:1 refused"]})[0].vantages[0].measurements
    result = TargetResult(read_result({"target": "db:1"})[0].target, 1, (vantage(agent, list(rows), False),))
    assert diagnose([result])[0][0].verdict is Verdict.NOT_LISTENING


def test_the_package_reaches_for_no_clock_loop_or_socket() -> None:
    """Each would make a finding depend on more than its evidence, or keep it from being replayed offline."""
    banned = {"asyncio", "grpc", "socket", "time", "datetime", "random", "threading", "os"}
    for path in Path(package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {name.partition(".")[0] for name in names} & banned, path


#: Ways to be answered, of which none is a failure; what differs is told, and changes nothing else.
ANSWERED = st.dictionaries(
    st.sampled_from(AGENTS),
    st.tuples(
        st.sampled_from(("10.0.0.7", "192.0.2.7", "192.0.2.7,192.0.2.8", "198.51.100.7")),
        st.sampled_from(("200", "302", "403")),
        st.sampled_from(("one", "two", "three")),
        st.sampled_from(("1", "2", "50", "400")),
    ),
    min_size=1,
)


def answered(ways: dict[str, tuple[str, str, str, str]]) -> tuple[TargetResult, tuple[AgentInfo, ...]]:
    rows = []
    for name, (resolves, status, word, rtt) in ways.items():
        rows += [
            f"{name} dns - ok resolves={resolves} by=10.0.0.53",
            f"{name} tcp 192.0.2.7:443 ok rtt={rtt}",
            f"{name} tls 192.0.2.7:443 verified cert={word}",
            f"{name} http 192.0.2.7:443 ok status={status} body={word}",
        ]
    return read_result({"target": "web.internal:443", "rows": rows})


@given(ANSWERED, st.randoms())
def test_differences_change_no_outcome_and_do_not_depend_on_order(
    ways: dict[str, tuple[str, str, str, str]], mixed: random.Random
) -> None:
    result, agents = answered(ways)
    (findings,) = diagnose([result], agents)
    assert {one.verdict for one in findings} <= INFORMATIONAL
    assert all(one.confidence is not Confidence.CERTAIN for one in findings)
    assert diagnose([shuffled(result, mixed)], agents) == (findings,)
    judged = with_findings([result], agents)
    assert exit_code(judged, True) == exit_code([result], True) == 0


@given(ANSWERED)
def test_a_difference_takes_two_and_a_majority_is_not_blamed(
    ways: dict[str, tuple[str, str, str, str]],
) -> None:
    result, agents = answered(ways)
    (findings,) = diagnose([result], agents)
    for finding in findings:
        assert len(ways) > 1
        named = {one.text.partition(":")[0] for one in finding.evidence}
        assert set(finding.scope.sources) <= named and len(named) > 1
        assert len(finding.scope.sources) < len(ways) or "majority" in finding.summary
    certificates = {word for _, _, word, _ in ways.values()}
    assert (len(certificates) > 1) == any(one.verdict is Verdict.CERTIFICATE_DIFFERS for one in findings)


@given(ANSWERED, st.sampled_from(AGENTS))
def test_who_is_told_what_another_is_told_makes_no_new_difference(
    ways: dict[str, tuple[str, str, str, str]], name: str
) -> None:
    """A twin of one vantage point may turn a tie into a majority, or show that a page is not made anew: it
    never brings a verdict about names, certificates or statuses that was not there."""
    model = ways.get(name) or next(iter(ways.values()))
    verdicts = (Verdict.NAMES_DIFFER, Verdict.CERTIFICATE_DIFFERS)
    found = []
    for told in (ways, {**ways, "zurich-1": model}):
        result, agents = answered(told)
        found.append({one.verdict for one in diagnose([result], agents)[0]} & set(verdicts))
    assert found[0] == found[1]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    st.lists(st.lists(instances(Measurement).filter(lambda row: row.kind in RUNGS), max_size=3), max_size=3)
)
def test_whatever_an_agent_may_send_is_judged_and_laid_open_without_a_fault_of_ours(
    told: list[list[Measurement]],
) -> None:
    vantages = tuple(Vantage(f"v{n}", None, Outcome.OK, None, tuple(rows)) for n, rows in enumerate(told))
    result = TargetResult(Target("web.internal:443", "web.internal", (PortRange(443, 443),)), 1, vantages)
    (judged,) = with_findings([result])
    again = replace(result, vantages=vantages[::-1])
    assert diagnose([again]) == (judged.findings,)
    assert consistency(again) == consistency(judged)
    assert len(table.render([judged], 80)) + len(wide.render([judged], 80)) > 0
