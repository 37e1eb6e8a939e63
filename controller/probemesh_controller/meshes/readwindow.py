"""One ``[[window]]`` of maintenance. Pure."""

from collections.abc import Sequence
from itertools import islice, pairwise

from probemesh_shared.escape import escape

from probemesh_controller.meshes.cron import fires, read_cron
from probemesh_controller.meshes.ends import Reader, nearest
from probemesh_controller.meshes.model import SECOND_NS, Window
from probemesh_controller.meshes.table import Table

_ONE_OF_BOTH = 'write cron = "0 2 * * SUN" and duration = "2h", or from = … and until = …'
#: 2026, and how far and how often it is looked.
_FROM_NS, _YEARS_NS, _BEGINS = 1_767_225_600 * SECOND_NS, 10 * 366 * 86_400 * SECOND_NS, 3000
_MONTH_NS = 31 * 86_400 * SECOND_NS


def read_window(table: Table, reader: Reader, schedules: Sequence[str]) -> Window | None:
    """``schedules`` are those there are. None where it cannot be made out; the report says why."""
    said = len(table.report.problems)
    name = table.name("window name")
    lasts_ns = table.duration_ns("duration", SECOND_NS, _MONTH_NS)
    from_ns, until_ns = table.instant_ns("from"), table.instant_ns("until")
    cron = read_cron(table)
    again, once = ("cron" in table, "duration" in table), ("from" in table, "until" in table)
    if (any(again) and any(once)) or not (all(again) or all(once)):
        table.report.say(table.path, "this window does not say when, or says it in two ways", _ONE_OF_BOTH)
    elif from_ns is not None and until_ns is not None and until_ns <= from_ns:
        table.say("until", "the window ends before it begins", "until must be later than from")
    elif cron is not None and lasts_ns is not None and _never_ends(cron, lasts_ns):
        again_in = "it begins again before it has ended, always"
        table.say("duration", f"the window never ends: {again_in}", "a shorter duration, or a rarer cron")
    only = tuple(text for text, _ in table.texts("schedules"))
    for number, one in enumerate(only):
        if one not in schedules:
            text = f"there is no schedule '{escape(one, 60)}'"
            table.report.say(table.at("schedules", number), text, nearest(one, schedules))
    agents = reader.agents(table, "agents")
    if name is None or len(table.report.problems) > said:
        return None
    return Window(name, cron, lasts_ns or 0, from_ns or 0, until_ns or 0, only, agents, table.line)


def _never_ends(cron: str, lasts_ns: int) -> bool:
    """No gap is longer than the duration, as far as the first thousands of begins tell."""
    begins = list(islice(fires(cron, _FROM_NS, _FROM_NS + _YEARS_NS), _BEGINS))
    return all(later - begin <= lasts_ns for begin, later in pairwise(begins))
