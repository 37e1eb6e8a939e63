"""What fails at a proxy or behind a redirect is not told as the target's, or its path's."""

import pytest
from probemesh_controller.diagnosis import diagnose
from probemesh_controller.diagnosis.observations import Manner, manner_of
from probemesh_shared.failures import outcome_of
from probemesh_shared.model import Failure, HttpDetail, HttpHop, Measurement, Sample, TargetResult, Vantage
from probemesh_shared.targets import parse_target
from probemesh_shared.words import FailureKind, Kind, Origin, Outcome, Stage, Verdict

TARGET = parse_target("https://web.example/")
PATHS = {
    Verdict.NOT_LISTENING,
    Verdict.SILENT_FOR_ALL,
    Verdict.SOURCE_SELECTIVE,
    Verdict.NAME_FAILS,
    Verdict.FAMILY_BROKEN,
}


def row(stage: Stage, kind: FailureKind) -> Measurement:
    failure = Failure(stage, kind, Origin.PATH, "words")
    outcome = outcome_of(failure)
    detail = HttpDetail(url=TARGET.text, redirects=(HttpHop(url=TARGET.text, status=302),))
    samples = (Sample(0, 0.0, None, outcome, failure),)
    return Measurement(Kind.HTTP, 0, TARGET.text, "192.0.2.7", 443, outcome, 1, samples, failure, detail)


KINDS = (
    FailureKind.REFUSED,
    FailureKind.TIMEOUT,
    FailureKind.UNREACHABLE,
    FailureKind.NO_SUCH_NAME,
    FailureKind.NAME_SERVER_FAILED,
    FailureKind.TLS_ALERT,
    FailureKind.STATUS_UNEXPECTED,
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_says_nothing_about_the_target(kind: FailureKind) -> None:
    assert manner_of(row(Stage.PROXY, kind)) is Manner.NOT_LOOKED


@pytest.mark.parametrize("kind", KINDS)
def test_behind_a_redirect_the_target_has_answered(kind: FailureKind) -> None:
    assert manner_of(row(Stage.REDIRECT, kind)) is Manner.ANSWERED


@pytest.mark.parametrize("kind", [FailureKind.DENIED, FailureKind.NO_ROUTE, FailureKind.LOCAL_FILTER])
def test_our_own_ways_are_nobody_s_fault(kind: FailureKind) -> None:
    assert manner_of(row(Stage.REDIRECT, kind)) is Manner.NOT_LOOKED


@pytest.mark.parametrize("stage", [Stage.PROXY, Stage.REDIRECT])
@pytest.mark.parametrize("kind", KINDS)
def test_no_finding_blames_the_way_to_the_target(stage: Stage, kind: FailureKind) -> None:
    bad = row(stage, kind)
    vantages = tuple(Vantage(name, None, bad.outcome, Kind.HTTP, (bad,)) for name in ("a", "b"))
    good = Measurement(
        Kind.HTTP, 0, TARGET.text, "192.0.2.7", 443, Outcome.OK, 1, (Sample(0, 0, 1.0, Outcome.OK),)
    )
    for more in ((), (Vantage("c", None, Outcome.OK, None, (good,)),)):
        (found,) = diagnose([TargetResult(TARGET, 0, (*vantages, *more))])
        wrong = {one.verdict for one in found} & PATHS
        assert not wrong or (stage is Stage.REDIRECT and wrong == {Verdict.SOURCE_SELECTIVE}), wrong
