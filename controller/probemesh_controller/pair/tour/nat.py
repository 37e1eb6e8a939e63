"""Is the prober's own address rewritten on the way, by one box or two? (rules 19, 20, 23). Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from probemesh_shared.model import Place, Shot
from probemesh_shared.words import Confidence, Family, Outcome, PlaceKind, Transport, Verdict

from probemesh_controller.pair.case import Round, Step
from probemesh_controller.pair.causes import Cause, Told, proven_by
from probemesh_controller.pair.flow.purposes import FLOW_SHOTS
from probemesh_controller.pair.flow.socket_evidence import prober_of
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.owning import lists_all
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.tour import names, side
from probemesh_controller.pair.tour.basis import fates, flow, plainly, ready, round_of, step, surrogate
from probemesh_controller.pair.view import View, local_address, plain_address, seen_from

QUESTION, LAYERS = "nat", "layers"
OWN, BEHAVIOUR = "tour-nat-ladder", "tour-nat"
#: Nobody listens there; traceroute's.
_UNUSED = 33_434
_MOST_LAYERS = 4
_EACH = 2


@dataclass(frozen=True, slots=True)
class SeenAs:
    """As what a flow of the near end was seen, and from where it was sent; ports are 0 and ``own`` is None
    where that is not known."""

    address: str
    port: int = 0
    sent_port: int = 0
    own: str | None = None

    @property
    def is_kept(self) -> bool:
        return self.port == self.sent_port


def seen_as(view: View) -> tuple[SeenAs, ...]:
    """By the word of the far responder."""
    return tuple(
        SeenAs(
            plainly(reply.seen_address) or "",
            reply.seen_port or 0,
            shot.local_port or 0,
            local_address(shot.local_address),
        )
        for probed in view.probes()
        for shot in probed.shots
        for reply in shot.replies
        if reply.valid and reply.seen_address
    )


def _by_whom(view: View) -> str:
    """The far end, if it saw anything itself; else the third agent that was asked."""
    saw = {probed.step.to for probed in view.probes() if seen_from(probed)}
    others = sorted(name for name in saw if name is not None)
    return others[0] if others and view.far_name not in saw else view.far_name


def _by_mark(view: View) -> Iterator[SeenAs]:
    """The same, where a service answers that tells nothing: connections in its host's table with the odd
    segment size of ours, from addresses that are not the near end's. The port is 0 where it is no shot's."""
    for probed in view.probes_here(*FLOW_SHOTS):
        account, prober = view.far_account(probed), prober_of(view, probed)
        ports = {shot.local_port for shot in probed.shots}
        for one in account.connections if account is not None else ():
            address = plain_address(one.address)
            if one.local_port == view.port and address not in view.near_own and prober.has_mark(one.mss):
                sent_from = {local_address(shot.local_address) for shot in probed.shots} - {None}
                known = one.port if one.port in ports else 0
                yield SeenAs(address, one.port, known, next(iter(sent_from), None))


def _is_translated(one: SeenAs, view: View) -> bool | None:
    """A host knows from which address it sent. Where it does not say, its list of addresses decides, if that
    has no gaps."""
    if one.address in view.near_own:
        return False
    if one.own is not None:
        return True
    return True if view.near is not None and lists_all(view.near, one.address) else None


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    seen, near = seen_as(view) or tuple(_by_mark(view)), view.near
    if not seen or near is None:
        return
    translated = [_is_translated(one, view) for one in seen]
    others = [one for one, is_other in zip(seen, translated, strict=True) if is_other]
    if not others and None in translated:
        return
    if not others:
        text = f"{view.far_name} sees {view.near_name} under its own address"
        yield Sign(names.TRANSLATED, False, (notes.note(text),))
        return
    kept = sum(one.is_kept for one in others)
    public = sorted({one.address for one in others})
    ports = (
        "with the same ports" if kept == len(others) else f"with other ports ({kept} of {len(others)} kept)"
    )
    whom = _by_whom(view)
    text = f"{whom} sees {view.near_name} as {', '.join(public)}, {ports}"
    values = {"by": whom, "as": ", ".join(public), "ports": "kept" if kept == len(others) else "changed"}
    behaviour = _behaviour(view, kept == len(others))
    seen_ids = [notes.note(text), *(notes.note(words) for words in behaviour.values())]
    yield Sign(names.TRANSLATED, True, tuple(seen_ids), values={**values, **behaviour})
    yield from _layers(view, frozenset(public), notes)


def _behaviour(view: View, kept: bool) -> dict[str, str]:
    """Mapping and filtering by RFC 4787, as far as two ends tell; empty where they do not."""
    found: dict[str, str] = {}
    arrived = [
        any(reply.valid for reply in fate.seen.replies)
        for probed in view.probes_here(BEHAVIOUR)
        for fate in fates(probed)
        if fate.plan.other_port
    ]
    if arrived:
        found["filtering"] = (
            "filtering is not by port: a reply from another port of the target comes in"
            if any(arrived)
            else "filtering is address-and-port-dependent: a reply from another port does not come in"
        )
    mapped = {
        (reply.seen_address, reply.seen_port)
        for probed in view.probes_here(BEHAVIOUR)
        for fate in fates(probed)
        if fate.plan.socket is not None
        for reply in fate.seen.replies
        if reply.valid
    }
    asked = {
        fate.plan.address
        for probed in view.probes_here(BEHAVIOUR)
        for fate in fates(probed)
        if fate.plan.socket is not None and fate.answered
    }
    if len(asked) > 1:
        found["mapping"] = _mapping(len(mapped) > 1, kept)
    return found


def _mapping(differs: bool, kept: bool) -> str:
    if differs:
        return "mapping is address-dependent, or address-and-port-dependent"
    if kept:
        return (
            "mapping is endpoint-independent, or address-and-port-dependent with port preservation: two ends "
            "cannot tell"
        )
    return "mapping is endpoint-independent"


def _layers(view: View, public: frozenset[str], notes: Notes) -> Iterator[Sign]:
    """By the ladder to the near end's own public address."""
    answered: dict[int, str] = {}
    expired: dict[int, str] = {}
    for probed in view.probes(OWN):
        for fate in fates(probed):
            ttl = fate.plan.ttl or 0
            for error in fate.seen.errors:
                sender = plainly(error.sender) or ""
                is_expired = error.type == (3 if error.family is Family.IPV6 else 11)
                (expired if is_expired else answered).setdefault(ttl, sender)
            if fate.seen.outcome in (Outcome.OK, Outcome.REFUSED) and not fate.seen.errors:
                answered.setdefault(ttl, probed.step.address)
    at = min((ttl for ttl, sender in answered.items() if sender in public), default=None)
    if at is None:
        return
    text = f"{view.near_name}'s public address answers {view.near_name} at {at} hop{'s' if at > 1 else ''}"
    place = Place(PlaceKind.HOP, answered[at], at)
    yield Sign(names.OUTER_NAT, at > 1, (notes.note(text),), place, {"layers": str(at)})


READER = Reader(frozenset({names.TRANSLATED, names.OUTER_NAT}), _read)


def _source_nat(told: Told) -> str:
    view = told.view
    text = (
        f"{view.near_name} is behind a NAT: {told.value(names.TRANSLATED, 'by')} sees it as "
        f"{told.value(names.TRANSLATED, 'as')}, source "
        f"ports are {told.value(names.TRANSLATED, 'ports')}"
    )
    more = [told.value(names.TRANSLATED, key) for key in ("mapping", "filtering")]
    return "; ".join((text, *(one for one in more if one)))


_WHEN = {names.TRANSLATED: True}
CAUSES = (
    Cause(
        "source-kept",
        Verdict.REACHABLE,
        lambda told: f"{told.view.far_name} sees {told.view.near_name} under its own address",
        predicts={names.TRANSLATED: False},
        question=QUESTION,
        when={names.READY: True},
    ),
    Cause(
        "source-nat",
        Verdict.SOURCE_NAT,
        _source_nat,
        predicts={names.TRANSLATED: True},
        proof=proven_by((names.TRANSLATED,)),
        place=lambda told: told.signs[names.OUTER_NAT].place,
        next_test=lambda told: f"meshctl nat {told.view.near_name}",
        question=QUESTION,
        when={names.READY: True},
    ),
    Cause(
        "one-layer",
        Verdict.REACHABLE,
        lambda told: "there is one NAT, and no other behind it",
        predicts={names.OUTER_NAT: False},
        question=LAYERS,
        when=_WHEN,
    ),
    Cause(
        "double-nat",
        Verdict.DOUBLE_NAT,
        lambda told: (
            f"{told.view.near_name} may be behind NATs in a row: its public address "
            f"({told.value(names.TRANSLATED, 'as')}) is {told.value(names.OUTER_NAT, 'layers')} hops away; a "
            "router that translates nothing may stand before it as well"
        ),
        predicts={names.OUTER_NAT: True},
        proof=proven_by((names.OUTER_NAT,)),
        place=lambda told: told.signs[names.OUTER_NAT].place,
        next_test=lambda told: f"meshctl nat {told.view.near_name}",
        question=LAYERS,
        at_most=Confidence.POSSIBLE,
        when=_WHEN,
    ),
)


def _own_ladder(view: View, signs: Signs) -> Round | None:
    """To the near end's own public address, by UDP and TCP, one hop further each time."""
    public = next((one.address for one in seen_as(view) if one.address), None)
    aim = surrogate(view)
    if public is None or aim is None:
        return None
    shots = tuple(
        Shot(at_ms=20.0 * ttl + 120.0 * n, ttl=ttl, address=public, port=_UNUSED + 8 * n + ttl)
        for n in range(_EACH)
        for ttl in range(1, _MOST_LAYERS + 1)
    )
    why = "how far away its own public address is"
    steps = [
        step(view, OWN, why, flow(view, transport, shots, timeout_s=0.5), aim.port)
        for transport in (Transport.UDP, Transport.TCP)
    ]
    return round_of(*steps, _behaviour_step(view))


def _behaviour_step(view: View) -> Step | None:
    aim, address = surrogate(view), view.address
    if aim is None or address is None:
        return None
    others = [one for one in view.addresses if one != address and (":" in one) == (":" in address)]
    shots = [Shot(at_ms=30.0 * n, size=side.SMALL, other_port=True) for n in range(4)]
    shots += [
        Shot(at_ms=10.0 + 30.0 * n, size=side.SMALL, socket=1, address=one)
        for n, one in enumerate((address, *others[:1]) * 2)
    ]
    spec = flow(view, Transport.UDP, sorted(shots, key=lambda shot: shot.at_ms), aim.token)
    return step(view, BEHAVIOUR, "how its NAT maps and filters", spec, aim.port)


MOVES = (
    Move(
        OWN,
        frozenset({names.OUTER_NAT}),
        _own_ladder,
        cost=0.6,
        wants=lambda view, signs: ready(signs) and signs.holds(names.TRANSLATED) is True,
    ),
)
