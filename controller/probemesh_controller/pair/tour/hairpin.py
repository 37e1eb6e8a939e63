"""Does dialling fail because both ends stand behind the address that is dialled? (rule 24). Pure.

Third agents tell: they say as whom they see the prober, and dial what it dials, from outside.
"""

from collections.abc import Iterator
from dataclasses import replace

from probemesh_shared.model import AgentInfo, FlowSpec, Options, Place, Shot
from probemesh_shared.words import AgentState, PlaceKind, Transport, Verdict

from probemesh_controller.pair.case import EndRole, Round, Step
from probemesh_controller.pair.causes import FLOW, Cause, proven_by
from probemesh_controller.pair.flow.names import ANSWERED
from probemesh_controller.pair.flow.rows import MEASURED
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.owning import is_loopback
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.tour import names
from probemesh_controller.pair.tour.basis import fates, patience_s, plainly
from probemesh_controller.pair.view import Probed, View

OUTSIDE, WHO = "tour-outside", "tour-who"
_MOST_THIRDS = 3
#: Rounds in which they are asked: their watches are armed by the first.
_ROUNDS = 2


def thirds(view: View) -> tuple[AgentInfo, ...]:
    """Agents that could help: connected, and neither of the two."""
    ends = {view.near_name, view.far_name}
    found = [
        info
        for info in view.case.fleet
        if info.name not in ends and info.state is AgentState.CONNECTED and not view.is_lost(info.name)
    ]
    return tuple(sorted(found, key=lambda info: info.name)[:_MOST_THIRDS])


def _probes(view: View, purpose: str) -> Iterator[Probed]:
    """Steps of this view in which somebody else took part."""
    for number, done in enumerate(view.case.rounds):
        for one in done.steps:
            if one.step.purpose == f"{purpose}:{view.direction}":
                yield Probed(number, done, one)


def _hairpin(view: View, notes: Notes) -> Iterator[Sign]:
    """The prober's public address as third agents saw it, and whether others get through to "
    "what is dialled."""
    if view.far is None or view.far.armed is None or view.address is None:
        return
    if is_loopback(view.address):
        text = f"{view.address} is no address that a NAT could have"
        yield Sign(names.HAIRPIN, False, (notes.note(text),))
        return
    if view.address in view.far_own:
        text = f"{view.address} is an address of {view.far_name}"
        yield Sign(names.HAIRPIN, False, (notes.note(text),))
        return
    public = {
        plainly(reply.seen_address)
        for probed in _probes(view, WHO)
        for shot in probed.shots
        for reply in shot.replies
        if reply.valid and reply.seen_address
    }
    if not public:
        return
    if view.address not in public:
        text = f"{view.address} is not the address behind which {view.near_name} stands"
        yield Sign(names.HAIRPIN, False, (notes.note(text),))
        return
    outside = [(probed.step.sender, fate) for probed in _probes(view, OUTSIDE) for fate in fates(probed)]
    through = sorted({name for name, fate in outside if fate.answered})
    text = f"{view.address} is the public address of {view.near_name} itself"
    if through:
        words = f"{', '.join(through)} gets through to {view.flow_name} there from outside"
        yield Sign(names.HAIRPIN, True, (notes.note(text), notes.note(words)))
    elif outside:
        words = f"no other agent gets through to {view.flow_name} there either"
        yield Sign(names.HAIRPIN, False, (notes.note(text), notes.note(words)))


READER = Reader(frozenset({names.HAIRPIN}), _hairpin)


def place_of_box(view: View) -> Place | None:
    return Place(PlaceKind.HOP, view.address) if view.address is not None else None


#: Of the flow question. All others that place a fault on the path predict that it is not so.
HAIRPIN_CAUSE = Cause(
    "hairpin-fails",
    Verdict.HAIRPIN_FAILS,
    lambda told: (
        f"{told.view.near_name} → {told.view.far_name}, {told.view.flow_name}: both stand behind "
        f"{told.view.address}, which hands on what comes from outside, and not what comes from inside"
    ),
    predicts={**MEASURED, names.HAIRPIN: True, ANSWERED: False},
    proof=proven_by((names.HAIRPIN,)),
    place=lambda told: place_of_box(told.view),
    next_test=lambda told: f"dial {told.view.far_name} by its inner address, or switch hairpin NAT on",
    question=FLOW,
)


def without_hairpin(causes: tuple[Cause, ...]) -> tuple[Cause, ...]:
    """The rivals of :data:`HAIRPIN_CAUSE`: whatever else fails would fail from outside as well."""
    return tuple(
        replace(cause, predicts={**cause.predicts, names.HAIRPIN: False})
        if cause.question == FLOW and cause.verdict not in _OURS
        else cause
        for cause in causes
    )


_OURS = frozenset(
    {
        Verdict.REACHABLE,
        Verdict.AGENT_LOST,
        Verdict.NOT_ADDRESSABLE,
        Verdict.VANTAGE_IMPAIRED,
        Verdict.SOURCE_OUTPUT_FILTER,
        Verdict.SOURCE_NO_ROUTE,
    }
)


# --- moves ------------------------------------------------------------------------------------------------


def _options(view: View) -> Options:
    return Options(timeout_s=max(0.6, patience_s(view)))


def _ask_others(view: View, signs: Signs) -> Round | None:
    """Third agents dial what is dialled; and the prober asks their watches as whom they see it."""
    address, helpers = view.address, thirds(view)
    if address is None or not helpers or view.transport is Transport.ICMP:
        return None
    steps: list[Step] = []
    plan = [Shot(at_ms=60.0 * n, send=_hello(view), socket=_socket(view, n)) for n in range(3)]
    for helper in helpers:
        spec = FlowSpec(_options(view), view.transport, tuple(plan))
        why = f"does {view.flow_name} at {address} work from elsewhere"
        purpose = f"{OUTSIDE}:{view.direction}"
        steps.append(Step("", purpose, why, helper.name, address, view.port, spec, view.far_name))
    for end in view.case.ends:
        port = end.armed.surrogate_port if end.armed is not None else None
        where = next((one for one in end.addresses if (":" in one) == (":" in address)), None)
        if end.role is EndRole.THIRD and port is not None and where is not None and end.token:
            shots = tuple(Shot(at_ms=30.0 * n) for n in range(3))
            spec = FlowSpec(_options(view), Transport.UDP, shots, end.token)
            purpose = f"{WHO}:{view.direction}"
            steps.append(
                Step("", purpose, "as whom others see it", view.near_name, where, port, spec, end.name)
            )
    helping = tuple(helper.name for helper in helpers)
    return Round(tuple(steps), thirds=helping, third_port=view.port)


def _hello(view: View) -> bytes | None:
    return b"probemesh\n" if view.transport is Transport.UDP else None


def _socket(view: View, number: int) -> int | None:
    return number if view.transport is Transport.UDP else None


def _could_be_hairpin(view: View, signs: Signs) -> bool:
    """What is dialled is none of the far host's own addresses, and it failed there. What others do counts
    for nobody's direction, so it is bounded here."""
    asked = len({probed.number for probed in _probes(view, OUTSIDE)})
    failed = signs.holds(names.NOT_ITS_OWN) is True and signs.holds(ANSWERED) is False
    return failed and asked < _ROUNDS and bool(thirds(view))


MOVES = (
    Move(
        OUTSIDE,
        frozenset({names.HAIRPIN}),
        _ask_others,
        cost=0.8,
        times=_ROUNDS,
        wants=_could_be_hairpin,
    ),
)
