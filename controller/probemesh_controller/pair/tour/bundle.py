"""Do some source ports fail always, and the others never? (rule 45: a bad link in a bundle). Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from probemesh_shared.model import Place
from probemesh_shared.words import PlaceKind, Transport, Verdict

from probemesh_controller.pair.case import Round, Step
from probemesh_controller.pair.causes import Cause, Told, proven_by
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.tour import names, ports
from probemesh_controller.pair.tour.basis import (
    asked_port,
    distance,
    fates,
    flow,
    patience_s,
    plainly,
    round_of,
    step,
)
from probemesh_controller.pair.tour.chance import BY_CHANCE, all_lost
from probemesh_controller.pair.tour.ports import PortTally, tallies
from probemesh_controller.pair.view import View

QUESTION = "bundle"
LADDER = "tour-bundle-ladder"
_DEAD, _LIVE = "dead", "live"
#: Loss that is reckoned with at least: 2 % each way.
_LEAST_LOSS = 0.04
_LEAST_TRIES = 4
#: Rounds in which failed ports are tried again, at most; ports of a ladder, tries of each hop, and hops
#: where the distance is not known.
_AGAIN, _LADDERS, _EACH, _MOST_HOPS = 2, 6, 2, 12


def dead_ports(view: View) -> tuple[int, ...]:
    """Source ports of which no try ever got through, more often than the loss of the others explains."""
    found = tallies(view)
    loss = _loss_of_others(tuple(found.values()))
    return tuple(
        port
        for port, one in found.items()
        if one.dead
        and len(one.tries) >= _LEAST_TRIES
        and all_lost(loss, one.lost, flows=len(found)) < BY_CHANCE
    )


def _loss_of_others(found: Sequence[PortTally]) -> float:
    """Of ports that ever answered, so that dead flows do not count as loss."""
    live = [one for one in found if one.answered]
    tries = sum(len(one.tries) for one in live)
    lost = sum(one.silent for one in live)
    return max(_LEAST_LOSS, (lost + 1) / (tries + 2)) if tries else 1.0


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    found = tallies(view)
    if not found:
        return
    failed = ports.failed_first(view)
    again = any(len(one.tries) > 1 for one in found.values())
    dead = dead_ports(view)
    answered_again = [port for port in failed if found[port].answered]
    if dead:
        tries = sum(found[port].silent for port in dead)
        text = (
            f"of {len(found)} source ports {len(failed)} got no answer from {view.far_name}; "
            f"{len(dead)} of these were tried again, {tries} times in all, and none ever got through; "
            f"others always do"
        )
        holds: bool | None = True
    elif not failed:
        text, holds = f"all {len(found)} source ports got through to {view.far_name}", False
    elif again and len(answered_again) == len([p for p in failed if len(found[p].tries) > 1]):
        text = f"source ports that got no answer from {view.far_name} got through when tried again"
        holds = False
    else:
        text, holds = f"of {len(found)} source ports {len(failed)} got no answer from {view.far_name}", None
    values = {
        "way": _way(view, dead),
        "dead": str(len(dead)),
        "share": f"{len(failed)} of {ports.SEVERAL}",
        "examples": _some(dead),
    }
    yield Sign(names.SAME_FLOWS, holds, (notes.note(text),), _place(view), values)
    if ladders := _ladders(view, notes):
        yield Sign(names.LADDERED, True, ladders)


def _way(view: View, dead: Sequence[int]) -> str:
    """``back`` where the far end has what came from these ports, so that its answers are lost; else empty."""
    seen: set[int] = set()
    for probed in view.probes_here(ports.FIRST, ports.AGAIN):
        account = view.far_account(probed)
        if account is not None:
            seen |= {one.port for one in account.half_open if one.local_port == view.port}
            seen |= {one.port for one in account.datagrams if one.valid and one.local_port == view.port}
    return "back" if dead and len(seen.intersection(dead)) > len(dead) / 2 else ""


def _some(dead: Sequence[int]) -> str:
    return ", ".join(str(port) for port in sorted(dead)[:4])


def _hops(view: View, which: str) -> dict[int, str]:
    """Hops that answered, by TTL; the target is one of them where it did."""
    found: dict[int, str] = {}
    for probed in view.probes_here(f"{LADDER}:{which}"):
        for fate in fates(probed):
            sender = next((plainly(error.sender) for error in fate.seen.errors if error.sender), None)
            sender = sender or (view.address if fate.answered else None)
            if fate.plan.ttl is not None and sender:
                found.setdefault(fate.plan.ttl, sender)
    return found


def _place(view: View) -> Place | None:
    """The last hop that answers for a dead flow, where a live one is answered by the next as well."""
    if _way(view, dead_ports(view)):
        return None  # the ladder tells of the way there
    dead, live = _hops(view, _DEAD), _hops(view, _LIVE)
    last = max(dead, default=0)
    if not last or not any(hop > last for hop in live):
        return None
    return Place(PlaceKind.BETWEEN, dead[last], last)


def _ladders(view: View, notes: Notes) -> tuple[str, ...]:
    found = []
    for which, words in ((_DEAD, "source ports that fail"), (_LIVE, "others")):
        hops = _hops(view, which)
        if any(True for _ in view.probes_here(f"{LADDER}:{which}")):
            answers = ", ".join(f"{hop} {address}" for hop, address in sorted(hops.items())) or "none"
            found.append(notes.note(f"ladder of {view.near_name} from {words}: hops that answer: {answers}"))
    return tuple(found)


READER = Reader(frozenset({names.SAME_FLOWS, names.LADDERED}), _read)


def _summary(told: Told) -> str:
    view, place = told.view, told.signs[names.SAME_FLOWS].place
    where = f" behind hop {place.hop} ({place.address})" if place is not None else ""
    back = " on the way back" if told.value(names.SAME_FLOWS, "way") else ""
    return (
        f"some flows from {view.near_name} to {view.far_name} are always "
        f"dropped{where or back}, others never: "
        f"{told.value(names.SAME_FLOWS, 'share')} source ports fail (such as "
        f"{told.value(names.SAME_FLOWS, 'examples')}); a bad link or member of a bundle"
    )


_WHEN = {names.FLOW_READY: True}
CAUSES = (
    Cause(
        "flows-alike",
        Verdict.REACHABLE,
        lambda told: f"no source port of {told.view.near_name} fares worse than others",
        predicts={names.SAME_FLOWS: False},
        question=QUESTION,
        when=_WHEN,
    ),
    Cause(
        "flow-selective",
        Verdict.FLOW_SELECTIVE,
        _summary,
        predicts={names.SAME_FLOWS: True, names.LADDERED: True},
        proof=proven_by((names.SAME_FLOWS, names.LADDERED)),
        place=lambda told: told.signs[names.SAME_FLOWS].place,
        next_test=lambda told: "look at the members of the bundle (LACP, ECMP) behind that hop, one by one",
        question=QUESTION,
        when=_WHEN,
    ),
)


def _ladder(view: View, signs: Signs) -> Round | None:
    """The same ladder from ports that fail and from others. A port is used again only when its try before is
    over, so the hops are shared out among the ports."""
    dead = dead_ports(view)
    live = tuple(port for port, one in tallies(view).items() if not one.silent)[:_LADDERS]
    if not dead or not live or view.transport is Transport.ICMP:
        return None
    most = min(_MOST_HOPS, distance(view) or _MOST_HOPS)
    steps = (_rungs(view, which, kept[:_LADDERS], most) for which, kept in ((_DEAD, dead), (_LIVE, live)))
    return round_of(*steps)


def _rungs(view: View, which: str, sources: Sequence[int], hops: int) -> Step | None:
    waits = patience_s(view)
    turn_ms = 1000 * waits + 60.0
    order = [ttl for _ in range(_EACH) for ttl in range(1, hops + 1)]
    shots = tuple(
        replace(
            ports.shot(view, number // len(sources) * turn_ms + 5.0 * number, sources[number % len(sources)]),
            ttl=ttl,
        )
        for number, ttl in enumerate(order)
    )
    aim = asked_port(view)
    spec = flow(view, view.transport, shots, aim.token, waits)
    why = f"how far flows get that {'fail' if which == _DEAD else 'do not fail'}"
    return step(view, f"{LADDER}:{which}", why, spec, aim.port)


def settled(view: View, signs: Signs) -> bool:
    """Ports that failed were tried again, slowly, as far as that is done: a limiter must not see that and
    another step at once."""
    if not ports.failed_first(view) or signs.holds(names.SAME_FLOWS) is not None:
        return True
    return sum(1 for _ in view.probes_here(ports.AGAIN)) >= _AGAIN


def _failing(view: View, signs: Signs) -> bool:
    return ports.may_repeat(view) and bool(ports.failed_first(view))


MOVES = (
    Move(
        ports.FIRST,
        frozenset({names.SAME_FLOWS, names.LOSES, names.HELD_LIMITED}),
        lambda view, signs: ports.build_first(view),
        cost=0.4,
        wants=lambda view, signs: signs.holds(names.FLOW_READY) is True and ports.may_repeat(view),
    ),
    Move(
        ports.AGAIN,
        frozenset({names.SAME_FLOWS, names.LOSES, names.POLICED}),
        lambda view, signs: ports.build_again(view),
        cost=1.5,
        times=_AGAIN,
        wants=_failing,
    ),
    Move(
        LADDER,
        frozenset({names.LADDERED}),
        _ladder,
        cost=1.0,
        wants=lambda view, signs: signs.holds(names.SAME_FLOWS) is True,
    ),
)
