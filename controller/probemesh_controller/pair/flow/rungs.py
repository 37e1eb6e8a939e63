"""Signs of the ladder: the flow with TTL 1, 2, …, beside one to a port that works. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from probemesh_shared.model import FlowSpec, Place, ShotSeen
from probemesh_shared.words import PlaceKind

from probemesh_controller.pair.flow import names
from probemesh_controller.pair.flow.fates import fate_of, icmp_of, is_expired
from probemesh_controller.pair.flow.purposes import (
    AGAIN,
    BACK_BASE,
    BACK_FLOW,
    LADDER_BASE,
    LADDER_FLOW,
    PATH,
)
from probemesh_controller.pair.owning import far_has
from probemesh_controller.pair.signs import Notes, Reader, Sign
from probemesh_controller.pair.view import Probed, View, plain_address

#: Linux sends with this; the TTL that is left when it comes tells the distance.
USUAL_TTL = 64
MOST_HOPS = 40
#: Since its last error a router's allowance has grown to one that it may send.
ALLOWED_MS = 2000.0


@dataclass(frozen=True, slots=True)
class Rungs:
    """``hops``: who said at which TTL that its hops ran out. ``answers``: how the flow was answered
    otherwise, by TTL. ``tried``: how many shots each TTL had."""

    hops: Mapping[int, str] = field(default_factory=dict)
    answers: Mapping[int, str] = field(default_factory=dict)
    tried: Mapping[int, int] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """The last hop that answered, 0 where none did."""
        return max(self.hops, default=0)

    def reached(self) -> int | None:
        """The least TTL that led to an answer of the flow's own kind."""
        return min((ttl for ttl, fate in self.answers.items() if fate == names.ANSWERED), default=None)

    def refused(self) -> int | None:
        return min((ttl for ttl, fate in self.answers.items() if fate == names.REFUSED), default=None)

    def hop_of(self, address: str | None) -> int | None:
        return next((ttl for ttl, found in sorted(self.hops.items()) if found == address), None)


def rungs(view: View, *purposes: str) -> Rungs:
    """Of all ladders of these purposes that went to the address that the view is about."""
    return _rungs(view.probes_here(*purposes), view)


def back_rungs(view: View, *purposes: str) -> Rungs:
    """Of ladders that the far end sent, to tell about this direction's answers."""
    return _rungs(view.probes(*purposes), view.back)


def _rungs(found: Iterable[Probed], view: View) -> Rungs:
    hops: dict[int, str] = {}
    answers: dict[int, str] = {}
    tried: dict[int, int] = {}
    for probed in found:
        for ttl, shot in _by_ttl(probed):
            tried[ttl] = tried.get(ttl, 0) + 1
            icmp = icmp_of(shot)
            if icmp is not None and is_expired(icmp):
                hops.setdefault(ttl, plain_address(icmp.sender) if icmp.sender else "?")
            elif (fate := fate_of(shot, view)) not in (None, names.SILENT):
                answers.setdefault(ttl, str(fate))
    return Rungs(hops, answers, tried)


def _by_ttl(probed: Probed) -> Iterator[tuple[int, ShotSeen]]:
    spec = probed.step.spec
    shots = spec.shots if isinstance(spec, FlowSpec) else ()
    for seen in probed.shots:
        ttl = shots[seen.shot].ttl if 0 <= seen.shot < len(shots) else None
        if ttl is not None:
            yield ttl, seen


def distance(view: View) -> int | None:
    """Hops to the far end: by the ladder to its own port, else by the TTL of what came in there."""
    by_ladder = rungs(view, LADDER_BASE, PATH).reached()
    if by_ladder is not None:
        return by_ladder
    left = [
        ttl
        for probed in view.probes_here()
        if (account := view.far_account(probed)) is not None
        for ttl in (
            *(one.ttl for one in account.datagrams if one.valid),
            *(one.syn_ttl for one in account.accepted if one.valid),
        )
        if ttl is not None
    ]
    # what the near end's packets were answered with came the same way
    left += [
        reply.ttl
        for probed in view.back.probes_here()
        for shot in probed.shots
        for reply in shot.replies
        if reply.valid and reply.ttl is not None
    ]
    found = [ttl for ttl in left if USUAL_TTL - MOST_HOPS <= ttl <= USUAL_TTL]
    return USUAL_TTL - max(found) + 1 if found else None


def would_be_told(view: View) -> bool:
    """Whether silence says that nobody rejects the flow: the hop behind the last that lets it pass is heard
    on other occasions, or is the far end itself; or the flow was sent when no router had had to say anything
    for long."""
    following = rungs(view, LADDER_FLOW).last + 1
    far = distance(view)
    if following in known_hops(view) or (far is not None and following >= far):
        return True
    return any(probed.shots and probed.round.quiet_ms >= ALLOWED_MS for probed in view.probes_here(AGAIN))


def known_hops(view: View) -> dict[int, str]:
    """Whatever ladder said it."""
    found = back_rungs(view.back, BACK_BASE, BACK_FLOW).hops
    return {**found, **rungs(view, PATH, LADDER_BASE, LADDER_FLOW).hops}


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    yield from _back(view, notes)
    yield from _stands_in(view, notes)
    flow, base = rungs(view, LADDER_FLOW), rungs(view, LADDER_BASE)
    if not flow.tried:
        return
    far = distance(view)
    yield from _left(flow, view, notes)
    yield from _stops(flow, base, far, view, notes)
    yield from _refused(flow, far, view, notes)


def _left(flow: Rungs, view: View, notes: Notes) -> Iterator[Sign]:
    """A hop can only say of the flow that its TTL ran out if the prober's own host let it out: that needs no
    counter."""
    own = view.near_own
    if any(address != "?" and address not in own for address in flow.hops.values()):
        seen = (notes.note(_said(flow, view, "")),)
        yield Sign(names.NEAR_OUT_LOST, False, seen, Place(PlaceKind.SOURCE_HOST))


def _stops(flow: Rungs, base: Rungs, far: int | None, view: View, notes: Notes) -> Iterator[Sign]:
    silent = [ttl for ttl in base.hops if ttl > flow.last and ttl in flow.tried and ttl not in flow.answers]
    seen = (
        notes.note(_said(flow, view, "")),
        *((notes.note(_said(base, view, " another port")),) if base.hops else ()),
    )
    place = _after(flow, view)
    values = {"last": str(flow.last), "address": flow.hops.get(flow.last, "")}
    if silent and not flow.answers:
        yield Sign(names.STOPS_SHORT, True, seen, place, values)
        yield Sign(names.STOPS_AT_ONCE, flow.last == 0, seen, place)
        return
    if flow.last:
        yield Sign(names.STOPS_AT_ONCE, False, seen, place)
    if (flow.last and far is not None and flow.last >= far - 1) or far == 1:
        yield Sign(names.STOPS_SHORT, False, seen, place, values)


def _after(flow: Rungs, view: View) -> Place:
    """Between the last hop that answered and whatever comes after it."""
    return Place(PlaceKind.BETWEEN, flow.hops.get(flow.last), flow.last)


def _said(found: Rungs, view: View, where: str) -> str:
    hops = ", ".join(f"{ttl} {address}" for ttl, address in sorted(found.hops.items())) or "none"
    end = "".join(f", TTL {ttl}: {fate}" for ttl, fate in sorted(found.answers.items())[:1])
    return f"ladder of {view.near_name} to{where or ' ' + view.flow_name}: hops that answer: {hops}{end}"


def _refused(flow: Rungs, far: int | None, view: View, notes: Notes) -> Iterator[Sign]:
    """A RST that came with a TTL which does not lead to the target is not the target's. A router looks at
    the TTL before it forwards: one that refuses while it forwards stands a hop before that TTL."""
    at = flow.refused()
    if at is None or far is None:
        return
    before = max(at - 1, 0)
    text = f"{view.near_name} is refused with TTL {at} already; {view.far_name} is {far} hops away"
    full = f"{view.near_name} is refused with TTL {at} and no less; that leads to {view.far_name}"
    place = Place(PlaceKind.HOP, flow.hops.get(before), before) if before else None
    yield Sign(
        names.REFUSED_SHORT, at < far, (notes.note(text if at < far else full),), place, {"ttl": str(at)}
    )


# --- who says so ------------------------------------------------------------------------------------------


def _stands_in(view: View, notes: Notes) -> Iterator[Sign]:
    """Whoever translates an address (DNAT) puts it also on what routers behind him say. The host that has it
    says of no packet for itself that its hops ran out, and none comes to it with fewer than lead there."""
    end, far, address = view.far, distance(view), view.address
    if end is None or end.armed is None or not end.armed.addresses or address is None:
        return
    if far_has(view) is False:
        yield Sign(names.STANDS_IN, False)
        return
    its = [probed for probed in view.probes_here() if _is_of_flow(probed, view)]
    hops = {ttl: sender for ttl, sender in _rungs(its, view).hops.items() if far is not None and ttl < far}
    at = min((ttl for ttl, sender in hops.items() if sender == address), default=None)
    if at is not None:
        text = (
            f'"time exceeded" came from {address} at {at} hop{"s" if at > 1 else ""}, in packets of '
            f"{view.flow_name}; {view.far_name}, which has that address, is {far} hops away"
        )
        place = Place(PlaceKind.HOP, rungs(view, LADDER_BASE, PATH).hops.get(at), at)
        yield Sign(names.STANDS_IN, True, (notes.note(text),), place, {"ttl": str(at)})
    elif hops:
        text = f"routers on the way to {address} speak for themselves, in packets of {view.flow_name}"
        yield Sign(names.STANDS_IN, False, (notes.note(text),))


def _is_of_flow(probed: Probed, view: View) -> bool:
    spec = probed.step.spec
    return isinstance(spec, FlowSpec) and spec.transport is view.transport and probed.step.port == view.port


# --- the way back -----------------------------------------------------------------------------------------


def _back(view: View, notes: Notes) -> Iterator[Sign]:
    """The far end's ladder from the service's own port, beside one from any port."""
    flow, base = back_rungs(view, BACK_FLOW), back_rungs(view, BACK_BASE)
    if not flow.tried or not base.hops:
        return
    back = view.back
    seen = (
        notes.note(_said(flow, back, f" {back.far_name}, from its port {view.port},")),
        notes.note(_said(base, back, f" {back.far_name}, from any port,")),
    )
    left = bool(flow.hops or flow.answers)
    yield Sign(names.RETURN_LEAVES, left, seen)
    silent = [ttl for ttl in base.hops if ttl > flow.last and ttl in flow.tried and ttl not in flow.answers]
    beyond = flow.reached() or flow.refused()
    if left and beyond is None:
        # behind the last hop that says so: hops that answer for the other, or the end of the way
        yield Sign(names.RETURN_STOPS, True, seen, _after(flow, back), {"hops": str(len(silent))})
    elif beyond is not None:
        yield Sign(names.RETURN_STOPS, False, seen)


READER = Reader(
    frozenset(
        {
            names.NEAR_OUT_LOST,
            names.STOPS_SHORT,
            names.STOPS_AT_ONCE,
            names.REFUSED_SHORT,
            names.STANDS_IN,
            names.RETURN_STOPS,
            names.RETURN_LEAVES,
        }
    ),
    _read,
)

__all__ = ["READER", "Rungs", "distance", "known_hops", "rungs"]
