"""Every scenario reaches exactly its findings: verdict, scope, place, confidence, what is left open."""

from typing import Any

import pytest
from probemesh_controller.diagnosis import diagnose
from probemesh_shared.model import Finding

from tests.diagnosis.scenario import Scenario, load

SCENARIOS = load()


def place_text(finding: Finding) -> str:
    place = finding.place
    return "" if place is None else f"{place.kind} {place.address or ''}".strip()


def seen_of(finding: Finding) -> dict[str, Any]:
    scope = finding.scope
    return {
        "verdict": finding.verdict.value,
        "from": list(scope.sources),
        "to": list(scope.targets),
        "next_test": finding.next_test,
        "confidence": finding.confidence.value,
        "transport": scope.transport,
        "port": scope.port if scope.port is not None else "none",
        "family": scope.family.value if scope.family else None,
        "place": place_text(finding),
        "direction": finding.direction.value if finding.direction else None,
        "against": [one.id for one in finding.evidence if not one.supports],
    }


def check(finding: Finding, wanted: dict[str, Any]) -> None:
    words = {"says", "says_also", "says_not", "alternatives"}
    seen = seen_of(finding)
    assert {key: seen[key] for key in wanted if key not in words} == {
        key: value for key, value in wanted.items() if key not in words
    }
    if "alternatives" in wanted:
        assert {one.value for one in finding.alternatives} == set(wanted["alternatives"])
    for key in ("says", "says_also"):
        assert wanted.get(key, "") in finding.summary
    assert "says_not" not in wanted or wanted["says_not"] not in finding.summary


def test_there_are_enough_scenarios() -> None:
    assert len(SCENARIOS) >= 35
    assert len({one.name for one in SCENARIOS}) == len(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_scenario(scenario: Scenario) -> None:
    (findings,) = diagnose(scenario.results, scenario.agents)
    shown = [f"{one.verdict}: {one.summary}" for one in findings]
    assert [one.verdict.value for one in findings] == [one["verdict"] for one in scenario.expected], shown
    for finding, wanted in zip(findings, scenario.expected, strict=True):
        check(finding, wanted)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_every_finding_explains_itself(scenario: Scenario) -> None:
    """Evidence with unique ids, of which one supports; a next test; the scope names who."""
    (findings,) = diagnose(scenario.results, scenario.agents)
    for finding in findings:
        ids = [one.id for one in finding.evidence]
        assert len(set(ids)) == len(ids)
        assert any(one.supports for one in finding.evidence)
        assert finding.next_test
        assert finding.scope.sources
        assert finding.verdict not in finding.alternatives
        assert "None" not in finding.summary
        assert all("None" not in one.text for one in finding.evidence)
