"""Is what is dialled the target itself, and who gets it where it is not? (rules 21, 22, 24). Pure.

A third agent is asked where two cannot tell: it dials from outside, or finds the connection in its own table.
"""

from collections.abc import Iterator
from dataclasses import replace

from probemesh_shared.model import AgentInfo, FlowSpec, Options, Place, Shot
from probemesh_shared.words import AgentState, Family, PlaceKind, Transport, Verdict

from probemesh_controller.pair.case import EndRole, Round, Step
from probemesh_controller.pair.causes import FLOW, Cause, Told, proven_by
from probemesh_controller.pair.flow.names import ANSWERED
from probemesh_controller.pair.flow.rows import MEASURED
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.tour import names
from probemesh_controller.pair.tour.basis import asked_port, fates, flow, patience_s, plainly, step
from probemesh_controller.pair.tour.proxies import far_tuples
from probemesh_controller.pair.view import Probed, View, own_addresses

QUESTION = "dialled"
OUTSIDE, WHO, WHO_GETS = "tour-outside", "tour-who", "tour-who-gets"
_MOST_THIRDS = 3
#: Rounds in which they are asked: their watches are armed by the first.
_ROUNDS = 2
_HELD_MS = 250.0
#: Held connections of which the far end must have had at least one.
_HELD = 4
#: Ports that are the same by chance are not so many.
_SAME = 2


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    """Whether the dialled address is the far host's own, and who is behind it."""
    address, far = view.address, view.far
    if address is None or far is None or far.armed is None:
        return
    own = own_addresses(far)
    text = f"{address} is {'an address' if address in own else 'on no interface'} of {view.far_name}"
    yield Sign(names.NOT_ITS_OWN, address not in own, (notes.note(text),))
    expired = [
        fate.plan.ttl
        for probed in view.probes_here()
        for fate in fates(probed)
        for error in fate.seen.errors
        if plainly(error.sender) == address and error.type == (3 if error.family is Family.IPV6 else 11)
    ]
    if expired:
        text = f'{address} itself said "time exceeded", as no host does of a packet that is for it'
        yield Sign(names.DIALLED_EXPIRES, True, (notes.note(text),))
    if any(_from_far(view, probed) for probed in view.probes_here()):
        text = f"what {view.near_name} sends to {address} reaches {view.far_name}"
        yield Sign(names.FAR_RECEIVES, True, (notes.note(text),))
    elif (held := _held_in_vain(view)) >= _HELD:
        text = (
            f"{view.near_name} held {held} connections to {address}, of which {view.far_name} knows nothing"
        )
        yield Sign(names.FAR_RECEIVES, False, (notes.note(text),))


def _from_far(view: View, probed: Probed) -> bool:
    agent = view.far.armed.agent if view.far is not None and view.far.armed is not None else None
    if any(reply.valid and reply.agent == agent for shot in probed.shots for reply in shot.replies):
        return True
    mine = {
        (plainly(fate.seen.local_address), fate.seen.local_port) for fate in fates(probed) if fate.answered
    }
    return probed.step.port == view.port and bool(mine & far_tuples(view, probed))


def _held_in_vain(view: View) -> int:
    """Connections that stood long enough to be seen; whoever translates leaves their count alone."""
    return sum(
        fate.answered and fate.plan.hold_ms is not None
        for probed in view.probes_here()
        if probed.step.port == view.port and view.far_sees("connections")
        for fate in fates(probed)
        if not far_tuples(view, probed)
    )


# --- third agents -----------------------------------------------------------------------------------------


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
    if view.address in own_addresses(view.far):
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


def _third_receives(view: View, notes: Notes) -> Iterator[Sign]:
    """Whether a third agent has the prober's connections in its table: by their ports, for who hands them on
    often puts its own address in."""
    looked = []
    for probed in view.probes_here(WHO_GETS):
        mine = {fate.seen.local_port for fate in fates(probed) if fate.answered}
        for end in view.case.ends:
            account = probed.round.look(end.name) if end.role is EndRole.THIRD else None
            if account is None or "connections" in account.blind or end.watched_port != view.port:
                continue
            looked.append(end.name)
            theirs = {one.port for one in account.connections if one.local_port == view.port}
            theirs |= {one.port for one in account.accepted if one.local_port == view.port}
            if len(mine & theirs) >= _SAME:
                text = f"{end.name} has the connections that {view.near_name} opened to {view.address}"
                yield Sign(names.THIRD_RECEIVES, True, (notes.note(text),), values={"who": end.name})
                return
    if looked:
        text = f"none of {', '.join(sorted(set(looked)))} has what {view.near_name} sends to {view.address}"
        yield Sign(names.THIRD_RECEIVES, False, (notes.note(text),))


READER = Reader(
    frozenset(
        {names.NOT_ITS_OWN, names.DIALLED_EXPIRES, names.FAR_RECEIVES, names.THIRD_RECEIVES, names.HAIRPIN}
    ),
    lambda view, notes: (*_read(view, notes), *_hairpin(view, notes), *_third_receives(view, notes)),
)


# --- causes -----------------------------------------------------------------------------------------------


def _forwarded(told: Told) -> str:
    return f"{told.view.address} is not {told.view.far_name}'s own: what is sent there is handed on to it"


def _wrong_host(told: Told) -> str:
    view, who = told.view, told.value(names.THIRD_RECEIVES, "who")
    return (
        f"what {view.near_name} sends to {view.address} ({view.flow_name}) is handed to "
        f"{who or 'another host'}, not to {view.far_name}"
    )


_WHEN = {names.FLOW_READY: True}
_TCP = frozenset({Transport.TCP})

CAUSES = (
    Cause(
        "dialled-itself",
        Verdict.REACHABLE,
        lambda told: f"{told.view.address} is {told.view.far_name}'s own",
        predicts={names.NOT_ITS_OWN: False},
        question=QUESTION,
        when=_WHEN,
    ),
    Cause(
        "dialled-forwarded",
        Verdict.DESTINATION_NAT,
        _forwarded,
        predicts={names.NOT_ITS_OWN: True, names.FAR_RECEIVES: True},
        proof=proven_by((names.NOT_ITS_OWN, names.FAR_RECEIVES)),
        question=QUESTION,
        when=_WHEN,
    ),
    Cause(
        "dialled-wrong-host",
        Verdict.DESTINATION_NAT_WRONG_HOST,
        _wrong_host,
        predicts={names.NOT_ITS_OWN: True, names.FAR_RECEIVES: False, names.THIRD_RECEIVES: True},
        proof=proven_by((names.NOT_ITS_OWN, names.FAR_RECEIVES, names.THIRD_RECEIVES)),
        place=lambda told: place_of_box(told.view),
        next_test=lambda told: f"look at the port forwarding of {told.view.address}",
        question=QUESTION,
        transports=_TCP,
        when=_WHEN,
    ),
    Cause(
        "dialled-wrong-unknown",
        Verdict.DESTINATION_NAT_WRONG_HOST,
        _wrong_host,
        predicts={names.NOT_ITS_OWN: True, names.FAR_RECEIVES: False, names.THIRD_RECEIVES: False},
        place=lambda told: place_of_box(told.view),
        next_test=lambda told: f"look at the port forwarding of {told.view.address}",
        question=QUESTION,
        transports=_TCP,
        when=_WHEN,
    ),
)


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


def _who_gets(view: View, signs: Signs) -> Round | None:
    """Held connections, with all third agents on watch for them."""
    aim = asked_port(view)
    shots = (Shot(at_ms=40.0 * n, hold_ms=_HELD_MS) for n in range(4))
    one = step(
        view, WHO_GETS, "who has the connections that stand", flow(view, Transport.TCP, shots), aim.port
    )
    names_of = tuple(helper.name for helper in thirds(view))
    return Round((one,), 30.0, thirds=names_of, third_port=view.port) if one else None


MOVES = (
    Move(
        OUTSIDE,
        frozenset({names.HAIRPIN}),
        _ask_others,
        cost=0.8,
        times=_ROUNDS,
        wants=_could_be_hairpin,
    ),
    Move(
        WHO_GETS,
        frozenset({names.FAR_RECEIVES, names.THIRD_RECEIVES}),
        _who_gets,
        cost=0.6,
        wants=lambda view, signs: signs.holds(names.FLOW_READY) is True and view.transport is Transport.TCP,
    ),
)
