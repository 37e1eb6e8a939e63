"""The store in memory, for meshctl without a controller and for tests: SQLite's contract, nothing kept."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from probemesh_shared.errors import InvalidRequest, StateError
from probemesh_shared.model import Measurement

from probemesh_controller.store.matrix.memory import MemoryMatrix
from probemesh_controller.store.port import (
    AgentRecord,
    CertificateRecord,
    OperatorRecord,
    RunRecord,
    StoredMeasurement,
    TokenRecord,
)


class MemoryStore(MemoryMatrix):
    """See :class:`probemesh_controller.store.port.Store`. Every call checks before it changes anything, so
    that one that raises has done nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._agents: dict[str, AgentRecord] = {}
        self._tokens: dict[str, TokenRecord] = {}
        self._certificates: dict[str, CertificateRecord] = {}
        self._operators: dict[str, OperatorRecord] = {}
        self._runs: dict[str, RunRecord] = {}
        self._batches: dict[str, dict[tuple[str, int], tuple[StoredMeasurement, ...]]] = {}
        self._run_of_job: dict[str, str] = {}
        self._open = True

    def _check(self) -> None:
        if not self._open:
            raise StateError("the store is closed")

    def put_agent(self, record: AgentRecord) -> None:
        self._check()
        holder = self._holder(record.name)
        if holder is not None and holder.id != record.id and not record.revoked:
            raise InvalidRequest(f"the name {record.name} belongs to another agent")
        self._agents[record.id] = record

    def agent_by_id(self, agent_id: str) -> AgentRecord | None:
        self._check()
        return self._agents.get(agent_id)

    def agent_by_name(self, name: str) -> AgentRecord | None:
        self._check()
        revoked = [a for a in self._agents.values() if a.name == name and a.revoked]
        return self._holder(name) or max(revoked, key=lambda a: (a.created_ns, a.id), default=None)

    def _holder(self, name: str) -> AgentRecord | None:
        return next((a for a in self._agents.values() if a.name == name and not a.revoked), None)

    def agents(self) -> tuple[AgentRecord, ...]:
        self._check()
        return tuple(sorted(self._agents.values(), key=lambda a: (a.name, a.created_ns, a.id)))

    def delete_agent(self, agent_id: str) -> None:
        self._check()
        self._agents.pop(agent_id, None)

    def add_token(self, record: TokenRecord) -> None:
        self._check()
        if record.secret_sha256 in self._tokens:
            raise InvalidRequest("this token exists already")
        self._tokens[record.secret_sha256] = record

    def token(self, secret_sha256: str) -> TokenRecord | None:
        self._check()
        return self._tokens.get(secret_sha256)

    def redeem_token(self, secret_sha256: str, now_ns: int) -> TokenRecord | None:
        record = self.token(secret_sha256)
        if record is None or record.expires_ns <= now_ns or record.uses_left < 1:
            return None
        self._tokens[secret_sha256] = replace(record, uses_left=record.uses_left - 1)
        return record

    def add_certificate(self, record: CertificateRecord) -> None:
        self._check()
        if record.serial in self._certificates:
            raise InvalidRequest(f"certificate {record.serial} exists already")
        self._certificates[record.serial] = record

    def certificate(self, serial: str) -> CertificateRecord | None:
        self._check()
        return self._certificates.get(serial)

    def certificates(self, after_ns: int) -> tuple[CertificateRecord, ...]:
        self._check()
        found = [one for one in self._certificates.values() if one.not_after_ns > after_ns]
        return tuple(sorted(found, key=lambda one: (one.name, one.issued_ns, one.serial)))

    def use_certificate(self, serial: str, now_ns: int) -> None:
        self._check()
        if serial in self._certificates:
            self._certificates[serial] = replace(self._certificates[serial], used_ns=now_ns)

    def adopt_certificates(self, issuer: str) -> None:
        self._check()
        for serial, one in self._certificates.items():
            if not one.issuer:
                self._certificates[serial] = replace(one, issuer=issuer, trust=(issuer,))

    def prune_certificates(self, before_ns: int) -> int:
        self._check()
        gone = [serial for serial, one in self._certificates.items() if one.not_after_ns < before_ns]
        for serial in gone:
            del self._certificates[serial]
        return len(gone)

    def put_operator(self, record: OperatorRecord) -> None:
        self._check()
        self._operators[record.name] = record

    def operator(self, name: str) -> OperatorRecord | None:
        self._check()
        return self._operators.get(name)

    def operators(self) -> tuple[OperatorRecord, ...]:
        self._check()
        return tuple(self._operators[name] for name in sorted(self._operators))

    def revoke_certificates(self, subject_id: str) -> tuple[str, ...]:
        self._check()
        serials = sorted(s for s, c in self._certificates.items() if c.subject_id == subject_id)
        for serial in serials:
            self._certificates[serial] = replace(self._certificates[serial], revoked=True)
        return tuple(serials)

    def revoked_serials(self) -> frozenset[str]:
        self._check()
        return frozenset(serial for serial, c in self._certificates.items() if c.revoked)

    def add_run(self, record: RunRecord) -> None:
        self._check()
        if record.id in self._runs:
            raise InvalidRequest(f"run {record.id} exists already")
        self._runs[record.id] = record

    def end_run(self, run_id: str, ended_ns: int, cancelled: bool) -> None:
        self._check()
        if run_id in self._runs:
            self._runs[run_id] = replace(self._runs[run_id], ended_ns=ended_ns, cancelled=cancelled)

    def runs(self, limit: int) -> tuple[RunRecord, ...]:
        self._check()
        newest = sorted(self._runs.values(), key=lambda run: (run.started_ns, run.id), reverse=True)
        return tuple(newest[:limit])

    def add_measurements(
        self,
        run_id: str,
        agent_id: str,
        job_id: str,
        spec_index: int,
        seq: int,
        measurements: Iterable[Measurement],
    ) -> bool:
        self._check()
        batches = self._batches.setdefault(self._run_of_job.setdefault(job_id, run_id), {})
        if (job_id, seq) in batches:
            return False
        batches[job_id, seq] = tuple(
            StoredMeasurement(agent_id, job_id, spec_index, measurement) for measurement in measurements
        )
        return True

    def measurements(self, run_id: str) -> tuple[StoredMeasurement, ...]:
        self._check()
        return tuple(row for rows in self._batches.get(run_id, {}).values() for row in rows)

    def batch(self, job_id: str, seq: int) -> tuple[Measurement, ...] | None:
        self._check()
        rows = self._batches.get(self._run_of_job.get(job_id, ""), {}).get((job_id, seq))
        return None if rows is None else tuple(row.measurement for row in rows)

    @contextmanager
    def group(self) -> Iterator[None]:
        self._check()
        yield

    def close(self) -> None:
        self._open = False
