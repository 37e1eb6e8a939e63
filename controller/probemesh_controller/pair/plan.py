"""The planner: what to send next, from what is still undecided. Pure.

It stops (None) when nothing that it can send would change the answer, and at the limits. Every move is made a
bounded number of times, so it ends in any case.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from probemesh_controller.pair.assess import Assessed, assess
from probemesh_controller.pair.case import Case, Round, Step
from probemesh_controller.pair.cost import all_planned, packets
from probemesh_controller.pair.judge import Judgement
from probemesh_controller.pair.moves import Move
from probemesh_controller.pair.registry import MOVES
from probemesh_controller.pair.signs import Notes

#: Seconds by which a move may be longer that is made beside the cheapest.
MEANWHILE_S = 0.8


@dataclass(frozen=True, slots=True)
class Option:
    """A move that would help one question of one direction."""

    move: Move
    round: Round


def next_round(case: Case) -> Round | None:
    """What to do now; ids of its steps are new. None: conclude."""
    if case.elapsed_s >= case.asked.limits.seconds:
        return None
    sides = assess(case, Notes())
    options = [option for side in sides for option in _options(side)]
    beside = [option for side in sides for option in _beside(side)]
    chosen = _chosen(options, beside)
    return _numbered(case, _within(case, chosen)) if chosen else None


def _options(side: Assessed) -> Iterator[Option]:
    for judgement in side.judgements.values():
        yield from _helpful(side, judgement)


def _helpful(side: Assessed, judgement: Judgement) -> Iterator[Option]:
    """The cheapest move that would settle a sign on which the causes left differ, and those that take no
    longer than a little more and settle others: they run at the same time."""
    wanted, most = judgement.open_signs(side.signs), None
    for move in sorted(MOVES, key=lambda one: (one.cost, one.key)):
        if not wanted & move.settles or move.made(side.view) >= move.times:
            continue
        if most is not None and (move.alone or move.cost > most):
            continue
        if move.wants(side.view, side.signs) and (built := _built(move, side)):
            yield Option(move, built)
            if move.alone:
                return
            most = move.cost + MEANWHILE_S if most is None else most
            wanted -= move.settles


def _beside(side: Assessed) -> Iterator[Option]:
    """What is made for its own sake, once there is something to be shown."""
    for move in MOVES:
        if move.beside and move.made(side.view) < move.times and move.wants(side.view, side.signs):
            built = _built(move, side)
            if built is not None:
                yield Option(move, built)


def _built(move: Move, side: Assessed) -> Round | None:
    """Without steps that were asked for and could not be done: the same sender would say the same again."""
    built = move.build(side.view, side.signs)
    if built is None:
        return None
    vain = {
        _asked(done.step)
        for one in side.view.case.rounds
        for done in one.steps
        if done.problem is not None and not done.rows
    }
    steps = tuple(step for step in built.steps if _asked(step) not in vain)
    return replace(built, steps=steps) if steps or not built.steps else None


def _asked(step: Step) -> tuple[str, str, str, int | None]:
    return step.sender, step.purpose, step.address, step.port


def _chosen(options: list[Option], beside: list[Option]) -> list[Round]:
    """All that may run together; else the cheapest of those that must be alone."""
    together = [option.round for option in options if not option.move.alone]
    if together or not options:
        return together + [option.round for option in beside]
    alone = sorted(options, key=lambda option: (option.move.cost, option.move.key))
    return [option.round for option in alone[:1]]


def _within(case: Case, rounds: list[Round]) -> list[Round]:
    """As many of them as the packets that are left allow. One that alone is too many is the driver's to
    refuse, who says so."""
    left = case.asked.limits.packets - packets(case)
    kept: list[Round] = []
    for one in rounds:
        left -= all_planned(step.spec for step in one.steps)
        if left < 0 and kept:
            break
        kept.append(one)
    return kept


def _numbered(case: Case, rounds: list[Round]) -> Round | None:
    """One round of all, without the same step twice."""
    if not rounds:
        return None
    first = sum(len(done.steps) for done in case.rounds) + 1
    steps: list[Step] = []
    for one in rounds:
        steps.extend(step for step in one.steps if step not in steps)
    return Round(
        steps=tuple(replace(step, id=f"s{number}") for number, step in enumerate(steps, first)),
        settle_ms=max(one.settle_ms for one in rounds),
        quiet_ms=max(one.quiet_ms for one in rounds),
        thirds=tuple(dict.fromkeys(name for one in rounds for name in one.thirds)),
        third_port=next((one.third_port for one in rounds if one.third_port is not None), None),
    )
