"""How long a burst is waited for, and how long nothing is sent before it."""

from dataclasses import replace

import pytest
from probemesh_controller.pair.case import Case
from probemesh_controller.pair.flow import purposes
from probemesh_controller.pair.flow.steps import FIRST_S, QUIET_MS, UNKNOWN_S, again_s, quiet_ms
from probemesh_controller.pair.view import views
from probemesh_shared.model import FlowDetail, HalfOpen, WatchDetail
from probemesh_shared.words import Transport

from tests.pair.staged import A, answered, case, done, silent, step, watch

KNOWN = {"quiet_ms": 980.0}
HALF_OPEN = (HalfOpen(A, 50_000, first_ms=10.0, last_ms=300.0),)


def _after_burst(took_ms: float, a: WatchDetail | None, b: WatchDetail | None) -> Case:
    burst = step(purposes.AGAIN, silent(14))
    row = replace(burst.rows[0], detail=FlowDetail(tuple(silent(14)), elapsed_ms=took_ms))
    return done(case(), replace(burst, rows=(row,)), a=a, b=b)


def _quiet_ms(state: Case) -> float:
    return quiet_ms(views(state)[1])


def test_what_counters_do_by_themselves_is_watched_once():
    assert _quiet_ms(case()) == QUIET_MS
    assert _quiet_ms(_after_burst(1430.0, watch(), watch())) == QUIET_MS
    assert _quiet_ms(_after_burst(1430.0, watch(**KNOWN), watch(**KNOWN))) == 0


@pytest.mark.parametrize("unknown", ["a", "b"])
def test_both_hosts_counters_have_to_be_known(unknown):
    accounts = {"a": watch(**KNOWN), "b": watch(**KNOWN), unknown: watch(quiet_ms=300.0)}
    assert _quiet_ms(_after_burst(1430.0, **accounts)) == QUIET_MS


def test_without_the_account_of_an_end_it_is_quiet_as_before():
    state = _after_burst(1430.0, watch(**KNOWN), watch(**KNOWN))
    last = replace(state.rounds[-1], looks=state.rounds[-1].looks[:1])
    assert _quiet_ms(replace(state, rounds=(last,))) == QUIET_MS


@pytest.mark.parametrize("stands", [{"half_open": HALF_OPEN}, {"blind": ("packets", "half-open")}])
@pytest.mark.parametrize(("took_ms", "quiet"), [(400.0, QUIET_MS), (1430.0, 0.0)])
def test_handshakes_that_would_be_repeated_into_the_next_burst_are_waited_for(stands, took_ms, quiet):
    state = _after_burst(took_ms, watch(**KNOWN), watch(**KNOWN, **stands))
    assert _quiet_ms(state) == quiet


def _again_s(state: Case) -> float:
    return again_s(views(state)[0])


@pytest.mark.parametrize(("transport", "least_s"), [(Transport.TCP, 1.05), (Transport.UDP, FIRST_S)])
def test_a_burst_of_tcp_is_waited_for_beyond_its_first_repetition(transport, least_s):
    reached = step(purposes.FIRST_UDP, answered(3))
    state = done(case(transport), step(purposes.FIRST_FLOW, silent(3), transport=transport), reached)
    assert least_s <= _again_s(state) < UNKNOWN_S


def test_what_a_silent_path_takes_is_unknown_until_it_was_waited_for_longer():
    state = done(case(Transport.UDP), step(purposes.FIRST_FLOW, silent(3), transport=Transport.UDP))
    assert _again_s(state) == UNKNOWN_S
    state = done(state, step(purposes.LONG, silent(2), transport=Transport.UDP))
    assert _again_s(state) == FIRST_S
