"""Do large packets get through as small ones do? (rules 29 to 31). Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from probemesh_shared.model import Place, Shot
from probemesh_shared.words import FailureKind, Family, PlaceKind, Transport, Verdict

from probemesh_controller.pair.case import Round
from probemesh_controller.pair.causes import Cause, Told, proven_by
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.tour import names, side
from probemesh_controller.pair.tour.basis import (
    Fate,
    arrivals,
    distance,
    fates,
    flow,
    is_v6,
    plainly,
    ready,
    round_of,
    step,
    surrogate,
)
from probemesh_controller.pair.tour.chance import BY_CHANCE, all_lost
from probemesh_controller.pair.view import View

QUESTION = "sizes"
AGAIN = "tour-sizes-again"
_HEADERS = {False: 28, True: 48}  # IP and UDP, bytes
#: Fragments of a datagram of :data:`side.SEVERAL` bytes.
_FRAGMENTS = 3
#: Loss that is reckoned with at least, however well small packets fare.
_LEAST_LOSS = 0.02
_LADDER_MOST = 10
_STEPS = (548, 972, 1172, 1252, 1332, 1372, 1432)


@dataclass(slots=True)
class _Kind:
    """Datagrams of one kind: how many were sent that may count, and how many arrived."""

    sent: int = 0
    arrived: int = 0


@dataclass(slots=True)
class _Tally:
    small: _Kind = field(default_factory=_Kind)
    large: _Kind = field(default_factory=_Kind)
    clear: _Kind = field(default_factory=_Kind)
    several: _Kind = field(default_factory=_Kind)
    passed: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    told: list[tuple[str, int]] = field(default_factory=list)
    told_small: int = 0  # shots that our own host refused, since it knows the path's MTU


def tally(view: View) -> _Tally:
    found = _Tally()
    for probed in view.probes_here(side.PURPOSE, AGAIN):
        arrived = arrivals(view, probed)
        for fate in fates(probed):
            _told(fate, found)
            there = arrived.get(fate.seen.shot)
            if fate.plan.ttl is not None or there is None:
                continue
            kind = _kind_of(fate, found, is_v6(view))
            if kind is not None:
                kind.sent += 1
                kind.arrived += there
            if fate.plan.dont_fragment and fate.plan.size:
                (found.passed if there else found.failed).add(fate.plan.size)
    return found


def _kind_of(fate: Fate, found: _Tally, v6: bool) -> _Kind | None:
    if side.is_small(fate):
        return found.small
    if fate.plan.size == side.SEVERAL:
        return found.several
    if fate.plan.size == side.FULL[v6]:
        return found.large if fate.plan.dont_fragment else found.clear
    return None


def _told(fate: Fate, found: _Tally) -> None:
    for error in fate.seen.errors:
        is_size = error.type == 2 if error.family is Family.IPV6 else (error.type, error.code) == (3, 4)
        if is_size:
            found.told.append((error.sender or "a router", error.info or 0))
    failure = fate.seen.failure
    if failure is not None and failure.kind is FailureKind.TOO_BIG:
        found.told_small += 1


def _lost(kind: _Kind, small: _Kind, packets: int = 1) -> bool | None:
    """True: none of so many arrived that loss as small ones suffer it does not explain that."""
    if kind.arrived:
        return False
    if small.arrived < 3:
        return None  # nothing to compare with
    loss = max(_LEAST_LOSS, (small.sent - small.arrived + 1) / (small.sent + 2))
    by_chance = all_lost(1 - (1 - loss) ** packets, kind.sent)
    return True if kind.sent >= 5 and by_chance < BY_CHANCE else None


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    found = tally(view)
    if not found.small.sent and not found.told:
        return
    v6 = is_v6(view)
    yield Sign(names.NO_CLEAR, v6)
    low, high = max(found.passed, default=0), min(found.failed, default=0)
    values = _threshold(low, high, _HEADERS[v6])
    for name, kind, packets, what in (
        (names.LARGE_LOST, found.large, 1, f"of {side.FULL[v6]} bytes that must not be broken up"),
        (names.CLEAR_LOST, found.clear, 1, f"of {side.FULL[v6]} bytes that may be broken up"),
        (names.FRAGMENTS_LOST, found.several, _FRAGMENTS, f"of {side.SEVERAL} bytes, in fragments"),
    ):
        if kind.sent:
            text = (
                f"of {kind.sent} datagrams {what} {kind.arrived} reached {view.far_name}, "
                f"of small ones {found.small.arrived} of {found.small.sent}"
            )
            place = _beyond(view) if name == names.LARGE_LOST else None
            yield Sign(name, _lost(kind, found.small, packets), (notes.note(text),), place, values)
    yield from _said(found, view, notes)


def _threshold(low: int, high: int, headers: int) -> dict[str, str]:
    """Of IP packets."""
    found = {"passes": str(low + headers)} if low else {}
    return {**found, "fails": str(high + headers)} if high else found


def _said(found: _Tally, view: View, notes: Notes) -> Iterator[Sign]:
    if found.told:
        sender, size = found.told[0]
        text = f"{sender} told {view.near_name} that it takes {size} bytes at most"
        yield Sign(names.TOLD_SIZE, True, (notes.note(text),), values={"mtu": str(size), "by": sender})
    elif found.told_small:
        text = f"{view.near_name} itself knows that packets of that size are too large for the path"
        yield Sign(names.TOLD_SIZE, True, (notes.note(text),))
    else:
        text = f"no router told {view.near_name} that packets are too large"
        yield Sign(names.TOLD_SIZE, False, (notes.note(text),))


def _beyond(view: View) -> Place | None:
    """The last hop that a large packet reached, by a ladder of such."""
    best: tuple[int, str] | None = None
    for probed in view.probes_here(AGAIN):
        for fate in fates(probed):
            sender = next((plainly(error.sender) for error in fate.seen.errors if error.sender), None)
            if fate.plan.ttl is not None and sender and (best is None or fate.plan.ttl > best[0]):
                best = fate.plan.ttl, sender
    return Place(PlaceKind.BETWEEN, best[1], best[0]) if best is not None else None


READER = Reader(
    frozenset({names.LARGE_LOST, names.CLEAR_LOST, names.FRAGMENTS_LOST, names.TOLD_SIZE, names.NO_CLEAR}),
    _read,
)


# --- causes -----------------------------------------------------------------------------------------------


def _sizes_said(told: Told) -> str:
    passes, fails = (told.value(names.LARGE_LOST, key) for key in ("passes", "fails"))
    if passes and fails:
        return f"packets of {passes} bytes arrive, of {fails} they do not"
    return f"packets of {fails} bytes do not arrive" if fails else "large packets do not arrive"


def _way(told: Told) -> str:
    return f"from {told.view.near_name} to {told.view.far_name}"


def _after(told: Told) -> str:
    place = told.signs[names.LARGE_LOST].place
    return f", behind hop {place.hop} ({place.address})" if place is not None else ""


def _black_hole(told: Told) -> str:
    return (
        f"an MTU black hole {_way(told)}{_after(told)}: {_sizes_said(told)}, and no router says so; "
        "connections stand, then stall on full packets"
    )


def _size_filter(told: Told) -> str:
    return f"large packets are dropped {_way(told)}{_after(told)}, whole or not: {_sizes_said(told)}"


def _fragments(told: Told) -> str:
    return f"fragments are dropped {_way(told)}: packets of full size arrive, larger datagrams do not"


def _place(told: Told) -> Place | None:
    return told.signs[names.LARGE_LOST].place


def _mtu_test(told: Told) -> str:
    fails = told.value(names.LARGE_LOST, "passes")
    return 'let "fragmentation needed" and "packet too big" through on all routers of the path' + (
        f", or clamp the MSS to {max(0, int(fails) - (60 if is_v6(told.view) else 40))}" if fails else ""
    )


_WHEN = {names.READY: True}
CAUSES = (
    Cause(
        "sizes-pass",
        Verdict.REACHABLE,
        lambda told: f"packets of all sizes pass {_way(told)}",
        predicts={names.LARGE_LOST: False, names.CLEAR_LOST: False, names.FRAGMENTS_LOST: False},
        question=QUESTION,
        when=_WHEN,
    ),
    Cause(
        "sizes-told",
        Verdict.REACHABLE,
        lambda told: f"the path {_way(told)} takes smaller packets, and says so",
        predicts={names.TOLD_SIZE: True},
        proof=proven_by((names.TOLD_SIZE,)),
        question=QUESTION,
        when=_WHEN,
    ),
    Cause(
        "black-hole",
        Verdict.MTU_BLACK_HOLE,
        _black_hole,
        predicts={
            names.LARGE_LOST: True,
            names.CLEAR_LOST: False,
            names.TOLD_SIZE: False,
            names.NO_CLEAR: False,
        },
        proof=proven_by((names.LARGE_LOST, names.CLEAR_LOST)),
        place=_place,
        next_test=_mtu_test,
        question=QUESTION,
        when=_WHEN,
    ),
    Cause(
        "black-hole-v6",
        Verdict.MTU_BLACK_HOLE,
        _black_hole,
        predicts={names.LARGE_LOST: True, names.TOLD_SIZE: False, names.NO_CLEAR: True},
        place=_place,
        next_test=_mtu_test,
        question=QUESTION,
        when=_WHEN,
    ),
    Cause(
        "size-filter",
        Verdict.SIZE_FILTER,
        _size_filter,
        predicts={names.LARGE_LOST: True, names.CLEAR_LOST: True, names.TOLD_SIZE: False},
        place=_place,
        question=QUESTION,
        when=_WHEN,
    ),
    Cause(
        "fragments-dropped",
        Verdict.FRAGMENT_DROP,
        _fragments,
        predicts={names.LARGE_LOST: False, names.FRAGMENTS_LOST: True},
        proof=proven_by((names.LARGE_LOST, names.FRAGMENTS_LOST)),
        next_test=lambda told: (
            "keep datagrams within the path's MTU (DNS: EDNS of 1232 bytes), or allow fragments"
        ),
        question=QUESTION,
        when=_WHEN,
    ),
)


# --- moves ------------------------------------------------------------------------------------------------


def _again(view: View, signs: Signs) -> Round | None:
    """Six of each kind once more, sizes between, and a ladder of large ones."""
    aim = surrogate(view)
    if aim is None:
        return None
    v6, hops = is_v6(view), min((distance(view) or 1) - 1, _LADDER_MOST)
    shots: list[Shot] = [side.small(8.0 * number) for number in range(8)]
    shots += side.sizes(v6, 6, from_ms=4.0)
    shots += [
        Shot(at_ms=5.0 * number, size=size, dont_fragment=True) for number, size in enumerate(2 * _STEPS)
    ]
    shots += [
        Shot(at_ms=30.0 * number + hop, size=side.FULL[v6], dont_fragment=True, ttl=hop)
        for number in range(2)
        for hop in range(1, hops + 1)
    ]
    spec = flow(view, Transport.UDP, sorted(shots, key=_at), aim.token)
    return round_of(step(view, AGAIN, "which sizes get through, and how far", spec, aim.port))


def _at(shot: Shot) -> float:
    return shot.at_ms


def _suspicious(view: View, signs: Signs) -> bool:
    found = tally(view)
    kinds: Sequence[_Kind] = (found.large, found.clear, found.several)
    return ready(signs) and any(kind.sent and not kind.arrived for kind in kinds)


MOVES = (
    Move(
        AGAIN,
        frozenset({names.LARGE_LOST, names.CLEAR_LOST, names.FRAGMENTS_LOST}),
        _again,
        cost=1.0,
        times=2,
        wants=_suspicious,
    ),
)
