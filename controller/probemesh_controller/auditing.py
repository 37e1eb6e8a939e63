"""What the controller records of itself, beside the calls that its guard records: runs, its own start and
stop; and how records are found again."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from probemesh_shared.audit.file import NAME, AuditFile
from probemesh_shared.audit.log import AuditLog
from probemesh_shared.audit.query import AuditFound, AuditQuery
from probemesh_shared.audit.record import Audit, AuditRecord, Caller, counted, outcome_by, without_queries
from probemesh_shared.audit.search import search
from probemesh_shared.model import Measurement, Narrowing
from probemesh_shared.narrowing import in_words
from probemesh_shared.specs import KINDS
from probemesh_shared.words import AuditOutcome

from probemesh_controller.api import RunRequest, TokenRequest

#: Who asked for what nobody asked for over the network.
LOCAL = "local"


class Trail:
    """The controller's audit: an :data:`Audit`, and what reads it again. Blocking work is done in threads."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._log = AuditLog(AuditFile(self._path))

    def __call__(self, record: AuditRecord) -> None:
        self._log(record)

    def tell(
        self, event: str, detail: str = "", outcome: AuditOutcome = AuditOutcome.OK, agent: str = ""
    ) -> None:
        """What nobody asked for over the network: this process did it."""
        self(AuditRecord(time.time_ns(), event, outcome, who=LOCAL, agent=agent, detail=detail))

    async def find(self, query: AuditQuery) -> AuditFound:
        """Raises StateError where the files cannot be read."""

        def work() -> AuditFound:
            self._log.flush()
            return search(self._path, query)

        return replace(await asyncio.to_thread(work), lost=self._log.lost)

    async def aclose(self) -> None:
        """Writes what waits."""
        await asyncio.to_thread(self._log.close)


@dataclass(slots=True)
class RunAudit:
    """One run: who began it, what came back."""

    audit: Audit
    wall_ns: Callable[[], int]
    caller: Caller
    request: RunRequest
    counts: Counter[str] = field(default_factory=Counter)

    def _record(self, event: str, outcome: AuditOutcome) -> AuditRecord:
        who, request = self.caller, self.request
        return AuditRecord(
            at_ns=self.wall_ns(),
            event=event,
            outcome=outcome,
            who=who.who,
            who_id=who.who_id,
            certificate=who.certificate,
            address=who.address,
            run=request.run_id,
            kinds=tuple(dict.fromkeys(KINDS[type(spec)].value for spec in request.specs)),
        )

    def started(self) -> None:
        record = self._record("run-started", AuditOutcome.STARTED)
        targets = without_queries(target.text for target in self.request.targets)
        self.audit(replace(record, agents=self.request.agents, targets=targets))

    def measured(self, rows: tuple[Measurement, ...]) -> None:
        self.counts.update(row.outcome.value for row in rows)

    def ended(self, cancelled: str | None) -> None:
        outcome = AuditOutcome.CANCELLED if cancelled is not None else outcome_by(self.counts)
        record = self._record("run-ended", outcome)
        self.audit(replace(record, counts=counted(self.counts), detail=cancelled or ""))


def what_token(request: TokenRequest) -> str:
    """For the record: every field that was asked for, also those that come later."""
    values = {one.name: getattr(request, one.name) for one in fields(request)}
    return " ".join(f"{name}={_word(value)}" for name, value in values.items() if value)


def _word(value: Any) -> str:
    if isinstance(value, Narrowing):
        return f"({in_words(value)})"
    if isinstance(value, Mapping):
        return ",".join(f"{key}={each}" for key, each in sorted(value.items()))
    return str(value)
