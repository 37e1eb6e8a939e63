"""Are packets lost, and by chance or by their rate? (rules 37, 38). Pure."""

from collections.abc import Iterator
from dataclasses import replace

from probemesh_shared.model import Shot
from probemesh_shared.words import Transport, Verdict

from probemesh_controller.pair.case import Round
from probemesh_controller.pair.causes import Cause, Told, proven_by
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.tour import bundle, held, names, ports, side
from probemesh_controller.pair.tour.basis import (
    asked_port,
    far_listens,
    flow,
    patience_s,
    ready,
    round_of,
    step,
    surrogate,
)
from probemesh_controller.pair.tour.chance import Burst, Share, passing_rate, policed, wilson
from probemesh_controller.pair.tour.counts import Counts, flow_counts, side_counts
from probemesh_controller.pair.tour.turned_away import turned_away
from probemesh_controller.pair.view import View

QUESTION = "steady"
#: Fewer lost packets than that are no fault, nor is a share that may be as low as that.
_LEAST_LOST, _LEAST_SHARE = 3, 0.005
#: After so many packets that few losses are called none.
_ENOUGH = 120
#: As few as that are none where nothing tells a limiter from chance, whatever the rate.
_FEW = 6
_OWN = (ports.FIRST, ports.AGAIN, ports.RATES)
#: Rounds at other rates.
_TIMES = 2


# --- signs ------------------------------------------------------------------------------------------------


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    own, beside = flow_counts(view), side_counts(view)
    if not own.sent:
        return
    seen = [notes.note(_said(view, own, view.flow_name))]
    if beside.sent:
        seen.append(notes.note(_said(view, beside, "datagrams to another port")))
    if full := sum(turned_away(view, probed) for probed in view.probes_here(*_OWN)):
        seen.append(notes.note(f"the queue of {view.far_name}'s service was full {full} times: no loss"))
    trip, by_service = _on_the_way(view, own)
    values = _values(own, beside if _alike(trip, beside.round_trip) else Counts())
    by_rate = policed(own.steps) if trip.lost and not by_service else None
    alike = _many(beside.round_trip) and _alike(trip, beside.round_trip)
    loses = _loses(trip, alike, by_rate, view)
    if loses and by_service is None and not alike:
        loses = None
    yield Sign(names.LOSES, loses, tuple(seen), values=values)
    if by_rate is not None:
        yield Sign(names.POLICED, by_rate, (notes.note(_rates(own, by_rate)),))
    elif alike:
        text = "what goes to another port is lost alike, where a limit for this one would not be felt"
        yield Sign(names.POLICED, False, (notes.note(text),))


def _on_the_way(view: View, own: Counts) -> tuple[Share, bool | None]:
    """What the path lost, and whether the service itself left requests unanswered: a foreign UDP service may,
    those beyond a limit of its own, say. None: nobody counted apart, so that the share is of both."""
    trip = own.round_trip
    if view.transport is not Transport.UDP or far_listens(view):
        return trip, False
    if not own.known:
        return trip, None
    path = Share(own.known - own.arrived + own.replied - own.came_back, own.known)
    return path, _many(Share(own.arrived - own.replied, own.arrived))


def _loses(trip: Share, alike: bool, by_rate: bool | None, view: View) -> bool | None:
    """``alike``: others on the same path are lost as often, and often enough."""
    if not trip.lost:
        return False
    if _many(trip):
        tried = len({probed.number for probed in view.probes_here(ports.RATES)}) >= _TIMES
        return not (tried and by_rate is None and not alike and trip.lost <= _FEW)
    if trip.sent >= _ENOUGH:
        return False
    return True if alike else None


def _many(share: Share) -> bool:
    return share.lost >= _LEAST_LOST and share.interval[0] >= _LEAST_SHARE


def _alike(one: Share, other: Share) -> bool:
    low, high = wilson(one.lost, one.sent)
    return low <= other.interval[1] and other.interval[0] <= high


def _values(own: Counts, beside: Counts) -> dict[str, str]:
    found = {"trip": str(own.round_trip)}
    for name, share in (
        ("forward", own.forward or beside.forward),
        ("back", own.back or beside.back),
    ):
        if share is not None:
            found[name] = str(share)
    return found


def _said(view: View, counts: Counts, what: str) -> str:
    parts = [f"{counts.round_trip} of {view.near_name}'s {what} got no answer at the first attempt"]
    if counts.forward is not None:
        parts.append(f"{counts.forward} did not reach {view.far_name}")
    if counts.back is not None:
        parts.append(f"{counts.back} of its replies did not come back")
    return "; lost: ".join(parts)


def _rates(counts: Counts, by_rate: bool) -> str:
    parts = [
        f"{len(burst.sent) - burst.lost} of {len(burst.sent)} at {burst.rate:.0f}/s"
        for step_ in counts.steps
        for burst in step_
        if len(burst.sent) > 2
    ]
    ends = "which one rate limit explains" if by_rate else "as one share of loss explains, and no rate limit"
    return f"got through: {', '.join(parts)}; {ends}"


READER = Reader(frozenset({names.LOSES, names.POLICED}), _read)


# --- causes -----------------------------------------------------------------------------------------------


def _loss_said(told: Told) -> str:
    view = told.view
    parts = [
        f"{words} {told.value(names.LOSES, key)}"
        for key, words in (("forward", "on the way there"), ("back", "on the way back"))
        if told.value(names.LOSES, key)
    ]
    parts = parts or [f"there and back {told.value(names.LOSES, 'trip')}"]
    return f"packets between {view.near_name} and {view.far_name} are lost: {', '.join(parts)}"


def _limit_said(told: Told) -> str:
    view = told.view
    return (
        f"a rate limit drops {view.flow_name} from {view.near_name} to {view.far_name}: slow "
        "ones get through, "
        f"fast ones do not (lost: {told.value(names.LOSES, 'trip')})"
    )


_WHEN = {names.FLOW_READY: True}
CAUSES = (
    Cause(
        "nothing-lost",
        Verdict.REACHABLE,
        lambda told: f"hardly anything is lost between {told.view.near_name} and {told.view.far_name}",
        predicts={names.LOSES: False},
        question=QUESTION,
        when=_WHEN,
    ),
    Cause(
        "lost-while-held",
        Verdict.REACHABLE,
        lambda told: "what is lost is what goes beyond the connections that are allowed",
        predicts={names.LOSES: True, names.HELD_LIMITED: True},
        proof=proven_by((names.LOSES, names.HELD_LIMITED)),
        question=QUESTION,
        when={**_WHEN, names.HELD_LIMITED: True},
    ),
    Cause(
        "loss",
        Verdict.LOSS,
        _loss_said,
        predicts={names.LOSES: True, names.POLICED: False, names.HELD_LIMITED: False},
        proof=proven_by((names.LOSES, names.POLICED)),
        next_test=lambda told: "look for errors and drops at the interfaces of the path, hop by hop",
        question=QUESTION,
        when=_WHEN,
    ),
    Cause(
        "rate-limit",
        Verdict.RATE_LIMIT,
        _limit_said,
        predicts={names.LOSES: True, names.POLICED: True, names.HELD_LIMITED: False},
        proof=proven_by((names.LOSES, names.POLICED)),
        next_test=lambda told: "look for a limit or policer on the path, or raise it",
        question=QUESTION,
        when=_WHEN,
    ),
)


# --- moves ------------------------------------------------------------------------------------------------

_MANY_MS, _FAST_MS = 10.0, 2.5


def _build(view: View, signs: Signs) -> Round | None:
    """The flow at two rates that lie well apart from each other, or from the first step's."""
    shots = tuple(_shots(view))
    if not shots:
        return None
    aim = asked_port(view)
    spec = flow(view, view.transport, shots, aim.token, patience_s(view))
    return round_of(step(view, ports.RATES, f"{view.flow_name} at other rates", spec, aim.port))


def _shots(view: View) -> Iterator[Shot]:
    first = ports.first_burst(view)
    if first is None:
        return
    if view.transport is Transport.TCP:
        plan = _tcp_plan(first)
    elif first.lost / len(first.sent) < ports.MANY:
        plan = ((100, _MANY_MS), (150, _FAST_MS))
    else:
        pace = min(40.0, max(4.0, 0.7 * passing_rate(first)))
        plan = ((60, _MANY_MS), (min(50, max(12, int(2.2 * pace))), 1000 / pace))
    live, tcp = _live_ports(view), view.transport is Transport.TCP
    at, number = 0.0, 0
    for count, every in plan:
        for _ in range(count):
            # datagrams of one flow, connections of many: each has to be over before its port is used again
            port = live[number % len(live)] if tcp and live else (live[0] if live else 0)
            yield replace(ports.shot(view, at, port), socket=None if tcp else 0)
            at, number = at + every, number + 1
        at += 400.0


def _tcp_plan(first: Burst) -> tuple[tuple[int, float], ...]:
    """No more than a hundred connections a second."""
    if first.lost / len(first.sent) < ports.MANY:
        return ((40, 40.0),)
    pace = min(30.0, max(4.0, 0.7 * passing_rate(first)))
    return ((min(40, max(12, int(2.2 * pace))), 1000 / pace),)


def _live_ports(view: View) -> tuple[int, ...]:
    return tuple(port for port, one in ports.tallies(view).items() if one.answered)


def _lossy(view: View, signs: Signs) -> bool:
    first = ports.first_burst(view)
    if signs.holds(names.FLOW_READY) is not True or first is None or not first.lost:
        return False
    if not bundle.settled(view, signs) or not held.settled(view, signs):
        return False
    return signs.holds(names.HELD_LIMITED) is not True


def _side_again(view: View, signs: Signs) -> Round | None:
    """TCP tells no direction of loss; datagrams on the same path do."""
    aim = surrogate(view)
    if aim is None or view.transport is not Transport.TCP:
        return None
    shots = tuple(side.small(5.0 * number) for number in range(150))
    spec = flow(view, Transport.UDP, shots, aim.token)
    return round_of(step(view, side.AGAIN, "in which direction packets are lost", spec, aim.port))


def _few_lost(view: View, signs: Signs) -> bool:
    first = ports.first_burst(view)
    return ready(signs) and first is not None and 0 < first.lost / len(first.sent) < ports.MANY


MOVES = (
    Move(ports.RATES, frozenset({names.LOSES, names.POLICED}), _build, cost=1.6, times=_TIMES, wants=_lossy),
    Move(side.AGAIN, frozenset({names.LOSES, names.POLICED}), _side_again, cost=1.2, wants=_few_lost),
)
