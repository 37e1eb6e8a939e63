"""Moves that walk the path hop by hop: the flow's ladder, the ladder back, and hops for people to see."""

from dataclasses import replace

from probemesh_shared.model import FlowSpec, Shot
from probemesh_shared.words import Transport

from probemesh_controller.pair.case import Round, Step
from probemesh_controller.pair.flow import names, purposes
from probemesh_controller.pair.flow.rungs import distance
from probemesh_controller.pair.flow.steps import (
    FIRST_S,
    HOPS,
    RUNG,
    RUNG_MS,
    SETTLE_MS,
    flow_spec,
    is_ours,
    options,
    own_spec,
    patience_s,
    step,
)
from probemesh_controller.pair.hellos import hello
from probemesh_controller.pair.signs import Signs
from probemesh_controller.pair.view import View


def ladder(view: View, signs: Signs) -> Round | None:
    """The flow itself, and beside it one that works, on the same hops at the same time."""
    if view.address is None:
        return None
    hops = min(distance(view) or distance(view.back) or HOPS, 24)
    flow = flow_spec(view, _rungs(view.transport, hops, 0.0), max(FIRST_S, patience_s(view)))
    if flow.token is None and view.transport is Transport.UDP:
        flow = replace(flow, shots=tuple(replace(shot, send=hello(view.port)) for shot in flow.shots))
    steps = [step(view, purposes.LADDER_FLOW, f"how far does {view.flow_name} get", flow, view.port)]
    base = base_of(view, signs)
    if base is not None:
        spec = own_spec(view, base, _rungs(base, hops, RUNG_MS / 2), max(FIRST_S, patience_s(view)))
        why = f"how far does {base} to a port that works get"
        port = None if base is Transport.ICMP else view.surrogate
        steps.append(step(view, purposes.LADDER_BASE, why, spec, port))
    return Round(tuple(steps), SETTLE_MS)


def base_of(view: View, signs: Signs) -> Transport | None:
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


def back_ladder(view: View, signs: Signs) -> Round | None:
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
    spec = FlowSpec(options(view, patience_s(view)), view.transport, shots)
    return Step(
        "", purpose, why, view.far_name, back.address, shots[0].port, spec, view.near_name, view.direction
    )


def answers_are_lost(view: View, signs: Signs) -> bool:
    free = signs.holds(names.LISTENING) is False or is_ours(view)
    return free and signs.holds(names.DELIVERED) is True and signs.holds(names.SILENT) is True


# --- which hops there are ---------------------------------------------------------------------------------


def path(view: View, signs: Signs) -> Round | None:
    far, base = distance(view), base_of(view, signs)
    if view.address is None or base is None:
        return None
    hops = min(far or HOPS, 24)
    shots = [
        Shot(at_ms=ttl * RUNG_MS, ttl=ttl, socket=ttl if base is Transport.UDP else None)
        for ttl in range(1, hops + 1)
    ]
    spec = own_spec(view, base, shots, FIRST_S)
    port = None if base is Transport.ICMP else view.surrogate
    steps = [step(view, purposes.PATH, "which hops are on the way", spec, port)]
    if view.transport is Transport.UDP and signs.holds(names.ANSWERED) and far is not None and far > 1:
        short = tuple(replace(shot, send=hello(view.port)) for shot in shots[: far - 1])
        flow = flow_spec(view, list(short), FIRST_S)
        why = f"which hops {view.flow_name} takes"
        steps.append(step(view, purposes.PATH_FLOW, why, flow, view.port))
    return Round(tuple(steps))


def is_for_show(view: View, signs: Signs) -> bool:
    """A flow that gets through, or was told by somebody on the way that it does not."""
    told = any(signs.holds(one) for one in (names.ANSWERED, names.REJECTED, names.REJECTED_BY_TARGET))
    return told and not any(True for _ in view.probes(purposes.LADDER_BASE))
