"""What all parts of the tour read and build by: shots with their plans, what arrived, distances. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from probemesh_shared.model import Accepted, Datagram, FlowSpec, Options, Shot, ShotSeen
from probemesh_shared.wire.flowtoken import LEAST
from probemesh_shared.words import NOT_MEASURED, Outcome, Transport

from probemesh_controller.pair.case import Round, Step
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.tour import names
from probemesh_controller.pair.view import Probed, View, plain_address

#: How long a shot waits, beside four times the round trip that was seen.
_PATIENCE_S, _MOST_PATIENCE_S = 0.35, 2.0
#: Hop limits that hosts begin with.
_INITIAL = (32, 64, 128, 255)


@dataclass(frozen=True, slots=True)
class Fate:
    """One shot: as planned, and what became of it. ``there``: it got through, None where nobody can say."""

    plan: Shot
    seen: ShotSeen

    @property
    def measured(self) -> bool:
        return self.seen.outcome not in NOT_MEASURED

    @property
    def answered(self) -> bool:
        return self.seen.outcome is Outcome.OK

    @property
    def silent(self) -> bool:
        return self.seen.outcome is Outcome.TIMEOUT and not self.seen.errors

    @property
    def first_lost(self) -> bool:
        """It took the kernel more than one attempt, or all were in vain."""
        return self.silent or (self.answered and bool(self.seen.retransmits))


def fates(probed: Probed) -> Iterator[Fate]:
    """The shots of a step that were really made."""
    spec = probed.step.spec
    if not isinstance(spec, FlowSpec):
        return
    for seen in probed.shots:
        if 0 <= seen.shot < len(spec.shots):
            fate = Fate(spec.shots[seen.shot], seen)
            if fate.measured:
                yield fate


def fates_of(view: View, *purposes: str) -> tuple[Fate, ...]:
    return tuple(fate for probed in view.probes_here(*purposes) for fate in fates(probed))


def transport_of(probed: Probed) -> Transport | None:
    spec = probed.step.spec
    return spec.transport if isinstance(spec, FlowSpec) else None


def datagrams(view: View, probed: Probed) -> tuple[Datagram, ...]:
    """Datagrams with the token that the far watch had on this step's port in its round."""
    account = view.far_account(probed)
    found = account.datagrams if account is not None else ()
    return tuple(one for one in found if one.valid and one.local_port == probed.step.port)


def arrivals(view: View, probed: Probed) -> dict[int, bool | None]:
    """By shot: whether it got to the far end. A reply is proof; otherwise the far watch's list decides, which
    is complete where it saw anything at all; None without one."""
    listed = datagrams(view, probed)
    known = view.far_account(probed) is not None
    arrived = {(one.shot, one.size) for one in listed}
    found: dict[int, bool | None] = {}
    for fate in fates(probed):
        if (
            any(reply.valid for reply in fate.seen.replies)
            or fate.answered
            or (fate.seen.shot, request_size(fate.plan)) in arrived
        ):
            found[fate.seen.shot] = True
        else:
            found[fate.seen.shot] = False if known and fate.silent else None
    return found


def request_size(shot: Shot) -> int:
    return max(shot.size or 0, LEAST)


def accepted(view: View, probed: Probed) -> tuple[Accepted, ...]:
    """Connections to the far watch's own listener on this step's port in its round."""
    account = view.far_account(probed)
    found = account.accepted if account is not None else ()
    return tuple(one for one in found if one.local_port == probed.step.port)


def own_connections(view: View, probed: Probed) -> Iterator[tuple[Fate, Accepted]]:
    """Those of this step, by the source port that the responder's reply names, or that both ends have."""
    by_port = {one.port: one for one in accepted(view, probed)}
    for fate in fates(probed):
        ports = [reply.seen_port for reply in fate.seen.replies if reply.valid and reply.seen_port]
        known = by_port.get(ports[0] if ports else fate.seen.local_port or 0)
        if known is not None:
            yield fate, known


def is_v6(view: View) -> bool:
    return ":" in (view.address or "")


def routers_of(ttl: int) -> int:
    """How many routers a packet passed that arrived with that TTL."""
    return min(first for first in _INITIAL if first >= min(ttl, 255)) - ttl


def distance(view: View) -> int | None:
    """Hops to the far host, as its own account of our packets has it: 1 on one link. Datagrams first: what
    ends connections on the way hardly ever touches those."""
    by_datagram = [
        routers_of(one.ttl) + 1
        for probed in view.probes_here()
        if transport_of(probed) is Transport.UDP
        for one in datagrams(view, probed)
        if one.ttl is not None and not _low_ttl(probed, one.shot)
    ]
    if by_datagram:
        return min(by_datagram)
    by_syn = [
        routers_of(one.syn_ttl) + 1
        for probed in view.probes_here()
        for fate, one in own_connections(view, probed)
        if one.syn_ttl is not None and fate.plan.ttl is None
    ]
    return min(by_syn, default=None)


def _low_ttl(probed: Probed, shot: int | None) -> bool:
    spec = probed.step.spec
    shots = spec.shots if isinstance(spec, FlowSpec) else ()
    return shot is not None and 0 <= shot < len(shots) and shots[shot].ttl is not None


def round_trip_ms(view: View) -> float | None:
    """What three of four took at most that were answered on this path so far, either way."""
    seen = sorted(
        shot.rtt_ms
        for side in (view, view.back)
        for probed in side.probes()
        for shot in probed.shots
        if shot.rtt_ms is not None and shot.outcome is Outcome.OK
    )
    return seen[len(seen) * 3 // 4] if seen else None


def patience_s(view: View) -> float:
    """How long an answer is waited for: that of a path which answers in time."""
    return min(_MOST_PATIENCE_S, _PATIENCE_S + 4 * (round_trip_ms(view) or 100.0) / 1000)


# --- building ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a step goes: the port that was asked for, or the far watch's own."""

    port: int | None
    token: bytes | None


def asked_port(view: View) -> Aim:
    """With the far watch's token where it listens there itself."""
    return Aim(view.port, token_of(view) if far_listens(view) else None)


def surrogate(view: View) -> Aim | None:
    token = token_of(view)
    return Aim(view.surrogate, token) if view.surrogate is not None and token else None


def token_of(view: View) -> bytes | None:
    return (view.far.token or None) if view.far is not None else None


def far_listens(view: View) -> bool:
    """The far watch has the port itself (``--listen``)."""
    armed = view.far.armed if view.far is not None else None
    return armed is not None and any(one.ours and one.port == view.port for one in armed.listeners)


def step(view: View, purpose: str, why: str, spec: FlowSpec, port: int | None) -> Step | None:
    """None where there is no address to send to."""
    address = view.address
    if address is None:
        return None
    return Step("", purpose, why, view.near_name, address, port, spec, view.far_name, view.direction)


def round_of(*steps: Step | None, settle_ms: float = 0.0) -> Round | None:
    kept = tuple(one for one in steps if one is not None)
    return Round(kept, settle_ms) if kept else None


def flow(
    view: View,
    transport: Transport,
    shots: Iterable[Shot],
    token: bytes | None = None,
    timeout_s: float | None = None,
    dscp: int | None = None,
) -> FlowSpec:
    waits = patience_s(view) if timeout_s is None else timeout_s
    return FlowSpec(Options(timeout_s=waits, dscp=dscp), transport, tuple(shots), token)


# --- whether there is a tour at all -----------------------------------------------------------------------


def _ready(view: View, notes: Notes) -> Iterator[Sign]:
    probes = tuple(view.probes_here())
    answers = [fate for probed in probes for fate in fates(probed) if _alive(fate)]
    if answers:
        yield Sign(names.READY, True, (notes.note(f"{view.far_name} answers {view.near_name}"),))
    own = [
        fate
        for probed in probes
        if probed.step.port == view.port and transport_of(probed) is view.transport
        for fate in fates(probed)
        if fate.answered  # with a short TTL too: a flow of which nothing else got through has one that does
    ]
    if own:
        text = f"{view.flow_name} at {view.address} answers {view.near_name}"
        yield Sign(names.FLOW_READY, True, (notes.note(text),))


def _alive(fate: Fate) -> bool:
    return fate.answered and fate.plan.ttl is None


def ready(signs: Signs) -> bool:
    return signs.holds(names.READY) is True


def plainly(address: str | None) -> str | None:
    return plain_address(address) if address else None


READER = Reader(frozenset({names.READY, names.FLOW_READY}), _ready)
