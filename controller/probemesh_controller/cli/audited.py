"""What ``meshctl audit`` asks for, and how it shows what it gets."""

import csv
import io
import sys
import time
from collections.abc import Sequence
from typing import Any

from probemesh_shared.audit.query import MAX_RECORDS, AuditFound, AuditQuery
from probemesh_shared.audit.record import AuditRecord, record_to_json
from probemesh_shared.audit.shown import about, remarks
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import csv_text, escape
from probemesh_shared.jsonshape import AuditJson
from probemesh_shared.moments import moment, time_text
from probemesh_shared.words import AuditOutcome

from probemesh_controller.cli import connect
from probemesh_controller.cli.flags import note, required_context, use_color
from probemesh_controller.cli.output import Format, print_value, terminal_width, write
from probemesh_controller.render.text import Cell, columns

_STYLES = {
    AuditOutcome.OK: "good",
    AuditOutcome.STARTED: "dim",
    AuditOutcome.CANCELLED: "dim",
    AuditOutcome.REJECTED: "warn",
}


def query(
    since: str | None,
    until: str | None,
    who: str | None,
    agent: str | None,
    event: str | None,
    outcome: AuditOutcome | None,
    run: str | None,
    limit: int,
) -> AuditQuery:
    """Of what was typed. Raises :class:`InvalidRequest`."""
    if not 1 <= limit <= MAX_RECORDS:
        raise InvalidRequest(f"--limit {limit} is not between 1 and {MAX_RECORDS}")
    now_ns = time.time_ns()
    return AuditQuery(
        _moment(since, "--since", now_ns),
        _moment(until, "--until", now_ns),
        who,
        agent,
        event,
        outcome,
        run,
        limit,
    )


def _moment(text: str | None, what: str, now_ns: int) -> int | None:
    try:
        return None if text is None else moment(text, now_ns)
    except ValueError as error:
        hint = "for example 15m, 1h, 2d or 2026-11-27T04:00"
        raise InvalidRequest(f"{what} '{escape(text or '', 40)}' is no time", hint) from error


async def ask(wanted: AuditQuery) -> AuditFound:
    async with connect.administration(required_context()) as mesh:
        return await mesh.audit(wanted)


def print_found(found: AuditFound, wanted: Format) -> None:
    """Records on stdout, what else there is to know on stderr."""
    if wanted is Format.CSV:
        write(records_csv(found.records))
    elif wanted is Format.TABLE:
        write(records_table(found.records, terminal_width()))
    elif wanted is Format.WIDE:
        write(records_table(found.records, sys.maxsize))
    elif wanted is Format.JSONL:
        for record in found.records:
            print_value(record_to_json(record), wanted)
    else:
        records = [record_to_json(record) for record in found.records]
        value: AuditJson = {"schema": 1, "records": records, "more": found.more, "lost": found.lost}
        print_value(value, wanted)
    if not found.records:
        note("nothing like this is on the record")
    for remark in remarks(found):
        note(f"note: {remark}")


def records_table(records: Sequence[AuditRecord], width: int) -> str:
    """A line a record; the last column is cut to ``width``."""
    if not records:
        return ""
    header = ["TIME", "OUTCOME", "EVENT", "WHO", "FROM", "WHAT"]
    return "\n".join(columns(header, [_row(one) for one in records], width, use_color(sys.stdout))) + "\n"


def _row(record: AuditRecord) -> list[Cell]:
    return [
        Cell(time_text(record.at_ns)[:19] + "Z", "dim"),
        Cell(record.outcome, _STYLES.get(record.outcome, "bad")),
        Cell(record.event),
        Cell(record.who or "?"),
        Cell(record.address),
        Cell(about(record)),
    ]


def records_csv(records: Sequence[AuditRecord]) -> str:
    """RFC 4180; the columns are the keys of the JSON, lists with blanks between; no cell is a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(record_to_json(AuditRecord(0, "")))
    for record in records:
        writer.writerow([csv_text(_flat(value)) for value in record_to_json(record).values()])
    return out.getvalue()


def _flat(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return " ".join(f"{key}={each}" for key, each in value.items())
    return " ".join(value) if isinstance(value, list) else str(value)
