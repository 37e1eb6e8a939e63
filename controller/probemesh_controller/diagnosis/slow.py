"""Rule for vantage points from which a target is slow, beside the others, at the same address.

Distance is no fault, and a finding says so by its confidence: ``possible``, unless the same vantage point
is as fast as the others to another target of the run, or by a lower rung to the same address."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from probemesh_shared.model import Evidence, Finding, Scope
from probemesh_shared.outcomes import rung_order
from probemesh_shared.words import Confidence, Kind, Verdict

from probemesh_controller.diagnosis.drafts import family_of
from probemesh_controller.diagnosis.facts import Facts
from probemesh_controller.diagnosis.observations import Observation
from probemesh_controller.diagnosis.wording import evidence_with, names

ENOUGH_SAMPLES = 3
RATIO = 3.0
#: Milliseconds above the others; where the time holds work of ours and of the server, more.
FLOOR_MS = 20.0
WORK_FLOOR_MS = 100.0
_WORK = (Kind.DNS, Kind.UDP, Kind.TLS, Kind.HTTP)
#: Median absolute deviations, scaled to a standard deviation.
_DEVIATIONS = 6 * 1.4826


@dataclass(frozen=True, slots=True)
class Lag:
    """One vantage point at one address; where it is slow, its median beside that of the others, in ms."""

    seen: Observation
    slow: bool = False
    mine_ms: float = 0.0
    others_ms: float = 0.0
    others: tuple[Observation, ...] = ()


def lags(observations: Iterable[Observation]) -> tuple[Lag, ...]:
    """Every vantage point that was sampled enough, at every address that another one was sampled at too."""
    at: defaultdict[tuple[int, str, int, str], dict[str, Observation]] = defaultdict(dict)
    for one in observations:
        if one.held and one.address is not None and len(one.rtts) >= ENOUGH_SAMPLES:
            key = rung_order(one.kind), one.transport, one.port or 0, one.address
            at[key].setdefault(one.source, one)
    return tuple(lag for _, rows in sorted(at.items()) if len(rows) > 1 for lag in _compared(rows))


def _compared(rows: Mapping[str, Observation]) -> Iterator[Lag]:
    medians = {source: _median(one.rtts) for source, one in rows.items()}
    least = min(medians.values())
    for source, one in rows.items():
        mine, floor = medians[source], WORK_FLOOR_MS if one.kind in _WORK else FLOOR_MS
        if mine < RATIO * least or mine - least < floor:
            yield Lag(one)  # above nobody, so not above their median: most are told by this alone
            continue
        rest = [medians[other] for other in rows if other != source]
        middle = _median(rest)
        spread = _median(abs(value - middle) for value in rest)
        slow = mine >= RATIO * middle and mine - middle >= max(floor, _DEVIATIONS * spread)
        others = tuple(rows[other] for other in rows if other != source) if slow else ()
        yield Lag(one, slow, mine, middle, others)


def quick_sources(observations: Iterable[Observation]) -> frozenset[str]:
    """Who was compared with others at this target, and was not slow."""
    found = lags(observations)
    slow = {lag.seen.source for lag in found if lag.slow}
    return frozenset(lag.seen.source for lag in found) - slow


def slow_rule(facts: Facts) -> Iterator[Finding]:
    """For each vantage point the lowest rung at which it shows; those of one rung, and of one reason not to
    blame the distance, together."""
    lowest: dict[str, int] = {}
    fine: dict[tuple[str, str | None], Kind] = {}
    rows: defaultdict[tuple[int, str, int, str], list[Lag]] = defaultdict(list)
    for lag in lags(facts.observations):  # from the lowest rung up
        one, rung = lag.seen, rung_order(lag.seen.kind)
        if not lag.slow:
            fine.setdefault((one.source, one.address), one.kind)
            continue
        near = _near(one, facts.quick, fine)
        if (len(lag.others) > 1 or near) and lowest.setdefault(one.source, rung) == rung:
            rows[rung, one.transport, one.port or 0, near].append(lag)
    for (_, _, port, near), found in sorted(rows.items()):
        yield _finding(facts, port, near, found)


def _near(one: Observation, quick: Collection[str], fine: Mapping[tuple[str, str | None], Kind]) -> str:
    """Why it is not the distance; empty where it may be."""
    kind = fine.get((one.source, one.address))
    if kind is not None and rung_order(kind) < rung_order(one.kind):
        return f"though {_word(kind)} from there is not: it is not the distance"
    return "as fast as others to another target of this run" if one.source in quick else ""


def _word(kind: Kind) -> str:
    return "ping" if kind is Kind.ICMP else kind.value


def _finding(facts: Facts, port: int, near: str, found: Sequence[Lag]) -> Finding:
    worst: dict[str, Lag] = {}
    for lag in sorted(found, key=lambda lag: lag.others_ms - lag.mine_ms):
        worst.setdefault(lag.seen.source, lag)
    slow = tuple(sorted(worst))
    seen = worst[slow[0]].seen
    others = {one.source for lag in worst.values() for one in lag.others}
    against = sorted(others - set(slow) or others)
    sure = near and all(len(lag.others) > 1 for lag in found)
    what = f"icmp:{facts.target.host}" if seen.kind is Kind.ICMP else facts.target.text
    return Finding(
        verdict=Verdict.SLOW_FROM,
        scope=Scope(
            slow, (facts.target.text,), seen.transport, port or None, family_of(lag.seen for lag in found)
        ),
        confidence=Confidence.LIKELY if sure else Confidence.POSSIBLE,
        summary=_summary(facts, port, near, worst, against),
        evidence=_evidence(found, slow),
        alternatives=() if near else (Verdict.VANTAGE_IMPAIRED,),
        next_test=f"meshctl probe {what} --from {slow[0]},{against[0]} --count 20",
    )


def _summary(facts: Facts, port: int, near: str, worst: Mapping[str, Lag], against: Sequence[str]) -> str:
    slow = sorted(worst)
    first = worst[slow[0]]
    told = names([f"{name} ({_ms(worst[name].mine_ms)})" for name in slow])
    note = near or "which may be far away: no fault in itself"
    subject, word = _subject(facts, port, first.seen), _word(first.seen.kind)
    return (
        f"{subject} is slow from {told}, {note}; {word}, medians of"
        f" {ENOUGH_SAMPLES} answers or more at the same address, against {_ms(first.others_ms)}"
        f" from {names(against)}"
    )


def _subject(facts: Facts, port: int, seen: Observation) -> str:
    """What a question of DNS is asked of is a name server, not the name."""
    if seen.kind is Kind.DNS:
        return f"the name server {seen.address} ({seen.transport} port {port})"
    return f"port {port} of {facts.target.host}" if port else facts.target.host


def _evidence(found: Iterable[Lag], slow: Iterable[str]) -> tuple[Evidence, ...]:
    """Those who are slow by themselves, whichever address, and the others against it."""
    rows = {lag.seen.id: (lag.seen, lag.seen.source in slow) for lag in found}
    for lag in found:
        for one in lag.others:
            rows.setdefault(one.id, (one, one.source in slow))
    return evidence_with((one, mine, _median_text(one)) for one, mine in rows.values())


def _median_text(one: Observation) -> str:
    return f"median {_ms(_median(one.rtts))} of {len(one.rtts)}"


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"
