"""The way that each direction's flow takes, as far as the case tells, with the places of its findings. Pure.

Hops come from what said that a TTL had run out: ladders of the flow itself and of its controls, traces. A
hop that nobody heard of is there without an address.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from probemesh_shared.model import (
    Diagnosis,
    DirectionVerdict,
    Finding,
    FlowDetail,
    FlowSpec,
    IcmpError,
    PathHop,
    Place,
    ShotSeen,
    TraceDetail,
)
from probemesh_shared.words import NOT_MEASURED, Direction, Family, Outcome, PlaceKind, Verdict

from probemesh_controller.pair.case import Case, EndRole, StepDone
from probemesh_controller.pair.causes import HARMLESS, NO_FAULT, OF_SERVICE
from probemesh_controller.pair.view import View, plain_address, views

#: ICMP types for a TTL that ran out.
_EXPIRED = {Family.IPV4: 11, Family.IPV6: 3}
#: Stations that stand after the far end.
WAY_BACK, BEHIND = "on the way back", "behind it"
#: The flow arrives; what breaks is the answer, on its own way.
_RETURNING = frozenset({Verdict.RETURN_DROP, Verdict.RETURN_REJECT, Verdict.RETURN_RESET})
#: The way that is drawn leads to an address that answers; what breaks is the way to another.
_TO_ANOTHER = frozenset({Verdict.FAMILY_BROKEN, Verdict.ADDRESS_BROKEN})
_AT_ITS_HOST = frozenset({PlaceKind.TARGET_HOST, PlaceKind.TARGET_SERVICE})
#: A set that is larger is not spelled out beside a drawing.
_NAMED = 3
#: Further away than this is a mistake of whoever answered.
_FARTHEST = 64


@dataclass(slots=True)
class _Way:
    """``hops``: TTL → who answered. ``times``: TTL → round trips. ``distance``: the least TTL of a ladder
    that led to the far end; of several ladders the most, as a box on the way may answer in its place."""

    hops: dict[int, str] = field(default_factory=dict)
    times: dict[int, list[float]] = field(default_factory=dict)
    distance: int | None = None

    def heard(self, ttl: int, address: str, rtt_ms: float | None) -> None:
        if 0 < ttl <= _FARTHEST:
            self.hops.setdefault(ttl, plain_address(address))
            self.timed(ttl, rtt_ms)

    def reached(self, ttl: int) -> None:
        if 0 < ttl <= _FARTHEST:
            self.distance = max(ttl, self.distance or 0)

    def timed(self, ttl: int, rtt_ms: float | None) -> None:
        if rtt_ms is not None:
            self.times.setdefault(ttl, []).append(rtt_ms)

    def rtt_ms(self, ttl: int | None) -> float | None:
        return median(self.times[ttl]) if ttl is not None and self.times.get(ttl) else None


def with_paths(case: Case, diagnosis: Diagnosis) -> Diagnosis:
    """The same with ``path`` and ``reverse_path`` drawn, where they are not yet."""
    forward, reverse = views(case)
    return replace(
        diagnosis,
        path=diagnosis.path or path_of(forward, diagnosis.forward, diagnosis.findings),
        reverse_path=diagnosis.reverse_path or path_of(reverse, diagnosis.reverse, diagnosis.findings),
    )


def path_of(view: View, told: DirectionVerdict, findings: Iterable[Finding]) -> tuple[PathHop, ...]:
    """From the initiator to who is dialled; ``breaks`` marks where the fault is that makes it not reached."""
    way = _way(view)
    hops = _stations(view, way)
    if told.verdict in HARMLESS | NO_FAULT | _TO_ANOTHER:
        return tuple(hops)
    if not view.is_forward and told.path_verdict is Verdict.REACHABLE:
        return tuple(hops)  # nothing need listen on the way back
    mine = [one for one in findings if one.direction is view.direction and one.verdict is told.verdict]
    place = mine[0].place if mine else None
    mark = _mark(told)
    if told.verdict in _RETURNING and (place is None or place.kind not in _AT_ITS_HOST):
        return (*hops, _broken(_on_the_way_back(place), mark))
    if place is None:
        return tuple(_somewhere(hops, told, mark))
    return tuple(_marked(hops, place, mark))


# --- what is known of the way -----------------------------------------------------------------------------


def _way(view: View) -> _Way:
    way = _Way()
    for probed in view.probes_here():
        _take_ladder(way, list(_with_ttl(probed.done)))
        if probed.trace is not None:
            _take_trace(way, probed.trace)
    return way


def _with_ttl(done: StepDone) -> Iterator[tuple[int, ShotSeen]]:
    """Of ladders: other shots have a TTL of their own to tell something else by."""
    shots = done.step.spec.shots if isinstance(done.step.spec, FlowSpec) else ()
    rungs = {shot.ttl for shot in shots if shot.ttl is not None and shot.address is None}
    if 1 not in rungs or max(rungs) > len(rungs):
        return
    for row in done.rows:
        for seen in row.detail.shots if isinstance(row.detail, FlowDetail) else ():
            shot = shots[seen.shot] if 0 <= seen.shot < len(shots) else None
            if shot is not None and shot.ttl is not None and shot.address is None:
                yield shot.ttl, seen


def _take_ladder(way: _Way, shots: list[tuple[int, ShotSeen]]) -> None:
    reached: list[int] = []
    for ttl, shot in shots:
        expired = next((error for error in _errors(shot) if _is_expired(error)), None)
        if expired is not None and expired.sender is not None:
            way.heard(ttl, expired.sender, shot.rtt_ms)
        elif shot.outcome is Outcome.OK or (shot.outcome is Outcome.REFUSED and not _errors(shot)):
            reached.append(ttl)
            way.timed(ttl, shot.rtt_ms)
    if reached:
        way.reached(min(reached))


def _errors(shot: ShotSeen) -> tuple[IcmpError, ...]:
    own = shot.failure.icmp if shot.failure is not None else None
    return (*shot.errors, *([own] if own is not None else []))


def _is_expired(error: IcmpError) -> bool:
    return error.type == _EXPIRED.get(error.family)


def _take_trace(way: _Way, trace: TraceDetail) -> None:
    for hop in trace.hops:
        for answer in hop.answers:
            if answer.address is not None and (answer.icmp is None or _is_expired(answer.icmp)):
                if hop.hop == trace.distance:
                    way.reached(hop.hop)
                    way.timed(hop.hop, answer.rtt_ms)
                else:
                    way.heard(hop.hop, answer.address, answer.rtt_ms)


# --- stations -----------------------------------------------------------------------------------------------


def _stations(view: View, way: _Way) -> list[PathHop]:
    last = max((ttl for ttl in way.hops if way.distance is None or ttl < way.distance), default=0)
    count = way.distance - 1 if way.distance is not None else last
    between = [PathHop(f"hop {ttl}", way.hops.get(ttl), ttl, way.rtt_ms(ttl)) for ttl in range(1, count + 1)]
    near = PathHop(view.near_name, _own_address(view))
    far = PathHop(view.far_name, view.address or _any_address(view), way.distance, way.rtt_ms(way.distance))
    return [near, *between, far]


def _own_address(view: View) -> str | None:
    """The one that the flow itself left from, else the first that is known."""
    for probed in view.probes_here():
        for shot in probed.shots:
            if shot.local_address:
                return plain_address(shot.local_address)
    return _any_address(view.back)


def _any_address(view: View) -> str | None:
    end = view.case.role(EndRole.TARGET if view.direction is Direction.FORWARD else EndRole.SOURCE)
    return next(iter((*end.addresses, *end.info.addresses)), None) if end is not None else None


# --- where it breaks ----------------------------------------------------------------------------------------


def _marked(hops: Sequence[PathHop], place: Place, mark: str) -> list[PathHop]:
    stations = list(hops)
    last = len(stations) - 1
    match place.kind:
        case PlaceKind.SOURCE_HOST:
            stations[0] = _broken(stations[0], mark)
        case PlaceKind.TARGET_HOST | PlaceKind.TARGET_SERVICE:
            stations[last] = _broken(stations[last], mark)
        case PlaceKind.BEHIND_HOST:
            stations.append(_broken(PathHop(BEHIND, place.address), mark))
        case PlaceKind.HOP:
            at = _index(stations, place)
            if at is None:
                stations.insert(last, _broken(_hop(place), mark))
            else:
                stations[at] = _broken(stations[at], mark)
        case PlaceKind.BETWEEN:
            at = _index(stations, place)
            if at is None and (place.address is not None or place.hop):
                stations.insert(last, _hop(place))
                at = last
            at = 0 if at is None else at
            behind = "there or just behind" if at else "on the way"
            stations.insert(min(at + 1, len(stations) - 1), _broken(PathHop(behind), mark))
    return stations


def _mark(told: DirectionVerdict) -> str:
    if told.verdict is not Verdict.UNDETERMINED or not told.alternatives:
        return str(told.verdict)
    several = len(told.alternatives)
    return " or ".join(told.alternatives) if several <= _NAMED else f"one of {several} causes"


def _on_the_way_back(place: Place | None) -> PathHop:
    if place is None or place.kind is not PlaceKind.HOP:
        return PathHop(WAY_BACK, place.address if place is not None else None)
    return replace(_hop(place), name=WAY_BACK)


def _somewhere(hops: Sequence[PathHop], told: DirectionVerdict, mark: str) -> list[PathHop]:
    """Nothing tells where; a service's fault is at its end all the same."""
    if told.verdict in OF_SERVICE or told.path_verdict is Verdict.REACHABLE:
        return [*hops[:-1], _broken(hops[-1], mark)]
    if told.path_verdict is None and told.outcome in NOT_MEASURED:
        return list(hops)
    return [*hops[:-1], _broken(PathHop("somewhere"), mark), hops[-1]]


def _broken(hop: PathHop, mark: str) -> PathHop:
    return replace(hop, mark=mark, breaks=True)


def _hop(place: Place) -> PathHop:
    return PathHop(f"hop {place.hop}" if place.hop else "hop", place.address, place.hop)


def _index(hops: Sequence[PathHop], place: Place) -> int | None:
    """Where the place is among the stations between the ends: by its address, else by its number."""
    inner = range(1, len(hops) - 1)
    if place.address is not None:
        by_address = next((i for i in inner if hops[i].address == place.address), None)
        if by_address is not None:
            return by_address
    return next((i for i in inner if place.hop is not None and hops[i].hop == place.hop), None)
