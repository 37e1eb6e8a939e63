"""``--share``: one run as plain text that explains itself in a ticket or a chat. Pure.

No colour, nothing that steers a terminal, and no fence: it stands in a code block of any service as it is,
because no line of it can end one. What a URL asks for (``?token=…``) is left out.
"""

import shlex
from collections.abc import Sequence
from dataclasses import replace

from probemesh_shared.escape import escape
from probemesh_shared.model import TargetResult
from probemesh_shared.moments import time_text
from probemesh_shared.outcomes import exit_code

from probemesh_controller.history.record import Header
from probemesh_controller.render import queries, table
from probemesh_controller.render.findings import findings_lines
from probemesh_controller.render.text import wrap

WIDTH = 110
_MEANS = {
    0: "everybody asked reached it",
    1: "nobody reached it",
    3: "some failed or were not measured",
    4: "nothing could be measured",
    130: "interrupted",
}


def render(header: Header, results: Sequence[TargetResult]) -> str:
    header = replace(header, command=tuple(map(queries.hidden, header.command)))
    lines = [*_head(header, results), ""]
    for result in results:
        lines += [escape(result.target.text, WIDTH), ""]
        lines += [*table.table_lines(result, WIDTH, False, header.strict), ""]
        found = findings_lines(result.findings, WIDTH)
        lines += [*found, ""] if found else []
        lines += [table.summary_line(result, False, header.strict), ""]
    asked = [result.target.path.partition("?")[2] for result in results]
    text = queries.hidden("\n".join(lines), asked)
    return text.rstrip("\n").replace("```", "'''").replace("~~~", "'''") + "\n"


def command_text(command: Sequence[str]) -> str:
    """As it would be typed."""
    return escape(" ".join(["meshctl", *map(shlex.quote, command)]), 2000)


def _head(header: Header, results: Sequence[TargetResult]) -> list[str]:
    started = min((result.started_ns for result in results), default=header.saved_ns)
    mesh = f"context {escape(header.context, 80)}" if header.context else "no mesh, this machine only"
    facts = [f"{time_text(started)[:19].replace('T', ' ')} UTC", f"run {escape(header.id, 80)}", mesh]
    facts.append(f"meshctl {escape(header.version, 40)}")
    if header.rounds > 1:
        facts.append(f"the last of {header.rounds} rounds")
    ordinary = header.exit_code == exit_code(results, header.strict, header.interrupted)
    turned = any(vantage.expect_fail for result in results for vantage in result.vantages)
    said = _MEANS.get(header.exit_code) if ordinary and not turned else None
    code = f"exit code {header.exit_code}" + (f": {said}" if said else "")
    command = [line.replace("\n", "") for line in wrap(command_text(header.command), WIDTH - 2, "  ")]
    return ["$ " + command[0].lstrip(" "), *command[1:], f"{' · '.join(facts)}", code]
