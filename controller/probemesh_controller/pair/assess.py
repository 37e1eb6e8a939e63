"""A case, read and judged: what both planning and concluding start from. Pure."""

from dataclasses import dataclass

from probemesh_controller.pair.case import Case
from probemesh_controller.pair.judge import Judgement, judge
from probemesh_controller.pair.registry import CAUSES, READERS
from probemesh_controller.pair.signs import Notes, Signs, read_signs
from probemesh_controller.pair.view import View, views


@dataclass(frozen=True, slots=True)
class Assessed:
    """One direction. ``judgements`` by question."""

    view: View
    signs: Signs
    judgements: dict[str, Judgement]


def assess(case: Case, notes: Notes) -> tuple[Assessed, Assessed]:
    """Forward and reverse. Observations are numbered through both."""
    forward, reverse = views(case)
    return _assessed(forward, notes), _assessed(reverse, notes)


def _assessed(view: View, notes: Notes) -> Assessed:
    signs = read_signs(view, READERS, notes)
    return Assessed(view, signs, judge(CAUSES, signs, view.transport))
