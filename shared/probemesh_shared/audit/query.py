"""Which records are wanted, and what was found. Pure."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from probemesh_shared.audit.record import AuditRecord
from probemesh_shared.words import AuditOutcome

#: The most that one query may find.
MAX_RECORDS = 10_000


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """What is set must match. ``who`` (``operator/alice``, ``alice``, an id), ``agent`` and ``event`` may be
    globs; ``agent`` is whoever acted, was acted upon or took part; ``limit``: the newest so many."""

    since_ns: int | None = None
    until_ns: int | None = None
    who: str | None = None
    agent: str | None = None
    event: str | None = None
    outcome: AuditOutcome | None = None
    run: str | None = None
    limit: int = 1000

    def matches(self, record: AuditRecord) -> bool:
        return (
            (self.since_ns is None or record.at_ns >= self.since_ns)
            and (self.until_ns is None or record.at_ns < self.until_ns)
            and self.outcome in (None, record.outcome)
            and (self.who is None or _any(self.who, (*_names(record.who), record.who_id)))
            and (self.agent is None or _any(self.agent, (record.agent, *record.agents, *_agent(record))))
            and (self.event is None or fnmatchcase(record.event, self.event))
            and (self.run is None or record.run == self.run)
        )


def _names(who: str) -> tuple[str, ...]:
    return who, who.partition("/")[2]


def _agent(record: AuditRecord) -> tuple[str, ...]:
    role, _, name = record.who.partition("/")
    return (name, record.who_id) if role == "agent" else ()


def _any(glob: str, names: tuple[str, ...]) -> bool:
    return any(name and fnmatchcase(name, glob) for name in names)


@dataclass(frozen=True, slots=True)
class AuditFound:
    """``records`` oldest first; ``more``: there are older ones that match; ``unreadable`` lines were met;
    ``lost`` could not be written."""

    records: tuple[AuditRecord, ...]
    more: bool = False
    unreadable: int = 0
    lost: int = 0
