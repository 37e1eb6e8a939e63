"""What else is wrong between the two, and breaks nothing of the flow: routers that say nothing, addresses
that do not answer (rules 33, 47). Pure."""

from collections.abc import Iterator

from probemesh_shared.model import FlowSpec, Shot
from probemesh_shared.session.frames import ADVERTISED
from probemesh_shared.words import Outcome, Transport, Verdict

from probemesh_controller.pair.case import Round, Step
from probemesh_controller.pair.causes import Cause, Told, proven_by
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.tour import names
from probemesh_controller.pair.tour.basis import asked_port, distance, fates, flow, patience_s, round_of, step
from probemesh_controller.pair.tour.ports import payload_of
from probemesh_controller.pair.tour.proxies import FIRST as SHORT
from probemesh_controller.pair.view import View

HOPS, ADDRESSES = "hops", "addresses"
SLOW, OTHERS, OTHERS_AGAIN = "tour-slow", "tour-addresses", "tour-addresses-again"
#: Tries of each silent hop, one a second: limiters of ICMP answer that.
_SLOW, _SLOW_MS, _SLOW_WAITS_S = 3, 1000.0, 0.5
_MOST_OTHERS = 3
#: Attempts at an address that never answers before that is said (0.04 ** 5 = 1e-7).
_ENOUGH = 5


def _answered(view: View, *purposes: str) -> tuple[set[int], dict[int, int]]:
    """Hops that said something, and how often each was tried."""
    said: set[int] = set()
    tried: dict[int, int] = {}
    for probed in view.probes_here(*purposes):
        for fate in fates(probed):
            ttl = fate.plan.ttl
            if ttl is None:
                continue
            tried[ttl] = tried.get(ttl, 0) + 1
            if fate.seen.errors or fate.answered:
                said.add(ttl)
    return said, tried


def silent_hops(view: View) -> tuple[int, ...]:
    far = distance(view)
    said, tried = _answered(view, SHORT, SLOW)
    return tuple(ttl for ttl in sorted(tried) if ttl not in said and far is not None and ttl < far)


def _hops(view: View, notes: Notes) -> Iterator[Sign]:
    tried = _answered(view, SHORT, SLOW)[1]
    if not tried or distance(view) is None:
        return
    silent = silent_hops(view)
    slowly = _answered(view, SLOW)[1]
    text = (
        f"of {len(tried)} routers on the way from {view.near_name} to {view.far_name} "
        f"{len(tried) - len(silent)} say "
        "so when a packet's hops run out"
    )
    holds: bool | None = False if not silent else None
    if silent and all(slowly.get(ttl, 0) >= _SLOW for ttl in silent):
        holds = True
    values = {"hops": ", ".join(str(ttl) for ttl in silent)}
    yield Sign(names.HOPS_SILENT, holds, (notes.note(text),), values=values)


def _build_slow(view: View, signs: Signs) -> Round | None:
    shots = tuple(
        Shot(at_ms=_SLOW_MS * number + 30.0 * place, ttl=ttl)
        for number in range(_SLOW)
        for place, ttl in enumerate(silent_hops(view))
    )
    spec = flow(view, Transport.TCP, shots, timeout_s=max(_SLOW_WAITS_S, patience_s(view)))
    return round_of(step(view, SLOW, "routers that said nothing, slowly", spec, view.port)) if shots else None


# --- other addresses --------------------------------------------------------------------------------------


def _other_addresses(view: View) -> tuple[str, ...]:
    """Such as were configured, for those are meant to work."""
    far = view.far
    if far is None or ADVERTISED not in far.info.capabilities or view.address not in view.far_own:
        return ()  # behind a NAT its own addresses are nobody else's
    return tuple(one for one in view.addresses if one != view.address)[:_MOST_OTHERS]


def _addresses(view: View, notes: Notes) -> Iterator[Sign]:
    tried: dict[str, list[bool]] = {}
    for probed in view.probes(OTHERS, OTHERS_AGAIN):
        for fate in fates(probed):
            alive = fate.answered or fate.seen.outcome is Outcome.REFUSED
            tried.setdefault(probed.step.address, []).append(alive)
    dead = [address for address, all_ in tried.items() if len(all_) >= _ENOUGH and not any(all_)]
    for name, v6 in (
        (names.ADDRESS_DEAD, ":" in (view.address or "")),
        (names.FAMILY_DEAD, ":" not in (view.address or "")),
    ):
        here = {address: all_ for address, all_ in tried.items() if (":" in address) == v6}
        if not here and tried:
            text = f"{view.far_name} has no other address of that family"
            yield Sign(name, False, (notes.note(text),))
        if not here:
            continue
        gone = [address for address in here if address in dead]
        counts = ", ".join(f"{address} {sum(all_)} of {len(all_)}" for address, all_ in here.items())
        text = f"{view.near_name} tried other addresses of {view.far_name}; answered: {counts}"
        all_alive = all(any(all_) for all_ in here.values())
        wanted = gone if name == names.ADDRESS_DEAD else (gone if len(gone) == len(here) else [])
        holds = True if wanted else (False if all_alive else None)
        yield Sign(name, holds, (notes.note(text),), values={"which": ", ".join(gone)})


def _build_others(view: View, purpose: str, count: int) -> Round | None:
    if view.transport is Transport.ICMP:
        return None
    steps = []
    said = payload_of(view)
    for address in _other_addresses(view):
        shots = tuple(
            Shot(at_ms=60.0 * n, send=said, socket=n if view.transport is Transport.UDP else None)
            for n in range(count)
        )
        spec: FlowSpec = flow(view, view.transport, shots, asked_port(view).token)
        why = f"does {address} answer as well"
        steps.append(
            Step("", purpose, why, view.near_name, address, view.port, spec, view.far_name, view.direction)
        )
    return Round(tuple(steps)) if steps else None


def _some_dead(view: View, signs: Signs) -> bool:
    return any(
        not any(fate.answered for fate in fates(probed)) for probed in view.probes(OTHERS) if probed.shots
    )


READER = Reader(
    frozenset({names.HOPS_SILENT, names.ADDRESS_DEAD, names.FAMILY_DEAD}),
    lambda view, notes: (*_hops(view, notes), *_addresses(view, notes)),
)

_TCP = frozenset({Transport.TCP})
_WHEN = {names.FLOW_READY: True}


def _which(told: Told) -> str:
    name = names.ADDRESS_DEAD if told.signs.holds(names.ADDRESS_DEAD) else names.FAMILY_DEAD
    return told.value(name, "which")


def _ask_there(told: Told) -> str:
    """Where it ends is a diagnosis of its own: the flow that was asked for gets through."""
    view = told.view
    address = _which(told).partition(",")[0]
    ports = f"--{view.transport} {view.port}"
    if view.back.port not in (None, view.port):
        ports += f" --reverse-port {view.back.port}"
    return f"where it ends: meshctl diagnose {view.near_name} {view.far_name} {ports} --address {address}"


CAUSES = (
    Cause(
        "hops-answer",
        Verdict.REACHABLE,
        lambda told: "all routers on the way say so when a packet's hops run out",
        predicts={names.HOPS_SILENT: False},
        question=HOPS,
        transports=_TCP,
        when=_WHEN,
    ),
    Cause(
        "icmp-errors-filtered",
        Verdict.ICMP_ERRORS_FILTERED,
        lambda told: (
            f"routers between {told.view.near_name} and {told.view.far_name} (hop "
            f"{told.value(names.HOPS_SILENT, 'hops')}) send no ICMP errors, or they are "
            "filtered; traffic passes"
        ),
        predicts={names.HOPS_SILENT: True},
        question=HOPS,
        transports=_TCP,
        when=_WHEN,
    ),
    Cause(
        "addresses-answer",
        Verdict.REACHABLE,
        lambda told: "its other addresses answer as well",
        predicts={names.ADDRESS_DEAD: False, names.FAMILY_DEAD: False},
        question=ADDRESSES,
        when=_WHEN,
    ),
    Cause(
        "address-broken",
        Verdict.ADDRESS_BROKEN,
        lambda told: (
            f"{told.view.far_name} does not answer {told.view.near_name} at {_which(told)}, elsewhere it does"
        ),
        predicts={names.ADDRESS_DEAD: True, names.FLOW_READY: True},
        proof=proven_by((names.ADDRESS_DEAD, names.FLOW_READY)),
        next_test=_ask_there,
        question=ADDRESSES,
        when=_WHEN,
    ),
    Cause(
        "family-broken",
        Verdict.FAMILY_BROKEN,
        lambda told: (
            f"{told.view.far_name} answers {told.view.near_name} by one family of addresses only: "
            f"{told.view.flow_name} at {_which(told)} is not answered"
        ),
        predicts={names.FAMILY_DEAD: True, names.ADDRESS_DEAD: False, names.FLOW_READY: True},
        proof=proven_by((names.FAMILY_DEAD, names.FLOW_READY)),
        next_test=_ask_there,
        question=ADDRESSES,
        when=_WHEN,
    ),
)

MOVES = (
    Move(
        SLOW,
        frozenset({names.HOPS_SILENT}),
        _build_slow,
        cost=3.0,
        wants=lambda view, signs: signs.holds(names.FLOW_READY) is True and bool(silent_hops(view)),
    ),
    Move(
        OTHERS,
        frozenset({names.ADDRESS_DEAD, names.FAMILY_DEAD}),
        lambda view, signs: _build_others(view, OTHERS, 3),
        cost=0.4,
        elsewhere=True,
        wants=lambda view, signs: signs.holds(names.FLOW_READY) is True,
    ),
    Move(
        OTHERS_AGAIN,
        frozenset({names.ADDRESS_DEAD, names.FAMILY_DEAD}),
        lambda view, signs: _build_others(view, OTHERS_AGAIN, _ENOUGH),
        cost=1.0,
        elsewhere=True,
        wants=_some_dead,
    ),
)
