"""Outcomes, summaries and exit codes: the tables of DESIGN §4 and §6."""

from dataclasses import replace

import pytest
from probemesh_shared.failures import UNJUDGED
from probemesh_shared.model import (
    Failure,
    HttpDetail,
    Measurement,
    Sample,
    Target,
    TargetResult,
    TlsDetail,
    Vantage,
)
from probemesh_shared.outcomes import (
    Summary,
    certificate_verified,
    exit_code,
    reached_any_port,
    rung_order,
    summarise,
    vantage_outcome,
)
from probemesh_shared.words import FailureKind, Kind, Origin, Outcome, Stage

R, K = Outcome, Kind


def row(
    kind: Kind,
    outcome: Outcome,
    address: str | None = "192.0.2.7",
    port: int | None = None,
    why: FailureKind | None = None,
) -> Measurement:
    failure = Failure(Stage.CONNECT, why, Origin.AGENT, "why") if why else None
    return Measurement(kind, 0, "t", address, port, outcome, 1, failure=failure)


def climb(*rows: Measurement, ladder: bool = True) -> tuple[Outcome, Kind | None]:
    outcome, failed_at, is_target = vantage_outcome(rows, ladder)
    assert not is_target
    return outcome, failed_at


def test_the_climb_has_an_order() -> None:
    assert sorted((K.HTTP, K.TLS, K.UDP, K.TCP, K.ICMP, K.DNS), key=rung_order) == [
        *(K.DNS, K.ICMP, K.TCP, K.UDP, K.TLS, K.HTTP)
    ]


def test_nothing_measured() -> None:
    assert vantage_outcome((), True) == (R.UNMEASURED, None, False)


def test_the_first_broken_rung_decides() -> None:
    rows = (
        row(K.HTTP, R.ANSWER_UNEXPECTED, port=443),
        row(K.TLS, R.TLS_FAILS, port=443),
        row(K.TCP, R.OK, port=443),
    )
    assert climb(*rows) == (R.TLS_FAILS, K.TLS)


def test_ping_breaks_nothing_in_a_ladder() -> None:
    ping, connect = row(K.ICMP, R.TIMEOUT), row(K.TCP, R.OK, port=80)
    assert climb(ping, connect) == (R.OK, None)
    assert climb(ping, connect, ladder=False) == (R.TIMEOUT, K.ICMP)


def test_ping_is_all_there_is_for_a_host_without_a_port() -> None:
    assert climb(row(K.DNS, R.OK), row(K.ICMP, R.TIMEOUT)) == (R.TIMEOUT, K.ICMP)


def test_a_connect_that_is_still_to_come_is_not_a_ping_that_failed() -> None:
    rows = row(K.DNS, R.OK), row(K.ICMP, R.TIMEOUT)
    assert vantage_outcome(rows, True, ported=True) == (R.UNMEASURED, None, False)


def test_addresses_are_alternatives() -> None:
    good, bad = row(K.TCP, R.OK, "192.0.2.7", 80), row(K.TCP, R.TIMEOUT, "2001:db8::7", 80)
    assert climb(bad, good) == (R.OK, None)


def test_the_alternative_that_tells_most_stands_for_a_broken_rung() -> None:
    silent, refused = row(K.TCP, R.TIMEOUT, "192.0.2.7", 80), row(K.TCP, R.REFUSED, "192.0.2.8", 80)
    no_way = row(K.TCP, R.UNREACHABLE, "2001:db8::7", 80, FailureKind.NO_ROUTE)
    assert climb(silent, refused, no_way) == (R.REFUSED, K.TCP)
    assert climb(silent, no_way) == (R.TIMEOUT, K.TCP)
    assert climb(row(K.TCP, R.DENIED, "192.0.2.9", 80), silent) == (R.TIMEOUT, K.TCP)


def test_ports_are_demands() -> None:
    assert climb(row(K.TCP, R.OK, port=22), row(K.TCP, R.REFUSED, port=80)) == (R.REFUSED, K.TCP)


def unjudged(kind: Kind) -> Measurement:
    failure = Failure(Stage.SEND, FailureKind.UNSUPPORTED, Origin.AGENT, "why", UNJUDGED)
    return replace(row(kind, R.UNSUPPORTED, None), failure=failure)


def wall(address: str, outcome: Outcome, sample: Outcome | None = None) -> Measurement:
    samples = (Sample(0, 0.0, None, sample or outcome),)
    return replace(row(K.TCP, outcome, address, 80), samples=samples)


@pytest.mark.parametrize("other", [R.ANSWER_UNEXPECTED, R.TIMEOUT, R.REFUSED])
def test_addresses_are_demands_where_a_failure_is_what_was_expected(other: Outcome) -> None:
    closed = wall("192.0.2.7", R.OK, R.REFUSED)
    assert climb(closed, wall("192.0.2.8", other)) == (other, K.TCP)
    assert climb(wall("192.0.2.8", other), closed) == (other, K.TCP)
    assert climb(closed, wall("192.0.2.8", R.OK, R.REFUSED)) == (R.OK, None)
    assert climb(wall("192.0.2.7", R.OK), wall("192.0.2.8", other)) == (R.OK, None), "it was answered"


def test_an_address_that_could_not_be_tried_breaks_no_wall() -> None:
    closed, no_way = (
        wall("192.0.2.7", R.OK, R.REFUSED),
        row(K.TCP, R.UNREACHABLE, "::7", 80, FailureKind.NO_ROUTE),
    )
    assert climb(closed, no_way) == climb(closed, row(K.TCP, R.DENIED, "::7", 80)) == (R.OK, None)


def test_an_expectation_that_nothing_was_judged_by_leaves_no_port_reached() -> None:
    told = at(R.UNSUPPORTED, row(K.TCP, R.OK, port=22), row(K.TCP, R.OK, port=80), unjudged(K.TLS))
    assert exit_code([result(told)]) == 4
    beside = at(R.UNSUPPORTED, row(K.TCP, R.OK, port=22), row(K.HTTP, R.UNSUPPORTED, None, None))
    assert exit_code([result(beside)]) == 3, "the port was asked for by itself, and reached"


@pytest.mark.parametrize("kind", [K.DNS, K.ICMP, K.TLS])
def test_what_could_not_be_judged_is_hidden_by_nothing_that_held(kind: Kind) -> None:
    held = row(K.DNS, R.OK), row(K.ICMP, R.OK), row(K.TCP, R.OK, port=443)
    assert climb(*held, unjudged(kind)) == (R.UNSUPPORTED, kind)
    assert climb(held[0], row(K.TCP, R.REFUSED, port=443), unjudged(kind)) == (R.REFUSED, K.TCP)


def test_what_was_measured_weighs_more_than_what_was_not() -> None:
    assert climb(row(K.TCP, R.DENIED, port=22), row(K.TCP, R.TIMEOUT, port=80)) == (R.TIMEOUT, K.TCP)
    assert climb(row(K.TCP, R.DENIED, port=22), row(K.TCP, R.OK, port=80)) == (R.DENIED, K.TCP)


@pytest.mark.parametrize(
    "beside", [(), (row(K.DNS, R.OK),), (row(K.TCP, R.DENIED, port=1, why=FailureKind.DENIED),)]
)
def test_an_agent_that_owns_the_address_is_the_target(beside: tuple[Measurement, ...]) -> None:
    own = row(K.TCP, R.UNMEASURED, port=1, why=FailureKind.OWN_ADDRESS)
    assert vantage_outcome((own, *beside), True) == (R.UNMEASURED, None, True)


def test_an_agent_that_owns_one_of_two_addresses_is_judged_by_the_other() -> None:
    own = row(K.TCP, R.UNMEASURED, port=1, why=FailureKind.OWN_ADDRESS)
    assert climb(own, row(K.TCP, R.TIMEOUT, "192.0.2.9", 1)) == (R.TIMEOUT, K.TCP)
    assert climb(own, row(K.TCP, R.OK, "192.0.2.9", 1)) == (R.OK, None)


def result(*vantages: Vantage) -> TargetResult:
    return TargetResult(Target("t", "t"), 1, vantages)


def at(outcome: Outcome, *rows: Measurement, is_target: bool = False) -> Vantage:
    return Vantage("a", None, outcome, measurements=rows, is_target=is_target)


UNVERIFIED = Measurement(K.TLS, 0, "t", "192.0.2.7", 443, R.OK, 1, detail=TlsDetail(verified=False))
OWN = at(R.UNMEASURED, is_target=True)
PARTLY = at(R.REFUSED, row(K.TCP, R.OK, port=22), row(K.TCP, R.REFUSED, port=80))
PARTLY_DENIED = at(R.DENIED, row(K.TCP, R.OK, port=22), row(K.TCP, R.DENIED, port=80))
HALFWAY = at(R.TLS_FAILS, row(K.TCP, R.OK, port=443), row(K.TLS, R.TLS_FAILS, port=443))


@pytest.mark.parametrize(
    ("vantages", "code"),
    [
        ((), 4),
        ((at(R.OK),), 0),
        ((at(R.OK), at(R.OK)), 0),
        ((at(R.OK), at(R.TIMEOUT)), 3),
        ((at(R.OK), at(R.UNMEASURED)), 3),
        ((at(R.TIMEOUT), at(R.REFUSED)), 1),
        ((at(R.TIMEOUT), at(R.DENIED)), 1),
        ((at(R.DENIED), at(R.AGENT_LOST)), 4),
        ((OWN,), 4),
        ((OWN, at(R.OK)), 0),
        ((OWN, at(R.TIMEOUT)), 1),
        ((PARTLY,), 3),
        ((PARTLY_DENIED,), 3),
        ((PARTLY, at(R.TIMEOUT)), 3),
        ((HALFWAY,), 1),
    ],
)
def test_exit_code(vantages: tuple[Vantage, ...], code: int) -> None:
    assert exit_code([result(*vantages)]) == code
    assert exit_code([result(*vantages)], interrupted=True) == 130


def test_several_targets_count_together() -> None:
    up, down, unknown = result(at(R.OK)), result(at(R.TIMEOUT)), result(at(R.DENIED))
    assert exit_code([up, up]) == 0
    assert exit_code([up, down]) == 3
    assert exit_code([up, unknown]) == 3
    assert exit_code([down, down]) == 1
    assert exit_code([down, unknown]) == 1
    assert exit_code([unknown, unknown]) == 4


def test_a_certificate_counts_only_when_strict() -> None:
    shown = at(R.OK, UNVERIFIED)
    assert (exit_code([result(shown)]), exit_code([result(shown)], strict=True)) == (0, 1)
    assert exit_code([result(shown, at(R.OK))], strict=True) == 3
    assert summarise([shown]) == Summary(1, 0, 0, 1)
    assert summarise([shown], strict=True) == Summary(0, 1, 0, 1)
    assert not reached_any_port(shown, strict=True)


def test_a_certificate_is_judged_in_tls_and_in_http() -> None:
    by_http = Measurement(
        K.HTTP, 0, "t", "::1", 443, R.OK, 1, detail=HttpDetail(tls=TlsDetail(verified=True))
    )
    assert certificate_verified(at(R.OK)) is None
    assert certificate_verified(at(R.OK, by_http)) is True
    assert certificate_verified(at(R.OK, by_http, UNVERIFIED)) is False


def test_the_summary_leaves_the_target_out() -> None:
    vantages = (OWN, at(R.OK), at(R.RESET), at(R.AGENT_LOST), at(R.CANCELLED))
    assert summarise(vantages) == Summary(reached=1, failed=1, unmeasured=2, total=4)
