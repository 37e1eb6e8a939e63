"""How measurements become a vantage point's outcome, a summary and an exit code. Pure.

The rules are those of DESIGN §4 and §6 and of decision 0001: a climb ends at its first broken rung; the
addresses of one name are alternatives (a rung holds if any holds), but demands where something must not be
there (decision 0016); the ports of a list are demands (a rung breaks if any breaks); in a ladder ping breaks
nothing unless it is all there is.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from probemesh_shared.failures import UNJUDGED, UNWANTED
from probemesh_shared.model import (
    Diagnosis,
    DnsDetail,
    HttpDetail,
    Measurement,
    TargetResult,
    TlsDetail,
    Vantage,
)
from probemesh_shared.words import NOT_MEASURED, FailureKind, Kind, Outcome, Verdict

#: What an OCSP staple says of a certificate that its authority has withdrawn.
REVOKED = "revoked"

#: The order of a climb; the last two are no rungs of the ladder, and only run where they are asked for.
RUNGS: tuple[Kind, ...] = (
    Kind.DNS,
    Kind.ICMP,
    Kind.TCP,
    Kind.UDP,
    Kind.TLS,
    Kind.HTTP,
    Kind.TRACE,
    Kind.MTU,
)

#: Where the alternatives of one rung all fail, the one that tells most stands for them.
_TELLING: tuple[Outcome, ...] = (
    Outcome.ANSWER_UNEXPECTED,
    Outcome.TLS_FAILS,
    Outcome.RESET,
    Outcome.REFUSED,
    Outcome.PROHIBITED,
    Outcome.UNREACHABLE,
    Outcome.TIMEOUT,
    Outcome.NAME_FAILS,
    Outcome.DENIED,
    Outcome.UNSUPPORTED,
    Outcome.LOCAL_RESOURCE,
    Outcome.AGENT_LOST,
    Outcome.CANCELLED,
    Outcome.VOID,
    Outcome.UNMEASURED,
)


@dataclass(frozen=True, slots=True)
class Summary:
    """Vantage points by how they ended; those that are the target itself are in none, nor in ``total``."""

    reached: int = 0
    failed: int = 0
    unmeasured: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class RungState:
    """One demand of one rung: its port (None: it has none) and how its alternatives came out together."""

    kind: Kind
    port: int | None
    outcome: Outcome


def rung_order(kind: Kind) -> int:
    """Position in the climb, from 0: resolve, ping, connect, datagram, TLS, HTTP."""
    return RUNGS.index(kind)


def is_own_address(measurement: Measurement) -> bool:
    """True where the agent did not probe because the address is its own."""
    return measurement.failure is not None and measurement.failure.kind is FailureKind.OWN_ADDRESS


def is_own_fault(measurement: Measurement) -> bool:
    """True where the row says nothing about the network: nobody looked, or this host has no way there."""
    no_route = measurement.failure is not None and measurement.failure.kind is FailureKind.NO_ROUTE
    return no_route or measurement.outcome in NOT_MEASURED


def is_excused(measurement: Measurement) -> bool:
    """True where every sample failed, just as was expected (``state=closed``, ``rcode=NXDOMAIN``)."""
    samples = measurement.samples
    excused = bool(samples) and all(sample.outcome is not Outcome.OK for sample in samples)
    return excused and measurement.outcome is Outcome.OK


def _is_unwanted(measurement: Measurement) -> bool:
    """True where something was there that an expectation says must not be."""
    return measurement.failure is not None and measurement.failure.errno == UNWANTED


def _is_unjudged(measurement: Measurement) -> bool:
    """True for the row of an expectation that no rung could be judged by: it is no alternative to any."""
    return measurement.failure is not None and measurement.failure.errno == UNJUDGED


def _together(alternatives: Sequence[Measurement]) -> Outcome:
    def rank(row: Measurement) -> tuple[bool, bool, bool, int]:
        telling = row.outcome is Outcome.ANSWER_UNEXPECTED or _denies(row)
        return row.outcome in NOT_MEASURED, is_own_fault(row), not telling, _TELLING.index(row.outcome)

    others = [row for row in alternatives if not is_own_address(row)] or list(alternatives)
    not_ok = [row for row in others if row.outcome is not Outcome.OK]
    demands = any(map(is_excused, others)) or any(map(_is_unwanted, others))
    broken = [row for row in not_ok if not is_own_fault(row)] if demands else []
    if len(not_ok) < len(others) and not broken:
        return Outcome.OK
    return min(not_ok, key=rank).outcome


def _denies(row: Measurement) -> bool:
    """A server of the zone says that the name is not there: that holds, whatever its other servers do."""
    of_zone = isinstance(row.detail, DnsDetail) and row.detail.zone is not None
    said = row.failure is not None and row.failure.kind in (FailureKind.NO_SUCH_NAME, FailureKind.NO_ADDRESS)
    return of_zone and said and row.outcome is Outcome.NAME_FAILS and row.address is not None


def _demand(row: Measurement) -> int | None:
    return None if row.kind in (Kind.DNS, Kind.ICMP) else row.port


def rungs(measurements: Iterable[Measurement]) -> tuple[RungState, ...]:
    """Every (rung, port) that was tried, in the order of the climb, then by port."""
    groups: defaultdict[tuple[int, int], list[Measurement]] = defaultdict(list)
    for row in measurements:
        groups[rung_order(row.kind), _demand(row) or 0].append(row)
    return tuple(
        RungState(RUNGS[order], port or None, _together(rows))
        for (order, port), rows in sorted(groups.items())
    )


def _is_target(measurements: Sequence[Measurement]) -> bool:
    """Own addresses were met, and no other was there to look at."""

    def is_other(row: Measurement) -> bool:
        resolved = row.kind is Kind.DNS and row.outcome is Outcome.OK
        no_way = row.failure is not None and row.failure.kind in (FailureKind.NO_ROUTE, FailureKind.DENIED)
        return not (resolved or no_way or is_own_address(row))

    return any(map(is_own_address, measurements)) and not any(map(is_other, measurements))


def _is_silent_ping(state: RungState) -> bool:
    return state.kind is Kind.ICMP and state.outcome is not Outcome.ANSWER_UNEXPECTED


def vantage_outcome(
    measurements: Sequence[Measurement], ladder: bool, *, ported: bool | None = None
) -> tuple[Outcome, Kind | None, bool]:
    """``(outcome, failed_at, is_target)`` of one vantage point's measurements of one TARGET.

    The first rung that was measured and broke decides; without one, the first that was not measured; else
    ``ok``. In a ladder ping counts only where there is nothing above it: ``ported`` says so where the caller
    knows (a connect may still be under way), else it is read off the kinds present. A ping that was answered
    and is not as expected counts all the same.
    """
    if not measurements:
        return Outcome.UNMEASURED, None, False
    if _is_target(measurements):
        return Outcome.UNMEASURED, None, True
    above = ported if ported is not None else any(rung_order(row.kind) > 1 for row in measurements)
    unjudged = [RungState(row.kind, None, row.outcome) for row in measurements if _is_unjudged(row)]
    rows = [row for row in measurements if not _is_unjudged(row)]
    states = [s for s in rungs(rows) if not (ladder and above and _is_silent_ping(s))]
    not_ok = [state for state in states if state.outcome is not Outcome.OK]
    broken = [state for state in not_ok if state.outcome not in NOT_MEASURED]
    for state in (*broken, *unjudged, *not_ok):
        return state.outcome, state.kind, False
    if not states:
        return Outcome.UNMEASURED, None, False
    if ladder and above and all(state.kind is Kind.DNS for state in states):
        return Outcome.UNMEASURED, None, False
    return Outcome.OK, None, False


def certificate_verified(vantage: Vantage) -> bool | None:
    """False where any certificate it was shown did not verify, or is revoked by its server's staple, None
    where none was judged."""
    verdicts: set[bool] = set()
    for row in vantage.measurements:
        detail = row.detail.tls if isinstance(row.detail, HttpDetail | DnsDetail) else row.detail
        if isinstance(detail, TlsDetail) and detail.verified is not None:
            verdicts.add(detail.verified and detail.ocsp_staple != REVOKED)
        if isinstance(row.detail, HttpDetail):
            verdicts.update(hop.tls_verified for hop in row.detail.redirects if hop.tls_verified is not None)
    return None if not verdicts else False not in verdicts


def reached(vantage: Vantage, strict: bool = False) -> bool:
    """Every rung that was climbed holds; with ``strict`` the certificates too."""
    if vantage.expect_fail:
        return vantage.outcome is Outcome.OK
    return vantage.outcome is Outcome.OK and not (strict and certificate_verified(vantage) is False)


def reached_any_port(vantage: Vantage, strict: bool = False) -> bool:
    """It reached the target, or at least one port of a list with every rung that was climbed there; not where
    the climb came to nothing that an expectation could be judged on. Where failing is what was expected: it
    did."""
    if vantage.expect_fail:
        return vantage.outcome is Outcome.OK and not vantage.is_target
    if vantage.is_target or (strict and certificate_verified(vantage) is False):
        return False
    if vantage.outcome is Outcome.OK:
        return True
    if any(map(_is_unjudged, vantage.measurements)):
        return False
    holds: dict[int, bool] = {}
    for state in rungs(vantage.measurements):
        if state.port is not None:
            holds[state.port] = holds.get(state.port, True) and state.outcome is Outcome.OK
    return any(holds.values())


def summarise(vantages: Iterable[Vantage], strict: bool = False) -> Summary:
    """Counts by vantage point. With ``strict`` a certificate that did not verify is a failure."""
    counted = [vantage for vantage in vantages if not vantage.is_target]
    good = sum(reached(vantage, strict) for vantage in counted)
    unmeasured = sum(vantage.outcome in NOT_MEASURED for vantage in counted)
    return Summary(good, len(counted) - good - unmeasured, unmeasured, len(counted))


def exit_code(results: Sequence[TargetResult], strict: bool = False, interrupted: bool = False) -> int:
    """DESIGN §6, over all TARGETs together: 130 interrupted, 4 nothing could be measured, 1 measured and
    nobody reached anything, 3 some failed or were not measured, 0 all reached it. (2, wrong use, is found
    before there are results.)"""
    if interrupted:
        return 130
    counted = [vantage for result in results for vantage in result.vantages if not vantage.is_target]
    summary = summarise(counted, strict)
    reached_a_port = any(reached_any_port(vantage, strict) for vantage in counted)
    if not reached_a_port and summary.failed == 0:
        return 4
    if not reached_a_port:
        return 1
    return 0 if summary.reached == summary.total else 3


#: Chance loss breaks nothing by itself: what is sent again arrives.
_GETS_THERE = frozenset({Verdict.REACHABLE, Verdict.LOSS})
#: It works by another family or address.
_PARTLY = frozenset({Verdict.FAMILY_BROKEN, Verdict.ADDRESS_BROKEN})


def diagnosis_exit_code(diagnosis: Diagnosis, interrupted: bool = False) -> int:
    """The same over the two directions of a pair: forward by its verdict, so that the service counts; reverse
    by its path alone, as nothing need listen there. Undetermined is not reached; what loses some is, and a
    service that the path leads to and that may be silent by nature. What one family or address reaches is
    reached by somebody."""
    if interrupted:
        return 130
    forward, reverse = diagnosis.forward, diagnosis.reverse
    if not any(one.path_verdict is not None or one.outcome not in NOT_MEASURED for one in (forward, reverse)):
        return 4
    silent = forward.path_verdict in _GETS_THERE and Verdict.SILENT_SERVICE in forward.alternatives
    holds = (silent or forward.verdict in _GETS_THERE, reverse.path_verdict in _GETS_THERE)
    if all(holds):
        return 0
    partly = any(one.verdict in _PARTLY for one in (forward, reverse))
    return 3 if partly or any(holds) else 1
