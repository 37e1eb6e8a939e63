"""Is a connection reset for what it says? (rule 40). Pure.

Only what was asked for is said, or what the port's number makes plain; harmless bytes of the same number only
where that was reset, to see whether it is for what is said or for saying anything.
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
#: Alike so many times, it is no chance.
_SURE = 2
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


def _harmless(said: bytes) -> bytes:
    """As many bytes that mean nothing."""
    return (b"z" if said[:1] == b"." else b".") * len(said)


def _is_reset(fate: Fate) -> bool:
    """It stood, and was reset then."""
    return fate.answered and fate.seen.end == "reset"


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    steps = tuple(view.probes_here(FIRST, AGAIN))
    every = [(probed, fate) for probed in steps for fate in fates(probed)]
    said = [(probed, fate) for probed, fate in every if _says(fate, view) and fate.answered]
    quiet = [fate for _, fate in every if fate.plan.send is None and fate.answered]
    if not said:
        return
    reset = [(probed, fate) for probed, fate in said if _is_reset(fate)]
    others = sum(_is_reset(fate) for fate in quiet)
    text = (
        f"{len(reset)} of {len(said)} connections of {view.near_name} were reset once they said something, "
        f"{others} of {len(quiet)} that said nothing"
    )
    holds = True if len(reset) >= _SURE and quiet and not others else (None if reset else False)
    yield Sign(names.RESET_BY_PAYLOAD, holds, (notes.note(text),))
    if reset:
        yield _by_any(view, [fate for _, fate in every if _says_else(fate, view) and fate.answered], notes)
        yield _arrived(view, reset, notes)


def _says(fate: Fate, view: View) -> bool:
    return fate.plan.send is not None and not _says_else(fate, view)


def _says_else(fate: Fate, view: View) -> bool:
    said = words(view)
    return said is not None and fate.plan.send == _harmless(said)


def _by_any(view: View, harmless: list[Fate], notes: Notes) -> Sign:
    reset = sum(map(_is_reset, harmless))
    if len(harmless) < _SURE or 0 < reset < _SURE:
        return Sign(names.RESET_BY_ANY)
    text = f"{reset} of {len(harmless)} that said as many harmless bytes were reset"
    return Sign(names.RESET_BY_ANY, reset > 0, (notes.note(f"of {view.near_name}'s connections {text}"),))


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


READER = Reader(frozenset({names.RESET_BY_PAYLOAD, names.RESET_BY_ANY, names.PAYLOAD_ARRIVED}), _read)


def _summary(told: Told) -> str:
    view = told.view
    return (
        f"connections from {view.near_name} to {view.flow_name} at {view.far_name} are reset on "
        "the way for what "
        f"they say: those that say nothing stand, and {view.far_name} neither had the bytes nor ended them"
    )


def _any_said(told: Told, what: str) -> str:
    view = told.view
    return (
        f"connections from {view.near_name} to {view.flow_name} at {view.far_name} are reset on the way as "
        f"soon as they say anything: a box {what}"
    )


_LOOK_AT_STATE = "look at the rules for established connections on the path, and at how state is kept there"
_ON_THE_WAY = {names.RESET_BY_PAYLOAD: True, names.PAYLOAD_ARRIVED: False}
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
        predicts={**_ON_THE_WAY, names.RESET_BY_ANY: False},
        proof=proven_by((names.RESET_BY_PAYLOAD, names.PAYLOAD_ARRIVED, names.RESET_BY_ANY)),
        next_test=lambda told: "look for what inspects payloads on the path (IPS, application control)",
        question=QUESTION,
        transports=_TCP,
        when=_WHEN,
    ),
    Cause(
        "payload-reset/any",
        Verdict.PAYLOAD_RESET,
        lambda told: _any_said(told, "resets whatever says anything"),
        predicts={**_ON_THE_WAY, names.RESET_BY_ANY: True},
        next_test=lambda told: _LOOK_AT_STATE,
        question=QUESTION,
        transports=_TCP,
        when=_WHEN,
    ),
    Cause(
        "state-lost/at-data",
        Verdict.STATE_LOST,
        lambda told: _any_said(told, "no longer knows the connection when it says something"),
        predicts={**_ON_THE_WAY, names.RESET_BY_ANY: True},
        next_test=lambda told: _LOOK_AT_STATE,
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
    if purpose == AGAIN:
        other = _harmless(said)
        shots += [Shot(at_ms=40.0 * n + 30.0, send=other, hold_ms=_HELD_MS) for n in range(count)]
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
        frozenset({names.RESET_BY_PAYLOAD, names.RESET_BY_ANY, names.PAYLOAD_ARRIVED}),
        lambda view, signs: _build(view, AGAIN, _TRIES),
        cost=0.8,
        wants=_some_reset,
    ),
)
