"""The flow that was asked for, from many source ports: how it is laid out, and how each port fared. Pure.

The first step of it is short. A second one comes only where something failed: the ports that failed and some
that did not, again and again, slowly enough for any limiter that would explain the first step.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from probemesh_shared.model import FlowSpec, Shot
from probemesh_shared.words import Transport

from probemesh_controller.pair.case import Round
from probemesh_controller.pair.tour import chance
from probemesh_controller.pair.tour.basis import (
    Fate,
    asked_port,
    fates,
    flow,
    patience_s,
    round_of,
    step,
)
from probemesh_controller.pair.tour.chance import Burst
from probemesh_controller.pair.tour.turned_away import of_the_path
from probemesh_controller.pair.view import Probed, View

FIRST, AGAIN, RATES = "tour-flows", "tour-flows-again", "tour-rates"
#: Source ports; next to each other, so that every simple hash over some members of a bundle meets them all.
SEVERAL = 64
_EVERY_MS = 8.0
#: Below what kernels take for themselves, above what services listen on.
_LOWEST, _SPAN = 20_000, 12_000
#: So long that the kernel's own second SYN (after 1 s) counts: a flow that is dead stays dead.
_SYN_AGAIN_S = 1.35
#: Servers that lock out who connects and leaves without a word are asked once at most (MySQL).
LOCKING = frozenset({3306, 33060})
#: Source ports that are tried again, and tries of each: connections, datagrams.
_FAILED, _LIVE, _TRIES = {True: 6, False: 14}, {True: 4, False: 6}, {True: 4, False: 5}
_SLOWEST, _FASTEST = 5.0, {True: 25.0, False: 50.0}  # a second
#: Connections that are held at the same time, when all others are over.
HELD = 12
_HELD_EVERY_MS, HELD_MS = 5.0, 150.0
#: A share that failed from which a limiter would be a slow one.
MANY = 0.3


@dataclass(slots=True)
class PortTally:
    """One source port: answers and silences over all steps, the kernel's repeated SYNs apart."""

    port: int
    answered: int = 0
    silent: int = 0
    tries: list[bool] = field(default_factory=list)
    lost: int = 0  # packets at least: where the kernel sent a second SYN, two

    @property
    def dead(self) -> bool:
        return not self.answered and self.silent > 0


def base_port(view: View) -> int:
    """Where the block begins: other for each case and direction, the same for the same."""
    seed = view.case.started_ns // 1000 * 2 + view.is_forward
    return _LOWEST + seed * 2654435761 % _SPAN


def series(view: View, *purposes: str) -> Iterator[tuple[Probed, tuple[Fate, ...]]]:
    """Steps of the flow itself, with those shots that tell something of the path."""
    for probed in view.probes_here(*purposes):
        kept = tuple(
            fate
            for fate in of_the_path(view, probed, fates(probed))
            if (fate.answered or fate.silent) and fate.plan.ttl is None and fate.plan.hold_ms is None
        )
        if kept:
            yield probed, kept


def tallies(view: View) -> dict[int, PortTally]:
    """By source port, of the steps that chose it."""
    found: dict[int, PortTally] = {}
    for probed, kept in series(view, FIRST, AGAIN):
        each = 2 if view.transport is Transport.TCP and probed.step.purpose == FIRST else 1
        for fate in kept:
            port = fate.plan.source_port
            if port:
                one = found.setdefault(port, PortTally(port))
                one.answered += fate.answered
                one.silent += fate.silent
                one.lost += each * fate.silent
                one.tries.append(fate.answered)
    return found


def failed_first(view: View) -> tuple[int, ...]:
    """Source ports that got nothing in the first step."""
    return tuple(
        fate.plan.source_port
        for _, kept in series(view, FIRST)
        for fate in kept
        if fate.silent and fate.plan.source_port
    )


def first_burst(view: View) -> Burst | None:
    """The first step as a limiter would see it."""
    for _, kept in series(view, FIRST):
        return burst_of(kept)
    return None


def burst_of(kept: Sequence[Fate]) -> Burst:
    ordered = sorted(kept, key=lambda fate: fate.seen.at_ms)
    return Burst(tuple((fate.seen.at_ms, not fate.first_lost) for fate in ordered))


def bursts_by_gap(kept: Sequence[Fate], gap: float = 3.0) -> tuple[Burst, ...]:
    """One step's shots, cut where the rate changes by more than ``gap`` times."""
    ordered = sorted(kept, key=lambda fate: fate.seen.at_ms)
    groups: dict[tuple[int, float], list[Fate]] = defaultdict(list)
    number, pace = 0, 0.0
    for before, after in itertools.pairwise(ordered):
        groups[number, 0.0].append(before)
        between = max(0.5, after.plan.at_ms - before.plan.at_ms)
        if pace and (between > pace * gap or between * gap < pace):
            number, between = number + 1, 0.0
        pace = between
    if ordered:
        groups[number, 0.0].append(ordered[-1])
    return tuple(burst_of(group) for group in groups.values())


# --- building ---------------------------------------------------------------------------------------------


def may_repeat(view: View) -> bool:
    return view.transport is not Transport.TCP or view.port not in LOCKING


def build_first(view: View) -> Round | None:
    base, tcp = base_port(view), view.transport is Transport.TCP
    ports = view.transport is not Transport.ICMP
    shots = [
        shot(view, _EVERY_MS * number, base + number if ports else 0)
        for number in range(SEVERAL if ports else SEVERAL // 2)
    ]
    from_ms = _EVERY_MS * len(shots) + 20.0
    if tcp:
        shots += [Shot(at_ms=from_ms + _HELD_EVERY_MS * number, hold_ms=HELD_MS) for number in range(HELD)]
    waits = _SYN_AGAIN_S if tcp else patience_s(view)
    return _round(view, FIRST, "from many source ports", shots, waits)


def build_again(view: View) -> Round | None:
    """Failed ports and live ones in turn, each waited for before its next try."""
    found, burst, tcp = tallies(view), first_burst(view), view.transport is Transport.TCP
    failed = [port for port in failed_first(view) if found[port].dead]
    live = [port for port, one in found.items() if not one.silent]
    if burst is None or not failed:
        return None
    pace = _pace(burst, _FASTEST[tcp])
    turn_ms = 1000 * (patience_s(view) + 0.07)
    room = max(2, int(pace * turn_ms / 1000))
    chosen = _spread(failed, min(_FAILED[tcp], max(1, room - 1)))
    chosen += _spread(live, min(_LIVE[tcp], max(1, room - len(chosen))))
    every = max(1000 / pace, turn_ms / len(chosen))
    tries = _TRIES[tcp] + (len(chosen) < 4)
    order = [port for _ in range(tries) for port in chosen]
    shots = tuple(shot(view, every * number, port) for number, port in enumerate(order))
    return _round(view, AGAIN, "the source ports that failed, and others, again", shots, patience_s(view))


def _pace(burst: Burst, most: float) -> float:
    """Tries a second that a limiter would let through which explains the first step."""
    if chance.loss_of([burst]).value < MANY:
        return most
    return min(most, max(_SLOWEST, 0.7 * chance.passing_rate(burst)))


def _spread(ports: Sequence[int], most: int) -> list[int]:
    """As many of them, far apart."""
    every = max(1, len(ports) // most) if most else 1
    return list(ports[::every][:most])


def shot(view: View, at_ms: float, port: int) -> Shot:
    return Shot(at_ms=at_ms, source_port=port, size=size_of(view), send=payload_of(view))


def payload_of(view: View) -> bytes | None:
    """What the flow's own datagrams said before: its service answers that. Nothing by TCP."""
    return _own(view).send if view.transport is Transport.UDP else None


def size_of(view: View) -> int | None:
    return _own(view).size if view.transport is not Transport.TCP else None


def _own(view: View) -> Shot:
    """A shot of the flow that others made, to do as they do."""
    for probed in view.probes_here():
        spec = probed.step.spec
        mine = probed.step.purpose.startswith("tour-")
        if mine or not isinstance(spec, FlowSpec) or probed.step.port != view.port:
            continue
        if spec.transport is view.transport and spec.shots:
            return spec.shots[0]
    return Shot()


def _round(view: View, purpose: str, why: str, shots: Sequence[Shot], waits: float) -> Round | None:
    aim = asked_port(view)
    spec = flow(view, view.transport, shots, aim.token, waits)
    return round_of(step(view, purpose, f"{view.flow_name} {why}", spec, aim.port))
