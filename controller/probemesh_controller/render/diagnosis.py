"""A diagnosis as a good engineer would tell it: what is the matter in plain words, where, how that is known,
what it is not, what to do next, and what finding out has cost. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from probemesh_shared.escape import escape
from probemesh_shared.model import Diagnosis, DirectionVerdict, Finding, PathHop, RuledOut
from probemesh_shared.moments import time_text
from probemesh_shared.words import NOT_MEASURED, Direction, Verdict

from probemesh_controller.pair.case import INTERRUPTED, Case, EndRole
from probemesh_controller.pair.causes import NO_FAULT
from probemesh_controller.render.findings import evidence_lines, hanging
from probemesh_controller.render.paths import drawing
from probemesh_controller.render.steps import steps_lines
from probemesh_controller.render.text import counted, paint, wrap
from probemesh_controller.render.verdictwords import said

#: What is suspected first when something does not get through; the others after them, as they come.
_SUSPECTS = (
    Verdict.FORWARD_DROP,
    Verdict.RETURN_DROP,
    Verdict.FORWARD_REJECT,
    Verdict.FORWARD_RESET,
    Verdict.TARGET_INPUT_DROP,
    Verdict.TARGET_INPUT_REJECT,
    Verdict.TARGET_OUTPUT_FILTER,
    Verdict.SOURCE_OUTPUT_FILTER,
    Verdict.PORT_CLOSED,
    Verdict.TARGET_DOWN,
    Verdict.ASYMMETRIC_STATEFUL,
    Verdict.SYN_FILTER,
    Verdict.TARGET_REVERSE_PATH_FILTER,
)
#: Ruled out causes, and things that could not be looked at, that are shown without ``-o wide``.
_MOST = 8


@dataclass(frozen=True, slots=True)
class View:
    """How it is shown. ``wide``: with everything that there is."""

    width: int = 100
    color: bool = False
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Side:
    """One direction: who initiates (``near``), who is dialled (``far``), what came of it."""

    direction: Direction
    near: str
    far: str
    flow: str
    told: DirectionVerdict
    findings: tuple[Finding, ...]
    path: tuple[PathHop, ...]

    @property
    def first(self) -> Finding | None:
        """The finding that its verdict is from."""
        return next((one for one in self.findings if one.verdict is self.told.verdict), None)

    @property
    def is_reached(self) -> bool:
        return self.told.path_verdict is Verdict.REACHABLE

    @property
    def is_well(self) -> bool:
        """The way back is there, whatever its service does: nothing need listen there."""
        return self.direction is Direction.REVERSE and self.is_reached

    @property
    def is_measured(self) -> bool:
        return self.told.path_verdict is not None or self.told.outcome not in NOT_MEASURED


def flow_text(diagnosis: Diagnosis, port: int | None) -> str:
    return "ping" if port is None else f"{diagnosis.transport}/{port}"


def sides(diagnosis: Diagnosis) -> tuple[Side, Side]:
    def of(direction: Direction) -> tuple[Finding, ...]:
        return tuple(one for one in diagnosis.findings if one.direction is direction)

    a, b = diagnosis.source, diagnosis.target
    forward, reverse = Direction.FORWARD, Direction.REVERSE
    flows = flow_text(diagnosis, diagnosis.port), flow_text(diagnosis, diagnosis.reverse_port)
    return (
        Side(forward, a, b, flows[0], diagnosis.forward, of(forward), diagnosis.path),
        Side(reverse, b, a, flows[1], diagnosis.reverse, of(reverse), diagnosis.reverse_path),
    )


def render(
    case: Case, diagnosis: Diagnosis, view: View, replayed: bool = False, interrupted: bool = False
) -> str:
    both = sides(diagnosis)
    interrupted = interrupted or any(done.problem == INTERRUPTED for one in case.rounds for done in one.steps)
    blocks = [
        _head(diagnosis, view, replayed, interrupted),
        *(_answer(side, view, interrupted) for side in both),
        _ways(both, view),
        *_details(diagnosis, both, view),
        *_excluded(both, diagnosis.excluded, view),
        _missing(diagnosis, view),
        steps_lines(case, view.width, view.color) if view.wide else [],
        _next(diagnosis, both, view),
        [paint(_cost(case, diagnosis), "dim", view.color)],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _head(diagnosis: Diagnosis, view: View, replayed: bool, interrupted: bool) -> list[str]:
    ends = f"{escape(diagnosis.source, 80)} ⇄ {escape(diagnosis.target, 80)}"
    flow = flow_text(diagnosis, diagnosis.port)
    back = flow_text(diagnosis, diagnosis.reverse_port)
    flows = flow if back == flow else f"{flow} there, {back} back"
    lines = [paint(f"{ends}, {flows}", "bold", view.color)]
    if replayed:
        at = time_text(diagnosis.started_ns)[:19].replace("T", " ")
        lines.append(f"replayed from what was saved at {at} UTC: nothing was sent now")
    if interrupted:
        lines.append("interrupted: this is what was known by then")
    return lines


# --- the answer -----------------------------------------------------------------------------------------


def _answer(side: Side, view: View, interrupted: bool) -> list[str]:
    told = side.told
    sign, style = _sign(side)
    sure = f" ({told.confidence})" if side.is_measured and told.verdict is not Verdict.UNDETERMINED else ""
    head = f"{sign} {escape(side.near, 80)} → {escape(side.far, 80)}: {told.verdict}{sure}"
    lines = [paint(head, style, view.color), *wrap(_plain(side, interrupted), view.width, "  ")]
    shown = told.alternatives if view.wide else told.alternatives[:_MOST]
    for one in shown:
        lines += hanging(f"{one}: ", said(one, side.near, side.far, side.flow), view.width)
    return [*lines, *_more(len(told.alternatives) - len(shown))]


def _sign(side: Side) -> tuple[str, str]:
    told = side.told
    if not side.is_measured or told.verdict in NO_FAULT:
        return "–", "warn"
    if told.verdict is Verdict.REACHABLE:
        return "✓", "good"
    if told.verdict is Verdict.UNDETERMINED:
        return "?", "warn"
    if side.is_well:
        return "✓", "good"
    return "✕", "bad"


def _plain(side: Side, interrupted: bool) -> str:
    told, found = side.told, side.first
    if told.verdict is Verdict.UNDETERMINED and told.alternatives:
        return "one of these, and what was seen does not tell which:"
    if told.verdict is Verdict.UNDETERMINED and not side.is_measured:
        if interrupted:
            return "not measured: interrupted before anything was known of it"
        return f"not measured: {side.near} could not send it, or was not asked to any more"
    text = found.summary if found is not None else said(told.verdict, side.near, side.far, side.flow)
    if side.is_well and told.verdict is not Verdict.REACHABLE:
        return f"{text}; nothing need listen there, so that counts as reached"
    return text


# --- where ------------------------------------------------------------------------------------------------


def _ways(both: Sequence[Side], view: View) -> list[str]:
    lines: list[str] = []
    for side in both:
        if not side.is_measured or not side.path:
            continue
        if lines:
            lines.append("")
        lines.append(paint(f"{escape(side.near, 80)} → {escape(side.far, 80)}", "dim", view.color))
        lines += drawing(side.path, view.width, view.color)
    return lines


# --- how that is known --------------------------------------------------------------------------------------


def _details(diagnosis: Diagnosis, both: Sequence[Side], view: View) -> Iterator[list[str]]:
    """Evidence of the answers first, then what was found besides."""
    first = [side.first for side in both if side.first is not None]
    shown = [side.first for side in both if side.first is not None and (view.wide or not side.is_well)]
    rest = [one for one in diagnosis.findings if all(one is not other for other in first)]
    for finding in shown:
        known = "what was seen" if finding.verdict is Verdict.UNDETERMINED else "how that is known"
        lines = [f"{_title(finding, diagnosis)}: {known}"]
        yield [*lines, *evidence_lines(finding, view.width, None if view.wide else 5)]
    for finding in rest:
        lines = [paint(f"▲ {_title(finding, diagnosis)} ({finding.confidence})", "warn", view.color)]
        lines += wrap(finding.summary, view.width, "  ")
        lines += evidence_lines(finding, view.width, None if view.wide else 5)
        if finding.alternatives:
            lines += hanging("one of: ", ", ".join(finding.alternatives), view.width)
        yield lines


def _title(finding: Finding, diagnosis: Diagnosis) -> str:
    a, b = escape(diagnosis.source, 80), escape(diagnosis.target, 80)
    if finding.direction is None:
        return str(finding.verdict)
    return (
        f"{finding.verdict}, {b} → {a}"
        if finding.direction is Direction.REVERSE
        else (f"{finding.verdict}, {a} → {b}")
    )


def _excluded(both: Iterable[Side], excluded: tuple[RuledOut, ...], view: View) -> Iterator[list[str]]:
    for side in both:
        everything = grouped(one for one in excluded if one.direction is side.direction)
        if not everything or (side.is_well and not view.wide):
            continue
        lines = [f"What it is not, {escape(side.near, 80)} → {escape(side.far, 80)}"]
        for verdicts, by in everything if view.wide else everything[:_MOST]:
            text = "; ".join(by) if view.wide else shortened(by)
            lines += hanging(f"{', '.join(verdicts)}: ", text, view.width)
        yield [*lines, *_more(0 if view.wide else len(everything) - _MOST)]


def grouped(excluded: Iterable[RuledOut]) -> list[tuple[tuple[Verdict, ...], tuple[str, ...]]]:
    """Each verdict once, with all that rules it out, together with those that just the same rules out; those
    first that people think of first."""
    rank = {verdict: number for number, verdict in enumerate(_SUSPECTS)}
    found: dict[Verdict, dict[str, None]] = {}
    for one in sorted(excluded, key=lambda one: rank.get(one.verdict, len(rank))):
        found.setdefault(one.verdict, {}).update(dict.fromkeys(one.by))
    alike: dict[tuple[str, ...], list[Verdict]] = {}
    for verdict, by in found.items():
        alike.setdefault(tuple(by), []).append(verdict)
    return [(tuple(verdicts), by) for by, verdicts in alike.items()]


def shortened(by: tuple[str, ...]) -> str:
    return by[0] if len(by) == 1 else f"{by[0]}; and {len(by) - 1} more"


def _missing(diagnosis: Diagnosis, view: View) -> list[str]:
    if not diagnosis.missing:
        return []
    shown = diagnosis.missing if view.wide else diagnosis.missing[:_MOST]
    lines = ["What could not be looked at"]
    for text in shown:
        lines += hanging("– ", text, view.width)
    return [*lines, *_more(len(diagnosis.missing) - len(shown))]


def _more(left: int) -> list[str]:
    return [f"    … {left} more: -o wide"] if left > 0 else []


def _next(diagnosis: Diagnosis, both: Sequence[Side], view: View) -> list[str]:
    well = [side.first for side in both if side.is_well]
    told = (one for one in diagnosis.findings if all(one is not other for other in well))
    tests = dict.fromkeys(one.next_test for one in told if one.next_test)
    if not tests:
        return []
    lines = ["What to do next"]
    for text in tests:
        lines += hanging("→ ", text, view.width)
    return lines


def _cost(case: Case, diagnosis: Diagnosis) -> str:
    watched = sum(end.armed is not None for end in case.ends if end.role is not EndRole.THIRD)
    ends = ("watched at neither end", "watched at one end", "watched at both ends")[watched]
    rounds = counted(len(case.rounds), "round")
    return f"{counted(diagnosis.packets, 'packet')}, {diagnosis.elapsed_s:.1f} s, {rounds}, {ends}"
