"""What an agent records of itself: the jobs that it took on or turned away, and how they ended; where it is
kept is :mod:`.auditlog`'s. Calls to a listening agent are recorded by its guard.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from probemesh_shared.audit.record import (
    Audit,
    AuditRecord,
    Caller,
    counted,
    outcome_by,
    without_queries,
)
from probemesh_shared.model import Job
from probemesh_shared.session.frames import JobStatus
from probemesh_shared.specs import KINDS
from probemesh_shared.words import AuditOutcome

_OF_STATUS = {
    JobStatus.CANCELLED: AuditOutcome.CANCELLED,
    JobStatus.REJECTED: AuditOutcome.REJECTED,
    JobStatus.EXPIRED: AuditOutcome.CUT,
}
LOCAL = Caller("local")


@dataclass(frozen=True, slots=True)
class Recorder:
    """Makes records of what happens here."""

    audit: Audit
    wall_ns: Callable[[], int]

    def tell(
        self,
        event: str,
        outcome: AuditOutcome = AuditOutcome.OK,
        detail: str = "",
        caller: Caller = LOCAL,
        **more: Any,
    ) -> None:
        """``more``: fields of :class:`AuditRecord`."""
        record = AuditRecord(
            at_ns=self.wall_ns(),
            event=event,
            outcome=outcome,
            who=caller.who,
            who_id=caller.who_id,
            certificate=caller.certificate,
            address=caller.address,
            detail=detail,
            **more,
        )
        self.audit(record)

    def accepted(self, job: Job, caller: Caller) -> None:
        self._job("job-accepted", AuditOutcome.STARTED, "", job, caller, targets=_targets(job))

    def rejected(self, job_id: str, job: Job | None, caller: Caller, why: str) -> None:
        """``job`` is None where it could not be read."""
        event, outcome = "job-rejected", AuditOutcome.REJECTED
        if job is None:
            self.tell(event, outcome, why, caller, job=job_id)
        else:
            self._job(event, outcome, why, job, caller, targets=_targets(job))

    def ended(
        self, job: Job, caller: Caller, status: JobStatus, detail: str, counts: Mapping[str, int]
    ) -> None:
        """``denied`` where this host's policy let nothing of it through."""
        outcome = _OF_STATUS.get(status, AuditOutcome.FAILED)
        if status is JobStatus.DONE:
            outcome = outcome_by(counts)
        self._job("job-ended", outcome, detail, job, caller, counts=counted(counts))

    def _job(
        self, event: str, outcome: AuditOutcome, detail: str, job: Job, caller: Caller, **more: Any
    ) -> None:
        kinds = (KINDS[type(job.spec)].value,)
        self.tell(
            event,
            outcome,
            detail,
            caller,
            run=job.run_id,
            job=job.id,
            asked_by=job.asked_by,
            kinds=kinds,
            **more,
        )


def _targets(job: Job) -> tuple[str, ...]:
    return without_queries(target.text for target in job.targets)
