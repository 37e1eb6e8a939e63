"""Is a connection reset for what it says? (rule 40). Pure.

Only what was asked for is said, or what the port's number makes plain: nothing else is sent to a foreign
service.
"""

from collections.abc import Iterator

from probemesh_shared.hosts import bracketed
from probemesh_shared.model import Shot
from probemesh_shared.words import Transport, Verdict

from probemesh_controller.pair.case import Round
from probemesh_controller.pair.causes import Cause, Told, proven_by
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.tour import names
from probemesh_controller.pair.tour.basis import Fate, fates, flow, patience_s, round_of, step
from probemesh_controller.pair.view import Probed, View

QUESTION = "payload"
FIRST, AGAIN = "tour-payload", "tour-payload-again"
_HTTP = frozenset({80, 81, 591, 3000, 5000, 5601, 8000, 8008, 8080, 8081, 8088, 8888, 9090, 9200, 15672})
_POSTGRES = frozenset({5432, 5433, 6432})
_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
_TRIES = 3
_HELD_MS = 250.0


def words(view: View) -> bytes | None:
    """The first bytes of whoever uses this port."""
    if view.transport is not Transport.TCP:
        return None
    if view.is_forward and view.case.asked.payload is not None:
        return view.case.asked.payload
    if view.port in _HTTP and view.address is not None:
        host = bracketed(view.address)
        return f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    return _SSL_REQUEST if view.port in _POSTGRES else None


def _is_reset(fate: Fate) -> bool:
    """It stood, and was reset then."""
    return fate.answered and fate.seen.end == "reset"


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    steps = tuple(view.probes_here(FIRST, AGAIN))
    every = [(probed, fate) for probed in steps for fate in fates(probed)]
    said = [(probed, fate) for probed, fate in every if fate.plan.send is not None and fate.answered]
    quiet = [fate for _, fate in every if fate.plan.send is None and fate.answered]
    if not said:
        return
    reset = [(probed, fate) for probed, fate in said if _is_reset(fate)]
    others = sum(_is_reset(fate) for fate in quiet)
    text = (
        f"{len(reset)} of {len(said)} connections of {view.near_name} were reset once they said something, "
        f"{others} of {len(quiet)} that said nothing"
    )
    holds = True if len(reset) >= 2 and quiet and not others else (None if reset else False)
    yield Sign(names.RESET_BY_PAYLOAD, holds, (notes.note(text),))
    if reset:
        yield _arrived(view, reset, notes)


def _arrived(view: View, reset: list[tuple[Probed, Fate]], notes: Notes) -> Sign:
    """By the far host's socket table: it has the connection, and whether any byte came."""
    got = nothing = 0
    for probed, fate in reset:
        received = _received(view, probed, fate)
        got += bool(received)
        nothing += received == 0
    if got:
        text = f"{view.far_name} had the bytes of {got} connections that were reset"
        return Sign(names.PAYLOAD_ARRIVED, True, (notes.note(text),))
    if nothing:
        text = f"{view.far_name} still has {nothing} of these connections, and not one byte came by them"
        return Sign(names.PAYLOAD_ARRIVED, False, (notes.note(text),))
    return Sign(names.PAYLOAD_ARRIVED)


def _received(view: View, probed: Probed, fate: Fate) -> int | None:
    account = view.far_account(probed)
    if account is None:
        return None
    for one in account.accepted:
        if one.port == fate.seen.local_port and one.local_port == view.port:
            return one.received
    for connection in account.connections:
        if connection.port == fate.seen.local_port and connection.local_port == view.port:
            if connection.bytes_received is not None:
                return connection.bytes_received
            return connection.receive_queue or None
    return None


READER = Reader(frozenset({names.RESET_BY_PAYLOAD, names.PAYLOAD_ARRIVED}), _read)


def _summary(told: Told) -> str:
    view = told.view
    return (
        f"connections from {view.near_name} to {view.flow_name} at {view.far_name} are reset on "
        "the way for what "
        f"they say: those that say nothing stand, and {view.far_name} neither had the bytes nor ended them"
    )


_WHEN = {names.FLOW_READY: True}
_TCP = frozenset({Transport.TCP})
CAUSES = (
    Cause(
        "payload-passes",
        Verdict.REACHABLE,
        lambda told: "what is said arrives",
        predicts={names.RESET_BY_PAYLOAD: False},
        question=QUESTION,
        transports=_TCP,
        when=_WHEN,
    ),
    Cause(
        "service-resets",
        Verdict.REACHABLE,
        lambda told: f"{told.view.far_name}'s service itself ends connections for what they say",
        predicts={names.PAYLOAD_ARRIVED: True},
        proof=proven_by((names.PAYLOAD_ARRIVED,)),
        question=QUESTION,
        transports=_TCP,
        when=_WHEN,
    ),
    Cause(
        "payload-reset",
        Verdict.PAYLOAD_RESET,
        _summary,
        predicts={names.RESET_BY_PAYLOAD: True, names.PAYLOAD_ARRIVED: False},
        proof=proven_by((names.RESET_BY_PAYLOAD, names.PAYLOAD_ARRIVED)),
        next_test=lambda told: "look for what inspects payloads on the path (IPS, application control)",
        question=QUESTION,
        transports=_TCP,
        when=_WHEN,
    ),
)


def _build(view: View, purpose: str, count: int) -> Round | None:
    said = words(view)
    if said is None:
        return None
    shots = [Shot(at_ms=40.0 * n, send=said, hold_ms=_HELD_MS) for n in range(count)]
    shots += [Shot(at_ms=40.0 * n + 20.0, hold_ms=_HELD_MS) for n in range(count)]
    spec = flow(view, Transport.TCP, shots, timeout_s=patience_s(view))
    return round_of(step(view, purpose, "connections that say something, and others", spec, view.port))


def _some_reset(view: View, signs: Signs) -> bool:
    return any(_is_reset(fate) for probed in view.probes_here(FIRST) for fate in fates(probed))


MOVES = (
    Move(
        FIRST,
        frozenset({names.RESET_BY_PAYLOAD}),
        lambda view, signs: _build(view, FIRST, 2),
        cost=0.4,
        wants=lambda view, signs: signs.holds(names.FLOW_READY) is True and words(view) is not None,
    ),
    Move(
        AGAIN,
        frozenset({names.RESET_BY_PAYLOAD, names.PAYLOAD_ARRIVED}),
        lambda view, signs: _build(view, AGAIN, _TRIES),
        cost=0.8,
        wants=_some_reset,
    ),
)
