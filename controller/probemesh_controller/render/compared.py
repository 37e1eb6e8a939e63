"""Who saw what: everything in ``wide``, what differs in ``table``."""

from probemesh_shared.consistency import AspectView, ValueGroup, consistency
from probemesh_shared.model import TargetResult
from probemesh_shared.words import Aspect

from probemesh_controller.diagnosis.wording import names
from probemesh_controller.render.text import Cell, clip, columns, paint, wrap

_HEADER = ["ASPECT", "AGREED", "SEEN BY", "VALUE"]
#: Values of one aspect that a line of ``table`` shows, and the width of each.
_SHOWN = 3
_VALUE_WIDTH = 40
_UNCUT = 100_000


def consistency_table(result: TargetResult, color: bool = False) -> list[str]:
    """A row a value, where there is anything to compare."""
    rows = [row for view in consistency(result) if _compares(view) for row in _rows(view)]
    return columns(_HEADER, rows, _UNCUT, color) if rows else []


def differing_lines(result: TargetResult, width: int, color: bool = False) -> list[str]:
    """A line, wrapped, an aspect that differs; none where all agree."""
    lines: list[str] = []
    for view in consistency(result):
        if not view.agreed:
            head, *rest = wrap(f"≠ {label(view)}: {_short(view)}", width, "  ") or [""]
            lines += [paint(head.strip(), "warn", color), *rest]
    return lines


def label(view: AspectView) -> str:
    """``certificate (port 443)``, ``IPv4 addresses``."""
    word = view.aspect.replace("ipv", "IPv").replace("-rtt", " RTT").replace("-", " ")
    return word if view.port is None else f"{word} (port {view.port})"


def _compares(view: AspectView) -> bool:
    several = len({name for group in view.groups for name in group.vantages}) > 1
    return several or not view.agreed or view.aspect is Aspect.FAMILY_RTT


def _rows(view: AspectView) -> list[list[Cell]]:
    word = Cell("yes", "good") if view.agreed else Cell("no", "warn")
    heads = [[Cell(label(view)), word], *([Cell(), Cell()] for _ in view.groups[1:])]
    return [
        [*head, Cell(", ".join(group.vantages)), Cell(group.value)]
        for head, group in zip(heads, view.groups, strict=True)
    ]


def _short(view: AspectView) -> str:
    shown = [_group(group) for group in view.groups[:_SHOWN]]
    rest = len(view.groups) - len(shown)
    return "; ".join([*shown, f"and {rest} more"] if rest else shown)


def _group(group: ValueGroup) -> str:
    return f"{clip(group.value, _VALUE_WIDTH)} from {names(group.vantages)}"
