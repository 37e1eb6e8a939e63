"""``meshctl diagnose -o csv``: a row a direction, RFC 4180, one header; no cell is a formula or a control."""

import csv
import io

from probemesh_shared.escape import csv_text
from probemesh_shared.model import Diagnosis
from probemesh_shared.moments import time_text

from probemesh_controller.render.diagnosis import Side, sides

HEADER = (
    "started_at",
    "direction",
    "from",
    "to",
    "transport",
    "port",
    "outcome",
    "path_verdict",
    "service_verdict",
    "verdict",
    "confidence",
    "alternatives",
    "place",
    "address",
    "hop",
    "summary",
)


def render(diagnosis: Diagnosis) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    ports = diagnosis.port, diagnosis.reverse_port
    for side, port in zip(sides(diagnosis), ports, strict=True):
        values = _row(side, diagnosis, port)
        writer.writerow(["" if value is None else csv_text(str(value)) for value in values])
    return out.getvalue()


def _row(side: Side, diagnosis: Diagnosis, port: int | None) -> tuple[object, ...]:
    told, found = side.told, side.first
    place = found.place if found is not None else None
    return (
        time_text(diagnosis.started_ns),
        side.direction,
        side.near,
        side.far,
        diagnosis.transport,
        port,
        told.outcome,
        told.path_verdict,
        told.service_verdict,
        told.verdict,
        told.confidence,
        " ".join(told.alternatives),
        place.kind if place is not None else None,
        place.address if place is not None else None,
        place.hop if place is not None else None,
        found.summary if found is not None else None,
    )
