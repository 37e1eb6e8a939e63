"""Moves: what can be done to settle signs, each a row of data. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from probemesh_controller.pair.case import Round, Step
from probemesh_controller.pair.signs import Signs
from probemesh_controller.pair.view import View


def _always(view: View, signs: Signs) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Move:
    """``key`` is the purpose of the steps that ``build`` makes, or what stands before ``:`` in it
    (``first:udp``). ``settles`` names the signs that become known by it, at best.

    It is made ``times`` times at most for one address of a view, when a judgement is open to one of those
    signs, and ``wants`` agrees. Of several moves that would do, the one with the least ``cost`` (about
    seconds) is made. ``alone``: nothing else may run beside it, since what it is about are counters of a
    host. ``beside``: made once for its own sake, beside the next thing that need not be alone, or last.
    ``elsewhere``: its steps go to other addresses than the one that the view is about, and count too.
    ``build`` gives None where it cannot be done here; ids of steps are filled in by the planner."""

    key: str
    settles: frozenset[str]
    build: Callable[[View, Signs], Round | None]
    cost: float = 1.0
    alone: bool = False
    times: int = 1
    beside: bool = False
    elsewhere: bool = False
    wants: Callable[[View, Signs], bool] = _always

    def made(self, view: View) -> int:
        """How many rounds had steps of it, to the address that the view is about now."""
        return len(
            {
                number
                for number, done in enumerate(view.case.rounds)
                for one in done.steps
                if one.step.purpose.partition(":")[0] == self.key and self._is_its(one.step, view)
            }
        )

    def _is_its(self, step: Step, view: View) -> bool:
        """What a third agent sent for it tells about no direction; its purpose ends with that of the view."""
        if step.direction is None:
            return step.purpose.endswith(f":{view.direction}")
        here = self.elsewhere or step.sender != view.near_name or step.address == view.address
        return step.direction is view.direction and here
