"""``-o csv``: a row a measurement, RFC 4180, one header; no cell is a formula or holds a control."""

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, fields

from probemesh_shared.escape import csv_text
from probemesh_shared.model import TargetResult

from probemesh_controller.render.rows import Row, rows


def render(results: Sequence[TargetResult]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([field.name for field in fields(Row)])
    for row in rows(results):
        writer.writerow([_cell(value) for value in astuple(row)])
    return out.getvalue()


def _cell(value: str | int | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(round(value, 3))
    return str(value) if isinstance(value, int) else csv_text(value)
