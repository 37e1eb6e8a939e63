"""The path of one direction as stations, with the place of what is wrong marked. Pure."""

from collections.abc import Iterable

from probemesh_shared.model import Finding, PathHop
from probemesh_shared.words import PlaceKind, Verdict

from probemesh_controller.pair.causes import HARMLESS
from probemesh_controller.pair.flow.rungs import distance, known_hops
from probemesh_controller.pair.view import View

_BACK = frozenset(
    {Verdict.RETURN_DROP, Verdict.RETURN_REJECT, Verdict.RETURN_RESET, Verdict.ASYMMETRIC_STATEFUL}
)
_DOES = {
    Verdict.FORWARD_DROP: "drops {flow}",
    Verdict.FORWARD_REJECT: "rejects {flow}",
    Verdict.FORWARD_RESET: "resets {flow}",
    Verdict.FORWARD_NO_ROUTE: "has no route",
    Verdict.RETURN_DROP: "drops the answers of {flow}",
    Verdict.RETURN_REJECT: "rejects the answers of {flow}",
    Verdict.RETURN_RESET: "resets the answers of {flow}",
    Verdict.TARGET_INPUT_DROP: "its own firewall drops {flow}",
    Verdict.TARGET_INPUT_REJECT: "its own firewall rejects {flow}",
    Verdict.TARGET_OUTPUT_FILTER: "its own firewall keeps the answers of {flow}",
    Verdict.SOURCE_OUTPUT_FILTER: "its own firewall keeps {flow}",
    Verdict.SOURCE_NO_ROUTE: "has no route",
    Verdict.PORT_CLOSED: "nothing listens on {flow}",
}


def drawn(view: View, findings: Iterable[Finding]) -> tuple[PathHop, ...]:
    """From the end that initiates to the end that answers; empty where no hop is known and nothing has a
    place. ``findings`` are those of both directions."""
    hops = known_hops(view)
    stations = [PathHop(view.near_name, _own_address(view))]
    last = max((*hops, (distance(view) or 1) - 1), default=0)
    stations += [PathHop(f"hop {number}", hops.get(number), number) for number in range(1, last + 1)]
    stations.append(PathHop(view.far_name, view.address))
    for finding in findings:
        if finding.verdict not in HARMLESS:
            stations = _marked(stations, finding, view)
    known = bool(hops) or any(one.mark for one in stations)
    return tuple(stations) if known else ()


def _own_address(view: View) -> str | None:
    used = [
        shot.local_address
        for probed in view.probes()
        if probed.step.sender == view.near_name
        for shot in probed.shots
        if shot.local_address
    ]
    return used[0] if used else view.back.address


def _marked(stations: list[PathHop], finding: Finding, view: View) -> list[PathHop]:
    """A fault of the way back stands on the drawing of the way back."""
    place = finding.place
    its = (finding.direction is view.direction) is not (finding.verdict in _BACK)
    if place is None or not its:
        return stations
    back = finding.verdict in _BACK
    text = _DOES.get(finding.verdict, finding.verdict.value).format(flow=_flow(finding))
    if place.kind is PlaceKind.BETWEEN:
        text += ", or just behind it"
    at = _station(stations, finding, back)
    if at is None or stations[at].mark is not None:
        return stations
    one = stations[at]
    stations[at] = PathHop(one.name, one.address, one.hop, one.rtt_ms, text)
    return stations


def _station(stations: list[PathHop], finding: Finding, back: bool) -> int | None:
    place = finding.place
    assert place is not None
    if place.kind is PlaceKind.SOURCE_HOST:
        return len(stations) - 1 if back else 0
    if place.kind in (PlaceKind.TARGET_HOST, PlaceKind.TARGET_SERVICE, PlaceKind.BEHIND_HOST):
        return 0 if back else len(stations) - 1
    if place.hop is not None and not back:
        return place.hop if 0 <= place.hop < len(stations) - 1 else None
    return next((n for n, one in enumerate(stations) if one.address and one.address == place.address), None)


def _flow(finding: Finding) -> str:
    scope = finding.scope
    return f"{scope.transport}/{scope.port}" if scope.port is not None else "ping"
