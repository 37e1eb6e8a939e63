"""Moves of the flow question: what is sent to settle its signs."""

from collections.abc import Iterable
from dataclasses import replace
from statistics import median

from probemesh_shared.model import FlowSpec, Options, Shot
from probemesh_shared.words import Transport

from probemesh_controller.pair.case import Round, Step
from probemesh_controller.pair.flow import names, purposes
from probemesh_controller.pair.flow.rungs import distance
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Signs
from probemesh_controller.pair.view import View

#: Seconds that the first shots are waited for: less than a kernel waits before it sends a SYN again.
FIRST_S = 0.9
#: Long enough for a SYN-ACK's first repetition, which is a second after it.
AGAIN_S = 1.4
#: A service that lives takes a connection within this.
HELD_MS = 1050.0
#: A dead neighbour is given up after about three seconds; the first shots were the first to ask for it.
LONG_S = 2.4
#: Shots of a burst whose evidence is a counter, and between them.
BURST, BURST_MS = 14, 35.0
#: Hops that are tried where the distance is not known.
HOPS = 10
#: Shots of each rung: with what the ladder beside it takes no more than a Linux router answers at once.
RUNG, RUNG_MS = 3, 15.0
#: How long counters, socket tables and late answers have to come to rest, in ms.
SETTLE_MS = 60.0
QUIET_MS = 1000.0


# --- steps ------------------------------------------------------------------------------------------------


def step(view: View, purpose: str, why: str, spec: FlowSpec, port: int | None) -> Step:
    assert view.address is not None
    return Step("", purpose, why, view.near_name, view.address, port, spec, view.far_name, view.direction)


#: What a foreign UDP service is told: it has to be told something, to answer.
HELLO = b"probemesh\n"


def is_ours(view: View) -> bool:
    """Whether the port that is asked about is the far watch's own listener (``--listen``)."""
    far = view.far
    if not view.case.asked.listen or far is None or far.armed is None or not far.token:
        return False
    return any(one.ours and one.port == view.port for one in far.armed.listeners)


def flow_spec(view: View, shots: Iterable[Shot], timeout_s: float) -> FlowSpec:
    """Shots of the flow itself. A foreign service is told nothing over TCP, and no token over UDP."""
    token = view.far.token if view.far is not None and is_ours(view) else None
    return FlowSpec(_options(view, timeout_s), view.transport, tuple(shots), token or None)


def own_spec(view: View, transport: Transport, shots: Iterable[Shot], timeout_s: float) -> FlowSpec:
    """Shots at the far watch's own listeners, which answer."""
    token = view.far.token if view.far is not None and transport is not Transport.ICMP else None
    return FlowSpec(_options(view, timeout_s), transport, tuple(shots), token or None)


def _options(view: View, timeout_s: float) -> Options:
    return Options(family=view.case.asked.family, timeout_s=timeout_s)


def flow_shots(view: View, count: int, every_ms: float, hold_ms: float | None = None) -> list[Shot]:
    """An odd segment size marks TCP. UDP goes out of unconnected sockets, one for each: they also take what
    comes from another address than was asked."""
    tcp, udp = view.transport is Transport.TCP, view.transport is Transport.UDP
    mss = view.far.mss if tcp and view.far is not None else None
    speaks = (b"" if tcp else None) if is_ours(view) else (HELLO if udp else None)
    return [
        Shot(
            at_ms=number * every_ms,
            mss=mss,
            hold_ms=hold_ms if tcp else None,
            send=speaks,
            socket=number if udp else None,
        )
        for number in range(count)
    ]


def own_shots(transport: Transport, count: int, every_ms: float) -> list[Shot]:
    send = b"" if transport is Transport.TCP else None
    return [Shot(at_ms=number * every_ms, send=send) for number in range(count)]


# --- first: both ways at once, with controls beside -------------------------------------------------------


def _first(view: View, signs: Signs) -> Round | None:
    if view.address is None:
        return None
    steps = [
        step(
            view,
            purposes.FIRST_FLOW,
            f"does {view.flow_name} get through",
            flow_spec(view, flow_shots(view, 3, 70.0, 200.0), FIRST_S),
            view.port,
        )
    ]
    return Round((*steps, *_controls(view, purposes.FIRST, 3, FIRST_S)), SETTLE_MS)


def _controls(view: View, prefix: str, count: int, timeout_s: float) -> list[Step]:
    steps = []
    for transport in (Transport.TCP, Transport.UDP) if view.surrogate else ():
        shots = own_shots(transport, count, 50.0)
        spec = own_spec(view, transport, shots, timeout_s)
        why = f"does {transport} get through to a port of the watch's own"
        steps.append(step(view, f"{prefix}:{transport}", why, spec, view.surrogate))
    if view.transport is not Transport.ICMP:
        spec = own_spec(view, Transport.ICMP, own_shots(Transport.ICMP, count, 50.0), timeout_s)
        steps.append(step(view, f"{prefix}:ping", "does ping get through", spec, None))
    return steps


def _not_settled(view: View, signs: Signs) -> bool:
    """Something failed that was tried first."""
    return (
        any(True for _ in view.probes_here(purposes.FIRST_FLOW)) and signs.holds(names.ANSWERED) is not True
    )


def _unsure(view: View, signs: Signs) -> bool:
    """It failed; or it is answered, and nothing else is."""
    alone = signs.holds(names.ANSWERED) is True and signs.holds(names.OTHER_WORKS) is not True
    return _not_settled(view, signs) or alone


# --- more of the controls ---------------------------------------------------------------------------------


def _more_controls(view: View, signs: Signs) -> Round | None:
    if view.address is None:
        return None
    wanted = {
        f"{purposes.CONTROLS}:tcp": names.TCP_CONTROL,
        f"{purposes.CONTROLS}:udp": names.UDP_CONTROL,
        f"{purposes.CONTROLS}:ping": names.PING,
    }
    steps = tuple(
        one
        for one in _controls(view, purposes.CONTROLS, 5, _patience(view))
        if signs.holds(wanted[one.purpose]) is None
    )
    return Round(steps, SETTLE_MS) if steps else None


# --- the flow, alone --------------------------------------------------------------------------------------


def _again(view: View, signs: Signs) -> Round | None:
    if view.address is None:
        return None
    spec = flow_spec(view, flow_shots(view, BURST, BURST_MS, 100.0), max(AGAIN_S, _patience(view)))
    why = f"{view.flow_name} again, with nothing beside it: what do both hosts count"
    return Round((step(view, purposes.AGAIN, why, spec, view.port),), SETTLE_MS, QUIET_MS)


def _burst(view: View, signs: Signs) -> Round | None:
    if view.address is None or signs.holds(names.FAR_REPORTS) is not True:
        return None
    spec = flow_spec(view, flow_shots(view, BURST, BURST_MS), FIRST_S)
    why = f"{view.flow_name} again: does {view.far_name} count its own refusals"
    return Round((step(view, purposes.BURST, why, spec, view.port),), SETTLE_MS)


def _refused(view: View, signs: Signs) -> bool:
    return bool(signs.holds(names.REFUSED) or signs.holds(names.REJECTED_BY_TARGET))


def _long(view: View, signs: Signs) -> Round | None:
    if view.address is None:
        return None
    spec = flow_spec(view, flow_shots(view, 2, 50.0), LONG_S)
    why = f"{view.flow_name}, waited for as long as a host asks for its neighbour"
    return Round((step(view, purposes.LONG, why, spec, view.port),), SETTLE_MS)


def _nothing_works(view: View, signs: Signs) -> bool:
    works = (names.ANSWERED, names.OTHER_WORKS, names.PING)
    return _not_settled(view, signs) and not any(signs.holds(name) for name in works)


def _patience(view: View) -> float:
    """Seconds that a shot is waited for: plenty for what this path was seen to take."""
    rtts = [
        shot.rtt_ms
        for one in (view, view.back)
        for probed in one.probes()
        for shot in probed.shots
        if shot.rtt_ms
    ]
    return min(3.0, max(FIRST_S, 0.3 + 5 * median(rtts) / 1000)) if rtts else AGAIN_S


# --- does somebody take it --------------------------------------------------------------------------------


def _hold(view: View, signs: Signs) -> Round | None:
    if view.address is None or view.transport is not Transport.TCP:
        return None
    spec = flow_spec(view, flow_shots(view, 2, 30.0, HELD_MS), FIRST_S)
    why = f"connections to {view.flow_name}, held for a second: does the service take them"
    return Round((step(view, purposes.HOLD, why, spec, view.port),), SETTLE_MS)


# --- the ladder -------------------------------------------------------------------------------------------


def _ladder(view: View, signs: Signs) -> Round | None:
    """The flow itself, and beside it one that works, on the same hops at the same time."""
    if view.address is None:
        return None
    hops = min(distance(view) or distance(view.back) or HOPS, 24)
    flow = flow_spec(view, _rungs(view.transport, hops, 0.0), max(FIRST_S, _patience(view)))
    if flow.token is None and view.transport is Transport.UDP:
        flow = replace(flow, shots=tuple(replace(shot, send=HELLO) for shot in flow.shots))
    steps = [step(view, purposes.LADDER_FLOW, f"how far does {view.flow_name} get", flow, view.port)]
    base = _base(view, signs)
    if base is not None:
        spec = own_spec(view, base, _rungs(base, hops, RUNG_MS / 2), max(FIRST_S, _patience(view)))
        why = f"how far does {base} to a port that works get"
        port = None if base is Transport.ICMP else view.surrogate
        steps.append(step(view, purposes.LADDER_BASE, why, spec, port))
    return Round(tuple(steps), SETTLE_MS)


def _base(view: View, signs: Signs) -> Transport | None:
    """What gets through, of the flow's own kind where that does."""
    working = [
        transport
        for transport, name in (
            (Transport.TCP, names.TCP_CONTROL),
            (Transport.UDP, names.UDP_CONTROL),
            (Transport.ICMP, names.PING),
        )
        if signs.holds(name)
    ]
    if view.transport in working:
        return view.transport
    return working[0] if working else None


def _rungs(transport: Transport, hops: int, offset_ms: float) -> list[Shot]:
    """Every hop once, then every hop again: a limiter that cuts in does so for all alike."""
    return [
        Shot(
            at_ms=offset_ms + (turn * hops + ttl - 1) * RUNG_MS,
            ttl=ttl,
            socket=turn * hops + ttl if transport is Transport.UDP else None,
        )
        for turn in range(RUNG)
        for ttl in range(1, hops + 1)
    ]


# --- the way back -----------------------------------------------------------------------------------------


def _back_ladder(view: View, signs: Signs) -> Round | None:
    """The far end sends from the service's own port, as its answers do. Beside a foreign service that port
    is taken; then it cannot be done."""
    back = view.back
    if back.address is None or view.port is None:
        return None
    hops = min(distance(back) or distance(view) or HOPS, 24)
    tcp = view.transport is Transport.TCP
    first = 33_434  # what traceroute takes: no service is there
    flow = tuple(
        Shot(
            at_ms=(turn * hops + ttl - 1) * RUNG_MS,
            ttl=ttl,
            source_port=view.port,
            port=first + turn * hops + ttl,
            socket=None if tcp else 0,
        )
        for turn in range(RUNG)
        for ttl in range(1, hops + 1)
    )
    base = tuple(
        Shot(at_ms=shot.at_ms + RUNG_MS / 2, ttl=shot.ttl, port=shot.port, socket=None if tcp else 1)
        for shot in flow
    )
    steps = [
        _from_far(
            view, purposes.BACK_FLOW, f"how far do packets from {view.flow_name} get on the way back", flow
        ),
        _from_far(view, purposes.BACK_BASE, "how far do packets from any port get on the way back", base),
    ]
    return Round(tuple(steps), SETTLE_MS)


def _from_far(view: View, purpose: str, why: str, shots: tuple[Shot, ...]) -> Step:
    back = view.back
    assert back.address is not None
    spec = FlowSpec(_options(view, _patience(view)), view.transport, shots)
    return Step(
        "", purpose, why, view.far_name, back.address, shots[0].port, spec, view.near_name, view.direction
    )


def _answers_are_lost(view: View, signs: Signs) -> bool:
    free = signs.holds(names.LISTENING) is False or is_ours(view)
    return free and signs.holds(names.DELIVERED) is True and signs.holds(names.SILENT) is True


# --- which hops there are ---------------------------------------------------------------------------------


def _path(view: View, signs: Signs) -> Round | None:
    far, base = distance(view), _base(view, signs)
    if view.address is None or base is None:
        return None
    hops = min(far or HOPS, 24)
    shots = [
        Shot(at_ms=ttl * RUNG_MS, ttl=ttl, socket=ttl if base is Transport.UDP else None)
        for ttl in range(1, hops + 1)
    ]
    spec = own_spec(view, base, shots, FIRST_S)
    port = None if base is Transport.ICMP else view.surrogate
    return Round((step(view, purposes.PATH, "which hops are on the way", spec, port),))


def _is_for_show(view: View, signs: Signs) -> bool:
    """A flow that gets through, or was told by somebody on the way that it does not."""
    told = any(signs.holds(one) for one in (names.ANSWERED, names.REJECTED, names.REJECTED_BY_TARGET))
    return told and not any(True for _ in view.probes(purposes.LADDER_BASE))


MOVES: tuple[Move, ...] = (
    Move(
        purposes.BACK_LADDER,
        frozenset({names.RETURN_LEAVES, names.RETURN_STOPS}),
        _back_ladder,
        cost=1.2,
        wants=_answers_are_lost,
    ),
    Move(purposes.PATH, frozenset(), _path, cost=0.4, beside=True, wants=_is_for_show),
    Move(purposes.HOLD, frozenset({names.UNACCEPTED}), _hold, cost=1.2),
    Move(
        purposes.FIRST,
        frozenset(
            {
                *names.FATES,
                names.OTHER_SOURCE,
                names.TCP_CONTROL,
                names.UDP_CONTROL,
                names.PING,
                names.OTHER_WORKS,
                names.DELIVERED,
                names.WITNESSED,
                names.WITNESS_MIXED,
                names.STRANGER,
            }
        ),
        _first,
        cost=0.1,
    ),
    Move(
        purposes.BURST,
        frozenset({names.RST_SENT, names.UNREACHABLE_SENT}),
        _burst,
        cost=0.4,
        alone=True,
        wants=_refused,
    ),
    Move(
        purposes.CONTROLS,
        frozenset(
            {
                names.TCP_CONTROL,
                names.UDP_CONTROL,
                names.PING,
                names.OTHER_WORKS,
                names.BACK_WORKS,
                names.BACK_HALF,
                names.ONE_WAY,
                names.SYN_ONLY,
                names.STRANGER,
            }
        ),
        _more_controls,
        cost=1.0,
        wants=_unsure,
    ),
    Move(
        purposes.LADDER,
        frozenset({names.STOPS_SHORT, names.STOPS_AT_ONCE, names.REFUSED_SHORT}),
        _ladder,
        cost=1.2,
        wants=_not_settled,
    ),
    Move(
        purposes.AGAIN,
        frozenset(
            {
                *names.FATES,
                names.NEAR_OUT_LOST,
                names.DELIVERED,
                names.ON_WIRE,
                names.HOST_DROPPED,
                names.RPF_DROPPED,
                names.FORWARDED,
                names.FAR_NO_ROUTE,
                names.OVERFLOWED,
                names.FAR_REPLIED,
                names.FAR_OUT_LOST,
                names.SYNACK_REPEATED,
                names.RST_SENT,
                names.UNREACHABLE_SENT,
                names.EMBRYONIC,
                names.RETURN_ICMP,
                names.RETURN_EXPIRED,
                names.NEVER_COMPLETED,
                names.OTHER_SOURCE,
                names.STRANGER,
            }
        ),
        _again,
        cost=2.4,
        alone=True,
    ),
    Move(
        purposes.LONG,
        frozenset({names.LATE_UNREACHABLE}),
        _long,
        cost=1.5,
        wants=_nothing_works,
    ),
)
