"""Does a flow live on when it is silent for a while, or at all? (rules 34, 35). Pure."""

from collections import defaultdict
from collections.abc import Iterator

from probemesh_shared.model import Shot
from probemesh_shared.words import Transport, Verdict

from probemesh_controller.pair.case import Round
from probemesh_controller.pair.causes import Cause, Told, proven_by
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.tour import names, ports, side
from probemesh_controller.pair.tour.basis import fates, flow, plainly, ready, round_of, step, surrogate
from probemesh_controller.pair.tour.proxies import far_tuples
from probemesh_controller.pair.view import View

IDLE, STATE = "idle", "state"
LATE = "tour-late"
#: How late the far end replies, of the time that was asked about.
_PARTS = (0.06, 0.4, 0.7, 1.0)
_EACH = 4
_PAUSE_S = 0.5
#: Replies under one mapping that say that it stays.
_ENOUGH = 8


def _idle(view: View, notes: Notes) -> Iterator[Sign]:
    """By delay: replies that came, of those that the far end sent."""
    came: dict[int, list[bool]] = defaultdict(list)
    for probed in view.probes_here(LATE):
        account = view.far_account(probed)
        sent = {one.shot for one in account.datagrams if one.replied} if account is not None else None
        for fate in fates(probed):
            if fate.answered or (sent is not None and fate.seen.shot in sent):
                came[fate.plan.delay_ms].append(fate.answered)
    if not came:
        return
    last = max((delay for delay, all_ in came.items() if sum(all_) > len(all_) / 2), default=0)
    first = min(
        (d for d, all_ in came.items() if d > last and len(all_) >= _EACH and not any(all_)), default=0
    )
    text = f"replies that came to {view.near_name}, by how late they were sent: " + ", ".join(
        f"{delay / 1000:g} s {sum(all_)} of {len(all_)}" for delay, all_ in sorted(came.items())
    )
    values = {"lives": f"{last / 1000:g}", "dies": f"{first / 1000:g}"}
    holds = True if first and last else (False if last == max(came) else None)
    yield Sign(names.IDLE_LOST, holds, (notes.note(text),), values=values)


def _state(view: View, notes: Notes) -> Iterator[Sign]:
    moved = _moved(view)
    if moved is not None:
        before, after = moved
        text = f"{view.far_name} saw one socket of {view.near_name} as {before}, then as {after}"
        yield Sign(names.STATE_LOST, True, (notes.note(text),))
        return
    reset, held = _held(view)
    if reset >= 2:
        text = (
            f"{reset} connections of {view.near_name} that said nothing were reset; {view.far_name} "
            "still has them"
        )
        yield Sign(names.STATE_LOST, True, (notes.note(text),))
    elif held >= _ENOUGH or _same(view) >= _ENOUGH:
        yield Sign(
            names.STATE_LOST, False, (notes.note("flows that stood were not lost while they were watched"),)
        )


def _seen_of_one_socket(view: View) -> Iterator[list[tuple[str | None, int | None]]]:
    for probed in view.probes_here(side.PURPOSE):
        yield [
            (plainly(reply.seen_address), reply.seen_port)
            for fate in fates(probed)
            if fate.plan.socket == 0
            for reply in fate.seen.replies
            if reply.valid
        ]


def _moved(view: View) -> tuple[str, str] | None:
    """One socket, one destination, and another source in the middle of it."""
    for seen in _seen_of_one_socket(view):
        if len(set(seen)) == 2 and seen.index(seen[-1]) > 1:
            return f"{seen[0][0]} port {seen[0][1]}", f"{seen[-1][0]} port {seen[-1][1]}"
    return None


def _same(view: View) -> int:
    return max((len(seen) for seen in _seen_of_one_socket(view) if len(set(seen)) == 1), default=0)


def _held(view: View) -> tuple[int, int]:
    """Connections that were reset though the far end has had them, and such as stayed. Those reset soon after
    they stood do not count: services do that to whom they do not like."""
    reset = stayed = 0
    for probed in view.probes_here(ports.FIRST):
        theirs = far_tuples(view, probed)
        for fate in fates(probed):
            if fate.plan.hold_ms is None or not fate.answered:
                continue
            own = (plainly(fate.seen.local_address), fate.seen.local_port)
            late = fate.seen.end_ms is None or fate.seen.end_ms >= ports.HELD_MS / 2
            reset += fate.seen.end == "reset" and late and own in theirs
            stayed += fate.seen.end == "held"
    return reset, stayed


READER = Reader(
    frozenset({names.IDLE_LOST, names.STATE_LOST}),
    lambda view, notes: (*_idle(view, notes), *_state(view, notes)),
)

_WHEN = {names.READY: True}
_UDP = frozenset({Transport.UDP})


def _timeout(told: Told) -> str:
    lives, dies = (told.value(names.IDLE_LOST, key) for key in ("lives", "dies"))
    return (
        f"something between {told.view.near_name} and {told.view.far_name} forgets UDP flows "
        "that are silent for "
        f"{lives} to {dies} s: later replies are lost"
    )


CAUSES = (
    Cause(
        "idle-lives",
        Verdict.REACHABLE,
        lambda told: "a silent UDP flow lives for some seconds at least",
        predicts={names.IDLE_LOST: False},
        question=IDLE,
        transports=_UDP,
        when=_WHEN,
    ),
    Cause(
        "udp-state-timeout",
        Verdict.UDP_STATE_TIMEOUT,
        _timeout,
        predicts={names.IDLE_LOST: True},
        proof=proven_by((names.IDLE_LOST,)),
        next_test=lambda told: "raise the timeout of UDP (RFC 4787: two minutes), or keep the flow alive",
        question=IDLE,
        transports=_UDP,
        when=_WHEN,
    ),
    Cause(
        "state-kept",
        Verdict.REACHABLE,
        lambda told: "flows that stood live on",
        predicts={names.STATE_LOST: False},
        question=STATE,
        when=_WHEN,
    ),
    Cause(
        "state-lost",
        Verdict.STATE_LOST,
        lambda told: (
            f"a box between {told.view.near_name} and {told.view.far_name} lost its state: "
            "flows that stood die, "
            "new ones are fine"
        ),
        predicts={names.STATE_LOST: True},
        proof=proven_by((names.STATE_LOST,)),
        question=STATE,
        when=_WHEN,
    ),
)


def _build(view: View, signs: Signs) -> Round | None:
    """Each on a mapping of its own, so that none keeps another alive."""
    aim = surrogate(view)
    if aim is None:
        return None
    idle_s = view.case.asked.idle_s
    delays = [int(1000 * part * idle_s) for _ in range(_EACH) for part in _PARTS]
    shots = tuple(
        Shot(at_ms=5.0 * number, size=side.SMALL, socket=number, delay_ms=delay)
        for number, delay in enumerate(delays)
    )
    spec = flow(view, Transport.UDP, shots, aim.token, idle_s + _PAUSE_S)
    return round_of(step(view, LATE, "do replies come in that are late", spec, aim.port))


MOVES = (
    Move(
        LATE,
        frozenset({names.IDLE_LOST}),
        _build,
        cost=5.5,
        wants=lambda view, signs: ready(signs) and view.case.asked.idle_s > 0,
    ),
)
