"""A matrix as the JSON contract has it, and as CSV: a row a cell, the same keys. Pure."""

import csv
import io

from probemesh_shared.escape import csv_text
from probemesh_shared.jsonmesh import MatrixCellJson, MatrixJson
from probemesh_shared.moments import time_text

from probemesh_controller.collapse.wording import causes_to_json
from probemesh_controller.matrix.cells import CellSeen, Matrix, counts

_COLUMNS = tuple(MatrixCellJson.__annotations__)


def to_json(matrix: Matrix) -> MatrixJson:
    found = counts(matrix)
    return {
        "schema": 1,
        "mesh": matrix.mesh,
        "at": time_text(matrix.at_ns),
        "sources": list(matrix.sources),
        "targets": list(matrix.targets),
        "probes": list(matrix.probes),
        "cells": [cell_to_json(one) for one in matrix.cells],
        "causes": causes_to_json(matrix.causes),
        "summary": {
            "ok": found.ok,
            "failed": found.failed,
            "unmeasured": found.unmeasured,
            "total": found.total,
        },
        "interrupted": matrix.interrupted,
    }


def cell_to_json(seen: CellSeen) -> MatrixCellJson:
    return {
        "source": seen.cell.source,
        "target": seen.cell.target,
        "target_is_agent": seen.target_is_agent,
        "probe": seen.cell.probe,
        "state": seen.state,
        "outcome": seen.outcome,
        "at": None if seen.at_ns is None else time_text(seen.at_ns),
        "stale": seen.stale,
        "address": seen.address,
        "sent": seen.sent,
        "lost": seen.lost,
        "loss_ratio": None if seen.loss_ratio is None else round(seen.loss_ratio, 6),
        "rtt_ms": None if seen.rtt_ms is None else round(seen.rtt_ms, 3),
        "reason": seen.reason,
    }


def csv_of(matrix: Matrix) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for one in matrix.cells:
        told: dict[str, object] = {**cell_to_json(one)}
        writer.writerow([_field(told[key]) for key in _COLUMNS])
    return out.getvalue()


def _field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else csv_text(str(value))
