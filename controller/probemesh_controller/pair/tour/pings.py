"""Does ping get through where other things do? (rule 32). Pure."""

from collections.abc import Iterator

from probemesh_shared.model import Place, Shot
from probemesh_shared.words import PlaceKind, Transport, Verdict

from probemesh_controller.pair.case import Round
from probemesh_controller.pair.causes import Cause, Told, proven_by
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.tour import names
from probemesh_controller.pair.tour.basis import fates_of, flow, is_v6, ready, round_of, step
from probemesh_controller.pair.view import View

QUESTION = "ping"
FIRST, AGAIN = "tour-ping", "tour-ping-again"
#: Purposes of others' steps that are pings as well.
OTHERS = ("first:ping", "controls:ping")
#: From so many on, silence is more than chance (0.04 ** 8 = 7e-12 where 2 % are lost each way).
ENOUGH = 8
_EVERY_MS = 20.0


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    own = [
        fate
        for fate in fates_of(view, FIRST, AGAIN, *OTHERS)
        if fate.plan.ttl is None and (fate.answered or fate.silent)
    ]
    if not own:
        return
    answered = sum(fate.answered for fate in own)
    text = f"{view.near_name} pinged {view.address} {len(own)} times: {answered} answered"
    seen = (notes.note(text),)
    lost = False if answered else (True if len(own) >= ENOUGH else None)
    yield Sign(names.PING_LOST, lost, seen, values={"sent": str(len(own))})
    if lost:
        yield _arrived(view, notes)


def _arrived(view: View, notes: Notes) -> Sign:
    """By the far host's count of echo requests, in rounds in which they were sent."""
    name = "Icmp6.InEchos" if is_v6(view) else "Icmp.InEchos"
    replies = "Icmp6.OutEchoReplies" if is_v6(view) else "Icmp.OutEchoReps"
    sent = rose = answered = 0
    for probed in view.probes_here(FIRST, AGAIN):
        account = view.far_account(probed)
        counted = {one.name: one for one in account.counters} if account is not None else {}
        if name in counted:
            sent += sum(1 for shot in probed.shots if shot.outcome.value == "timeout")
            rose += counted[name].delta
            answered += counted[replies].delta if replies in counted else 0
    if not sent:
        return Sign(names.ECHO_ARRIVED)
    text = (
        f"{view.far_name} counted {rose} echo requests and {answered} replies of its own ({sent} were sent)"
    )
    values = {"replied": "yes" if answered >= sent / 2 else "no"}
    holds = True if rose >= sent / 2 else (False if rose == 0 else None)
    return Sign(names.ECHO_ARRIVED, holds, (notes.note(text),), values=values)


READER = Reader(frozenset({names.PING_LOST, names.ECHO_ARRIVED}), _read)


def _summary(told: Told) -> str:
    view, arrived = told.view, told.signs.holds(names.ECHO_ARRIVED)
    where = {
        True: "the requests arrive, the replies are lost",
        False: "the requests do not arrive",
        None: "neither end can tell whether requests or replies are lost",
    }[arrived]
    if arrived and told.value(names.ECHO_ARRIVED, "replied") == "no":
        where = f"they arrive, and {view.far_name} does not answer them"
    return f"ping from {view.near_name} to {view.far_name} is filtered, other traffic is not: {where}"


def _place(told: Told) -> Place | None:
    if told.signs.holds(names.ECHO_ARRIVED) and told.value(names.ECHO_ARRIVED, "replied") == "no":
        return Place(PlaceKind.TARGET_HOST, told.view.address)
    return None


_WHEN = {names.READY: True}
#: Of a diagnosis that is about ping the flow question asks this.
_BESIDE = frozenset({Transport.TCP, Transport.UDP})

CAUSES = (
    Cause(
        "ping-works",
        Verdict.REACHABLE,
        lambda told: f"ping from {told.view.near_name} to {told.view.far_name} works",
        predicts={names.PING_LOST: False},
        question=QUESTION,
        transports=_BESIDE,
        when=_WHEN,
    ),
    Cause(
        "ping-filtered",
        Verdict.ICMP_ECHO_FILTERED,
        _summary,
        predicts={names.PING_LOST: True, names.READY: True},
        proof=proven_by((names.PING_LOST, names.READY)),
        place=_place,
        next_test=lambda told: "nothing is broken by it; allow ICMP echo if ping is to work",
        question=QUESTION,
        transports=_BESIDE,
        when=_WHEN,
    ),
)


def _build(view: View, count: int, purpose: str) -> Round | None:
    shots = (Shot(at_ms=_EVERY_MS * number, size=56) for number in range(count))
    return round_of(step(view, purpose, "does ping get through", flow(view, Transport.ICMP, shots), None))


def _silent(view: View, signs: Signs) -> bool:
    own = fates_of(view, FIRST, *OTHERS)
    return ready(signs) and bool(own) and not any(fate.answered for fate in own)


MOVES = (
    Move(
        FIRST,
        frozenset({names.PING_LOST}),
        lambda view, signs: _build(view, 4, FIRST),
        cost=0.3,
        wants=lambda view, signs: ready(signs) and not fates_of(view, *OTHERS),
    ),
    Move(
        AGAIN,
        frozenset({names.PING_LOST, names.ECHO_ARRIVED}),
        lambda view, signs: _build(view, ENOUGH, AGAIN),
        cost=0.5,
        wants=_silent,
    ),
)
