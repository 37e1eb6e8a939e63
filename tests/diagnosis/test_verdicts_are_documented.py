"""The reference has every verdict, once, and no other."""

import re
from pathlib import Path

from probemesh_controller.diagnosis import _FIRST, diagnose
from probemesh_shared.words import Verdict

from tests.diagnosis.scenario import load

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "verdicts.md"


def test_every_verdict_has_a_row() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", PAGE.read_text(), flags=re.MULTILINE)
    assert sorted(code for code, _ in rows) == sorted(verdict.value for verdict in Verdict)
    assert all(len(text) > 20 for _, text in rows)


def test_every_verdict_that_a_finding_carries_has_a_place_in_the_order() -> None:
    found = {finding.verdict for one in load() for finding in diagnose(one.results, one.agents)[0]}
    assert found <= set(_FIRST)
    assert len(set(_FIRST)) == len(_FIRST)
