"""Is what is dialled the target itself, and who gets it where it is not? (rules 21, 22). Pure.

Where two ends cannot tell, third agents look for the connection in their own tables.
"""

from collections.abc import Iterator

from probemesh_shared.model import Shot
from probemesh_shared.words import Transport, Verdict

from probemesh_controller.pair.case import EndRole, Round
from probemesh_controller.pair.causes import Cause, Told, proven_by
from probemesh_controller.pair.flow.socket_evidence import prober_of
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.owning import arrived_at, expires, far_has
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.tour import names
from probemesh_controller.pair.tour.basis import asked_port, fates, flow, plainly, step
from probemesh_controller.pair.tour.hairpin import place_of_box, thirds
from probemesh_controller.pair.tour.proxies import far_tuples
from probemesh_controller.pair.view import Probed, View

QUESTION = "dialled"
WHO_GETS = "tour-who-gets"
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
    has = far_has(view)
    if has is not None:
        text = f"{address} is {'an address' if has else 'on no interface'} of {view.far_name}"
        yield Sign(names.NOT_ITS_OWN, not has, (notes.note(text),))
    if (other := arrived_at(view)) is not None and not has:
        text = f"what {view.near_name} sends to {address} comes in at {view.far_name} as for {other}"
        yield Sign(names.HANDED_ON, True, (notes.note(text),))
    if expires(view):
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
    if probed.step.port != view.port or not mine:
        return False
    account, prober = view.far_account(probed), prober_of(view, probed)
    theirs = account.connections if account is not None else ()
    # behind a NAT of its own the prober has another tuple there, and still its mark
    marked = any(one.local_port == view.port and prober.has_mark(one.mss) for one in theirs)
    return marked or bool(mine & far_tuples(view, probed))


def _held_in_vain(view: View) -> int:
    """Connections that stood long enough to be seen; whoever translates leaves their count alone."""
    return sum(
        fate.answered and fate.plan.hold_ms is not None
        for probed in view.probes_here()
        if probed.step.port == view.port and view.far_sees("connections")
        for fate in fates(probed)
        if not far_tuples(view, probed)
    )


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
        {names.NOT_ITS_OWN, names.HANDED_ON, names.DIALLED_EXPIRES, names.FAR_RECEIVES, names.THIRD_RECEIVES}
    ),
    lambda view, notes: (*_read(view, notes), *_third_receives(view, notes)),
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
        predicts={
            names.NOT_ITS_OWN: True,
            names.FAR_RECEIVES: True,
            names.HANDED_ON: True,
            names.DIALLED_EXPIRES: True,
        },
        # that it is on no interface is no proof: a host may take in more than it lists
        proof=proven_by((names.HANDED_ON, names.FAR_RECEIVES), (names.DIALLED_EXPIRES, names.FAR_RECEIVES)),
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


# --- moves ------------------------------------------------------------------------------------------------


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
        WHO_GETS,
        frozenset({names.FAR_RECEIVES, names.THIRD_RECEIVES}),
        _who_gets,
        cost=0.6,
        wants=lambda view, signs: signs.holds(names.FLOW_READY) is True and view.transport is Transport.TCP,
    ),
)
