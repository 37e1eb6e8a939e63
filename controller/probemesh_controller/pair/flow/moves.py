"""Moves of the flow question: what is sent to settle its signs."""

from dataclasses import replace

from probemesh_shared.model import FlowSpec
from probemesh_shared.words import AgentState, Transport

from probemesh_controller.pair.case import End, EndRole, Round, Step
from probemesh_controller.pair.flow import names, purposes
from probemesh_controller.pair.flow.controls import (
    flow_answered,
    ping_control,
    tcp_control,
    udp_control,
)
from probemesh_controller.pair.flow.ladders import answers_are_lost, back_ladder, is_for_show, ladder, path
from probemesh_controller.pair.flow.near import is_private
from probemesh_controller.pair.flow.rungs import would_be_told
from probemesh_controller.pair.flow.steps import (
    BURST,
    BURST_MS,
    FIRST_S,
    HELD_MS,
    LONG_S,
    RESTED_MS,
    SETTLE_MS,
    again_s,
    flow_shots,
    flow_spec,
    may_be_hidden,
    not_settled,
    options,
    own_shots,
    own_spec,
    patience_s,
    quiet_ms,
    step,
)
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Signs
from probemesh_controller.pair.view import View

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


def _unsure(view: View, signs: Signs) -> bool:
    """It failed; or it is answered, and nothing else is."""
    alone = signs.holds(names.ANSWERED) is True and signs.holds(names.OTHER_WORKS) is not True
    return not_settled(view, signs) or alone


# --- more of the controls ---------------------------------------------------------------------------------


def _more_controls(view: View, signs: Signs) -> Round | None:
    """Of what was too little to tell; of the other direction as well, whose working says much of this one."""
    steps = (*_lacking_controls(view), *(_lacking_controls(view.back) if _is_untold(view.back) else ()))
    return Round(steps, SETTLE_MS) if steps else None


def _lacking_controls(view: View) -> tuple[Step, ...]:
    if view.address is None:
        return ()
    known = {
        f"{purposes.CONTROLS}:tcp": tcp_control(view),
        f"{purposes.CONTROLS}:udp": udp_control(view),
        f"{purposes.CONTROLS}:ping": ping_control(view),
    }
    steps = _controls(view, purposes.CONTROLS, 5, patience_s(view))
    made = {probed.step.purpose for probed in view.probes_here(*known)}  # perhaps for the other direction
    return tuple(one for one in steps if known[one.purpose] is None and one.purpose not in made)


def _is_untold(view: View) -> bool:
    return flow_answered(view) is not True and True not in (tcp_control(view), udp_control(view))


# --- the flow, alone --------------------------------------------------------------------------------------


def _again(view: View, signs: Signs) -> Round | None:
    if view.address is None:
        return None
    spec = flow_spec(view, flow_shots(view, BURST, BURST_MS, 100.0), again_s(view))
    why = f"{view.flow_name} again, with nothing beside it: what do both hosts count"
    quiet = RESTED_MS if _may_be_untold(view, signs) else quiet_ms(view)
    return Round((step(view, purposes.AGAIN, why, spec, view.port),), SETTLE_MS, quiet)


def _may_be_untold(view: View, signs: Signs) -> bool:
    """Silence so far, which a router that limits its errors leaves as well."""
    lost = signs.holds(names.SILENT) is not False and signs.holds(names.DELIVERED) is not True
    return lost and not would_be_told(view)


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
    return not_settled(view, signs) and not any(signs.holds(name) for name in works)


# --- another agent ---------------------------------------------------------------------------------------


def _third(view: View, signs: Signs) -> Round | None:
    """Where the far end tells nothing: agents that stand elsewhere, two at most."""
    ends = {view.near_name, view.far_name}
    found = (
        info.name
        for info in view.case.fleet
        if info.name not in ends
        and info.state is AgentState.CONNECTED
        and "kind:flow" in info.capabilities
        and not view.is_lost(info.name)
    )
    helpers = sorted(found, key=lambda name: (_is_inside(view, name), name))[:2]
    if view.address is None or not helpers:
        return None
    spec = flow_spec(view, flow_shots(view, 5, 70.0), FIRST_S)
    why = f"does {view.flow_name} get through from elsewhere"
    purpose = f"{purposes.THIRD}:{view.direction}"
    steps = (
        replace(step(view, purpose, why, spec, view.port), sender=name, direction=None) for name in helpers
    )
    return Round(tuple(steps), SETTLE_MS)


def _far_is_silent(view: View, signs: Signs) -> bool:
    return not_settled(view, signs) and signs.holds(names.FAR_REPORTS) is False


def _reflect(view: View, signs: Signs) -> Round | None:
    """Both ends ask a third agent as whom they are seen; it is put on watch first, and tries the flow itself
    meanwhile."""
    armed = [
        end for end in view.case.ends if end.role is EndRole.THIRD and end.armed is not None and end.token
    ]
    if not armed:
        asked = _third(view, signs)
        if asked is None:
            return None
        steps = tuple(
            replace(one, purpose=f"{purposes.REFLECT}:third:{view.direction}") for one in asked.steps[:1]
        )
        return replace(asked, steps=steps, thirds=(steps[0].sender,))
    asks = [
        one for end in armed[:1] for side in (view, view.back) if (one := _as_whom(side, end)) is not None
    ]
    return Round(tuple(asks), SETTLE_MS) if asks else None


def _is_inside(view: View, name: str) -> bool:
    """It has private addresses only: who stands outside sees more, and can be dialled."""
    known = next((info.addresses for info in view.case.fleet if info.name == name), ())
    return all(is_private(address) for address in known)


def _as_whom(view: View, third: End) -> Step | None:
    where = next((one for one in third.addresses if (":" in one) == (":" in (view.address or ""))), None)
    if where is None or third.armed is None or third.armed.surrogate_port is None:
        return None
    shots = tuple(own_shots(Transport.UDP, 3, 40.0))
    spec = FlowSpec(options(view, FIRST_S), Transport.UDP, shots, third.token)
    why = f"as whom does {third.name} see {view.near_name}"
    port = third.armed.surrogate_port
    return Step("", purposes.REFLECT, why, view.near_name, where, port, spec, third.name, view.direction)


# --- does somebody take it --------------------------------------------------------------------------------


def _hold(view: View, signs: Signs) -> Round | None:
    if view.address is None or view.transport is not Transport.TCP:
        return None
    spec = flow_spec(view, flow_shots(view, 2, 30.0, HELD_MS), FIRST_S)
    why = f"connections to {view.flow_name}, held for a second: does the service take them"
    return Round((step(view, purposes.HOLD, why, spec, view.port),), SETTLE_MS)


MOVES: tuple[Move, ...] = (
    Move(
        purposes.BACK_LADDER,
        frozenset({names.RETURN_LEAVES, names.RETURN_STOPS}),
        back_ladder,
        cost=1.2,
        wants=answers_are_lost,
    ),
    Move(purposes.PATH, frozenset(), path, cost=0.4, beside=True, wants=is_for_show),
    Move(purposes.THIRD, frozenset({names.THIRD_REACHES}), _third, cost=1.1, wants=_far_is_silent),
    Move(
        purposes.REFLECT,
        frozenset({names.SEEN_THERE, names.ONE_WAY}),
        _reflect,
        cost=1.1,
        times=2,
        elsewhere=True,
        wants=may_be_hidden,
    ),
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
                names.TURNED_AWAY,
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
        frozenset({names.STOPS_SHORT, names.STOPS_AT_ONCE, names.REFUSED_SHORT, names.STANDS_IN}),
        ladder,
        cost=1.2,
        wants=not_settled,
    ),
    Move(
        purposes.AGAIN,
        frozenset(
            {
                *names.FATES,
                names.NEAR_OUT_LOST,
                names.REPEAT_FAILED,
                names.DELIVERED,
                names.ON_WIRE,
                names.HOST_DROPPED,
                names.RPF_DROPPED,
                names.FORWARDED,
                names.FAR_NO_ROUTE,
                names.OVERFLOWED,
                names.FAR_REPLIED,
                names.FAR_OUT_LOST,
                names.FAR_REJECTS,
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
