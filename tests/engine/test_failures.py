"""The decision table of classification, and the statistics."""

import errno
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probemesh_shared import failures, icmpcodes, stats
from probemesh_shared.model import Failure, IcmpError, Sample
from probemesh_shared.words import FailureKind, Family, Origin, Outcome, Stage

K, Who, V4, V6 = FailureKind, Origin, Family.IPV4, Family.IPV6
TARGET, ROUTER, OWN = "192.0.2.9", "198.51.100.1", "192.0.2.1"


@pytest.mark.parametrize(
    ("number", "at_once", "kind", "origin", "outcome"),
    [
        (errno.ECONNREFUSED, False, K.REFUSED, Who.TARGET, "refused"),
        (errno.ECONNREFUSED, True, K.REFUSED, Who.TARGET, "refused"),
        (errno.ECONNRESET, False, K.RESET, Who.UNKNOWN, "reset"),
        (errno.ETIMEDOUT, False, K.TIMEOUT, Who.UNKNOWN, "timeout"),
        (errno.EHOSTUNREACH, False, K.UNREACHABLE, Who.PATH, "unreachable"),
        (errno.EHOSTUNREACH, True, K.NO_ROUTE, Who.AGENT, "unreachable"),
        (errno.ENETUNREACH, True, K.NO_ROUTE, Who.AGENT, "unreachable"),
        (errno.EACCES, False, K.PROHIBITED, Who.PATH, "prohibited"),
        (errno.EACCES, True, K.NO_ROUTE, Who.AGENT, "unreachable"),
        (errno.EINVAL, True, K.NO_ROUTE, Who.AGENT, "unreachable"),
        (errno.EPERM, True, K.LOCAL_FILTER, Who.AGENT, "prohibited"),
        (errno.EMFILE, True, K.LOCAL_RESOURCE, Who.AGENT, "local-resource"),
        (errno.ENFILE, True, K.LOCAL_RESOURCE, Who.AGENT, "local-resource"),
        (errno.EADDRNOTAVAIL, True, K.LOCAL_RESOURCE, Who.AGENT, "local-resource"),
        (errno.ENOBUFS, True, K.LOCAL_RESOURCE, Who.AGENT, "local-resource"),
        (errno.EMSGSIZE, False, K.TOO_BIG, Who.PATH, "unreachable"),
        (errno.EAFNOSUPPORT, True, K.UNSUPPORTED, Who.AGENT, "unsupported"),
        (errno.EBADF, False, K.INTERNAL, Who.AGENT, "unmeasured"),
    ],
)
def test_errno(number, at_once, kind, origin, outcome):
    failure = failures.from_errno(Stage.CONNECT, number, at_once=at_once)
    assert (failure.kind, failure.origin, failures.outcome_of(failure)) == (kind, origin, outcome)
    assert failure.errno == errno.errorcode[number] and failure.detail


@pytest.mark.parametrize(
    ("family", "icmp_type", "code", "kind"),
    [
        *((V4, 3, code, K.UNREACHABLE) for code in (0, 1, 2, 5, 6, 7, 8, 11, 12, 99)),
        *((V4, 3, code, K.PROHIBITED) for code in (9, 10, 13, 14, 15)),
        (V4, 3, 3, K.REFUSED),
        (V4, 3, 4, K.TOO_BIG),
        (V4, 11, 0, K.UNREACHABLE),
        (V4, 12, 0, K.UNREACHABLE),
        *((V6, 1, code, K.UNREACHABLE) for code in (0, 2, 3, 7)),
        *((V6, 1, code, K.PROHIBITED) for code in (1, 5, 6)),
        (V6, 1, 4, K.REFUSED),
        (V6, 2, 0, K.TOO_BIG),
        (V6, 3, 0, K.UNREACHABLE),
    ],
)
def test_icmp_code_comes_before_errno(family, icmp_type, code, kind):
    icmp = IcmpError(family, icmp_type, code, ROUTER, 63)
    failure = failures.from_icmp(Stage.CONNECT, icmp, target=TARGET, number=errno.EHOSTUNREACH)
    assert failure is not None
    assert (failure.kind, failure.origin, failure.icmp, failure.errno) == (
        kind,
        Who.PATH,
        icmp,
        "EHOSTUNREACH",
    )


@pytest.mark.parametrize(
    ("sender", "origin"), [(TARGET, Who.TARGET), (OWN, Who.AGENT), (ROUTER, Who.PATH), (None, Who.PATH)]
)
def test_the_sender_tells_whose_it_is(sender, origin):
    failure = failures.from_icmp(Stage.CONNECT, IcmpError(V4, 3, 13, sender), target=TARGET, own={OWN})
    assert failure is not None and failure.origin is origin


def test_what_ends_no_attempt_is_no_failure():
    for icmp_type in (0, 4, 5, 8):
        assert icmpcodes.meaning(V4, icmp_type, 0) is None
        assert failures.from_icmp(Stage.CONNECT, IcmpError(V4, icmp_type, 0, None), target=TARGET) is None


def test_every_kind_has_an_outcome_and_the_stage_may_change_it():
    assert set(failures.OUTCOME_OF) == set(FailureKind)

    def outcome(stage: Stage, kind: FailureKind) -> Outcome:
        return failures.outcome_of(Failure(stage, kind, Who.UNKNOWN, ""))

    assert outcome(Stage.TLS, K.RESET) is Outcome.TLS_FAILS
    assert outcome(Stage.RESOLVE, K.TIMEOUT) is Outcome.NAME_FAILS
    assert outcome(Stage.RESOLVE, K.DENIED) is Outcome.DENIED
    assert outcome(Stage.TLS, K.DEADLINE) is Outcome.UNMEASURED


def sample(outcome: Outcome, rtt_ms: float | None = None) -> Sample:
    return Sample(0, 0.0, rtt_ms, outcome)


def test_statistics_of_a_mixed_run():
    samples = [
        sample(Outcome.OK, 1.0),
        sample(Outcome.OK, 4.0),
        sample(Outcome.OK),
        sample(Outcome.TIMEOUT),
        sample(Outcome.REFUSED, 9.0),
        sample(Outcome.VOID, 7.0),
        sample(Outcome.CANCELLED),
        sample(Outcome.UNMEASURED),
    ]
    told = stats.of(samples)
    assert (told.sent, told.lost, told.loss_ratio) == (5, 1, 0.2)
    assert told.rtt == stats.Rtt(1.0, 2.5, 2.5, 4.0, 1.5, 3.0)


def test_nothing_sent_is_nothing_lost():
    assert stats.of([sample(Outcome.VOID)]) == stats.Stats(0, 0, None, None)
    one = stats.of([sample(Outcome.OK, 2.0)])
    assert one.rtt == stats.Rtt(2.0, 2.0, 2.0, 2.0, None, None) and one.rtt_ms == 2.0


@given(st.lists(st.floats()))
def test_statistics_are_finite_and_in_order(values):
    rtt = stats.round_trips(values)
    if rtt is None:
        assert not any(0 <= value <= 1e9 for value in values)
        return
    assert rtt.min_ms <= rtt.median_ms <= rtt.max_ms
    assert all(math.isfinite(part) for part in (rtt.mean_ms, rtt.stddev_ms or 0.0, rtt.jitter_ms or 0.0))


def test_a_measurements_outcome_is_the_one_that_tells_most():
    assert failures.overall([sample(Outcome.TIMEOUT), sample(Outcome.OK)])[0] is Outcome.OK
    assert failures.overall([sample(Outcome.TIMEOUT), sample(Outcome.REFUSED)])[0] is Outcome.REFUSED
    assert failures.overall([sample(Outcome.TIMEOUT)] * 2)[0] is Outcome.TIMEOUT
    assert failures.overall([])[0] is Outcome.UNMEASURED
