"""``-o wide``: a row a measurement, then findings, who saw what, and summary."""

from collections.abc import Sequence

from probemesh_shared.escape import escape
from probemesh_shared.model import TargetResult
from probemesh_shared.words import NOT_MEASURED, DnssecStatus, Outcome

from probemesh_controller.render.compared import consistency_table
from probemesh_controller.render.findings import findings_lines
from probemesh_controller.render.hops import trace_lines
from probemesh_controller.render.rows import SILENT, Row, rows
from probemesh_controller.render.said import CLOSES
from probemesh_controller.render.table import summary_line
from probemesh_controller.render.text import Cell, columns, ms_text, paint
from probemesh_controller.render.tls import tls_lines
from probemesh_controller.render.zone import zone_lines

_HEADER = [
    "FROM",
    "SITE",
    "KIND",
    "TARGET",
    "ADDRESS",
    "OUTCOME",
    "SENT",
    "LOST",
    "MEDIAN",
    "MIN",
    "MAX",
    "JITTER",
    "ANSWER",
    "WHY",
]


#: What is asked for as wide is never cut.
UNCUT = 100_000


def render(results: Sequence[TargetResult], width: int, color: bool = False, strict: bool = False) -> str:
    parts = []
    for result in results:
        table = columns(_HEADER, [_cells(row) for row in rows([result])], UNCUT, color)
        found = findings_lines(result.findings, width, color)
        lines = [paint(escape(result.target.text), "bold", color), "", *table]
        courses = trace_lines(result, UNCUT, color, followed=True)
        lines += ["", *courses] if courses else []
        seen = tls_lines(result, UNCUT, color)
        lines += ["", *seen] if seen else []
        servers = zone_lines(result, UNCUT, color)
        lines += ["", *servers] if servers else []
        lines += ["", *found] if found else []
        compared = consistency_table(result, color)
        lines += ["", *compared] if compared else []
        parts.append("\n".join([*lines, "", summary_line(result, color, strict)]))
    return "\n\n".join(parts) + "\n"


def _cells(row: Row) -> list[Cell]:
    times = [row.rtt_ms, row.min_ms, row.max_ms, row.jitter_ms]
    return [
        Cell(row.agent),
        Cell(row.site or "–"),
        Cell(row.kind or "–"),
        Cell(row.target),
        Cell(row.address or "–"),
        _outcome(row.outcome or "", row.answer == SILENT),
        *(Cell("" if count is None else str(count), right=True) for count in (row.sent, row.lost)),
        *(Cell(ms_text(time), right=True) for time in times),
        Cell(_answer(row)),
        Cell(row.detail or "", "dim"),
    ]


def _answer(row: Row) -> str:
    said = row.answer if row.answer != SILENT else None
    status = str(row.status) if row.status not in (None, "NOERROR") else None
    words = (
        status,
        said,
        CLOSES.get(row.close or ""),
        row.dnssec if row.dnssec != DnssecStatus.UNKNOWN else None,
    )
    return " ".join(part for part in words if part)


def _outcome(word: str, silent: bool) -> Cell:
    if silent:
        return Cell(f"✕ {word}, {SILENT}", "bad")
    if word == Outcome.OK:
        return Cell("✓ ok", "good")
    return Cell(f"– {word}", "warn") if word in NOT_MEASURED else Cell(f"✕ {word}", "bad")
