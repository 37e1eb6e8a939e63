"""Are only so many connections allowed at the same time? (rule 39). Pure."""

from collections.abc import Iterator, Sequence

from probemesh_shared.model import Shot
from probemesh_shared.words import Transport, Verdict

from probemesh_controller.pair.case import Round
from probemesh_controller.pair.causes import Cause, Told, proven_by
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.tour import bundle, names, ports
from probemesh_controller.pair.tour.basis import Fate, asked_port, fates, flow, patience_s, round_of, step
from probemesh_controller.pair.tour.turned_away import of_the_path
from probemesh_controller.pair.view import View

QUESTION = "held"
AGAIN = "tour-held-again"
#: Connections held at once, then some when these are closed again.
_HELD, _AFTER = 16, 4
_EVERY_MS, _AFTER_EVERY_MS = 50.0, 100.0
_PAUSE_MS = 400.0
#: So many that fail after the last one that stood are no chance.
_REFUSED = 4
#: Of the first step's: so many, or the last so many, make a second one worth its time.
_MANY, _LAST = 3, 2


def held_first(view: View) -> tuple[Fate, ...]:
    return tuple(
        fate
        for probed in view.probes_here(ports.FIRST)
        for fate in of_the_path(view, probed, fates(probed))
        if fate.plan.hold_ms is not None
    )


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    first = held_first(view)
    if first and not any(fate.first_lost for fate in first):
        text = f"{view.far_name} took {len(first)} connections that were held at the same time"
        yield Sign(names.HELD_LIMITED, False, (notes.note(text),))
    for probed in view.probes_here(AGAIN):
        every = of_the_path(view, probed, fates(probed))
        held = [fate for fate in every if fate.plan.hold_ms is not None]
        after = [fate for fate in every if fate.plan.hold_ms is None]
        yield _judged(held, after, view, notes)


def _judged(held: Sequence[Fate], after: Sequence[Fate], view: View, notes: Notes) -> Sign:
    taken = next((n for n, fate in enumerate(held) if not fate.answered), len(held))
    later = held[taken:]
    text = (
        f"of {len(held)} connections held at once the first {taken} stood, of the others "
        f"{sum(fate.answered for fate in later)}; once they were closed {sum(f.answered for f in after)} "
        f"of {len(after)} more did"
    )
    seen, values = (notes.note(text),), {"most": str(taken)}
    if taken == len(held):
        return Sign(names.HELD_LIMITED, False, seen)
    none_later = not any(fate.answered for fate in later)
    again = len(after) >= _AFTER - 1 and sum(fate.answered for fate in after) >= len(after) - 1
    if taken and none_later and len(later) >= _REFUSED and again:
        return Sign(names.HELD_LIMITED, True, seen, values=values)
    return Sign(names.HELD_LIMITED, None, seen)


READER = Reader(frozenset({names.HELD_LIMITED}), _read)


def _summary(told: Told) -> str:
    view, most = told.view, told.value(names.HELD_LIMITED, "most")
    return (
        f"only about {most} connections of {view.near_name} to {view.flow_name} at "
        f"{view.far_name} are allowed at "
        "the same time; further ones are dropped until one of these is closed"
    )


_WHEN = {names.FLOW_READY: True}
_TCP = frozenset({Transport.TCP})
CAUSES = (
    Cause(
        "held-freely",
        Verdict.REACHABLE,
        lambda told: "several connections may be held at the same time",
        predicts={names.HELD_LIMITED: False},
        question=QUESTION,
        transports=_TCP,
        when=_WHEN,
    ),
    Cause(
        "connection-limit",
        Verdict.CONNECTION_LIMIT,
        _summary,
        predicts={names.HELD_LIMITED: True},
        proof=proven_by((names.HELD_LIMITED,)),
        next_test=lambda told: (
            "look for a limit of connections per source (connlimit, ct count), or raise it"
        ),
        question=QUESTION,
        transports=_TCP,
        when=_WHEN,
    ),
)


def _build(view: View, signs: Signs) -> Round | None:
    hold = _EVERY_MS * _HELD + 1000 * patience_s(view)
    over = hold + _PAUSE_MS
    shots = [Shot(at_ms=_EVERY_MS * n, hold_ms=hold - _EVERY_MS * n) for n in range(_HELD)]
    shots += [Shot(at_ms=over + _AFTER_EVERY_MS * n) for n in range(_AFTER)]
    aim = asked_port(view)
    spec = flow(view, Transport.TCP, shots, aim.token)
    return round_of(step(view, AGAIN, "how many connections may be held at once", spec, aim.port))


def suspicious(view: View) -> bool:
    """More of those that were held did not stand at once than chance explains: many, or the last ones."""
    lost = [fate.first_lost for fate in held_first(view)]
    return sum(lost) >= _MANY or (len(lost) > _LAST and all(lost[-_LAST:]))


def settled(view: View, signs: Signs) -> bool:
    return not suspicious(view) or signs.holds(names.HELD_LIMITED) is not None or any(view.probes_here(AGAIN))


def _wanted(view: View, signs: Signs) -> bool:
    """A limiter of rates must not see this and another step at once."""
    explained = signs.holds(names.POLICED) is True or signs.holds(names.SAME_FLOWS) is True
    return suspicious(view) and not explained and bundle.settled(view, signs)


MOVES = (Move(AGAIN, frozenset({names.HELD_LIMITED}), _build, cost=1.4, times=2, wants=_wanted),)
