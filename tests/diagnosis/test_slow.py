"""Slow from somewhere: what other targets of the run tell about it."""

from probemesh_controller.diagnosis import diagnose
from probemesh_shared.model import Finding
from probemesh_shared.words import Confidence, Verdict

from tests.diagnosis.scenario import read_result

DB = [
    "berlin-1 tcp 192.0.2.7:443 ok rtt=1",
    "paris-1 tcp 192.0.2.7:443 ok rtt=2",
    "tokyo-1 tcp 192.0.2.7:443 ok rtt=80",
]
PAIR = [DB[0], DB[2]]
FAST = [row.replace("192.0.2.7", "192.0.2.9").replace("rtt=80", "rtt=3") for row in DB]
SLOW = [row.replace("192.0.2.7", "192.0.2.9") for row in DB]


def judged(*tables: list[str]) -> tuple[tuple[Finding, ...], ...]:
    read = [read_result({"target": f"web-{n}.internal:443", "rows": rows}) for n, rows in enumerate(tables)]
    return diagnose([result for result, _ in read], read[0][1])


def test_who_is_fast_elsewhere_is_not_merely_far_away() -> None:
    (finding,), nothing = judged(DB, FAST)
    assert finding.verdict is Verdict.SLOW_FROM and finding.confidence is Confidence.LIKELY
    assert "as fast as others to another target of this run" in finding.summary
    assert finding.alternatives == () and nothing == ()


def test_who_is_slow_everywhere_may_be_far_away() -> None:
    for (finding,) in judged(DB, SLOW):
        assert finding.confidence is Confidence.POSSIBLE
        assert finding.alternatives == (Verdict.VANTAGE_IMPAIRED,)


def test_of_two_one_is_slow_only_where_it_is_fast_elsewhere() -> None:
    assert judged(PAIR) == ((),)
    (finding,), _ = judged(PAIR, [FAST[0], FAST[2]])
    assert finding.scope.sources == ("tokyo-1",) and finding.confidence is Confidence.POSSIBLE


def test_what_was_compared_is_said_with_its_numbers() -> None:
    ((finding,),) = judged(DB)
    texts = {one.id: (one.supports, one.text) for one in finding.evidence}
    assert texts["tokyo-1/tcp/192.0.2.7:443"] == (True, "tokyo-1: tcp 192.0.2.7: median 80.0 ms of 3")
    assert texts["paris-1/tcp/192.0.2.7:443"] == (False, "paris-1: tcp 192.0.2.7: median 2.0 ms of 3")
