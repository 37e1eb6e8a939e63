"""``--expect-fail``: who reached it has failed, who was kept from it is fine, who did not look is neither."""

import pytest
from probemesh_controller.turned import kept, turned
from probemesh_shared.model import Failure, Finding, Measurement, Scope, TargetResult, TlsDetail, Vantage
from probemesh_shared.outcomes import Summary, exit_code, summarise, vantage_outcome
from probemesh_shared.targets import parse_target
from probemesh_shared.words import (
    NOT_MEASURED,
    Confidence,
    FailureKind,
    Kind,
    Origin,
    Outcome,
    Stage,
    Verdict,
)

ONE = parse_target("db:5432")
LIST = parse_target("db:22-24")


def row(outcome, kind=Kind.TCP, port=5432, detail=None):
    failure = None
    if outcome is not Outcome.OK:
        failure = Failure(Stage.CONNECT, FailureKind.REFUSED, Origin.TARGET, "words of the failure")
    return Measurement(kind, 0, "t", "192.0.2.7", port, outcome, 1, failure=failure, detail=detail)


def vantage(*rows, target=ONE, strict=False, name="a"):
    outcome, failed_at, is_target = vantage_outcome(rows, True, ported=bool(target.ports))
    return turned(Vantage(name, None, outcome, failed_at, rows, is_target), target, strict)


def test_who_reached_it_has_failed():
    told = vantage(row(Outcome.OK))
    assert (told.outcome, told.failed_at) == (Outcome.ANSWER_UNEXPECTED, Kind.TCP)
    assert told.reason == "reached, though it must not be"
    assert told.measurements[0].outcome is Outcome.OK


NETWORK = [one for one in Outcome if one is not Outcome.OK and one not in NOT_MEASURED]


@pytest.mark.parametrize("outcome", NETWORK)
def test_whatever_the_network_did_is_as_expected(outcome):
    told = vantage(row(outcome))
    assert (told.outcome, told.failed_at) == (Outcome.OK, None)
    assert told.reason == f"as expected: {outcome}, words of the failure"
    assert told.measurements[0].outcome is outcome


@pytest.mark.parametrize("outcome", sorted(NOT_MEASURED))
def test_who_did_not_look_has_not_looked(outcome):
    told = vantage(row(outcome))
    assert told.outcome is outcome and told.expect_fail
    assert exit_code([TargetResult(ONE, 0, (told,))]) == 4


def test_the_first_broken_rung_keeps_from_it_whatever_held_below():
    told = vantage(row(Outcome.OK), row(Outcome.TLS_FAILS, Kind.TLS))
    assert told.outcome is Outcome.OK and told.reason.startswith("as expected: tls-fails")


def test_of_a_list_every_port_has_to_be_closed_and_looked_at():
    closed = [row(Outcome.REFUSED, port=port) for port in (22, 23, 24)]
    assert vantage(*closed, target=LIST).outcome is Outcome.OK
    opened = vantage(row(Outcome.OK, port=22), *closed[1:], target=LIST)
    assert opened.outcome is Outcome.ANSWER_UNEXPECTED and "on port 22" in opened.reason
    unseen = vantage(*closed[:2], target=LIST)
    assert (unseen.outcome, unseen.reason) == (Outcome.UNMEASURED, "1 of its ports not measured")
    barred = vantage(*closed[:2], row(Outcome.DENIED, port=24), target=LIST)
    assert barred.outcome is Outcome.UNMEASURED
    open_and_barred = vantage(row(Outcome.OK, port=22), row(Outcome.DENIED, port=23), target=LIST)
    assert open_and_barred.outcome is Outcome.ANSWER_UNEXPECTED
    nameless = vantage(row(Outcome.NAME_FAILS, Kind.DNS, None), target=LIST)
    assert nameless.outcome is Outcome.OK


def test_a_certificate_that_does_not_verify_keeps_from_it_only_where_it_is_a_failure():
    rows = row(Outcome.OK), row(Outcome.OK, Kind.TLS, detail=TlsDetail(verified=False))
    assert vantage(*rows).outcome is Outcome.ANSWER_UNEXPECTED
    strict = vantage(*rows, strict=True)
    assert strict.outcome is Outcome.OK and "certificate" in strict.reason
    assert summarise([strict], strict=True) == Summary(1, 0, 0, 1)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ((Outcome.REFUSED, Outcome.TIMEOUT), 0),
        ((Outcome.REFUSED, Outcome.OK), 3),
        ((Outcome.OK, Outcome.OK), 1),
        ((Outcome.REFUSED, Outcome.DENIED), 3),
        ((Outcome.OK, Outcome.DENIED), 1),
        ((Outcome.DENIED, Outcome.UNMEASURED), 4),
    ],
)
def test_exit_codes(outcomes, code):
    vantages = tuple(vantage(row(one), name=str(i)) for i, one in enumerate(outcomes))
    assert exit_code([TargetResult(ONE, 0, vantages)]) == code


def test_findings_that_explain_what_was_wanted_are_left_out():
    def finding(verdict):
        return Finding(verdict, Scope(), Confidence.CERTAIN, "")

    found = tuple(finding(verdict) for verdict in Verdict)
    assert {one.verdict for one in kept(found)} == {
        Verdict.AGENT_LOST,
        Verdict.NOT_ADDRESSABLE,
        Verdict.VANTAGE_IMPAIRED,
    }
