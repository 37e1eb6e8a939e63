"""What is asked over and over is told once and counted: nobody may wash a record away by a flood. Pure."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from probemesh_shared.audit.record import AuditRecord
from probemesh_shared.words import AuditOutcome

#: Events alike that are told one by one within WINDOW_NS; the rest of them become one record.
TOLD, WINDOW_NS = 20, 60_000_000_000
MAX_KEYS = 1024


@dataclass(slots=True)
class _Seen:
    since_ns: int
    told: int = 0
    held: int = 0
    last: AuditRecord | None = None


class Repeats:
    """``admit`` every record; what it gives is to be written. ``now_ns`` is monotonic."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[Any, ...], _Seen] = OrderedDict()  # the oldest window first

    def admit(self, record: AuditRecord, now_ns: int) -> Iterator[AuditRecord]:
        """What was held back and is due, then the record, unless there have been many like it."""
        yield from self._due(now_ns - WINDOW_NS)
        key = _key(record)
        seen = self._seen.get(key)
        if seen is None:
            while len(self._seen) >= MAX_KEYS:
                yield from self._closed(next(iter(self._seen)))
            seen = self._seen[key] = _Seen(now_ns)
        if seen.told < TOLD:
            seen.told += 1
            yield record
        else:
            seen.held += 1
            seen.last = record

    def close(self) -> Iterator[AuditRecord]:
        """Everything that was held back."""
        for key in list(self._seen):
            yield from self._closed(key)

    def _due(self, until_ns: int) -> Iterator[AuditRecord]:
        while self._seen:
            key, seen = next(iter(self._seen.items()))
            if seen.since_ns > until_ns:
                return
            yield from self._closed(key)

    def _closed(self, key: tuple[Any, ...]) -> Iterator[AuditRecord]:
        seen = self._seen.pop(key)
        if seen.last is not None:
            yield replace(seen.last, times=seen.held)


def _key(record: AuditRecord) -> tuple[Any, ...]:
    """What makes two events alike: who wanted what and how it ended. Of what never went out to a target it
    does not matter which it was; everything else that was asked for stands in the record by itself."""
    asked: tuple[Any, ...] = (record.event, record.outcome, record.who, record.certificate, record.agent)
    host = record.address.rpartition(":")[0]
    if record.outcome in (AuditOutcome.REFUSED, AuditOutcome.REJECTED):
        return (*asked, host)
    return (*asked, host, record.token, record.kinds, record.agents, record.targets, record.counts)
