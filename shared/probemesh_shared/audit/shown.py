"""A record in words, for people. Pure."""

from collections.abc import Iterator

from probemesh_shared.audit.query import AuditFound
from probemesh_shared.audit.record import AuditRecord
from probemesh_shared.escape import escape


def about(record: AuditRecord) -> str:
    """Everything but time, event, outcome, who and from where, in one line that is safe to show."""
    return escape(" · ".join(_parts(record)))


def _parts(record: AuditRecord) -> Iterator[str]:
    if record.asked_by:
        yield f"for {record.asked_by}"
    for name, value in (("agent", record.agent), ("token", record.token), ("run", record.run)):
        if value:
            yield f"{name} {value}"
    if asked := " ".join((*record.kinds, *record.targets)):
        yield asked
    if record.agents:
        yield "from " + " ".join(record.agents)
    if record.omitted:
        yield f"{record.omitted} more"
    if record.counts:
        yield ", ".join(f"{count.rows} {count.outcome}" for count in record.counts)
    if record.detail:
        yield record.detail
    if record.times > 1:
        yield f"{record.times} times"


def remarks(found: AuditFound) -> Iterator[str]:
    """What whoever reads should know about the rest."""
    if found.more:
        yield "there are older ones: --limit shows more"
    if found.unreadable:
        yield f"{found.unreadable} lines were no records"
    if found.lost:
        yield f"{found.lost} records could not be written since the controller was started"
