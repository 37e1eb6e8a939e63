"""Does something on the way end connections in the target's place? (rules 25, 26). Pure."""

from collections.abc import Iterator

from probemesh_shared.model import Place, Shot
from probemesh_shared.words import PlaceKind, Transport, Verdict

from probemesh_controller.pair.case import Round
from probemesh_controller.pair.causes import Cause, Told, proven_by
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.tour import names, ports
from probemesh_controller.pair.tour.basis import (
    Fate,
    distance,
    fates,
    flow,
    own_connections,
    plainly,
    round_of,
    routers_of,
    step,
)
from probemesh_controller.pair.view import Probed, View

QUESTION = "proxy"
FIRST = "tour-short"
_MOST = 12
_EACH = 2
_TWICE = 6  # hops, beyond which each is tried once: there are connections enough
_EVERY_MS = 25.0
_WAITS_S = 0.45
#: Held connections of which the far end must have had at least one.
_HELD = 4


def _short(view: View) -> tuple[Fate, ...]:
    return tuple(
        fate for probed in view.probes_here(FIRST) for fate in fates(probed) if fate.plan.ttl is not None
    )


def hops(view: View) -> dict[int, str]:
    """Who said that the hops ran out, by TTL."""
    found: dict[int, str] = {}
    for fate in _short(view):
        sender = next((plainly(error.sender) for error in fate.seen.errors if error.sender), None)
        if fate.plan.ttl and sender:
            found.setdefault(fate.plan.ttl, sender)
    return found


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    if view.transport is not Transport.TCP:
        return
    far = distance(view)
    yield from _connects_short(view, far, notes)
    yield from _same_tuple(view, notes)
    yield from _ttls(view, notes)


def _connects_short(view: View, far: int | None, notes: Notes) -> Iterator[Sign]:
    if far is None:
        return
    if far <= 1:
        text = f"{view.far_name} is on the same link as {view.near_name}"
        yield Sign(names.CONNECTS_SHORT, False, (notes.note(text),))
        return
    shots = [fate for fate in _short(view) if (fate.plan.ttl or 0) < far]
    stood = [fate.plan.ttl or 0 for fate in shots if fate.answered]
    if stood:
        least = min(stood)
        text = f"{view.near_name} connects with TTL {least}; {view.far_name} is {far} hops away"
        values = {"ttl": str(least), "distance": str(far)}
        yield Sign(names.CONNECTS_SHORT, True, (notes.note(text),), _at(view, least), values)
    elif shots and {fate.plan.ttl for fate in shots} >= set(range(1, min(far - 1, _MOST) + 1)):
        text = f"{view.near_name} connects with no TTL below {far}, which leads to {view.far_name}"
        yield Sign(names.CONNECTS_SHORT, False, (notes.note(text),))


def _at(view: View, ttl: int) -> Place | None:
    """A router that takes a connection itself does so before it looks at the TTL, one that does while it
    forwards looks first: so at the hop of that TTL, or just before."""
    before = hops(view).get(ttl - 1)
    if ttl == 1:
        return Place(PlaceKind.HOP, None, 1)
    return Place(PlaceKind.BETWEEN, before, ttl - 1)


def _same_tuple(view: View, notes: Notes) -> Iterator[Sign]:
    """Whether the far end has the connections that the prober held, under the same addresses and ports."""
    same = held = 0
    for probed in view.probes_here():
        if probed.step.port != view.port or not _is_tcp_flow(probed) or not view.far_sees("connections"):
            continue
        theirs = far_tuples(view, probed)
        mine = {
            (plainly(fate.seen.local_address), fate.seen.local_port)
            for fate in fates(probed)
            if fate.answered and fate.plan.ttl is None
        }
        same += len(mine & theirs)
        held += sum(fate.answered for fate in fates(probed) if fate.plan.hold_ms is not None)
    if same:
        text = f"{view.far_name} has {same} connections with just the addresses and ports of {view.near_name}"
        yield Sign(names.SAME_TUPLE, True, (notes.note(text),))
    elif held >= _HELD and not translated(view) and _listens(view):
        text = (
            f"{view.near_name} held {held} connections, and {view.far_name} has none from its "
            "addresses and ports"
        )
        yield Sign(names.SAME_TUPLE, False, (notes.note(text),))


def _listens(view: View) -> bool:
    """Where nothing listens no connection is ever there to be found, whoever asked for it."""
    armed = view.far.armed if view.far is not None else None
    return armed is not None and any(one.port == view.port for one in armed.listeners)


def _is_tcp_flow(probed: Probed) -> bool:
    spec = probed.step.spec
    return getattr(spec, "transport", None) is Transport.TCP


def far_tuples(view: View, probed: Probed) -> set[tuple[str | None, int | None]]:
    account = view.far_account(probed)
    if account is None:
        return set()
    seen = [(one.address, one.port, one.local_port) for one in account.accepted]
    seen += [(one.address, one.port, one.local_port) for one in account.connections]
    return {(plainly(address), port) for address, port, local in seen if local == view.port}


def translated(view: View) -> bool:
    """Between the two sources are rewritten anyhow: other ports prove nothing then."""
    return any(
        reply.valid
        and (plainly(reply.seen_address), reply.seen_port) != (plainly(shot.local_address), shot.local_port)
        for probed in view.probes_here()
        for shot in probed.shots
        for reply in shot.replies
        if reply.seen_address and shot.local_address
    )


def _ttls(view: View, notes: Notes) -> Iterator[Sign]:
    """Of connections to a listener of the far watch on the very port (``--listen``)."""
    pairs = {
        (one.syn_ttl, one.ack_ttl)
        for probed in view.probes_here()
        if probed.step.port == view.port
        for fate, one in own_connections(view, probed)
        if one.syn_ttl is not None and one.ack_ttl is not None and fate.plan.ttl is None
    }
    if not pairs:
        return
    differ = [pair for pair in pairs if routers_of(pair[0]) != routers_of(pair[1])]
    text = "; ".join(f"SYN with TTL {syn}, ACK with TTL {ack}" for syn, ack in sorted(pairs))
    yield Sign(names.TTLS_DIFFER, len(differ) == len(pairs), (notes.note(f"at {view.far_name}: {text}"),))


READER = Reader(frozenset({names.CONNECTS_SHORT, names.SAME_TUPLE, names.TTLS_DIFFER}), _read)


def _where(told: Told) -> str:
    place = told.signs[names.CONNECTS_SHORT].place
    if place is None:
        return "on the way"
    return f"at hop {place.hop}" if place.kind is PlaceKind.HOP else f"at or behind hop {place.hop}"


def _splitter(told: Told) -> str:
    view = told.view
    return (
        f"something {_where(told)} ends TCP connections of {view.near_name} and opens others to "
        f"{view.far_name} in "
        "their place: that a connection stands says nothing of the target"
    )


def _syn_proxy(told: Told) -> str:
    view = told.view
    return (
        f"a SYN proxy {_where(told)} answers {view.near_name}'s SYNs in the place of {view.far_name}: that a "
        "connection stands says nothing of the target"
    )


_WHEN = {names.FLOW_READY: True}
_TCP = frozenset({Transport.TCP})


def _place(told: Told) -> Place | None:
    return told.signs[names.CONNECTS_SHORT].place


CAUSES = (
    Cause(
        "no-proxy",
        Verdict.REACHABLE,
        lambda told: "connections are ended by the target itself, as far as hops tell",
        predicts={names.CONNECTS_SHORT: False, names.TTLS_DIFFER: False},
        question=QUESTION,
        transports=_TCP,
        when=_WHEN,
    ),
    Cause(
        "tcp-splitter",
        Verdict.TCP_SPLITTER,
        _splitter,
        predicts={names.CONNECTS_SHORT: True, names.SAME_TUPLE: False},
        proof=proven_by((names.CONNECTS_SHORT, names.SAME_TUPLE)),
        place=_place,
        question=QUESTION,
        transports=_TCP,
        when=_WHEN,
    ),
    Cause(
        "syn-proxy",
        Verdict.SYN_PROXY,
        _syn_proxy,
        predicts={names.CONNECTS_SHORT: True, names.SAME_TUPLE: True},
        proof=proven_by((names.CONNECTS_SHORT, names.SAME_TUPLE)),
        place=_place,
        question=QUESTION,
        transports=_TCP,
        when=_WHEN,
    ),
    Cause(
        "syn-proxy-by-ttl",
        Verdict.SYN_PROXY,
        _syn_proxy,
        predicts={names.TTLS_DIFFER: True, names.SAME_TUPLE: True},
        proof=proven_by((names.TTLS_DIFFER, names.SAME_TUPLE)),
        question=QUESTION,
        transports=_TCP,
        when=_WHEN,
    ),
)


def _build(view: View, signs: Signs) -> Round | None:
    far = distance(view)
    if far is None or far < 2:
        return None
    most = min(far - 1, _MOST)
    each = 1 if view.port in ports.LOCKING or most > _TWICE else _EACH
    shots = tuple(
        Shot(at_ms=_EVERY_MS * (hop + most * number), ttl=hop)
        for number in range(each)
        for hop in range(1, most + 1)
    )
    spec = flow(view, Transport.TCP, shots, timeout_s=_WAITS_S)
    return round_of(step(view, FIRST, "does it connect with fewer hops than lead there", spec, view.port))


MOVES = (
    Move(
        FIRST,
        frozenset({names.CONNECTS_SHORT, names.SAME_TUPLE}),
        _build,
        cost=0.3,
        wants=lambda view, signs: signs.holds(names.FLOW_READY) is True and distance(view) is not None,
    ),
)
