"""Does a SYN arrive as it was sent? (rule 41). Pure."""

from collections.abc import Iterator, Sequence

from probemesh_shared.model import Accepted, Shot
from probemesh_shared.words import Transport, Verdict

from probemesh_controller.pair.case import Round
from probemesh_controller.pair.causes import Cause, proven_by
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.signs import Notes, Reader, Sign, Signs
from probemesh_controller.pair.tour import names
from probemesh_controller.pair.tour.basis import (
    Fate,
    flow,
    own_connections,
    ready,
    round_of,
    step,
    surrogate,
)
from probemesh_controller.pair.view import Probed, View

QUESTION = "headers"
FIRST = "tour-headers"
#: AF11: ordinary traffic of low priority, which networks carry unless they rewrite it.
DSCP = 10
#: Fits every link, so that only a rewriting box makes it smaller.
MSS = 1211
_EACH, _TWICE = 4, 2
_OPTIONS = ("sack", "ts", "wscale")


def _arrived(view: View) -> list[tuple[Probed, Fate, Accepted]]:
    return [
        (probed, fate, one)
        for probed in view.probes_here(FIRST)
        for fate, one in own_connections(view, probed)
        if one.syn_options or one.syn_ttl is not None
    ]


def _sent_options(view: View) -> frozenset[str]:
    """Those that the near host's kernel puts into its SYNs, as its agent says."""
    flows = (probed.flow for probed in view.probes_here(FIRST))
    return frozenset(option for flow_ in flows if flow_ is not None for option in flow_.syn_options)


def _read(view: View, notes: Notes) -> Iterator[Sign]:
    arrived = _arrived(view)
    if not arrived:
        return
    sent = _sent_options(view)
    common = _common([_changes(fate, one, sent) for _, fate, one in arrived])
    text = f"{len(arrived)} SYNs of {view.near_name} arrived at {view.far_name} " + (
        f"with {', '.join(common)}" if common else "as they were sent"
    )
    yield Sign(names.HEADERS_CHANGED, bool(common), (notes.note(text),), values={"what": ", ".join(common)})


def _changes(fate: Fate, one: Accepted, sent: frozenset[str]) -> list[str]:
    found = []
    sent_mss = _sent_mss(fate, one)
    if one.syn_mss is not None and sent_mss is not None and one.syn_mss < sent_mss:
        found.append(f"MSS {one.syn_mss} in place of {sent_mss}")
    if one.syn_dscp is not None and one.syn_dscp != DSCP:
        found.append(f"DSCP {one.syn_dscp} in place of {DSCP}")
    if one.syn_options:
        gone = [name for name in _OPTIONS if name in sent and name not in one.syn_options]
        if gone:
            found.append(f"without the options {' and '.join(gone)}")
    return found


def _sent_mss(fate: Fate, one: Accepted) -> int | None:
    """What was set, or what fills a packet of the path as the near host knows it."""
    if fate.plan.mss is not None or fate.seen.pmtu is None:
        return fate.plan.mss
    return fate.seen.pmtu - (60 if ":" in one.address else 40)


def _common(changes: Sequence[Sequence[str]]) -> list[str]:
    """What at least two of them suffered: a segment size is taken down for large ones only."""
    every = [one for each in changes for one in each]
    return [one for one in dict.fromkeys(every) if every.count(one) >= _TWICE]


READER = Reader(frozenset({names.HEADERS_CHANGED}), _read)

_WHEN = {names.READY: True}
CAUSES = (
    Cause(
        "headers-kept",
        Verdict.REACHABLE,
        lambda told: "a SYN arrives as it was sent",
        predicts={names.HEADERS_CHANGED: False},
        question=QUESTION,
        when=_WHEN,
    ),
    Cause(
        "header-rewrite",
        Verdict.HEADER_REWRITE,
        lambda told: (
            f"something rewrites SYNs from {told.view.near_name} to {told.view.far_name}: they arrive with "
            f"{told.value(names.HEADERS_CHANGED, 'what')}"
        ),
        predicts={names.HEADERS_CHANGED: True},
        proof=proven_by((names.HEADERS_CHANGED,)),
        question=QUESTION,
        when=_WHEN,
    ),
)


def _shots() -> tuple[Shot, ...]:
    """Of the full MSS that this host uses, and one that fits every link."""
    return tuple(
        Shot(at_ms=15.0 * number, ttl=64, mss=MSS if number % 2 else None, send=b"")
        for number in range(_EACH)
    )


def _build(view: View, signs: Signs) -> Round | None:
    aim = surrogate(view)
    if aim is None:
        return None
    spec = flow(view, Transport.TCP, _shots(), aim.token, dscp=DSCP)
    return round_of(step(view, FIRST, "how its SYNs arrive", spec, aim.port))


MOVES = (
    Move(
        FIRST,
        frozenset({names.HEADERS_CHANGED}),
        _build,
        cost=0.3,
        wants=lambda view, signs: ready(signs),
    ),
)
