"""``mesh-agent audit``: this host's own record, read where it is kept."""

import argparse
import time
from pathlib import Path

from probemesh_shared.audit.query import MAX_RECORDS, AuditFound, AuditQuery
from probemesh_shared.audit.record import AuditRecord, line_of, record_to_json
from probemesh_shared.audit.search import search
from probemesh_shared.audit.shown import about, remarks
from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.jsonout import dumps
from probemesh_shared.moments import moment, time_text
from probemesh_shared.words import AuditOutcome

from probemesh_agent.auditlog import audit_path


def show(state: Path, args: argparse.Namespace) -> tuple[str, str]:
    """What goes to stdout, and a note. Raises :class:`InvalidRequest` and StateError."""
    found = search(audit_path(state), query_of(args))
    if args.output == "jsonl":
        return "".join(line_of(record).decode("ascii") for record in found.records), _note(found)
    if args.output == "json":
        value = {"schema": 1, "records": [record_to_json(record) for record in found.records]}
        return dumps(value | {"more": found.more, "lost": found.lost}) + "\n", _note(found)
    return "".join(_line(record) + "\n" for record in found.records), _note(found)


def query_of(args: argparse.Namespace) -> AuditQuery:
    if not 1 <= args.limit <= MAX_RECORDS:
        raise InvalidRequest(f"--limit {args.limit} is not between 1 and {MAX_RECORDS}")
    try:
        since = None if args.since is None else moment(args.since, time.time_ns())
    except ValueError as error:
        raise InvalidRequest(f"--since {escape(args.since, 40)} is no time", "15m, 1h, 2d") from error
    outcome = None if args.outcome is None else AuditOutcome(args.outcome)
    return AuditQuery(since, who=args.who, event=args.event, outcome=outcome, run=args.run, limit=args.limit)


def _line(record: AuditRecord) -> str:
    who = escape(f"{record.who or '?'} {record.address}".strip(), 80)
    parts = (
        time_text(record.at_ns)[:19] + "Z",
        f"{record.outcome:<9}",
        f"{escape(record.event, 40):<15}",
        who,
    )
    return "  ".join((*parts, about(record))).rstrip()


def _note(found: AuditFound) -> str:
    if not found.records:
        return "nothing like this is on the record"
    return "; ".join(remarks(found))
